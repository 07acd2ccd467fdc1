"""Charts of methods with memory: figures step by step, and small multiples along a setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from ditbench.report.marks import (
    HEIGHT,
    RIGHT,
    Signs,
    by_label,
    data,
    dressed,
    ends,
    plain,
    tooltip,
)

_SMALL = (240, 140)
_TICKS = 6
_LONG = 20.0  # a setting's range of so many times over needs a logarithm


@dataclass(frozen=True)
class Course:
    """One method's figure at each step, from 0 on. told: figures in words."""

    label: str
    values: tuple[float, ...]
    told: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """One cell in a panel. x: the setting. label: its line. said: the figure in words."""

    label: str
    x: float
    y: float
    low: float
    high: float
    said: str


@dataclass(frozen=True)
class Panel:
    """One figure along a setting."""

    title: str
    places: tuple[Place, ...]


def courses(
    found: Sequence[Course], title: str, scale: Literal["linear", "sqrt"], order: Sequence[str]
) -> dict[str, Any]:
    """A line a method over the steps, named at its end. title: of the upright axis, which begins at 0.

    order: what methods have their signs by.
    """
    high = 1.08 * max(max(one.values) for one in found) or 1.0
    rows = [
        {"method": one.label, "step": step, "y": value, "result": told}
        for one in found
        for step, (value, told) in enumerate(zip(one.values, one.told, strict=True))
    ]
    x = alt.X("step:Q", title="step").scale(nice=False).axis(format=",d", tickMinStep=1, grid=False)
    y = alt.Y("y:Q", title=title).axis(format=".6~g", tickCount=_TICKS)
    y = y.scale(type=scale, domain=(0, high), nice=False)
    shape, colour, dashes = signs = by_label((one.label for one in found), order=order)
    base = alt.Chart(data(rows))
    drawn = alt.layer(  # by itself, so that its data stand there once
        base.mark_line(strokeWidth=1.8).encode(x=x, y=y, strokeDash=dashes, color=colour),
        base.mark_point(size=26, strokeWidth=1.2, filled=True).encode(
            x=x, y=y, shape=shape, color=colour, tooltip=tooltip("method", "step", "result")
        ),
    )
    return plain(alt.layer(drawn, *ends(_heights(found, high, scale), signs)), RIGHT, HEIGHT)


def _heights(found: Sequence[Course], high: float, scale: str) -> dict[str, float]:
    """Pixels from above of each line's right end."""
    power = 0.5 if scale == "sqrt" else 1.0
    return {one.label: HEIGHT * (1 - (one.values[-1] / high) ** power) for one in found}


def multiples(panels: Sequence[Panel], setting: str) -> dict[str, Any]:
    """Panels two in a row over one setting, a line for each of the others, which share their signs."""
    lines = list(dict.fromkeys(place.label for panel in panels for place in panel.places))
    values = sorted({place.x for panel in panels for place in panel.places})
    legend = alt.Legend(orient="top", columns=4, labelLimit=300) if len(lines) > 1 else None
    charts = [_panel(panel, setting, values, by_label(lines, legend)) for panel in panels]
    return dressed(alt.concat(*charts, columns=2, spacing=26))


def _panel(panel: Panel, setting: str, values: Sequence[float], signs: Signs) -> Any:  # noqa: ANN401 (altair is untyped)
    shape, colour, dashes = signs
    x = alt.X("x:Q", title=setting)
    x = x.scale(type=_scale(values), nice=False, zero=False, padding=14)
    x = x.axis(
        format=".6~g",
        grid=False,
        labelOverlap=True,
        **({"values": values} if len(values) <= _TICKS else {}),
    )
    y = alt.Y("y:Q", title=panel.title).axis(format=".6~g", tickCount=4).scale(zero=True)
    base = alt.Chart(
        data(
            {
                "method": place.label,  # as the signs know it: any other name would have none
                "x": place.x,
                "y": place.y,
                "low": place.low,
                "high": place.high,
                "result": place.said,
            }
            for place in panel.places
        )
    )
    return alt.layer(
        base.mark_line(strokeWidth=1.6).encode(x=x, y=y, strokeDash=dashes, color=colour),
        base.mark_rule(opacity=0.6).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour),
        base.mark_point(size=44, strokeWidth=1.4, filled=True).encode(
            x=x, y=y, shape=shape, color=colour, tooltip=tooltip("method", "x", "result")
        ),
    ).properties(width=_SMALL[0], height=_SMALL[1])


def _scale(values: Sequence[float]) -> str:
    return "log" if values[0] > 0 and values[-1] / values[0] > _LONG else "linear"
