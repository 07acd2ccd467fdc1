"""What the charts draw: few points, already aggregated, each with its words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ditbench import units
from ditbench.records import Cell, Status
from ditbench.report import words
from ditbench.report.judged import chosen
from ditbench.report.ranking import MEMORY, Group, core_share, is_bound, latency
from ditbench.summary import Estimate, Row, Summary
from ditbench.summary.speed import REPLAY_BOUND

# More bars than a person reads, and no more lines than there are tones; the table has them all.
BARS = 24
LINES = 8
PLACES = 16
_SIZE_SETTINGS = ("size", "patch")


@dataclass(frozen=True)
class Point:
    """One mark. family: the method without settings, which shape and colour follow.

    low, high: the interval of what is uncertain, of a curve's height or of a scatter's x; y_low, y_high: of a
    scatter's y, where there is one. bound: how far to the right it could be at most, where that is its own.
    """

    label: str
    family: str
    x: float
    y: float
    low: float
    high: float
    said: str
    front: bool = False
    y_low: float | None = None
    y_high: float | None = None
    bound: float | None = None


@dataclass(frozen=True)
class Trade:
    """Speed-up against one figure of the pictures. scale, wide: its axis. hidden: methods without it."""

    metric: str
    points: tuple[Point, ...]
    scale: Literal["sqrt", "linear", "log"]
    wide: tuple[float, float]
    hidden: int


@dataclass(frozen=True)
class Bar:
    """One method's amount. part and note are for bars of two parts."""

    label: str
    amount: float
    said: str
    part: float | None = None


@dataclass(frozen=True)
class Reach:
    """One method's speed-up beside what is possible."""

    label: str
    speedup: Estimate
    bound: float | None
    ceiling: float | None
    module_ceiling: float | None
    said: str


@dataclass(frozen=True)
class Models:
    """One bar a model, of one method in one setting. context: what is held fixed."""

    context: str
    bars: tuple[Bar, ...]
    hidden: int


@dataclass(frozen=True)
class Scaling:
    """One figure over one axis. context: what is held fixed. even: whether that axis is no logarithm."""

    axis: str
    title: str
    metric: str
    context: str
    points: tuple[Point, ...]
    hidden: int
    even: bool = False


def main_group(groups: Sequence[Group]) -> Group | None:
    """The group that a chart of methods shows: the one with most methods timed."""
    return max(groups, key=lambda group: len(_timed(group.rows)), default=None)


def _timed(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if "latency" in row.estimates]


def quality(group: Group, names: words.Names) -> Trade | None:
    """Speed-up against what tells most of the pictures; bounds are no methods and stay out."""
    rows = [row for row in group.rows if row.speedup and not is_bound(row)]
    return trade(rows, chosen(rows), names)


def trade(rows: Sequence[Row], name: str, names: words.Names) -> Trade | None:
    """Speed-up against the figure of that name; None where no row has it."""
    found = [_traded(row, name, names) for row in rows if name in row.estimates]
    points = [one for one in found if one]
    if not points:
        return None
    front = _front(points)
    scale, wide = _axis_of(name, points)
    return Trade(
        name,
        tuple(replace(p, front=(p.x, p.y) in front) for p in points),
        scale,
        wide,
        len(rows) - len(points),
    )


def _traded(row: Row, name: str, names: words.Names) -> Point | None:
    speed, figure = row.speedup, row.estimates[name]
    if speed is None or not math.isfinite(figure.value):
        return None
    unsure = figure.low < figure.high
    interval = words.interval(figure, lambda value: words.figure(name, value)) if unsure else ""
    return Point(
        label=names.drawn(row.cell),
        family=row.cell.family,
        x=speed.value,
        y=figure.value,
        low=speed.low,
        high=speed.high,
        said=(
            f"{words.factor(speed.value)} over {row.against}, where {words.limits(row)}; "
            f"{words.short(name)} {words.figure(name, figure.value)}{interval and f' ({interval})'}"
        ),
        y_low=figure.low if unsure else None,
        y_high=figure.high if unsure else None,
    )


_WIDE = 20.0  # a range of so many times over needs a logarithm


