"""The marks of charts as Altair definitions, each from a few aggregated points.

Every ink is `currentColor` or a tone between light and dark, so one definition serves both and paper too;
methods differ in shape and label before they differ in colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import altair as alt

from ditbench.report import labels
from ditbench.report.points import Bar, Point, Reach, Scaling

WIDTH, HEIGHT = 640, 360
RIGHT = WIDTH - 180  # where lines end and their names begin
_ROW, _ASIDE, _AT_END, _APART = 24, 220, 190, 5
INK = "currentColor"
Signs = tuple[Any, Any, Any]  # channels of Altair, which is untyped
# Of names: in the ink of the text around them, whatever tone their marks have.
_TEXT: dict[str, Any] = {
    "baseline": "middle",
    "fontSize": 12,
    "fill": INK,
    "lineBreak": "\n",
    "lineHeight": labels.LINE,
}
_TONES = ("#3b82c4", "#d1662a", "#2a9d78", "#b8639b", "#9a7d1a", "#7a6fd0", "#c0504d", "#6b8a99")
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4])
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"


def reaches(found: Sequence[Reach]) -> dict[str, Any]:
    """Each speed-up from 1, with the bound and the ceilings that it has."""
    kinds = ("measured speed-up", "measured bound", "MAC ceiling: core", "MAC ceiling: module")
    rows = [
        {
            "method": one.label,
            "kind": kind,
            "x": value,
            "low": one.speedup.low if kind == kinds[0] else value,
            "high": one.speedup.high if kind == kinds[0] else value,
            "one": 1 if kind == kinds[0] else value,
            "result": one.said,
        }
        for one in found
        for kind, value in zip(
            kinds, (one.speedup.value, one.bound, one.ceiling, one.module_ceiling), strict=True
        )
        if value is not None
    ]
    order = [one.label for one in found]
    x = alt.X("x:Q", title="speed-up over the fastest exact method (\N{MULTIPLICATION SIGN})")
    x = x.scale(zero=False, padding=12)
    y = _methods(order)
    base = alt.Chart(data(rows))
    tall_tick = "M0,-1.6V1.6"
    shape = alt.Shape(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=kinds, range=("circle", tall_tick, "diamond", "square")),
    )
    shape = shape.legend(orient="top", symbolStrokeWidth=2)
    colour = alt.Color("kind:N", title=None, scale=alt.Scale(domain=kinds, range=_TONES[:4]))
    drawn = alt.layer(  # by itself, so that its data stand there once
        # From 1, where nothing is gained: a bar to the left is a loss.
        base.mark_bar(height=10, opacity=0.35).encode(
            x=alt.X("one:Q"), x2="x:Q", y=y, color=colour, tooltip=tooltip("method", "result")
        ),
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q", y=y, color=colour),
        base.mark_point(size=80, strokeWidth=2, filled=False).encode(
            x=x,
            y=y,
            shape=shape,
            color=colour.legend(orient="top"),
            tooltip=tooltip("method", "kind", "result"),
        ),
    )
    return plain(alt.layer(drawn, _beside(order)), WIDTH - 160, _tall(order))


def lines(scaling: Scaling, said: str) -> dict[str, Any]:
    """A curve a method, the upright axis logarithmic and mostly the other too. said: the unit in words."""
    found = scaling.points
    low, high = min(p.low for p in found), max(p.high for p in found)
    tall = (low / 1.15, high * 1.15)
    x = alt.X("x:Q", title=scaling.title)
    if scaling.even:
        x = x.scale(zero=False, nice=False).axis(format=",d", tickMinStep=1, grid=False)
    else:
        x = x.scale(type="log", base=2, nice=False)
        x = x.axis(values=sorted({p.x for p in found}), format=",d", grid=False)
    y = alt.Y("y:Q", title=f"{scaling.metric} ({said})").axis(
        format=".3~g" if scaling.even else "~s", tickCount=6
    )
    y = y.scale(type="log", domain=tall, nice=False)
    families = by_label(sorted({p.label for p in found}))
    base = alt.Chart(data(row(p) for p in found))
    ring = base.mark_point(size=260, shape="circle", strokeWidth=1.6, color=INK)
    ring = ring.transform_filter("datum.front")
    layered = alt.layer(
        base.mark_line(strokeWidth=1.8).encode(x=x, y=y, strokeDash=families[2], color=families[1]),
        base.mark_point(size=60, strokeWidth=1.8, filled=True).encode(
            x=x, y=y, shape=families[0], color=families[1], tooltip=tooltip("method", "result")
        ),
        *([ring.encode(x=x, y=y)] if any(p.front for p in found) else []),
        *ends(_heights(found, tall), families),
    )
    return plain(layered, RIGHT, HEIGHT)


def _heights(found: Sequence[Point], tall: tuple[float, float]) -> dict[str, float]:
    """Pixels from above of each line's right end."""
    last: dict[str, Point] = {}
    for point in found:
        if point.label not in last or point.x > last[point.label].x:
            last[point.label] = point
    span = math.log(tall[1] / tall[0])
    return {
        label: HEIGHT * (1 - math.log(point.y / tall[0]) / span) for label, point in last.items()
    }


