"""A suite over all its runs: a line for every figure of every cell, and where its level changed.

What is on the page is a report and never a gate.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ditbench import units
from ditbench.environment import code_label, incompatible
from ditbench.errors import StoreError
from ditbench.records import Cell
from ditbench.report import nights, words
from ditbench.report.changes import far
from ditbench.report.drawing import Drawing, Trace, trend
from ditbench.report.nights import Level
from ditbench.report.tables import Column, Table, Value
from ditbench.store import Run, before, read_head
from ditbench.summary.history import WINDOW, History, Point, effort, history

_FIRST = "latency"
_EACH_SIDE = 0.005  # a drift below it is not worth a row
_LEVELS = (
    Column("change", "of the level, median against median", numeric=True),
    Column("cell"),
    Column("metric"),
    Column("from", "the last clean run before"),
    Column("to", "the first clean run after"),
)
_DRIFTS = (
    Column("change", f"last {WINDOW} clean runs against the first {WINDOW}", numeric=True),
    Column("cell"),
    Column("metric"),
)
_LEFT = (Column("runs", numeric=True), Column("why they are left out"), Column("which"))
_NAMED = 4


@dataclass(frozen=True)
class Line:
    """One figure over all runs. said: its ends in words."""

    cell: str
    said: str
    drawing: Drawing


@dataclass(frozen=True)
class Group:
    """The lines of one metric. still: how many more never moved. hidden: those not drawn, for size."""

    title: str
    lines: tuple[Line, ...]
    still: int
    hidden: int


@dataclass(frozen=True)
class HistoryPage:
    """Everything on the page. few: why there is no line yet, empty where there are."""

    suite: str
    told: str
    few: str
    problems: tuple[str, ...]
    levels: Table
    drifts: Table
    left: Table
    groups: tuple[Group, ...]

    @property
    def drawings(self) -> tuple[Drawing, ...]:
        """Every line, drawn."""
        return tuple(line.drawing for group in self.groups for line in group.lines)


@dataclass(frozen=True)
class Series:
    """A cell's metric in every run that has it, oldest first."""

    cell: Cell
    metric: str
    points: tuple[Point, ...]
    levels: tuple[Level, ...]
    drift: float | None

    @property
    def moved(self) -> bool:
        """Whether two runs told different values."""
        return len({point.value for point in self.points}) > 1


@dataclass(frozen=True)
class Story:
    """All that is known of a suite's runs. run: the one that the others compare with."""

    run: Run
    history: History
    series: tuple[Series, ...]
    left: tuple[tuple[str, str], ...]


def story(out: Path, run: Run) -> Story:
    """Of a run and of those before it that compare with it.

    out: the folder of results.
    """
    # An id behind the run's own, so that the run itself is among those before it.
    after = dataclasses.replace(run, id=f"{run.id}~")
    found = history(out, after)
    cells = {cell.key: cell for cell in run.planned}
    series = tuple(
        Series(cells[key], metric, points, nights.levels(points), found.drift(key, metric))
        for (key, metric), points in found.points.items()
        if key in cells
    )
    return Story(run, found, series, tuple(_left(out, after, found)))


def page(of: Story, lines: int, rows: int) -> HistoryPage:
    """As text. lines: drawings at most, rows: of each table."""
    names = words.Names.of(of.run.planned)
    runs = of.history.runs
    return HistoryPage(
        suite=of.run.suite,
        told=_told(of),
        few=_few(len(runs)),
        problems=of.history.problems,
        levels=_levels(of.series, names, rows),
        drifts=_drifts(of.series, names, rows),
        left=_why(of.left),
        groups=_groups(of.series, names, lines) if len(runs) > 1 else (),
    )


def _told(of: Story) -> str:
    runs, last = of.history.runs, of.run
    if not runs:
        return "No run of this suite can be shown."
    return (
        f"{words.plural(len(runs), 'run')} from {runs[0]} to {runs[-1]}, "
        f"{words.plural(len(last.planned), 'cell')}; the last of commit or version {code_label(last.code)}."
    )


def _few(runs: int) -> str:
    """What cannot be said yet."""
    if runs < 2:
        return "One run is too few for a line: run the suite again."
    return "" if runs >= 8 else "Of fewer than eight clean runs no change of level is told."


