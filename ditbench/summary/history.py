"""What the nights before a run measured, cell by cell: for gates, and for a line that a person looks at.

Never a ratchet: what gates beside the baseline is the median of the last ten clean runs since it, neither the
fastest of them nor the newest, so that one lucky night does not make every later one look slow.

A slow drift hides from a window that moves with it: the first ten runs are kept as an anchor, and the last
ten are held against them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from ditbench import machine, stats
from ditbench.environment import code_label, incompatible, refusals
from ditbench.errors import StoreError
from ditbench.records import CANARY
from ditbench.store import Run, before, read_head, skim
from ditbench.summary import canary
from ditbench.summary.evidence import Asked, Evidence, gather

# A gate looks back so many clean nights.
WINDOW = 10
# So many runs are read at most: the first WINDOW as the anchor, and else the newest.
_MOST = 60
# Most of a file; what is compared of steps goes by the nights of the batch that they make up.
_UNREAD = ("step_latency",)
# What differs between equal efforts and changes no figure: the limits of a process.
_LIMITS = frozenset({"timeout_s", "memory_limit"})
# Fewer points have no change in them that could be told from chance, and no stretch is shorter than three.
_FEWEST, _SHORTEST = 8, 3
# Steps below a thousandth are no change that anybody looks for, however steady a machine is.
_STEADIEST = 1e-3
# Simulated on 8 to 60 nights of independent noise: at most 8 of 100 histories show a change that is none.
_PENALTY = 4.0


@dataclass(frozen=True)
class Point:
    """One cell's metric in one run. value: the median of process medians, in base units.

    clean: whether the cell was ok, and the machine fit and not crowded; only clean points gate anything.
    code: the label of the code that measured (`environment.code_label`).
    """

    run: str
    started: str
    value: float
    processes: tuple[float, ...]
    clean: bool
    code: str


@dataclass(frozen=True)
class History:
    """Points by (cell key, metric), oldest first; of runs of one suite, effort and environment.

    runs: their ids, oldest first. The run that is judged is not among them. problems: runs that are left out
    because they cannot be read, each with the cause.
    """

    runs: tuple[str, ...] = ()
    points: Mapping[tuple[str, str], tuple[Point, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def since(self, started: str) -> History:
        """Without the nights before that moment: they are of before the level that the baseline accepted."""
        points = {
            name: tuple(one for one in found if one.started >= started)
            for name, found in self.points.items()
        }
        return replace(self, points=points)

    def clean(self, key: str, metric: str) -> tuple[float, ...]:
        """The last clean values of a cell's metric, at most WINDOW, oldest first."""
        return self._clean(key, metric)[-WINDOW:]

    def drift(self, key: str, metric: str) -> float | None:
        """Median of the last WINDOW clean values / that of the first - 1; None of fewer than both.

        What no gate sees that looks back ten nights: a per mille every night.
        """
        values = self._clean(key, metric)
        if len(values) < 2 * WINDOW:
            return None
        first, last = stats.middle(values[:WINDOW]), stats.middle(values[-WINDOW:])
        return last / first - 1 if first > 0 and math.isfinite(last / first) else None

    def _clean(self, key: str, metric: str) -> tuple[float, ...]:
        return tuple(one.value for one in self.points.get((key, metric), ()) if one.clean)


def history(out: Path, run: Run) -> History:
    """The finished runs before this one that compare with it: of its suite and effort, on its environment.

    out: the folder of results. At most _MOST are read. Times, memory and pictures have points; counts
    are exact and have none. Nothing on disk is changed.
    """
    problems: list[str] = []
    read = [
        found for folder in _chosen(out, run, problems) if (found := _cells(folder, run, problems))
    ]
    points: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for earlier in read:
        for key, metric, point in _points(earlier):
            points[key, metric].append(point)
    return History(
        runs=tuple(one.id for one in read),
        points={name: tuple(found) for name, found in points.items()},
        problems=tuple(problems),
    )


