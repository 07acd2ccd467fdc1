"""The pictures of one method: shards of arrays, each whole or not there, each saying what it is of.

`images/<quality key>/000000-000256.npz` holds the pictures 0 to 255. Whoever judges, shows or exports them
reads them through `Shards`, which refuses what is torn, missing, or of another key. Nothing is unpickled.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ditbench.errors import StoreError
from ditbench.pictures import QUANTISER
from ditbench.records import Cell, canonical, digest
from ditbench.store.disk import RESUME, replacing
from ditbench.store.shelf import NAME

# What reading a file that breaks off, or never was such a file, can raise.
_MALFORMED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)

# What its arrays are of: kind and bytes, as numpy tells them; a name may have any length.
_KINDS = {"arr_0": ("u", 1), "latents": ("f", 4), "labels": ("i", 8), "classes": ("U", None)}
_AXES = 4

Images = NDArray[np.uint8]
Latents = NDArray[np.float32]
Labels = NDArray[np.int64]
Classes = NDArray[np.str_]


@dataclass(frozen=True)
class Made:
    """Some pictures: latents (n, ...), of which images (n, height, width, channels) were made.

    images: empty where the latents are no pictures and nothing decodes them. labels (n,): the class of each,
    and classes (n,) what it is called; both empty for a model that is told words. trial (values,): what the
    process that made them made of a noise that all shards share; empty where there is one shard only.
    """

    latents: Latents
    images: Images
    labels: Labels
    classes: Classes
    trial: Latents = field(default_factory=lambda: np.zeros(0, np.float32))


def identity(cell: Cell, weights: str, micro_batch: int, decoder: str) -> dict[str, Any]:
    """All that pictures depend on beside their index: equal ones may stand in one set.

    weights: their digest. micro_batch: what is computed together rounds together. decoder: what made
    pictures of latents.
    """
    return {
        "cell": cell.quality_key,
        "weights": weights,
        "micro_batch": micro_batch,
        "quantiser": QUANTISER,
        "decoder": decoder,
    }


def key_of(of: Mapping[str, Any]) -> str:
    """The image key: 16 hex digits, equal for pictures that depend on equal things. of: see `identity`."""
    return digest(of)


def keep(path: Path, made: Made, of: Mapping[str, Any]) -> None:
    """Write one shard whole or not at all. of: see `identity`. Raises StoreError."""
    with replacing(path) as file:
        np.savez(
            file,
            arr_0=made.images,
            latents=made.latents,
            labels=made.labels,
            classes=made.classes,
            trial=made.trial,
            key=np.array(key_of(of)),
            identity=np.array(canonical(of)),
        )


@dataclass(frozen=True)
class Part:
    """One shard as its file's head tells it. shape: of one of its pictures, empty where there are none."""

    path: Path
    start: int
    stop: int
    key: str
    identity: Mapping[str, Any]
    shape: tuple[int, ...]

    @classmethod
    def read(cls, path: Path) -> Part:
        """Read the head alone. Raises StoreError for what is torn, or is no shard."""
        start, stop = _bounds(path)
        try:
            with zipfile.ZipFile(path) as archive:
                shapes = {name: _shape(archive, name) for name in _KINDS}
            with np.load(path, allow_pickle=False) as file:
                key, of = str(file["key"]), json.loads(str(file["identity"]))
        except _MALFORMED as error:
            raise _torn(path, error) from error
        if wrong := _misfit(shapes, stop - start):
            raise _torn(path, wrong)
        if key_of(of) != key:
            raise _torn(path, "its key is not that of what it says it is")
        pictured, *shape = shapes["arr_0"]
        return cls(path, start, stop, key, of, tuple(shape) if pictured else ())

    def array(self, name: str) -> NDArray[Any]:
        """One of its arrays, whole. Raises StoreError where the file is torn."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                found: NDArray[Any] = file[name]
        except _MALFORMED as error:
            raise _torn(self.path, error) from error
        return found


@dataclass(frozen=True)
class Shards:
    """All pictures of one key, in the order of their index."""

    folder: Path
    parts: tuple[Part, ...]

    @classmethod
    def open(cls, folder: Path) -> Shards:
        """The shards in a folder; their heads are read, and no picture.

        Raises StoreError where there are none, where one is torn or of another key, and where one is missing
        between others.
        """
        paths = sorted(folder.glob("*.npz"), key=_bounds) if folder.is_dir() else []
        if not paths:
            raise StoreError(_nothing(folder))
        parts = tuple(map(Part.read, paths))
        _check_alike(parts)
        _check_whole(parts)
        return cls(folder, parts)

    @property
    def count(self) -> int:
        """How many pictures there are."""
        return self.parts[-1].stop

    @property
    def key(self) -> str:
        """The digest of all that they depend on."""
        return self.parts[0].key

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that they depend on, by name."""
        return self.parts[0].identity

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels; empty where the latents are no pictures."""
        return self.parts[0].shape

    @property
    def labels(self) -> Labels:
        """The class of each picture, or empty."""
        return np.concatenate([part.array("labels") for part in self.parts])

    @property
    def classes(self) -> Classes:
        """What the class of each is called, or empty."""
        return np.concatenate([part.array("classes") for part in self.parts])

    def images(self, start: int = 0, stop: int | None = None) -> Images:
        """uint8 pictures (stop - start, height, width, channels); none where there are no pictures."""
        if not self.shape:
            return np.zeros((0, 0, 0, 0), np.uint8)
        return self._rows("arr_0", start, stop)

    def latents(self, start: int = 0, stop: int | None = None) -> Latents:
        """float32 latents (stop - start, ...)."""
        return self._rows("latents", start, stop)

    def batches(self, size: int) -> Iterator[Images]:
        """All pictures in order, `size` at a time and the rest last; one shard at a time is in memory."""
        held: Images = self.images(0, 0)
        for part in self.parts if self.shape else ():
            held = np.concatenate([held, part.array("arr_0")])
            whole = len(held) - len(held) % size
            for at in range(0, whole, size):
                yield held[at : at + size]
            held = held[whole:].copy()  # a view would keep the shard alive
        if len(held):
            yield held

    def _rows(self, name: str, start: int, stop: int | None) -> NDArray[Any]:
        stop = self.count if stop is None else min(stop, self.count)
        wanted = [one for one in self.parts if one.start < stop and start < one.stop]
        found = [
            one.array(name)[max(0, start - one.start) : stop - one.start]
            for one in wanted or self.parts[:1]
        ]
        return np.concatenate(found) if wanted else found[0][:0]


def _bounds(path: Path) -> tuple[int, int]:
    match = NAME.fullmatch(path.name)
    start, stop = (int(match[1]), int(match[2])) if match else (0, 0)
    if start >= stop:
        raise StoreError(f"{path}: is no shard of pictures: remove it, and {RESUME}")
    return start, stop


def _shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    """The shape of an array in a file, from its first bytes. Raises ValueError for one of another kind."""
    with archive.open(f"{name}.npy") as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
    if (dtype.kind, dtype.itemsize) != _KINDS[name] and (dtype.kind, None) != _KINDS[name]:
        raise ValueError(f"{name} is {dtype}")
    return tuple(shape)


def _misfit(shapes: Mapping[str, tuple[int, ...]], count: int) -> str:
    """How the shapes of a shard of so many pictures do not go together; empty where they do."""
    images, latents, labels, classes = (shapes[name] for name in _KINDS)
    if latents[:1] != (count,) or len(images) != _AXES or images[0] not in {0, count}:
        return f"it holds latents {latents} and pictures {images} for {count} of them"
    if labels != classes or labels not in {(0,), (count,)}:
        return f"it holds labels {labels} and classes {classes} for {count} pictures"
    return ""


def _check_alike(parts: tuple[Part, ...]) -> None:
    """Nothing of another key, or of another size, among them."""
    first = parts[0]
    for part in parts[1:]:
        if part.key != first.key:
            differ = ", ".join(
                f"{name} {part.identity.get(name)} and not {value}"
                for name, value in first.identity.items()
                if part.identity.get(name) != value
            )
            raise StoreError(
                f"{part.path}: holds pictures of another key than {first.path.name} ({differ}): "
                f"remove whichever is wrong, and {RESUME}, which makes it again"
            )
        if part.shape != first.shape:
            raise _torn(part.path, f"pictures of {part.shape} after some of {first.shape}")


def _check_whole(parts: tuple[Part, ...]) -> None:
    """Each begins where the one before it ends."""
    reached = 0
    for part in parts:
        if part.start > reached:
            raise StoreError(
                f"{part.path.parent}: pictures {reached} to {part.start - 1} are not there: {RESUME}, which "
                "makes them"
            )
        if part.start < reached:
            raise StoreError(
                f"{part.path}: holds pictures that the shard before it holds too: remove whichever is wrong, "
                f"and {RESUME}"
            )
        reached = part.stop


def _nothing(folder: Path) -> str:
    earlier = folder.with_name(f"{folder.name}.npz")
    if earlier.exists():
        return f"{earlier}: holds pictures in the layout of an earlier ditbench: start another run"
    return f"{folder}: holds no pictures: they were not made, or are gone: start another run"


def _torn(path: Path, why: object) -> StoreError:
    return StoreError(
        f"{path}: is torn, or no shard of pictures ({why}): remove it, and {RESUME}, which makes it again"
    )