def _levels(series: Iterable[Series], names: words.Names, rows: int) -> Table:
    """Every change of level, the largest first."""
    found = [(level, one) for one in series for level in one.levels]
    found.sort(key=lambda pair: -far(pair[0].change))
    shown = tuple(
        (
            Value(units.percent(level.change, signed=True), order=level.change),
            Value(names.cell(one.cell)),
            Value(words.named(one.metric)),
            *(Value(point.run, point.code) for point in (level.before, level.after)),
        )
        for level, one in found[:rows]
    )
    return Table(_LEVELS, shown, len(found) - len(shown))


def _drifts(series: Iterable[Series], names: words.Names, rows: int) -> Table:
    """What moved since the beginning, in one step or in many."""
    found = [one for one in series if one.drift is not None and abs(one.drift) >= _EACH_SIDE]
    found.sort(key=lambda one: -far(one.drift or 0.0))
    shown = tuple(
        (
            Value(units.percent(one.drift or 0.0, signed=True), order=one.drift),
            Value(names.cell(one.cell)),
            Value(words.named(one.metric)),
        )
        for one in found[:rows]
    )
    return Table(_DRIFTS, shown, len(found) - len(shown))


def _left(out: Path, run: Run, found: History) -> Iterator[tuple[str, str]]:
    """Runs of the suite's folder that are on no line, and why."""
    shown = set(found.runs)
    for folder in before(out, run):
        if folder.name in shown:
            continue
        try:
            yield folder.name, _other(read_head(folder), run)
        except StoreError as error:
            yield folder.name, f"cannot be read: {error}"


def _other(head: Run, run: Run) -> str:
    if not head.finished:
        return "did not come to its end"
    if head.suite != run.suite:
        return "is of another suite"
    if effort(head) != effort(run):
        return "was timed with another effort"
    if told := incompatible(head.environment, run.environment):
        return f"was measured elsewhere: {'; '.join(told)}"
    return "holds damaged records, or lies between the first ten and the newest fifty"


def _why(left: Iterable[tuple[str, str]]) -> Table:
    """Runs by the reason, the most frequent first."""
    by: dict[str, list[str]] = defaultdict(list)
    for name, why in left:
        by[why].append(name)
    ordered = sorted(by.items(), key=lambda pair: -len(pair[1]))
    return Table(_LEFT, tuple(_reason(why, found) for why, found in ordered))


def _reason(why: str, found: Sequence[str]) -> tuple[Value, ...]:
    more = f"and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    number = Value(str(len(found)), order=len(found))
    return number, Value(why), Value(", ".join(found[-_NAMED:]), more)


def _groups(series: Sequence[Series], names: words.Names, lines: int) -> tuple[Group, ...]:
    """By metric, time first; while there is room, those first of which more is to be seen."""
    by: dict[str, list[Series]] = defaultdict(list)
    for one in series:
        by[one.metric].append(one)
    made: list[Group] = []
    for metric in sorted(by, key=lambda name: name != _FIRST):
        moved = sorted((one for one in by[metric] if one.moved), key=_interest)
        drawn = tuple(
            _line(one, names, f"line-{len(made)}-{n}") for n, one in enumerate(moved[:lines])
        )
        lines -= len(drawn)
        still = len(by[metric]) - len(moved)
        made.append(Group(words.named(metric), drawn, still, len(moved) - len(drawn)))
    return tuple(made)


def _interest(one: Series) -> float:
    """The largest change of level first; cells without any stay in the order of the suite."""
    return -max((far(level.change) for level in one.levels), default=0.0)


def _line(one: Series, names: words.Names, name: str) -> Line:
    show = partial(words.figure, one.metric)
    values = tuple(point.value for point in one.points)
    trace = Trace(
        values=values,
        clean=tuple(point.clean for point in one.points),
        spans=tuple((min(point.processes), max(point.processes)) for point in one.points),
        breaks=tuple(level.index for level in one.levels),
    )
    first, last = one.points[0], one.points[-1]
    said = (
        f"{words.plural(len(values), 'run')}, {show(values[0])} first, {show(values[-1])} last; "
        f"{words.plural(len(one.levels), 'change')} of level"
    )
    cell = names.cell(one.cell)
    ends = nights.when(first), nights.when(last)
    return Line(
        cell, said, trend(name, f"{cell}, {words.named(one.metric)}: {said}", trace, show, ends)
    )
