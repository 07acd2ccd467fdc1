"""What the canary says: whether the machine changed while a run measured, between two runs, or two arms.

The best mode speaks, the smallest of many short repetitions: other programs make it larger and nothing makes
it smaller. Its own spread is known from the same seconds, as the best of each fifth of them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from ditbench import deciding, machine, stats, units
from ditbench.gating import PROCESSES
from ditbench.records import CANARY_PLACES, Record, Stage, Status
from ditbench.store import Run

METRICS = {"canary_matrix": "matrix product", "canary_copy": "copy"}
# Less than this no machine keeps by itself; more than three times its own spread is a change.
_LEAST, _SPREADS = 0.015, 3
# The expected range of so many normal values, in standard deviations.
_RANGES = {2: 1.128, 3: 1.693}


@dataclass(frozen=True)
class Figure:
    """The canary once: where in the run, on which device (from 0), the best and the median in seconds.

    spread: relative, of the best among parts of its repetitions. crowded: whether other programs kept
    processors busy meanwhile, so that it tells of them as much as of the machine.
    """

    place: str
    device: int
    best: float
    median: float
    spread: float
    crowded: bool = False


def figures(run: Run) -> Mapping[str, tuple[Figure, ...]]:
    """By metric, in the order of devices and of time; what failed or was not come to is not there."""
    records = sorted(_records(run), key=lambda one: one.replicate)
    return {
        metric: tuple(_figure(one, metric) for one in records if _told(one.metrics.get(metric, ())))
        for metric in METRICS
    }


def drift(run: Run) -> str:
    """That the machine changed while this run measured, in words; empty where it did not.

    What was measured beside other programs is not held against anything: one process more or less of theirs
    is no change of the machine, and cells say for themselves what they met.
    """
    clauses = (
        _apart(metric, one, other)
        for metric, found in figures(run).items()
        for one, other in combinations([one for one in found if not one.crowded], 2)
        if one.device == other.device
    )
    return "; ".join(_largest(clauses))


def moved(then: Run, now: Run) -> str:
    """That the machine of one run is not as it was in the other, in words; empty where it is, or none knows.

    Of each run the best of all places counts, so that what one process met by chance does not.
    """
    if not _sizes(then) == _sizes(now) != set():
        return ""
    before, after = figures(then), figures(now)
    clauses = (
        _moved(metric, device_then, device_now)
        for metric in METRICS
        for device_then, device_now in zip(
            _by_device(before[metric]), _by_device(after[metric]), strict=False
        )
    )
    return "; ".join(_largest(clauses))


@dataclass(frozen=True)
class Between:
    """The canary of two arms: by metric the ratio B / A, Hodges-Lehmann of the best of each process.

    lacking: why there is none, empty where there are.
    """

    ratios: Mapping[str, float]
    lacking: str = ""

    @property
    def said(self) -> str:
        """For people."""
        return ", ".join(f"{METRICS[name]} {ratio:.3f}" for name, ratio in self.ratios.items())


def between(a: Iterable[Record], b: Iterable[Record]) -> Between:
    """The machine as one arm of a session met it against that of the other; one canary a process.

    One that other programs crowded is left out, and fewer than confirm a time tell nothing of the machine.
    """
    asked = tuple(a), tuple(b)
    sides = tuple([one for one in side if _usable(one)] for side in asked)
    counts = [len(side) for side in sides]
    if min(counts) < PROCESSES:
        return Between({}, _few(counts, [len(side) for side in asked]))
    if len({_size(one) for side in sides for one in side}) > 1:
        return Between({}, "the canaries of the arms are not of one size")
    bests = {name: [[min(one.metrics[name]) for one in side] for side in sides] for name in METRICS}
    return Between({name: float(deciding.ratio(*best)) for name, best in bests.items()})


def failures(run: Run) -> tuple[str, ...]:
    """Why the canary was not measured where it was tried, a clause for each time."""
    return tuple(
        f"{_place(one)}: {one.reason}"
        for one in run.records
        if one.stage is Stage.CANARY and one.status is not Status.OK
    )


def _records(run: Run) -> list[Record]:
    return [one for one in run.records if one.stage is Stage.CANARY and one.status is Status.OK]


def _told(values: Sequence[float]) -> bool:
    """Whether these are times: a file that somebody edited may hold anything."""
    return bool(values) and all(0 < value < math.inf for value in values)


def _sizes(run: Run) -> set[tuple[object, object]]:
    """What was done: canaries of two sizes say nothing of each other."""
    return {_size(one) for one in _records(run)}


def _size(record: Record) -> tuple[object, object]:
    return record.facts.get("side"), record.facts.get("copied")


def _usable(record: Record) -> bool:
    """Whether its figures are times, and the machine's alone."""
    return all(_told(record.metrics.get(name, ())) for name in METRICS) and not machine.crowded(
        [record]
    )


def _few(counts: Sequence[int], asked: Sequence[int]) -> str:
    """Why so few canaries tell nothing."""
    told = f"the canary was measured in {counts[0]} and {counts[1]} processes"
    if crowded := sum(asked) - sum(counts):
        told = f"{told}, in {crowded} more beside other programs"
    return f"{told}, and {PROCESSES} an arm tell of the machine"


def _place(record: Record) -> str:
    return CANARY_PLACES[record.replicate % len(CANARY_PLACES)]


def _figure(record: Record, metric: str) -> Figure:
    values = record.metrics[metric]
    return Figure(
        place=_place(record),
        device=record.replicate // len(CANARY_PLACES),
        best=min(values),
        median=stats.middle(values),
        spread=stats.spread(machine.best_of_parts(values)),
        crowded=bool(machine.crowded([record])),
    )


def _by_device(found: Iterable[Figure]) -> list[list[Figure]]:
    by: dict[int, list[Figure]] = defaultdict(list)
    for one in found:
        by[one.device].append(one)
    return [by[device] for device in sorted(by)]


Clause = tuple[float, str]


def _apart(metric: str, one: Figure, other: Figure) -> Clause | None:
    """Two times of one run."""
    change, floor = other.best / one.best - 1, _floor(one.spread, other.spread)
    if abs(change) <= floor:
        return None
    told = (
        f"its {METRICS[metric]} took {units.seconds(one.best)} at the {one.place} and "
        f"{units.seconds(other.best)} at the {other.place}, {_beyond(change, floor)}"
    )
    return abs(change), told


def _moved(metric: str, then: list[Figure], now: list[Figure]) -> Clause | None:
    """Two runs."""
    before, after = (min(one.best for one in side) for side in (then, now))
    change, floor = after / before - 1, _floor(_scatter(then), _scatter(now))
    if abs(change) <= floor:
        return None
    told = (
        f"its {METRICS[metric]} took {units.seconds(before)} then and {units.seconds(after)} now, "
        f"{_beyond(change, floor)}"
    )
    return abs(change), told


def _scatter(found: list[Figure]) -> float:
    """How far the places of one run lie from each other: a standard deviation, from their range."""
    bests = [one.best for one in found]
    return (max(bests) / min(bests) - 1) / _RANGES[len(bests)] if len(bests) in _RANGES else 0.0


def _floor(*spreads: float) -> float:
    return max(_LEAST, _SPREADS * max(spreads))


def _beyond(change: float, floor: float) -> str:
    return f"{units.percent(change, signed=True)} beyond a floor of {units.percent(floor)}"


def _largest(clauses: Iterable[Clause | None]) -> list[str]:
    """The clause of the largest change alone: one change of a machine shows in all of them."""
    found = [clause for clause in clauses if clause]
    return [max(found)[1]] if found else []
