"""One cell's metric over the runs before a run: drawn with its gate and its changes of level."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ditbench import stats, units
from ditbench.compare import Finding
from ditbench.report import words
from ditbench.report.drawing import Drawing, Show, Span, Trace, trend
from ditbench.summary.history import WINDOW, History, Point, changes

# With fewer there is no line to look at.
_FEWEST = 2


@dataclass(frozen=True)
class Level:
    """Another level begins. index: of `after` among all points. before, after: the clean runs on either side.

    change: the median of this level / that of the level before - 1.
    """

    index: int
    before: Point
    after: Point
    change: float

    @property
    def said(self) -> str:
        """`+4.1 % between 2026-02-09 (a1b2c3d) and 2026-02-10 (d4e5f6a)`."""
        between = " and ".join(f"{when(one)} ({one.code})" for one in (self.before, self.after))
        return f"{units.percent(self.change, signed=True)} between {between}"


def levels(points: Sequence[Point]) -> tuple[Level, ...]:
    """Where the level of the clean points changed, oldest first."""
    clean = [(index, point) for index, point in enumerate(points) if point.clean]
    values = [point.value for _, point in clean]
    if not (starts := changes(values)):  # nothing to tell, and of no clean night no middle either
        return ()
    edges = (0, *starts, len(values))
    middles = [stats.middle(values[start:end]) for start, end in itertools.pairwise(edges)]
    return tuple(
        Level(clean[start][0], clean[start - 1][1], clean[start][1], after / before - 1)
        for start, (before, after) in zip(starts, itertools.pairwise(middles), strict=False)
    )


def drawn(finding: Finding, history: History | None, name: str) -> Drawing | None:
    """The line, this run last; None where there were no runs before."""
    key, metric, after = finding.cell.key, finding.metric, finding.candidate
    points = history.points.get((key, metric), ()) if history else ()
    if history is None or len(points) < _FEWEST or after is None:
        return None
    window = history.clean(key, metric)
    found = levels(points)
    trace = Trace(
        values=(*(point.value for point in points), after.value),
        clean=(*(point.clean for point in points), True),
        band=band(window, finding.floor),
        window=len(window),
        breaks=tuple(level.index for level in found),
        judged=True,
    )
    show = partial(words.figure, metric)
    return trend(name, _said(trace, points, show), trace, show, (when(points[0]), "now"))


def told(finding: Finding, history: History | None) -> tuple[str, ...]:
    """Changes of level, and a drift that no gate sees that looks back ten runs; a clause each."""
    key = finding.cell.key, finding.metric
    if history is None or key not in history.points:
        return ()
    drift = drifted(history.drift(*key))
    changed = (f"another level: {level.said}" for level in levels(history.points[key]))
    return (*changed, *((drift,) if drift else ()))


def drifted(drift: float | None) -> str:
    """What the last clean runs make of the first; empty where there are too few."""
    if drift is None:
        return ""
    return f"the last {WINDOW} clean runs against the first {WINDOW}: {units.percent(drift, signed=True)}"


def band(window: Sequence[float], floor: float | None) -> Span | None:
    """What a gate lets pass around the middle of the runs that it looks at."""
    if not window or floor is None:
        return None
    centre = stats.middle(window)
    return centre * (1 - floor), centre * (1 + floor)


def when(point: Point) -> str:
    """The day of a run, and its name where that is not known."""
    return point.started.partition("T")[0] or point.run


def _said(trace: Trace, points: Sequence[Point], show: Show) -> str:
    known = trace.values[:-1]
    unclean = sum(not point.clean for point in points)
    since = f"{words.plural(len(points), 'run')} since {when(points[0])}"
    passes = " to ".join(map(show, trace.band or ()))
    parts = (
        f"{since}: {show(min(known))} to {show(max(known))}, now {show(trace.values[-1])}",
        f"the gate lets {passes} pass, by the last {trace.window} clean runs" if passes else "",
        f"{words.plural(len(trace.breaks), 'change')} of level" if trace.breaks else "",
        f"{words.plural(unclean, 'run')} not clean" if unclean else "",
    )
    return "; ".join(part for part in parts if part) + "."
