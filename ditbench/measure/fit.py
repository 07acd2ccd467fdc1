"""One trial of a largest batch: a short sampling run, which fits into memory or does not."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch

from ditbench.jobs import Findings, Job
from ditbench.measure import calibration, memory, reuse
from ditbench.measure.bench import set_up
from ditbench.records import Status

# DPM-Solver++ keeps two earlier predictions: at the third step a run without a memory holds all it ever does.
_STEPS = 3
# mallopt's number of the size, and the size, from which on a block is one of its own.
_M_MMAP_THRESHOLD, _LARGE = -3, 2**20


def run(job: Job, say: Callable[[str], None]) -> Findings:
    """Sample the job's batch and tell the peak. What does not fit raises, as anywhere else."""
    given_back = _give_back_at_once()
    cell, start_bytes = job.cell, memory.resident()
    say("loading")
    bench = calibration.ready(job, set_up(job.cell, job.device), say)
    inputs = bench.inputs(range(cell.batch_size))
    if cell.compile:
        bench.denoiser.compile()
    bench.denoiser.install(bench.layers)
    peak = memory.Peak(bench.device, start_bytes)
    peak.reset()
    say(f"batch {cell.batch_size}")
    steps = cell.steps if reuse.remembers(bench) else min(_STEPS, cell.steps)
    latents = bench.sample(inputs, steps)
    if not bool(torch.isfinite(latents).all()):
        return Findings(Status.NOT_FINITE, "the latents are not finite")
    name, (size,) = next(iter(peak.read().items()))
    facts = {"peak": name, "peak_bytes": int(size), "rows": cell.rows, "given_back": given_back}
    if bench.device.type == "cuda":
        facts["device_memory"] = torch.cuda.mem_get_info(bench.device)[1]
    return Findings(facts=facts)


def _give_back_at_once() -> bool:
    """Have the C library return what a tensor frees, so that only what is held counts; whether it does.

    By itself glibc keeps freed blocks of up to 32 MiB in a heap that frays: of the same method 24 samples
    fitted or not by chance where 32 always did (measured within 512 MiB). Another C library has no such
    switch.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE))
    except AttributeError:
        return False