def ends(heights: Mapping[str, float], signs: Signs) -> tuple[Any, Any]:
    """At the right end of each line its mark again with its name, moved apart. heights: from above."""
    shape, colour, _ = signs
    names = [in_lines(label, _AT_END) for label in heights]
    extra = (one["name"].count("\n") for one in names)
    rooms = [labels.LINE * (1 + more) + (_APART if more else 0) for more in extra]
    places = labels.spread([*heights.values()], HEIGHT, rooms)
    rows = (
        {"method": label, "y_px": place, **name}
        for label, place, name in zip(heights, places, names, strict=True)
    )
    base = alt.Chart(data(rows)).encode(y=alt.Y("y_px:Q", scale=None, axis=None))
    return (
        base.mark_point(size=44, strokeWidth=1.4, filled=True).encode(
            x=alt.XValue(RIGHT + 14), shape=shape, color=colour
        ),
        base.mark_text(align="left", dy={"expr": "datum.rise"}, **_TEXT).encode(
            x=alt.XValue(RIGHT + 24), text="name:N"
        ),
    )


def bars(found: Sequence[Bar], title: str, unit: float) -> dict[str, Any]:
    """Horizontal bars with their figure behind; the part, where there is one, in a full tone."""
    rows: list[dict[str, Any]] = [
        {"method": b.label, "x": b.amount / unit, "part": (b.part or 0) / unit, "result": b.said}
        for b in found
    ]
    room = 1 / (1 - max(labels.width(bar.said) + 10 for bar in found) / (WIDTH - 160))
    most = max(bar.amount for bar in found) / unit
    x = alt.X("x:Q", title=title).axis(format="~s", tickCount=5, grid=False)
    x = x.scale(domain=(0, most * room or 1), nice=False)
    order = [bar.label for bar in found]
    y = _methods(order)
    base = alt.Chart(data(rows)).encode(y=y, tooltip=tooltip("method", "result"))
    layers = [
        base.mark_bar(height=14, color=_TONES[0], opacity=0.45, stroke=_TONES[0]).encode(x=x),
        base.mark_text(align="left", dx=6, fill=INK, fontSize=12).encode(x=x, text="result:N"),
    ]
    if any(bar.part is not None for bar in found):
        layers.insert(1, base.mark_bar(height=14, color=_TONES[0]).encode(x=alt.X("part:Q")))
    return plain(alt.layer(alt.layer(*layers), _beside(order)), WIDTH - 160, _tall(order))


def _methods(order: Sequence[str]) -> Any:  # noqa: ANN401 (altair is untyped)
    return alt.Y("method:N", title=None, sort=list(order)).axis(
        labels=False, ticks=False, domain=False
    )


def _beside(order: Sequence[str]) -> Any:  # noqa: ANN401 (altair is untyped)
    """Each method's whole name at the left, in lines: an axis would cut what is too long."""
    rows = ({"method": label, **in_lines(label, _ASIDE)} for label in order)
    return (
        alt.Chart(data(rows))
        .mark_text(align="right", dy={"expr": "datum.rise"}, **_TEXT)
        .encode(x=alt.XValue(-10), y=_methods(order), text="name:N")
    )


