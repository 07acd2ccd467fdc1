"""The stopwatch of an attention core by itself: single calls with a cold cache, or several with a hot one.

Cold: before each timed call the last-level cache is flushed, outside the timed interval. On a GPU nobody
waits between the flush and the call, so that a launch hides behind the flush as it does in a stream that is
kept busy. Hot: calls follow each other, so many in one interval that the clock's resolution does not show.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ditbench.jobs import Findings, Job
from ditbench.measure import caches, memory
from ditbench.measure.flush import Flush
from ditbench.measure.op import Core, set_up, sizes_of
from ditbench.measure.timing import Stopwatch, conduct, stopwatch, timed_runs, warm_up
from ditbench.records import Status

# An interval of hot calls: two thousand times what a CUDA event resolves.
_INTERVAL_S = 1e-3
_MOST_TOGETHER, _TRIES = 1000, 3


@dataclass
class _Calls:
    """One timed interval after the other, each on queries of its own.

    flush: what comes before a call with a cold cache; None for a hot one, which another call warms. together:
    calls in one interval. finite: whether all results were.
    """

    core: Core
    watch: Stopwatch
    generator: torch.Generator
    flush: Flush | None = None
    together: int = 1
    finite: bool = True

    def once(self) -> list[float]:
        """Seconds of one call, as the mean of those in the interval."""
        self.core.draw(self.generator)
        self.watch.start()
        if self.flush:
            self.flush()
        else:
            self.core()
        self.watch.mark(0)
        for _ in range(self.together):
            out = self.core()
        self.watch.mark(1)
        (seconds,) = self.watch.seconds()
        self.finite &= bool(torch.isfinite(out).all())
        return [seconds / self.together]

    def settle(self) -> None:
        """How many calls fill an interval: one where each has to find a cold cache."""
        if self.flush is None:
            one = min(self.once()[0] for _ in range(_TRIES))
            self.together = min(max(1, math.ceil(_INTERVAL_S / one)), _MOST_TOGETHER)


def run(job: Job, say: Callable[[str], None]) -> Findings:
    """Time one cell of an op in this process, with nothing compiled beforehand."""
    with caches.empty(job.caches), torch.inference_mode():
        return _time(job, say)


def _time(job: Job, say: Callable[[str], None]) -> Findings:
    start_bytes = memory.resident()
    say("loading")
    core = set_up(job.cell, job.device)
    if job.cell.compile:
        core.compile()
    watch = stopwatch(core.device)
    say("first call")
    first = _first(core, watch)
    # Before the buffer of the flush is made, which is no part of any method.
    peak = memory.Peak(core.device, start_bytes)
    peak.reset()
    core()
    measured = peak.read()
    calls = _Calls(core, watch, torch.Generator(core.device).manual_seed(job.replicate))
    if sizes_of(job.cell).cache == "cold":
        calls.flush = Flush.of(core.device)
    calls.settle()
    warm = warm_up(calls, job.timing, say)
    timed = timed_runs(calls, job.timing, say)
    if not calls.finite:
        return Findings(Status.NOT_FINITE, "the output of a timed call is not finite")
    return Findings(
        metrics={"first_call": (first,), "latency": timed.runs, **measured},
        warmups={"latency": warm.runs},
        facts={
            "rows": job.cell.rows,
            "calls_together": calls.together,
            "flushed_bytes": calls.flush.bytes if calls.flush else 0,
            **conduct(job.timing, warm, timed),
            **peak.facts(),
        },
    )


def _first(core: Core, watch: Stopwatch) -> float:
    """Seconds of the first call of all, compilation included."""
    watch.start()
    watch.mark(0)
    core()
    watch.mark(1)
    return sum(watch.seconds())
