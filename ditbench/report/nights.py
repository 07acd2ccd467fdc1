"""One cell's metric over the nights before a run: drawn with its gate, its changes and the run itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ditbench import stats
from ditbench.compare import Finding
from ditbench.report import words
from ditbench.report.drawing import Drawing, Show, Span, Trace, trend
from ditbench.summary.history import History, Point

# With fewer there is no line to look at.
_FEWEST = 2


def drawn(finding: Finding, history: History | None, name: str) -> Drawing | None:
    """The line, this run last; None where there were no nights before."""
    key, metric, after = finding.cell.key, finding.metric, finding.candidate
    points = history.points.get((key, metric), ()) if history else ()
    if history is None or len(points) < _FEWEST or after is None:
        return None
    window = history.clean(key, metric)
    values = tuple(point.value for point in points)
    trace = Trace(
        values=(*values, after.value),
        clean=(*(point.clean for point in points), True),
        band=band(window, finding.floor),
        window=len(window),
        judged=True,
    )
    show = partial(words.figure, metric)
    return trend(name, _said(trace, points, show), trace, show, (day(points[0]), "now"))


def band(window: Sequence[float], floor: float | None) -> Span | None:
    """What a gate lets pass around the middle of the nights that it looks at."""
    if not window or floor is None:
        return None
    centre = stats.middle(window)
    return centre * (1 - floor), centre * (1 + floor)


def day(point: Point) -> str:
    """The day of a night."""
    return point.started.partition("T")[0] or point.run


def _said(trace: Trace, points: Sequence[Point], show: Show) -> str:
    known = trace.values[:-1]
    unclean = sum(not point.clean for point in points)
    since = f"{words.plural(len(points), 'run')} since {day(points[0])}"
    passes = " to ".join(map(show, trace.band or ()))
    told = [
        f"{since}: {show(min(known))} to {show(max(known))}, now {show(trace.values[-1])}",
        f"the gate lets {passes} pass, by the last {trace.window} clean runs" if passes else "",
        f"{words.plural(unclean, 'run')} not clean" if unclean else "",
    ]
    return "; ".join(part for part in told if part) + "."
