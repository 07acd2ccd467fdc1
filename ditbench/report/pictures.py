"""Sample grids: the same seeds in the same columns, a row a method, each picture with its own figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ditbench.errors import StoreError
from ditbench.report import words
from ditbench.report.judged import Method, Peers
from ditbench.report.kept import Class, Kept, Picked, kept
from ditbench.report.tiles import Tile, tile

_SIDES = (96, 64)  # pixels; larger pictures are shrunk to the first that the page has room for
_COUNTS = (24, 16, 8, 4)
_COLUMNS = 12
_METHODS = 40
# What is told of each picture, in this order.
_TOLD = (("latent_drift", "drift"), ("psnr", "PSNR"), ("ssim", "SSIM"), ("lpips", "LPIPS"))


@dataclass(frozen=True)
class Head:
    """Above a column: the number of the picture, and what it is of where that is known."""

    number: int
    named: str


@dataclass(frozen=True)
class Band:
    """Columns that stand side by side: the tiles from start on, one for each head."""

    start: int
    heads: tuple[Head, ...]

    @property
    def stop(self) -> int:
        """Behind its last tile."""
        return self.start + len(self.heads)


@dataclass(frozen=True)
class Sheet:
    """One method's pictures."""

    label: str
    detail: str
    tiles: tuple[Tile, ...]

    @property
    def size(self) -> int:
        """Characters that it takes."""
        return sum(one.size for one in self.tiles)


@dataclass(frozen=True)
class Gallery:
    """Sheets whose tiles are of the same seeds, in bands. hidden: methods left out."""

    title: str
    bands: tuple[Band, ...]
    sheets: tuple[Sheet, ...]
    hidden: int


def galleries(
    folder: Path, found: Sequence[Peers], budget: int
) -> tuple[tuple[Gallery, ...], tuple[str, ...]]:
    """One gallery a model and protocol, the reference method first; and which files could not be read.

    folder: the run's. budget: characters that all of them may take.
    """
    read, problems = [], []
    for peers in found:
        opened = []
        for method in peers.methods:
            try:
                pictured = _first(method, kept(folder, method.row.cell))
            except StoreError as error:
                problems.append(str(error).replace(f"{folder}/", ""))
                continue
            opened += [pictured] if pictured else []
        if opened:
            read.append((peers.title, opened))
    if budget == 0:  # nobody looks at them: only what cannot be read is told
        return (), tuple(problems)
    share = budget // max(1, len(read))
    return tuple(_gallery(title, opened, share) for title, opened in read), tuple(problems)


@dataclass(frozen=True)
class _Pictured:
    """A method with its first pictures."""

    method: Method
    first: Picked


def _first(method: Method, pictures: Kept | None) -> _Pictured | None:
    if pictures is None:
        return None
    return _Pictured(method, pictures.pick(range(min(_COUNTS[0], pictures.count))))


def _gallery(title: str, found: Sequence[_Pictured], budget: int) -> Gallery:
    """As many pictures a method as fit into the budget, and as large."""
    shown = found[:_METHODS]
    most = min(len(one.first.images) for one in shown)
    classes = _agreed(shown, most)
    counts = [count for count in _COUNTS if count <= most] or [most]
    large = max(shown[0].first.images.shape[1:3]) > _SIDES[-1]
    drawn: dict[tuple[str, int, int], Tile] = {}
    for side, count in _tries(counts, large=large):
        order, width = _order(classes, count)
        sheets = tuple(_sheet(one, order, side, drawn) for one in shown)
        if sum(sheet.size for sheet in sheets) <= budget:
            break
    sheets = _within(sheets, budget)
    return Gallery(title, _bands(order, classes, width), sheets, len(found) - len(sheets))


def _tries(counts: Sequence[int], *, large: bool) -> list[tuple[int, int]]:
    """Large ones as long as there are some to look at, then many, then few."""
    enough = [count for count in counts if count >= _COUNTS[-2]]
    tries = [(_SIDES[0], count) for count in enough] if large else []
    return tries + [(_SIDES[-1], count) for count in counts]


def _agreed(shown: Sequence[_Pictured], most: int) -> tuple[Class, ...]:
    """The classes of the first pictures, where all methods have drawn the same."""
    drawn = {one.first.classes[:most] for one in shown}
    classes = drawn.pop()
    return () if drawn else classes


def _order(classes: Sequence[Class], count: int) -> tuple[tuple[int, ...], int]:
    """Which pictures stand in which order, and how many side by side.

    Where there are few classes, one of each, then the next of each; else as they were drawn.
    """
    drawn = classes[:count]
    kinds = sorted(set(drawn))
    if not 1 < len(kinds) <= _COLUMNS:
        return tuple(range(count)), min(count, _COLUMNS)
    places = [[n for n, other in enumerate(drawn) if other == one] for one in kinds]
    rounds = min(map(len, places))
    order = tuple(of[number] for number in range(rounds) for of in places)
    return order, len(kinds) * (_COLUMNS // len(kinds))


def _bands(order: Sequence[int], classes: Sequence[Class], width: int) -> tuple[Band, ...]:
    heads = [Head(number, classes[number][1] if classes else "") for number in order]
    return tuple(
        Band(start, tuple(heads[start : start + width])) for start in range(0, len(heads), width)
    )


def _within(sheets: Iterable[Sheet], budget: int) -> tuple[Sheet, ...]:
    found: list[Sheet] = []
    for sheet in sheets:
        budget -= sheet.size
        if budget < 0:
            break
        found.append(sheet)
    return tuple(found)


def _sheet(
    one: _Pictured, order: Sequence[int], side: int, drawn: dict[tuple[str, int, int], Tile]
) -> Sheet:
    """drawn: pictures that an earlier try made already."""
    key = one.method.row.cell.quality_key
    for number in order:
        if (key, number, side) not in drawn:
            told = said(one.method, number, one.first.classes)
            drawn[key, number, side] = tile(one.first.images[number], told, side)
    tiles = tuple(drawn[key, number, side] for number in order)
    return Sheet(one.method.label, _detail(one.method), tiles)


def said(method: Method, number: int, classes: Sequence[Class], at: int | None = None) -> str:
    """A picture in words: its number, what it is of, who made it and how far it lies from softmax's.

    at: where its class stands among `classes`, if not at its number.
    """
    place = number if at is None else at
    of = f" ({classes[place][1]})" if classes else ""
    told = "" if method.is_reference else f": {figures(method, number) or 'drift not measured'}"
    return f"picture {number}{of} by {method.label}{told}"


def figures(method: Method, number: int) -> str:
    """How far one picture lies from softmax's of the same seed, in every figure that was taken."""
    return ", ".join(
        f"{title} {words.figure(name, value)}"
        for name, title in _TOLD
        if (value := method.of_picture(name, number)) is not None
    )


def _detail(method: Method) -> str:
    if method.is_reference:
        return "the reference method"
    parts = [
        f"{title} {words.figure(name, estimate.value)}"
        for name, title in _TOLD[:2]
        if (estimate := method.row.estimates.get(name))
    ]
    if "latent_drift" not in method.row.estimates:
        parts.insert(0, "drift not measured")
    return ", ".join(parts)
