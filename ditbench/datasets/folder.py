"""A folder of pictures: flat, or one subfolder a class; all of one size and mode.

Order is that of the names. A folder that holds a subfolder of the split's name (train, test, val) is read
there.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ditbench.datasets.base import Dataset, Images
from ditbench.datasets.picture import SUFFIXES, read_picture
from ditbench.errors import UsageError

_SPLITS = ("train", "test", "val")
_CHUNK = 1 << 20


class Folder(Dataset):
    """Pictures that are read when they are asked for."""

    def __init__(self, name: str, root: Path, paths: list[Path], classes: tuple[str, ...]) -> None:
        numbers = {word: number for number, word in enumerate(classes)}
        labels = np.array([numbers[path.parent.name] for path in paths]) if classes else None
        height, width, channels = read_picture(paths[0]).shape
        super().__init__(name, len(paths), (height, width, channels), labels, classes)
        self._root, self._paths = root, paths

    def _images(self, indices: NDArray[np.int64]) -> Images:
        images = np.empty((len(indices), *self.shape), np.uint8)
        for place, index in enumerate(indices.tolist()):
            images[place] = self._picture(self._paths[index])
        return images

    def _picture(self, path: Path) -> Images:
        picture = read_picture(path)
        if picture.shape != self.shape:
            ours, theirs = (_told(shape) for shape in (picture.shape, self.shape))
            raise UsageError(f"{path}: {ours}, where {self._paths[0].name} is {theirs}")
        return picture

    def _digest(self) -> str:
        """Of the files' names below the folder and their bytes, in name order."""
        total = hashlib.sha256()
        for path in self._paths:
            total.update(path.relative_to(self._root).as_posix().encode() + b"\0")
            try:
                with path.open("rb") as file:
                    while chunk := file.read(_CHUNK):
                        total.update(chunk)
            except OSError as error:
                raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
        return total.hexdigest()


def dataset(folder: Path, split: str) -> Dataset:
    """The pictures of a folder. Raises UsageError where there are none, or only some are in subfolders."""
    root = _root(folder, split)
    flat = _pictures(root)
    inner = [child for child in sorted(root.iterdir()) if child.is_dir() and _pictures(child)]
    if flat and inner:
        raise UsageError(
            f"{root}: pictures lie both in it and in {inner[0].name}: one folder a class, or one for all"
        )
    paths = flat or [path for child in inner for path in _pictures(child)]
    if not paths:
        raise UsageError(f"{root}: no pictures here ({', '.join(sorted(SUFFIXES))})")
    name = root.resolve().name
    if root != folder:
        name = f"{folder.resolve().name}/{name}"
    return Folder(name, root, paths, tuple(child.name for child in inner))


def _root(folder: Path, split: str) -> Path:
    if (folder / split).is_dir():
        return folder / split
    others = [word for word in _SPLITS if (folder / word).is_dir()]
    if others or split != "train":
        told = f"has {', '.join(others)}" if others else "is one set without splits"
        raise UsageError(f"{folder}: no split {split!r} here, it {told}")
    return folder


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _told(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{width}x{height} {'grey' if channels == 1 else 'RGB'}"
