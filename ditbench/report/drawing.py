"""Small drawings by hand: processes as marks on a line, and a figure night by night.

Shapes and words tell everything, so that they read without colour; they are drawn in the colour of the
text around them. Lengths are in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from ditbench import stats, units

Shape = Literal["ring", "diamond"]
Show = Callable[[float], str]
Span = tuple[float, float]

_WIDTH = 360.0
_LEFT, _RIGHT = 64.0, 348.0
_LANE, _FOOT, _BETWEEN = 22.0, 19.0, 8.0
_PAD = 0.04  # of the scale, on either side
_MARK = 3.6
# Marks of one lane stand on three heights, so that equal ones are seen as several.
_HEIGHTS = (-4.5, 0.0, 4.5)

# A line of nights.
_TALL = 96.0
_TOP, _BOTTOM = 14.0, 66.0
_FIRST, _LAST = 6.0, 276.0


@dataclass(frozen=True)
class Drawing:
    """An SVG. name: its file's, where it stands beside a page. said: it in words."""

    name: str
    said: str
    svg: Markup


@dataclass(frozen=True)
class Lane:
    """One arm's values on a common scale. tips: what each is; span: an interval around a single value."""

    title: str
    values: tuple[float, ...]
    shape: Shape
    tips: tuple[str, ...] = ()
    span: Span | None = None


@dataclass(frozen=True)
class Panel:
    """Lanes of one scale. show: its figures in words. at: values with a tick across all lanes."""

    lanes: tuple[Lane, ...]
    show: Show
    at: tuple[float, ...] = ()

    @property
    def height(self) -> float:
        """Lanes, and the line of figures below them."""
        return _LANE * len(self.lanes) + _FOOT


@dataclass(frozen=True)
class Trace:
    """A figure night by night, oldest first; what is not finite leaves a gap.

    spans: an interval each, or none at all. clean: whether a gate may look at it. band: what the gate lets
    pass. window: so many of the last clean nights it looks at. breaks: places where another level begins.
    judged: whether the last is the run of the page.
    """

    values: tuple[float, ...]
    clean: tuple[bool, ...]
    spans: tuple[Span, ...] = ()
    band: Span | None = None
    window: int = 0
    breaks: tuple[int, ...] = ()
    judged: bool = False


def strip(name: str, said: str, panels: Sequence[Panel]) -> Drawing:
    """Panels below each other."""
    parts: list[Markup] = []
    top = 2.0
    for panel in panels:
        parts += _panel(panel, top)
        top += panel.height + _BETWEEN
    return Drawing(name, said, _svg(parts, top, said))


def trend(name: str, said: str, trace: Trace, show: Show, ends: tuple[str, str]) -> Drawing:
    """A line of nights. ends: what the first and the last are called."""
    parts = [*_trace(trace, show), _text(_FIRST, 90, ends[0]), _text(_LAST, 90, ends[1], "end")]
    return Drawing(name, said, _svg(parts, _TALL, said))


def _svg(parts: Iterable[Markup], height: float, said: str) -> Markup:
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" width="{}" height="{}" '
        'role="img" aria-label="{}" fill="currentColor" font-family="system-ui, sans-serif" '
        'font-size="11">{}</svg>'
    ).format(*map(_n, (_WIDTH, height, _WIDTH, height)), said, Markup("").join(parts))


def _panel(panel: Panel, top: float) -> Iterable[Markup]:
    values = [*panel.at]
    for lane in panel.lanes:
        values += (*lane.values, *(lane.span or ()))
    low, high = _ends(values)
    place = _scale((low, high), (_LEFT, _RIGHT))
    bottom = top + _LANE * len(panel.lanes)
    yield _line(_LEFT, bottom, _RIGHT, bottom, 0.4)
    for value in panel.at:
        yield _line(place(value), top, place(value), bottom, 0.4, dashed=True)
        yield _text(place(value), bottom + 13, panel.show(value), "middle")
    if not panel.at:
        yield _text(place(low), bottom + 13, panel.show(low))
        if high > low:
            more = f" ({units.percent(high / low - 1, signed=True)})" if low > 0 else ""
            yield _text(place(high), bottom + 13, panel.show(high) + more, "end")
    for number, lane in enumerate(panel.lanes):
        yield from _lane(lane, place, top + _LANE * (number + 0.5))


def _lane(lane: Lane, place: Callable[[float], float], y: float) -> Iterable[Markup]:
    yield _text(_LEFT - 8, y + 4, lane.title, "end")
    if lane.span:
        low, high = map(place, lane.span)
        yield _line(low, y, high, y)
        yield from (_line(x, y - 4, x, y + 4) for x in (low, high))
    found = [value for value in lane.values if math.isfinite(value)]
    if len(found) > 1:
        middle = place(stats.middle(found))
        yield _line(middle, y - 10, middle, y + 10)
    tips = lane.tips or ("",) * len(lane.values)
    for number, (value, tip) in enumerate(zip(lane.values, tips, strict=True)):
        if math.isfinite(value):
            yield _mark(lane.shape, place(value), y + _off(number, len(lane.values)), tip)


def _off(number: int, of: int) -> float:
    return _HEIGHTS[number % 3] if of > 1 else 0.0


def _mark(shape: Shape, x: float, y: float, tip: str) -> Markup:
    title = Markup("<title>{}</title>").format(tip) if tip else ""
    if shape == "ring":
        return Markup(
            '<circle cx="{}" cy="{}" r="{}" fill="none" stroke="currentColor" stroke-width="1.4">{}</circle>'
        ).format(_n(x), _n(y), _MARK, title)
    return Markup('<path d="{}">{}</path>').format(_diamond(x, y, _MARK + 0.8), title)


