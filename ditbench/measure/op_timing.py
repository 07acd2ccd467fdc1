"""The stopwatch of an attention core by itself: single calls with a cold cache, or several with a hot one.

Cold: before each timed call the last-level cache is flushed, outside the timed interval. On a GPU nobody
waits between the flush and the call, so that a launch hides behind the flush as it does in a stream that is
kept busy. Hot: calls follow each other, so many in one interval that the clock's resolution does not show.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ditbench.jobs import Findings, Job
from ditbench.measure import caches, memory
from ditbench.measure.flush import Flush
from ditbench.measure.op import Core, set_up, sizes_of
from ditbench.measure.timing import Stopwatch, conduct, stopwatch, timed_runs, warm_up
from ditbench.records import Cell, Status

# An interval of hot calls: two thousand times what a CUDA event resolves.
_INTERVAL_S = 1e-3
_MOST_TOGETHER, _TRIES = 1000, 3


@dataclass
class Calls:
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

    @classmethod
    def of(cls, cell: Cell, device: str, seed: int = 0) -> Calls:
        """Those of a cell of an op, compiled where it is to be. seed: of the queries."""
        core = set_up(cell, device)
        if cell.compile:
            core.compile()
        generator = torch.Generator(core.device).manual_seed(seed)
        return cls(core, stopwatch(core.device), generator)

    def first(self) -> float:
        """Seconds of the first call of all, compilation included."""
        self.watch.start()
        self.watch.mark(0)
        self.core()
        self.watch.mark(1)
        return sum(self.watch.seconds())

    def on(self, number: int) -> list[float]:
        """As `once`, on the queries of that number."""
        self.generator.manual_seed(number)
        return self.once()

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
        """Make what comes before a cold call, or find how many hot ones fill an interval."""
        if sizes_of(self.core.cell).cache == "cold":
            self.flush = Flush.of(self.core.device)
            return
        one = min(self.once()[0] for _ in range(_TRIES))
        self.together = min(max(1, math.ceil(_INTERVAL_S / one)), _MOST_TOGETHER)

    @property
    def facts(self) -> dict[str, Any]:
        """What was run, for the record."""
        return {
            "rows": self.core.cell.rows,
            "calls_together": self.together,
            "flushed_bytes": self.flush.bytes if self.flush else 0,
        }


def run(job: Job, say: Callable[[str], None]) -> Findings:
    """Time one cell of an op in this process, with nothing compiled beforehand."""
    with caches.empty(job.caches), torch.inference_mode():
        return _time(job, say)


def _time(job: Job, say: Callable[[str], None]) -> Findings:
    start_bytes = memory.resident()
    say("loading")
    calls = Calls.of(job.cell, job.device, job.replicate)
    say("first call")
    first = calls.first()
    # Before the buffer of the flush is made, which is no part of any method.
    peak = memory.Peak(calls.core.device, start_bytes)
    peak.reset()
    calls.core()
    measured = peak.read()
    calls.settle()
    warm = warm_up(calls, job.timing, say)
    timed = timed_runs(calls, job.timing, say)
    if not calls.finite:
        return Findings(Status.NOT_FINITE, "the output of a timed call is not finite")
    return Findings(
        metrics={"first_call": (first,), "latency": timed.runs, **measured},
        warmups={"latency": warm.runs},
        facts={**calls.facts, **conduct(job.timing, warm, timed), **peak.facts()},
    )