def _axis_of(
    name: str, found: Sequence[Point]
) -> tuple[Literal["sqrt", "linear", "log"], tuple[float, float]]:
    """Drift begins at 0, where exact methods lie; a distance to real pictures is 0 for nobody."""
    values = [p.y for p in found]
    low = min(values + [p.y_low for p in found if p.y_low is not None])
    high = max(values + [p.y_high for p in found if p.y_high is not None])
    if name == "latent_drift":
        return "sqrt", (0.0, high * 1.15 or 1.0)
    if min(values) > 0 and max(values) / min(values) > _WIDE:
        return "log", (max(low, min(values) / 10) / 1.2, high * 1.2)
    room = 0.08 * (high - low or abs(high) or 1.0)
    return "linear", (low - room if low < 0 else max(0.0, low - room), high + room)


def _front(points: Iterable[Point]) -> set[tuple[float, float]]:
    """What no other is at least as fast and as faithful as, and better in one: one pass from the fastest."""
    front: set[tuple[float, float]] = set()
    best = math.inf
    for x, y in sorted({(p.x, p.y) for p in points}, key=lambda at: (-at[0], at[1])):
        if y < best:
            front.add((x, y))
            best = y
    return front


def bound(group: Group) -> Estimate | None:
    """The fastest that any method of the group could be, as measured; not what a pattern of reuse allows."""
    found = (row.bound for row in group.rows if row.bound and row.bound_by != REPLAY_BOUND)
    return max(found, key=lambda one: one.value, default=None)


def memory(group: Group, names: words.Names) -> tuple[str, tuple[Bar, ...], int]:
    """The memory metric that was measured, one bar a method, and how many are left out."""
    name = next((n for n in MEMORY if any(n in row.estimates for row in group.rows)), "")
    bars = [
        Bar(names.drawn(row.cell), found.value, words.figure(name, found.value))
        for row in group.rows
        if name and (found := row.estimates.get(name))
    ]
    bars.sort(key=lambda bar: bar.amount)
    return name, tuple(bars[:BARS]), max(0, len(bars) - BARS)


def macs(group: Group, names: words.Names) -> tuple[tuple[Bar, ...], int]:
    """Multiply-adds of a step, the core's part apart."""
    bars = [
        _bar(names.drawn(row.cell), "macs", row)
        for row in group.rows
        if "macs" in row.estimates and core_share(row) is not None
    ]
    bars.sort(key=lambda bar: bar.amount)
    return tuple(bars[:BARS]), max(0, len(bars) - BARS)


def by_model(summary: Summary, names: words.Names, metric: str) -> Models | None:
    """Models in the order of the plan, by the method and setting that has most of them, and fast ones."""
    settings: dict[str, dict[str, Row]] = {}
    for row in summary.rows:
        if row.status is not Status.OK or is_bound(row) or row.cell.op:
            continue
        if metric in row.estimates:
            parts = (names.drawn(row.cell), names.context(row.cell, ("model",)))
            context = " \N{MIDDLE DOT} ".join(parts)
            settings.setdefault(context, {}).setdefault(row.cell.model.label, row)
    found = max(
        settings.items(), key=lambda pair: (len(pair[1]), -_total(pair[1].values())), default=None
    )
    if found is None or len(found[1]) == 1:
        return None
    bars = tuple(_bar(label, metric, row) for label, row in found[1].items())
    return Models(found[0], bars[:BARS], max(0, len(bars) - BARS))


def _total(rows: Iterable[Row]) -> float:
    return sum(map(latency, rows))


def _bar(label: str, metric: str, row: Row) -> Bar:
    """A row's figure; of multiply-adds the core's part apart."""
    value, share = row.estimates[metric].value, core_share(row)
    said = words.figure(metric, value)
    if metric != "macs" or share is None:
        return Bar(label, value, said)
    return Bar(label, value, f"{said}, core {units.percent(share)}", share * value)


def reach(group: Group, names: words.Names) -> tuple[tuple[Reach, ...], int]:
    """Speed-ups with their bound and ceiling, fastest first."""
    found = [
        Reach(
            names.drawn(row.cell),
            row.speedup,
            row.bound.value if row.bound else None,
            row.ceiling,
            row.module_ceiling,
            f"{words.factor(row.speedup.value)}, where {words.limits(row)}",
        )
        for row in group.rows
        if row.speedup and not is_bound(row) and (row.bound or row.ceiling is not None)
    ]
    found.sort(key=lambda one: -one.speedup.value)
    return tuple(found[:BARS]), max(0, len(found) - BARS)