def _diamond(x: float, y: float, r: float) -> str:
    return f"M{_n(x)} {_n(y - r)}l{_n(r)} {_n(r)} {_n(-r)} {_n(r)} {_n(-r)} {_n(-r)}z"


def _trace(trace: Trace, show: Show) -> Iterable[Markup]:
    spans = [end for span in (*trace.spans, *((trace.band,) if trace.band else ())) for end in span]
    low, high = _ends((*trace.values, *spans))
    height = _scale((low, high), (_BOTTOM, _TOP))
    last = max(1, len(trace.values) - 1)
    at = [
        (_FIRST + (_LAST - _FIRST) * number / last, height(value))
        for number, value in enumerate(trace.values)
        if math.isfinite(value)
    ]
    kept = [number for number, value in enumerate(trace.values) if math.isfinite(value)]
    places = dict(zip(kept, at, strict=True))
    yield _text(_LAST + 8, height(high) + 4, show(high))
    if high > low:
        yield _text(_LAST + 8, height(low) + 4, show(low))
    yield from _window(trace, places, height)
    yield from _breaks(trace.breaks, last)
    yield from _whiskers(trace, places, height)
    yield from _nights(trace, places)


def _window(
    trace: Trace, places: dict[int, tuple[float, float]], height: Callable[[float], float]
) -> Iterable[Markup]:
    """The band of the gate over the nights that it looks at, and a bracket below those."""
    nights = [number for number in places if trace.clean[number]]
    nights = nights[: len(nights) - trace.judged][-trace.window :] if trace.window else []
    if not nights:
        return
    begin, end = places[nights[0]][0] - 4, places[nights[-1]][0] + 4
    if trace.band:
        low, high = map(height, trace.band)
        yield Markup('<path fill-opacity=".14" d="M{} {}H{}V{}H{}z"/>').format(
            *map(_n, (begin, high, _LAST + 4, low, begin))
        )
    yield Markup(
        '<path d="M{} 72v4H{}v-4" fill="none" stroke="currentColor" stroke-opacity=".6"/>'
    ).format(_n(begin), _n(end))


def _breaks(breaks: Iterable[int], last: int) -> Iterable[Markup]:
    """A dashed line with a head where another level begins."""
    for number in breaks:
        x = _FIRST + (_LAST - _FIRST) * (number - 0.5) / last
        yield _line(x, 8, x, _BOTTOM + 4, dashed=True)
        yield Markup('<path d="M{} 2h8l-4 6z"/>').format(_n(x - 4))


def _whiskers(
    trace: Trace, places: dict[int, tuple[float, float]], height: Callable[[float], float]
) -> Iterable[Markup]:
    if trace.spans:
        drawn = "".join(
            f"M{_n(x)} {_n(height(trace.spans[number][0]))}V{_n(height(trace.spans[number][1]))}"
            for number, (x, _) in places.items()
        )
        yield Markup(
            '<path d="{}" stroke="currentColor" stroke-opacity=".45" fill="none"/>'
        ).format(drawn)


def _nights(trace: Trace, places: dict[int, tuple[float, float]]) -> Iterable[Markup]:
    """A line through clean nights, a dot each; a cross for one that no gate looks at."""
    final = len(trace.values) - 1 if trace.judged else -1
    clean = [place for number, place in places.items() if trace.clean[number] or number == final]
    dots = [place for n, place in places.items() if trace.clean[n] and n != final]
    crosses = [place for n, place in places.items() if not trace.clean[n] and n != final]
    line = "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in clean)
    if len(clean) > 1:
        yield Markup(
            '<path d="{}" fill="none" stroke="currentColor" stroke-opacity=".55"/>'
        ).format(line)
    # A line of no length with a round end is a dot: a tenth of the text of as many circles.
    yield Markup(
        '<path d="{}" stroke="currentColor" stroke-width="4.4" stroke-linecap="round"/>'
    ).format("".join(f"M{_n(x)} {_n(y)}h0" for x, y in dots))
    yield Markup('<path d="{}" stroke="currentColor" stroke-width="1.3"/>').format(
        "".join(f"M{_n(x - 3)} {_n(y - 3)}l6 6m-6 0l6-6" for x, y in crosses)
    )
    if final in places:
        yield Markup('<path d="{}"/>').format(_diamond(*places[final], _MARK + 1.4))


def _ends(values: Iterable[float]) -> Span:
    """The lowest and the highest of those that are finite."""
    found = [value for value in values if math.isfinite(value)]
    return (min(found), max(found)) if found else (0.0, 0.0)


def _scale(ends: Span, onto: Span) -> Callable[[float], float]:
    """Where a value stands; all in the middle where they are equal."""
    low, high = ends
    wide = high - low
    room = onto[1] - onto[0]

    def place(value: float) -> float:
        share = (value - low) / wide if wide > 0 else 0.5
        return onto[0] + room * (_PAD + (1 - 2 * _PAD) * share)

    return place


def _line(  # noqa: PLR0913 (two ends, and how)
    x1: float, y1: float, x2: float, y2: float, opacity: float = 1.0, *, dashed: bool = False
) -> Markup:
    return Markup('<path d="M{} {}L{} {}" stroke="currentColor" stroke-opacity="{}"{}/>').format(
        *map(_n, (x1, y1, x2, y2)),
        opacity,
        Markup(' stroke-dasharray="3 3"') if dashed else "",
    )


def _text(x: float, y: float, text: str, anchor: str = "start") -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
        _n(x), _n(y), anchor, text
    )


def _n(value: float) -> str:
    """A length with one place at most: 3.0 -> "3"."""
    return f"{value:.1f}".rstrip("0").rstrip(".")
