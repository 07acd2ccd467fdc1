"""A method's pictures as a run keeps them, read by their numbers and never more than are shown."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ditbench.errors import StoreError
from ditbench.records import Cell
from ditbench.store.pictures import Shards

_MALFORMED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)
Images = NDArray[np.uint8]
Array = NDArray[Any]
# The number and the name of a picture's class.
Class = tuple[int, str]


@dataclass(frozen=True)
class Picked:
    """Some pictures (n, height, width, 1 or 3), uint8. classes: number and name of each one's, or empty."""

    images: Images
    classes: tuple[Class, ...]


@dataclass(frozen=True)
class Kept:
    """Pictures 0 to count - 1. pick: reads those of these numbers, in their order. Raises StoreError."""

    count: int
    pick: Callable[[Sequence[int]], Picked]


def kept(folder: Path, cell: Cell) -> Kept | None:
    """A cell's pictures in a run's folder, or None where none were made. Raises StoreError for torn ones."""
    sharded = folder / "images" / cell.quality_key
    if sharded.is_dir():
        shards = Shards.open(sharded)
        return (
            Kept(shards.count, lambda numbers: _of_shards(shards, numbers))
            if shards.shape
            else None
        )
    path = sharded.with_name(f"{sharded.name}.npz")
    return _of_earlier(path) if path.exists() else None


def _of_shards(shards: Shards, numbers: Sequence[int]) -> Picked:
    """Each shard that holds any of them is read once."""
    found: dict[int, tuple[Array, Array, Array]] = {}
    for part in shards.parts:
        inside = [number for number in numbers if part.start <= number < part.stop]
        if not inside:
            continue
        arrays = [part.array(name) for name in ("arr_0", "labels", "classes")]
        for number in inside:  # a copy of each: a view would keep the shard alive
            at = number - part.start
            image, label, named = (array[at : at + 1].copy() for array in arrays)
            found[number] = (image, label, named)
    picked = [found[number] for number in numbers]
    images, labels, names = (np.concatenate(column) for column in zip(*picked, strict=True))
    return Picked(_fit(images, shards.folder), _classes(labels, names, len(images)))


def _of_earlier(path: Path) -> Kept | None:
    """All in one file, as runs before shards kept them."""
    try:
        with np.load(path, allow_pickle=False) as file:
            images = file["images"]
            labels, names = (file.get(name, np.zeros(0)) for name in ("labels", "classes"))
    except _MALFORMED as error:
        raise _unfit(path) from error
    if images.size == 0:  # latents that are no pictures
        return None
    _fit(images, path)
    classes = _classes(labels, names, len(images))

    def pick(numbers: Sequence[int]) -> Picked:
        places = list(numbers)
        return Picked(images[places], tuple(classes[n] for n in places) if classes else ())

    return Kept(len(images), pick)


def _fit(images: Array, path: Path) -> Images:
    """What can be drawn. Raises StoreError."""
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[-1] not in {1, 3}:
        raise _unfit(path)
    return images


def _unfit(path: Path) -> StoreError:
    return StoreError(
        f"images/{path.name}: cannot be read as pictures (uint8, n x height x width x 1 or 3)"
    )


def _classes(labels: Array, names: Array, count: int) -> tuple[Class, ...]:
    """Nothing where it is not told of every one."""
    if (labels.dtype.kind, names.dtype.kind) != ("i", "U"):
        return ()
    if {labels.shape, names.shape} != {(count,)}:
        return ()
    return tuple(zip(labels.tolist(), names.tolist(), strict=True))
