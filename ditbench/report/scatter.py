"""Speed against quality: intervals in both directions, the Pareto front, and a label at each mark."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import altair as alt

from ditbench.report import labels, words
from ditbench.report.marks import (
    HEIGHT,
    INK,
    WIDTH,
    by_family,
    data,
    padded,
    plain,
    row,
    tooltip,
)
from ditbench.report.points import Trade

_AXES: Mapping[str, Callable[[float], float]] = {
    "sqrt": math.sqrt,
    "linear": lambda value: value,
    "log": math.log,
}


@dataclass(frozen=True)
class Scatter:
    """A chart's definition. numbered: methods whose names had no room, from number 1 on. left: unnumbered."""

    spec: dict[str, Any]
    numbered: tuple[str, ...]
    left: int

    @property
    def said(self) -> str:
        """What the numbers stand for; empty where every name had room."""
        if not self.numbered:
            return ""
        told = "; ".join(f"{number} {name}" for number, name in enumerate(self.numbered, 1))
        more = f" {words.plural(self.left, 'mark')} more without a name." if self.left else ""
        return f" By number: {told}.{more}"


def scatter(trade: Trade, limit: float | None, title: str, order: Sequence[str] = ()) -> Scatter:
    """Speed-up against the figure of `title`; limit: the measured bound, if there is one.

    order: what families have their signs by, where other charts show them too.
    """
    found = trade.points
    bounds = [p.bound for p in found if p.bound is not None]
    reach = [p.x for p in found] + [p.high for p in found] + bounds + ([limit] if limit else [])
    wide = padded(min(p.low for p in found), max(reach), 0.08)
    x = alt.X("x:Q", title="speed-up over the fastest exact method (\N{MULTIPLICATION SIGN})")
    x = x.scale(domain=wide, nice=False, zero=False).axis(tickCount=8)
    y = alt.Y("y:Q", title=title).axis(tickCount=6)
    y = y.scale(type=trade.scale, domain=trade.wide, nice=False)
    rows, named = _with_places(trade, wide, limit)
    base = alt.Chart(data(rows))
    shape, colour, fill = by_family(found, order)
    layers = [
        base.mark_line(interpolate="step-before", color=INK, opacity=0.45)
        .transform_filter("datum.front")
        .encode(x=x, y=y),
        base.mark_rule(opacity=0.5).encode(x=alt.X("low:Q"), x2="high:Q", y=y, color=colour),
        *(_reach(base, y, colour) if bounds else ()),
        *_upright(base, trade, x, colour),
        base.mark_point(size=90, strokeWidth=2).encode(
            x=x,
            y=y,
            shape=shape,
            color=colour,
            fill=alt.condition("datum.front", fill, alt.value("transparent")),
            tooltip=tooltip("method", "result"),
        ),
        base.mark_text(
            fill=INK,
            fontSize=12,
            dx={"expr": "datum.dx"},
            dy={"expr": "datum.dy"},
            align={"expr": "datum.align"},
            baseline="middle",
        ).encode(x=x, y=y, text="text:N"),
    ]
    if limit:
        rule = alt.Chart(data([{"x": limit, "text": "measured bound"}]))
        layers.append(rule.mark_rule(strokeDash=[5, 4], color=INK, opacity=0.6).encode(x=x))
    return Scatter(
        plain(alt.layer(*layers), WIDTH, HEIGHT), named.numbered, named.texts.count(None)
    )


def _reach(base: Any, y: Any, colour: Any) -> list[Any]:  # noqa: ANN401 (altair is untyped)
    """From each mark to the bound that is its own, with a bar there."""
    sure = base.transform_filter("isValid(datum.bound)")
    x = alt.X("bound:Q")
    return [
        sure.mark_rule(strokeDash=[2, 3], opacity=0.7).encode(x=x, x2="x:Q", y=y, color=colour),
        sure.mark_tick(orient="vertical", size=13, thickness=2).encode(x=x, y=y, color=colour),
    ]


def _upright(base: Any, trade: Trade, x: Any, colour: Any) -> list[Any]:  # noqa: ANN401 (altair is untyped)
    """The intervals of the pictures' figure, with short bars at their ends, where there are any."""
    if all(p.y_low is None for p in trade.points):
        return []
    sure = base.transform_filter("isValid(datum.y_low)")
    low, high = alt.Y("y_low:Q"), alt.Y("y_high:Q")
    ends = [
        sure.mark_tick(orient="horizontal", size=7, thickness=1.5, opacity=0.7).encode(
            x=x, y=end, color=colour
        )
        for end in (low, high)
    ]
    return [sure.mark_rule(opacity=0.5).encode(x=x, y=low, y2="y_high:Q", color=colour), *ends]


def _with_places(
    trade: Trade, wide: tuple[float, float], limit: float | None
) -> tuple[list[dict[str, Any]], labels.Named]:
    """Rows of data with the name or number of each and its place; the front chooses first."""
    ordered = sorted(trade.points, key=lambda p: (not p.front, -p.x))
    marks = [(_across(p.x, wide), _down(p.y, trade), p.label) for p in ordered]
    lines = [*_bounds(trade, wide), *_steps(trade, wide), *_intervals(trade, wide)]
    if limit:
        lines.append((_across(limit, wide), 0, _across(limit, wide), HEIGHT))
    named = labels.named(marks, (WIDTH, HEIGHT), lines)
    rows = []
    for point, found in zip(ordered, named.texts, strict=True):
        text = {"text": found[0], **asdict(found[1])} if found else {"text": ""}
        low = point.y_low if point.y_low is None else max(point.y_low, trade.wide[0])
        rows.append(row(point) | {"y_low": low, "dx": 0, "dy": 0, "align": "left"} | text)
    return rows, named


def _intervals(trade: Trade, wide: tuple[float, float]) -> Iterator[labels.Box]:
    """Those through each mark, in pixels."""
    for p in trade.points:
        x, y = _across(p.x, wide), _down(p.y, trade)
        yield _across(p.low, wide), y, _across(p.high, wide), y
        if p.y_low is not None and p.y_high is not None:
            yield x, _down(p.y_high, trade), x, _down(max(p.y_low, trade.wide[0]), trade)


def _bounds(trade: Trade, wide: tuple[float, float]) -> Iterator[labels.Box]:
    """From each mark to its own bound, in pixels."""
    for p in trade.points:
        if p.bound is not None:
            left, right = sorted((_across(p.x, wide), _across(p.bound, wide)))
            yield left, _down(p.y, trade), right, _down(p.y, trade)


def _steps(trade: Trade, wide: tuple[float, float]) -> Iterator[labels.Box]:
    """The line through the front, upright at each mark and level to the next, in pixels."""
    front = sorted((p for p in trade.points if p.front), key=lambda p: p.x)
    at = [(_across(p.x, wide), _down(p.y, trade)) for p in front]
    for (x, y), (right, top) in itertools.pairwise(at):
        yield x, min(y, top), x, max(y, top)
        yield x, top, right, top


def _across(x: float, wide: tuple[float, float]) -> float:
    """Pixels from the left."""
    return (x - wide[0]) / (wide[1] - wide[0]) * WIDTH


def _down(y: float, trade: Trade) -> float:
    """Pixels from the top."""
    on = _AXES[trade.scale]
    low, high = map(on, trade.wide)
    return HEIGHT * (1 - (on(y) - low) / (high - low))
