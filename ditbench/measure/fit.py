"""One trial of a largest batch: a short sampling run, which fits into memory or does not."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ditbench.jobs import Findings, Job
from ditbench.measure import memory
from ditbench.measure.bench import set_up
from ditbench.records import Status

# DPM-Solver++ keeps two earlier predictions: the third step is the first with all that a run ever holds.
_STEPS = 3


def run(job: Job, say: Callable[[str], None]) -> Findings:
    """Sample the job's batch and tell the peak. What does not fit raises, as anywhere else."""
    cell, start_bytes = job.cell, memory.resident()
    say("loading")
    bench = set_up(cell, job.device)
    inputs = bench.inputs(range(cell.batch_size))
    if cell.compile:
        bench.denoiser.compile()
    bench.denoiser.install(bench.layers)
    peak = memory.Peak(bench.device, start_bytes)
    peak.reset()
    say(f"batch {cell.batch_size}")
    latents = bench.sample(inputs, min(_STEPS, cell.steps))
    if not bool(torch.isfinite(latents).all()):
        return Findings(Status.NOT_FINITE, "the latents are not finite")
    name, (size,) = next(iter(peak.read().items()))
    facts = {"peak": name, "peak_bytes": int(size), "rows": cell.rows}
    if bench.device.type == "cuda":
        facts["device_memory"] = torch.cuda.mem_get_info(bench.device)[1]
    return Findings(facts=facts)