def _tall(order: Sequence[str]) -> float:
    """The height of so many rows, each of as many lines as the longest name has."""
    most = max(len(labels.wrapped(label, _ASIDE)) for label in order)
    return len(order) * (_ROW + labels.LINE * (most - 1))


def in_lines(name: str, room: float) -> dict[str, Any]:
    """A name as rows of data have it: its lines, and how far the first one rises for them."""
    found = labels.wrapped(name, room)
    return {"name": "\n".join(found), "rise": -labels.LINE * (len(found) - 1) / 2}


def by_family(found: Sequence[Point], order: Sequence[str] = ()) -> Signs:
    """Shape, colour and fill of each point's method. order: as for `by_label`."""
    families = sorted({p.family for p in found})
    tones = _cycled(families, _TONES, order)
    return (
        alt.Shape("family:N", legend=None, scale=_cycled(families, _SHAPES, order)),
        alt.Color("family:N", legend=None, scale=tones),
        alt.Fill("family:N", legend=None, scale=tones),
    )


def by_label(found: Iterable[str], legend: Any = None, order: Sequence[str] = ()) -> Signs:  # noqa: ANN401 (altair is untyped)
    """Shape, colour and dashes of lines, by the `method` that each row of data names.

    order: what signs are given out by, where other charts give them to other lines too. An only line, which
    needs no legend, has no tone.
    """
    names = list(found)
    tones = _TONES if len(names) > 1 or order else (INK,)
    return (
        alt.Shape("method:N", title=None, legend=legend, scale=_cycled(names, _SHAPES, order)),
        alt.Color("method:N", title=None, legend=legend, scale=_cycled(names, tones, order)),
        alt.StrokeDash("method:N", title=None, legend=legend, scale=_cycled(names, _DASHES, order)),
    )


def _cycled(domain: Sequence[str], marks: Sequence[Any], order: Sequence[str] = ()) -> Any:  # noqa: ANN401 (altair is untyped)
    ranks = {name: rank for rank, name in enumerate(order or domain)}
    return alt.Scale(
        domain=list(domain), range=[marks[ranks[name] % len(marks)] for name in domain]
    )


def row(point: Point) -> dict[str, Any]:
    """A point as a row of data, by the names that a reader sees on hover."""
    plain = asdict(point)
    return {"method": plain.pop("label"), "result": plain.pop("said"), **plain}


def tooltip(*fields: str) -> list[Any]:
    """What is told on hover."""
    return [alt.Tooltip(f"{field}:N") for field in fields]


def padded(low: float, high: float, share: float) -> tuple[float, float]:
    """A range with room at either end, as a share of it."""
    room = (high - low or high or 1.0) * share
    return low - room, high + room


def data(rows: Iterable[dict[str, Any]]) -> Any:  # noqa: ANN401 (altair is untyped)
    """Rows of data as Altair takes them."""
    return alt.Data(values=list(rows))


def plain(chart: Any, width: float, height: float) -> dict[str, Any]:  # noqa: ANN401 (altair is untyped)
    """A definition of this size in pixels as plain data, in the report's dress."""
    return dressed(chart.properties(width=width, height=height))


def dressed(chart: Any) -> dict[str, Any]:  # noqa: ANN401 (altair is untyped)
    """Likewise where each part of the chart knows its size."""
    found = (
        # The chart is one picture with its own words: those of each mark would be most of its text.
        chart.configure(background="transparent", font=_FONT, padding=4)
        .configure_mark(aria=False)
        .configure_axis(
            labelColor=INK,
            titleColor=INK,
            domainColor=INK,
            tickColor=INK,
            gridColor=INK,
            gridOpacity=0.14,
            domainOpacity=0.4,
            tickOpacity=0.4,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            titlePadding=10,
        )
        .configure_legend(labelColor=INK, titleColor=INK, labelFontSize=12)
        .configure_view(stroke=None)
    )
    plain: dict[str, Any] = found.to_dict()
    return plain