@dataclass(frozen=True)
class _Axis:
    """What a scaling chart runs over. at: a cell's place on it. frees: what of a cell may differ along it."""

    name: str
    metric: str
    at: Callable[[Cell], int | None]
    frees: str

    def holds(self, row: Row) -> bool:
        """Whether a row can be drawn."""
        return self.metric in row.estimates and self.at(row.cell) is not None

    def places(self, rows: Iterable[Row]) -> list[int]:
        """Every place that rows take, in order."""
        return sorted({place for row in rows if (place := self.at(row.cell)) is not None})


def scalings(summary: Summary, names: words.Names) -> tuple[Scaling, ...]:
    """One for each of batch size, steps and tokens that varies among cells with a result."""
    axes = (
        _Axis("batch_size", "throughput", lambda cell: cell.batch_size, "batch_size"),
        _Axis("steps", "latency", lambda cell: cell.steps, "steps"),
        _Axis("tokens", "latency", tokens, "model"),
    )
    made = (_scaling(_lines(summary, names, axis), names, axis) for axis in axes)
    return tuple(scaling for scaling in made if scaling)


def tokens(cell: Cell) -> int | None:
    """Tokens of one image, where the model's settings say so."""
    settings = dict(cell.model.settings)
    if not all(isinstance(settings.get(name), int) for name in _SIZE_SETTINGS):
        return None
    return (int(settings["size"]) // int(settings["patch"])) ** 2


def _lines(summary: Summary, names: words.Names, axis: _Axis) -> dict[str, list[Row]]:
    """Rows by method, in the setting of everything else in which most methods have two places."""
    settings: dict[str, dict[str, list[Row]]] = {}
    for row in summary.rows:
        if row.status is Status.OK and axis.holds(row):
            lines = settings.setdefault(_fixed(row.cell, axis, names), {})
            lines.setdefault(names.drawn(row.cell), []).append(row)
    long = (
        {label: rows for label, rows in lines.items() if len(axis.places(rows)) > 1}
        for lines in settings.values()
    )
    return max(long, key=len, default={})


def _fixed(cell: Cell, axis: _Axis, names: words.Names) -> str:
    """What must be equal along a line; where models differ, all of them but the number of tokens."""
    same = names.said(cell, set(cell.axes) - {axis.frees, "attention", "accelerator", "blocks"})
    if axis.frees != "model":
        return same
    settings = [pair for pair in cell.model.settings if pair[0] not in _SIZE_SETTINGS]
    return f"{same} {settings}"


def _scaling(lines: dict[str, list[Row]], names: words.Names, axis: _Axis) -> Scaling | None:
    """The best lines, at places spread evenly where there are too many."""
    if not lines:
        return None
    ordered = sorted(lines, key=lambda label: _last(lines[label], axis))
    kept = ordered[-LINES:] if axis.metric == "throughput" else ordered[:LINES]
    rows = [row for label in kept for row in lines[label]]
    places = axis.places(rows)
    shown = {places[round(n * (len(places) - 1) / (PLACES - 1))] for n in range(PLACES)}
    context = names.context(rows[0].cell, (axis.frees,))
    if len(shown) < len(places):
        context += f", at {len(shown)} of {len(places)} places"
    return Scaling(
        axis=axis.name,
        title=axis.name.replace("_", " "),
        metric=axis.metric,
        context=context,
        points=tuple(_along(row, axis, names) for row in rows if axis.at(row.cell) in shown),
        hidden=len(lines) - len(kept),
    )


def _last(rows: Sequence[Row], axis: _Axis) -> float:
    """The figure at the far end of a line."""
    return max(rows, key=lambda row: axis.at(row.cell) or 0).estimates[axis.metric].value


def _along(row: Row, axis: _Axis, names: words.Names) -> Point:
    found = row.estimates[axis.metric]
    shown = words.estimate(axis.metric, found)
    return Point(
        label=names.drawn(row.cell),
        family=row.cell.family,
        x=float(axis.at(row.cell) or 0),
        y=found.value,
        low=found.low,
        high=found.high,
        said=f"{shown.text} ({shown.detail})" if shown.detail else shown.text,
    )
