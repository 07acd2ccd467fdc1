"""Sample grids: the first pictures of every method, the same seeds in the same places, as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ditbench import pictures
from ditbench.errors import StoreError
from ditbench.records import Status
from ditbench.report import words
from ditbench.store import Run
from ditbench.store.pictures import Shards
from ditbench.summary import Row, Summary

REFERENCE = "softmax"
_SIDE = 64  # pixels; larger pictures are shrunk to it
_COLUMNS = 8
_COUNTS = (24, 16, 8, 4)
_CLASSES = 12  # columns of a table that a page has room for
_METHODS = 40

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Tile:
    """Some pictures of one method as one. said: what they are. width, height: pixels to show it at."""

    said: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Sheet:
    """One method's pictures: a tile for each class of its gallery, or one with all of them."""

    label: str
    detail: str
    tiles: tuple[Tile, ...]

    @property
    def size(self) -> int:
        """Characters that it takes."""
        return sum(len(tile.uri) for tile in self.tiles)


@dataclass(frozen=True)
class Gallery:
    """Sheets that may be laid side by side. hidden: methods left out.

    classes: the names of the classes that each sheet shows, in order; none where there are too many, or
    nobody knows what the pictures are of.
    """

    title: str
    sheets: tuple[Sheet, ...]
    hidden: int
    classes: tuple[str, ...] = ()


# The name of each class with where its pictures are.
_Places = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class _Made:
    """One method's pictures as they were read, the first ones. classes: number and name of each, or empty."""

    row: Row
    images: Images
    classes: tuple[tuple[int, str], ...]


def galleries(
    run: Run, summary: Summary, names: words.Names, budget: int
) -> tuple[tuple[Gallery, ...], tuple[str, ...]]:
    """One gallery a model and protocol, the reference method first; and which files could not be read.

    budget: characters that all of them may take.
    """
    together: dict[str, dict[str, Row]] = {}
    for row in summary.rows:
        if row.status is Status.OK and not row.cell.finds_batch:  # a sibling stands for it
            cell = row.cell
            title = names.said(cell, (names.varying | {"model", "steps"}) - _ASIDE)
            together.setdefault(title, {}).setdefault(cell.quality_key, row)
    read: dict[str, list[_Made]] = {}
    problems = []
    for title, rows in together.items():
        read[title] = []
        for row in rows.values():
            try:
                made = _read(run.folder, row)
            except StoreError as error:
                problems.append(str(error).replace(f"{run.folder}/", ""))
                continue
            if made is not None:
                read[title].append(made)
    kept = [(title, found) for title, found in read.items() if found]
    share = budget // max(1, len(kept))
    return tuple(_gallery(title, found, names, share) for title, found in kept), tuple(problems)


_ASIDE = {"attention", "blocks", "batch_size", "compile"}


def _read(folder: Path, row: Row) -> _Made | None:
    """The first pictures with their classes; None where there are none. Raises StoreError.

    A cell whose pictures nobody made, or somebody removed on purpose, has nothing wrong with it.
    """
    place = folder / "images" / row.cell.quality_key
    earlier = place.with_name(f"{place.name}.npz")
    if not (place.is_dir() or earlier.exists()):
        return None
    shards = Shards.open(place)
    if not shards.shape:
        return None
    if shards.shape[-1] not in {1, 3}:
        raise StoreError(f"{place}: pictures of {shards.shape[-1]} channels cannot be shown")
    most = _COUNTS[0]
    labels, names = (told[:most].tolist() for told in (shards.labels, shards.classes))
    return _Made(row, shards.images(0, most), tuple(zip(labels, names, strict=True)))


def _gallery(title: str, found: list[_Made], names: words.Names, budget: int) -> Gallery:
    """As many pictures a method as fit into the budget; a column for each class where they are few."""
    found = sorted(found, key=lambda made: made.row.cell.attention.name != REFERENCE)
    shown = found[:_METHODS]
    most = min(len(made.images) for made in shown)
    tries = [count for count in _COUNTS if count <= most] or [most]
    for count in tries:
        places = _places(shown, count)
        sheets = tuple(_sheet(made, places, count, names) for made in shown)
        if sum(sheet.size for sheet in sheets) <= budget:
            break
    sheets = _within(sheets, budget)
    classes = tuple(name for name, _ in places)
    return Gallery(title, sheets, len(found) - len(sheets), classes)


def _places(shown: Sequence[_Made], count: int) -> _Places:
    """Where the pictures of each class are among the first ones, as many of each; the classes by number.

    Empty where there are too many, or the methods have not all drawn the same.
    """
    drawn = {made.classes[:count] for made in shown}
    classes = drawn.pop()
    if drawn or not 1 < len(set(classes)) <= _CLASSES:
        return ()
    found = {one: tuple(n for n, other in enumerate(classes) if other == one) for one in classes}
    each = min(map(len, found.values()))
    return tuple((one[1], found[one][:each]) for one in sorted(found))


def _within(sheets: Iterable[Sheet], budget: int) -> tuple[Sheet, ...]:
    kept: list[Sheet] = []
    for sheet in sheets:
        budget -= sheet.size
        if budget < 0:
            break
        kept.append(sheet)
    return tuple(kept)


def _sheet(made: _Made, places: _Places, count: int, names: words.Names) -> Sheet:
    label = names.method(made.row.cell)
    by_class = tuple(_tile(f"{name} by {label}", made.images[list(at)], 1) for name, at in places)
    everything = (_tile(f"{count} pictures by {label}", made.images[:count], _COLUMNS),)
    return Sheet(label, _detail(made.row), by_class or everything)


def _tile(said: str, images: Images, columns: int) -> Tile:
    sheet = pictures.grid(_shrunk(images), columns)
    zoom = 2 if images.shape[1] <= _SIDE // 2 else 1
    return Tile(
        said=said,
        uri="data:image/png;base64," + base64.b64encode(_png(sheet)).decode(),
        width=sheet.shape[1] * zoom,
        height=sheet.shape[0] * zoom,
    )


def _shrunk(images: Images) -> Images:
    """Pictures of at most `_SIDE` pixels, by area, so that no pixel counts more than another."""
    _, height, width, channels = images.shape
    if max(height, width) <= _SIDE:
        return images
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = [np.asarray(_image(image).resize(size, Image.Resampling.BOX)) for image in images]
    return np.stack(small).reshape(len(images), size[1], size[0], channels)


def _image(image: Images) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _png(image: Images) -> bytes:
    buffer = io.BytesIO()
    _image(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _detail(row: Row) -> str:
    drift, psnr = row.estimates.get("latent_drift"), row.estimates.get("psnr")
    if row.cell.attention.name == REFERENCE:
        return "the reference method"
    parts = [f"drift {words.figure('latent_drift', drift.value) if drift else 'not measured'}"]
    if psnr:
        parts.append(f"PSNR {words.figure('psnr', psnr.value)}")
    return ", ".join(parts)
