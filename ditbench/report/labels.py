"""Where labels go so that none lies on another: a greedy search around each mark, in pixels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

LINE = 14.0
_CHARACTER = 6.6  # mean width at 12 px in the fonts that browsers choose
_GAP = 9.0
_MARK, _THIN = 6.0, 2.0
Align = Literal["left", "right", "center"]
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Place:
    """A label's offset from its mark, in pixels."""

    dx: float
    dy: float
    align: Align


def _around(reach: float) -> tuple[Place, ...]:
    """Beside the mark, above and below it, and its corners, so many lines away."""
    near, far = _GAP, _GAP / 2
    return (
        Place(near, 0, "left"),
        Place(-near, 0, "right"),
        Place(0, -reach * LINE, "center"),
        Place(0, reach * LINE, "center"),
        Place(far, -reach * LINE, "left"),
        Place(far, reach * LINE, "left"),
        Place(-far, -reach * LINE, "right"),
        Place(-far, reach * LINE, "right"),
    )


_TRIES = tuple(place for reach in (1.0, 2.0, 3.0) for place in _around(reach))


def place(
    marks: Sequence[tuple[float, float, str]],
    size: tuple[float, float],
    lines: Iterable[Box] = (),
) -> list[Place | None]:
    """A place for each mark's text, or None where every place is taken. Earlier marks choose first.

    lines: upright and level ones that no text shall cross, each by its ends.
    """
    taken: list[Box] = [(x - _MARK, y - _MARK, x + _MARK, y + _MARK) for x, y, _ in marks]
    taken += [
        (left - _THIN, top - _THIN, right + _THIN, bottom + _THIN)
        for left, top, right, bottom in lines
    ]
    found: list[Place | None] = []
    for x, y, text in marks:
        fits = (try_ for try_ in _TRIES if _free(_box(x, y, text, try_), taken, size))
        chosen = next(fits, None)
        if chosen:
            taken.append(_box(x, y, text, chosen))
        found.append(chosen)
    return found


def spread(heights: Sequence[float], limit: float, rooms: Sequence[float] = ()) -> list[float]:
    """Heights moved apart until texts fit, in the same order, inside 0 to limit if they can.

    rooms: how tall each text is, a line if nothing is said.
    """
    rooms = rooms or [LINE] * len(heights)
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    moved = list(heights)
    edge = -LINE / 2
    for index in order:
        moved[index] = max(heights[index], edge + rooms[index] / 2)
        edge = moved[index] + rooms[index] / 2
    lowest = limit + LINE / 2
    edge = lowest if sum(rooms) <= limit else max(lowest, edge)
    for index in reversed(order):
        moved[index] = min(moved[index], edge - rooms[index] / 2)
        edge = moved[index] - rooms[index] / 2
    return moved


def wrapped(text: str, room: float) -> list[str]:
    """A text in lines of so many pixels, broken behind a space or a comma.

    A longer word is broken behind a bracket or an equals sign, and what is still too long anywhere.
    """
    most = max(1, int(room / _CHARACTER))
    lines = [""]
    for part in _parts(text, most):
        if len((lines[-1] + part).rstrip()) > most:
            lines.append("")
        lines[-1] += part
    return [line.strip() for line in lines]


def _parts(text: str, most: int) -> Iterator[str]:
    """What no line is broken in, of so many characters at most."""
    for word in re.findall(r"[^\s,]+[\s,]?|[\s,]", text):
        long = len(word.rstrip()) > most
        for part in re.findall(r"[^\[{(=]+[\[{(=]?|[\[{(=]", word) if long else [word]:
            yield from (part[at : at + most] for at in range(0, len(part), most))


def width(text: str) -> float:
    """Pixels that a text takes, about."""
    return _CHARACTER * len(text)


def _box(x: float, y: float, text: str, where: Place) -> Box:
    wide, left = width(text), x + where.dx
    left -= {"left": 0.0, "center": wide / 2, "right": wide}[where.align]
    return left, y + where.dy - LINE / 2, left + wide, y + where.dy + LINE / 2


def _free(ours: Box, taken: Iterable[Box], size: tuple[float, float]) -> bool:
    left, top, right, bottom = ours
    inside = left >= 0 and top >= -LINE / 2 and right <= size[0] and bottom <= size[1]
    return inside and not any(
        left < box[2] and right > box[0] and top < box[3] and bottom > box[1] for box in taken
    )