def effort(run: Run) -> Mapping[str, object]:
    """How often each cell was timed; the limits of a process change no figure."""
    timing = run.effort.get("timing", {})
    return {name: timing[name] for name in timing.keys() - _LIMITS}


def changes(values: Sequence[float]) -> tuple[int, ...]:
    """Where the level of a history changed: indexes of the first value of each new level. Never a gate.

    Segments of constant mean on the logarithmic scale, found exactly by PELT (Killick, Fearnhead & Eckley
    2012) with a penalty of 4 sigma^2 log n a change, as the Bayesian information criterion has it but twice
    as strict. sigma comes from the differences of neighbours, which a step does not widen. One night that
    stands out alone is no change: the median of each three neighbours is what is cut into segments.
    None of fewer than eight values, or where one has no logarithm.
    """
    if len(values) < _FEWEST or not all(0 < value < math.inf for value in values):
        return ()
    from ruptures import KernelCPD  # noqa: PLC0415 (a second, which only a report takes)

    logs = np.log(np.asarray(values, float))
    sigma = max(_STEADIEST, stats.NORMAL * stats.deviation(np.diff(logs).tolist()) / math.sqrt(2))
    threes = np.median(np.lib.stride_tricks.sliding_window_view(logs, 3), axis=1)
    smooth = np.concatenate([threes[:1], threes, threes[-1:]])
    # Under the linear kernel the cost is the sum of squares, and the search is compiled.
    search = KernelCPD(kernel="linear", min_size=_SHORTEST).fit(smooth[:, None])
    return tuple(search.predict(pen=_PENALTY * sigma**2 * math.log(len(logs)))[:-1])


def _chosen(out: Path, run: Run, problems: list[str]) -> list[Run]:
    """Heads of comparable runs, oldest first: the anchor and the newest. No head between them is read."""
    folders = list(before(out, run))
    anchor = list(islice(_comparable(folders, run, problems), WINDOW))
    behind = folders[folders.index(anchor[-1].folder) + 1 :] if len(anchor) == WINDOW else []
    newest = list(islice(_comparable(behind[::-1], run, problems), _MOST - WINDOW))
    return anchor + newest[::-1]


def _comparable(folders: list[Path], run: Run, problems: list[str]) -> Iterator[Run]:
    """Heads of those folders that compare with the run, in their order."""
    for folder in folders:
        try:
            head = read_head(folder)
        except StoreError as error:
            problems.append(str(error))
            continue
        alike = head.suite == run.suite and effort(head) == effort(run)
        if head.finished and alike and not incompatible(head.environment, run.environment):
            yield head


def _cells(head: Run, run: Run, problems: list[str]) -> Run | None:
    """The earlier run with the records of the cells that this one has, or None where it is damaged."""
    pictured = {cell.quality_key for cell in run.planned}
    planned = tuple(cell for cell in head.planned if cell.quality_key in pictured)
    try:
        found = skim(head, {CANARY.key, *(cell.key for cell in planned)}, _UNREAD)
    except StoreError as error:
        problems.append(str(error))
        return None
    problems.extend(found.problems[:1])
    return None if found.problems else found


def _points(run: Run) -> Iterator[tuple[str, str, Point]]:
    """A point for each figure of each cell that is ok, with the cell's key and the metric."""
    asked, code = Asked.of(run), code_label(run.code)
    fit = not refusals(run.environment) and not canary.drift(run)
    for one in gather(run):
        clean = fit and not (one.unfit or machine.crowded(one.times) or one.lacks(asked))
        for metric, values in _figures(one):
            value = stats.middle(values)
            if not math.isnan(value):
                yield one.cell.key, metric, Point(run.id, run.started, value, values, clean, code)


def _figures(one: Evidence) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Process medians of times and memory; of pictures their one median."""
    yield from one.per_process.items()
    for name, values in one.pictures.metrics.items() if one.pictures else ():
        if values:
            yield name, (stats.middle(values),)
