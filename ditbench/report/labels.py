"""Where labels go so that none lies on another: a greedy search around each mark, in pixels."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

LINE = 14.0
_CHARACTER = 6.6  # mean width at 12 px in the fonts that browsers choose
_GAP = 9.0
_MARK, _THIN = 6.0, 2.0
Align = Literal["left", "right", "center"]
_YIELDS = 12  # how often names give way to numbers
Mark = tuple[float, float, str]  # its place, and the text that belongs to it
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Place:
    """A label's offset from its mark, in pixels."""

    dx: float
    dy: float
    align: Align


# Beside the mark, above and below it, and its corners.
_NEAR = (
    Place(_GAP, 0, "left"),
    Place(-_GAP, 0, "right"),
    Place(0, -LINE, "center"),
    Place(0, LINE, "center"),
    Place(_GAP / 2, -LINE, "left"),
    Place(_GAP / 2, LINE, "left"),
    Place(-_GAP / 2, -LINE, "right"),
    Place(-_GAP / 2, LINE, "right"),
)
# A number may stand farther from its mark than a name, as it must stand somewhere.
_FAR = sorted(
    (
        Place(across * _GAP, down * LINE, "left" if across > 0 else "right")
        for across in (*range(-9, 0), *range(1, 10))
        for down in range(-6, 7)
    ),
    key=lambda place: math.hypot(place.dx, place.dy),
)


def place(
    marks: Sequence[Mark],
    size: tuple[float, float],
    lines: Iterable[Box] = (),
    barred: Collection[int] = (),
) -> list[Place | None]:
    """A place for each mark's text, or None where every place is taken. Earlier marks choose first.

    lines: upright and level ones that no text shall cross, each by its ends. barred: marks that get none.
    """
    taken: list[Box] = [_dot(x, y) for x, y, _ in marks]
    taken += map(_thick, lines)
    found: list[Place | None] = []
    for number, mark in enumerate(marks):
        chosen = None if number in barred else _fits(mark, taken, size)
        if chosen:
            taken.append(_box(*mark, chosen))
        found.append(chosen)
    return found


@dataclass(frozen=True)
class Named:
    """The text at each mark with its place, None beyond the last number. numbered: what numbers stand for."""

    texts: tuple[tuple[str, Place] | None, ...]
    numbered: tuple[str, ...]


def named(
    marks: Sequence[Mark], size: tuple[float, float], lines: Iterable[Box] = (), most: int = 40
) -> Named:
    """Each mark's name where it has room, else a number, from 1 on and from the right, `most` at most.

    A number stands clear of lines where it can, and always of marks and names: a name gives way to it, and
    becomes a number too.
    """
    thin = list(lines)
    barred: set[int] = set()
    for _ in range(_YIELDS):
        found, hidden = _named(marks, size, thin, most, barred)
        if not hidden - barred:
            break
        barred |= hidden
    return found


def _named(
    marks: Sequence[Mark],
    size: tuple[float, float],
    thin: Sequence[Box],
    most: int,
    barred: Collection[int],
) -> tuple[Named, set[int]]:
    """Likewise, with the marks whose names lie where a number must: those of `barred` have none."""
    places = place(marks, size, thin, barred)
    pairs = list(zip(marks, places, strict=True))
    texts = [(mark[2], found) if found else None for mark, found in pairs]
    names = {number: _box(*mark, found) for number, (mark, found) in enumerate(pairs) if found}
    taken = [*(_dot(x, y) for x, y, _ in marks), *names.values()]
    without = sorted(set(range(len(marks))) - names.keys(), key=lambda number: -marks[number][0])
    hidden: set[int] = set()
    for text, at in enumerate(without[:most], 1):
        mark = (*marks[at][:2], str(text))
        free = [*taken, *map(_thick, thin)], taken
        found = next(filter(None, (_fits(mark, one, size, _NEAR) for one in free)), None)
        if found is None:
            hidden |= {
                n for n, name in names.items() if not _free(_box(*mark, _NEAR[0]), [name], size)
            }
            found = _fits(mark, taken, size, _FAR) or _NEAR[0]
        texts[at] = (str(text), found)
        taken.append(_box(*mark, found))
    return Named(tuple(texts), tuple(marks[at][2] for at in without[:most])), hidden


def _fits(
    mark: Mark, taken: Sequence[Box], size: tuple[float, float], tries: Sequence[Place] = _NEAR
) -> Place | None:
    """The first place around a mark where its text is free."""
    return next((one for one in tries if _free(_box(*mark, one), taken, size)), None)


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


def _dot(x: float, y: float) -> Box:
    return x - _MARK, y - _MARK, x + _MARK, y + _MARK


def _thick(line: Box) -> Box:
    left, top, right, bottom = line
    return left - _THIN, top - _THIN, right + _THIN, bottom + _THIN


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
