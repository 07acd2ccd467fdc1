"""Two arms of one commit in one process, call by call in turns: A B B A A B B A, or B A A B B A A B.

What this takes away: whatever lasts longer than a pair of calls (clocks, heat, a neighbour's load, where the
process was put) slows both arms alike and cancels in their ratio. A pair works on equal numbers, and where
both cells need the same network they share one, so that not even its place in memory differs. Which arm
begins changes from pair to pair, and from process to process.

What is left, and so what a process's median of paired ratios spreads by: what strikes one call of a pair and
not the other, which the number of pairs averages out as 1 / sqrt(pairs); and what each arm has of its own
for the life of the process (buffers, caches, compiled code), which only more processes do.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from ditbench.jobs import Findings, Job
from ditbench.measure import caches, calibration
from ditbench.measure.bench import Bench, accelerator_of, make, set_up
from ditbench.measure.op_timing import Calls
from ditbench.measure.timing import Samplings, Series, stopping_of, stopwatch, until, warmup_of
from ditbench.records import Cell, Status
from ditbench.store.sessions import ARMS, SHARES

# However fast the calls, where the suite has so much time: a burst lies within one state of the machine.
_LEAST_S = 1.0


class _Runs(Protocol):
    """What an arm does again and again."""

    finite: bool

    @property
    def facts(self) -> dict[str, Any]:
        """What was run."""
        ...

    def on(self, number: int) -> list[float]:
        """Seconds of each step of one run on the numbers of that number: both arms draw alike."""
        ...


@dataclass
class _Turns:
    """Both arms in turns, two pairs at a time.

    first: the arm that begins. made: pairs so far, warm-ups among them. begins_ns: when each pair of these
    began, by the monotonic clock.
    """

    arms: Sequence[_Runs]
    first: int
    made: int = 0
    pairs: list[tuple[float, float]] = field(default_factory=list)
    begins_ns: list[int] = field(default_factory=list)

    def once(self) -> list[float]:
        """A B B A, or B A A B: seconds of both pairs."""
        for begins in (self.first, 1 - self.first):
            self.pairs.append(self._pair(begins))
        return [sum(pair) for pair in self.pairs[-2:]]

    def _pair(self, begins: int) -> tuple[float, float]:
        self.begins_ns.append(time.monotonic_ns())
        one = sum(self.arms[begins].on(self.made))
        other = sum(self.arms[1 - begins].on(self.made))
        self.made += 1
        return (other, one) if begins else (one, other)

    def of(self, arm: int) -> tuple[float, ...]:
        """Seconds of an arm's calls, in order: the i-th of both are a pair."""
        return tuple(pair[arm] for pair in self.pairs)

    @property
    def ratios(self) -> tuple[float, ...]:
        """B / A of each pair."""
        return tuple(b / a for a, b in self.pairs)


def run(job: Job, say: Callable[[str], None]) -> Findings:
    """Time a job's two cells in this process. facts[SHARES]: of each its metrics, warm-ups, facts.

    `timing.precision` is the half-width of the median paired ratio's 95 % interval that ends the process,
    `timing.repeats` the fewest pairs.
    """
    with caches.empty(job.caches), torch.inference_mode(mode=job.cell.op is not None):
        return _fight(job, say)


def _fight(job: Job, say: Callable[[str], None]) -> Findings:
    first = job.replicate % 2
    say("loading")
    arms = _arms(job, first, say)
    say("first call")
    firsts = _first_calls(arms, first)
    rule = warmup_of(job.timing)
    warm, until_warm = _pairs(
        _Turns(arms, first),
        lambda turns, elapsed_s: all(rule.over(turns.of(arm), elapsed_s) for arm in range(2)),
        lambda n: say(f"warm-up {n}"),
    )
    # A neighbour that comes in the middle widens every interval for a while.
    stopping = dataclasses.replace(stopping_of(job.timing), patient=True)
    timed, until_known = _pairs(
        _Turns(arms, first, warm.made),
        lambda turns, elapsed_s: (
            elapsed_s >= min(_LEAST_S, job.timing.cap_s)
            and bool(stopping.reason(turns.ratios, elapsed_s))
        ),
        lambda n: say(f"timing {n}"),
    )
    for name, arm in zip(ARMS, arms, strict=True):
        if not arm.finite:
            return Findings(Status.NOT_FINITE, f"what arm {name} computed is not finite")
    told = {
        name: {
            "metrics": {"latency": timed.of(arm)},
            # The arm that begins pays for what the process does once, so this is no metric of either.
            "warmups": {"first_call": (firsts[arm],), "latency": warm.of(arm)},
            "facts": {
                **arms[arm].facts,
                "warmup": rule.facts(warm.of(arm), until_warm.elapsed_s),
            },
        }
        for arm, name in enumerate(ARMS)
    }
    return Findings(
        facts={
            SHARES: told,
            "begins": ARMS[first],
            "threads": torch.get_num_threads(),
            "stopping": stopping.facts(timed.ratios, until_known.elapsed_s),
            "timed_ns": [until_known.begin_ns, until_known.end_ns],
            # Of pairs: what spoils one call takes the other along, so that the rest stay pairs.
            "calls_ns": [at - until_known.begin_ns for at in timed.begins_ns],
        }
    )


def _pairs(
    turns: _Turns, over: Callable[[_Turns, float], bool], say: Callable[[int], None]
) -> tuple[_Turns, Series]:
    """Turns until it is over, which is told them and the seconds since the first."""
    return turns, until(turns, lambda _blocks, elapsed_s: over(turns, elapsed_s), say)


def _arms(job: Job, first: int, say: Callable[[str], None]) -> list[_Runs]:
    """Both arms ready but for their first call; set up in the order in which they begin."""
    if job.cell.op:
        calls = {arm: Calls.of(job.cells[arm], job.device) for arm in (first, 1 - first)}
        return [calls[arm] for arm in range(2)]
    benches: dict[int, Bench] = {}
    for arm in (first, 1 - first):
        bench = _bench(job.cells[arm], job.device, benches.get(1 - arm))
        benches[arm] = calibration.ready(job, bench, say)
    watch = stopwatch(benches[0].device)
    return [Samplings(benches[arm], watch) for arm in range(2)]


def _bench(cell: Cell, device: str, other: Bench | None) -> Bench:
    """A cell set up, on the other arm's network where it needs the same."""
    if other and _network(cell) == _network(other.cell):
        around = accelerator_of(cell)
        return dataclasses.replace(
            other, cell=cell, method=make(cell.attention), accelerator=around
        )
    bench = set_up(cell, device)
    if cell.compile:
        bench.denoiser.compile()
    return bench


def _network(cell: Cell) -> object:
    """Equal for cells that may share a network; compiled code would be compiled again at every turn."""
    if cell.compile:
        return object()
    return cell.model.identity, cell.weights, cell.sampling.dtype


def _first_calls(arms: Sequence[_Runs], first: int) -> tuple[float, ...]:
    """Seconds of each arm's first call; cores are then ready for many."""
    seconds = {arm: _first_call(arms[arm]) for arm in (first, 1 - first)}
    cores = [arm for arm in arms if isinstance(arm, Calls)]
    for calls in cores:
        calls.settle()
    for calls in cores:  # so that reading the clock weighs the same
        calls.together = max(one.together for one in cores)
    return seconds[0], seconds[1]


def _first_call(arm: _Runs) -> float:
    return arm.first() if isinstance(arm, Calls) else sum(arm.on(0))
