"""The stopwatch: whole sampling runs, raw values in order, warm-ups apart, the device waited for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

import torch

from ditbench.jobs import Findings, Job
from ditbench.measure import memory
from ditbench.measure.bench import Bench, set_up
from ditbench.records import Status


class Stopwatch(Protocol):
    """Times the steps of one sampling run."""

    def start(self) -> None:
        """Wait for what came before, forget old marks."""

    def mark(self, step: int) -> None:
        """For `on_step`: the beginning of a step, and at last the end of the run."""

    def seconds(self) -> list[float]:
        """Seconds of each step, after the device has finished."""
        ...


class CpuStopwatch:
    """Readings of the monotonic clock."""

    def __init__(self) -> None:
        self._marks: list[int] = []

    def start(self) -> None:
        """Forget old marks; the CPU waits for itself."""
        self._marks = []

    def mark(self, step: int) -> None:  # noqa: ARG002 (the loop's signature)
        """Read the clock."""
        self._marks.append(time.perf_counter_ns())

    def seconds(self) -> list[float]:
        """Seconds between marks."""
        return [(end - start) / 1e9 for start, end in pairwise(self._marks)]


class CudaStopwatch:
    """CUDA events, recorded without waiting and read after one synchronisation."""

    def __init__(self) -> None:
        self._marks: list[torch.cuda.Event] = []

    def start(self) -> None:
        """Wait until the GPU is idle."""
        torch.cuda.synchronize()
        self._marks = []

    def mark(self, step: int) -> None:  # noqa: ARG002 (the loop's signature)
        """Record an event in the stream."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch leaves it so
        event.record()
        self._marks.append(event)

    def seconds(self) -> list[float]:
        """Seconds between events, once the GPU has reached the last."""
        torch.cuda.synchronize()
        return [start.elapsed_time(end) / 1e3 for start, end in pairwise(self._marks)]


def run(job: Job, say: Callable[[str], None]) -> Findings:
    """Time one cell in this process, which has run nothing before."""
    start_bytes = memory.resident()
    load_before = os.getloadavg()[0]
    say("loading")
    bench = set_up(job.cell, job.device)
    inputs = bench.inputs(range(job.cell.batch_size))
    if job.cell.compile:
        bench.denoiser.compile()
    watch: Stopwatch = CudaStopwatch() if bench.device.type == "cuda" else CpuStopwatch()
    say("first call")
    first = _once(bench, inputs, watch)
    warmups = _series(bench, inputs, watch, job.timing.warmup, lambda n: say(f"warm-up {n}"))
    peak = memory.Peak(bench.device, start_bytes)
    peak.reset()
    begin = time.monotonic_ns()
    timed = _series(bench, inputs, watch, job.timing.repeats, lambda n: say(f"timing {n}"))
    end = time.monotonic_ns()
    measured = peak.read()
    if not bool(torch.isfinite(bench.sample(inputs)).all()):
        return Findings(Status.NOT_FINITE, "the latents of the timed sampling run are not finite")
    return Findings(
        status=Status.OK,
        metrics={
            "first_call": (sum(first),),
            "latency": tuple(sum(steps) for steps in timed),
            "step_latency": tuple(step for steps in timed for step in steps),
            **measured,
        },
        warmups={"latency": tuple(sum(steps) for steps in warmups)},
        facts={
            "threads": torch.get_num_threads(),
            "load": [load_before, os.getloadavg()[0]],
            "weights": bench.weights,
            "rows": job.cell.rows,
            "nfe": job.cell.steps,
            # For what is sampled from outside: telemetry and energy of the timed calls alone.
            "timed_ns": [begin, end],
            **peak.facts(),
        },
    )


def _series(
    bench: Bench,
    inputs: tuple[torch.Tensor, torch.Tensor],
    watch: Stopwatch,
    times: int,
    say: Callable[[int], None],
) -> list[list[float]]:
    done = []
    for number in range(times):
        say(number + 1)
        done.append(_once(bench, inputs, watch))
    return done


def _once(bench: Bench, inputs: tuple[torch.Tensor, torch.Tensor], watch: Stopwatch) -> list[float]:
    """One sampling run, opened anew: seconds of each step."""
    bench.denoiser.install(bench.layers)
    watch.start()
    bench.sample(inputs, on_step=watch.mark)
    return watch.seconds()
