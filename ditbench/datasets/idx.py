"""IDX files, the format of MNIST and Fashion-MNIST (http://yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ditbench.datasets.base import Dataset, Held, checked_labels, numbers
from ditbench.errors import UsageError

_UNSIGNED_BYTE = 0x08
_IMAGES, _LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
# What a split is called in the names of the files.
_SPLITS = {"train": "train", "test": "t10k"}


def holds(folder: Path) -> bool:
    """Whether a folder is one of IDX files."""
    return any(folder.glob(f"*-{_IMAGES}*"))


def dataset(folder: Path, split: str) -> Dataset:
    """Pictures of split "train" or "test" in their own size, as 28 x 28. Raises UsageError."""
    if split not in _SPLITS:
        raise UsageError(f"{folder}: IDX files have no split {split!r}: write train or test")
    images, labels = _split(folder, _SPLITS[split])
    classes = checked_labels(labels, len(images), str(folder))
    return Held(f"{folder.resolve().name}/{split}", images[..., None], classes, numbers(classes))


def read(path: Path) -> NDArray[np.uint8]:
    """One array from an IDX file, plain or gzip.

    Raises UsageError where the file is not IDX of unsigned bytes or is cut off.
    """
    raw = _content(path)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != _UNSIGNED_BYTE:
        raise UsageError(f"{path}: not an IDX file of unsigned bytes")
    rank = raw[3]
    if len(raw) < 4 + 4 * rank:
        raise UsageError(f"{path}: cut off in its head")
    shape = tuple(np.frombuffer(raw, ">u4", rank, 4).astype(int).tolist())
    data = np.frombuffer(raw, np.uint8, offset=4 + 4 * rank)
    if data.size != np.prod(shape):
        raise UsageError(f"{path}: cut off, {data.size} bytes where {shape} needs {np.prod(shape)}")
    return data.reshape(shape)


def load(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (n, 32, 32) padded with black, and labels (n,), of split `train` or `t10k`."""
    images, labels = _split(folder, split)
    missing = 32 - images.shape[1]
    before = missing // 2
    margin = (before, missing - before)
    return np.pad(images, ((0, 0), margin, margin)), labels


def digest(folder: Path) -> str:
    """sha256 over the four files of a data set, in name order."""
    total = hashlib.sha256()
    for split in ("t10k", "train"):
        for part in (_IMAGES, _LABELS):
            total.update(_content(_find(folder, f"{split}-{part}")))
    return total.hexdigest()


def _split(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images, labels = (_find(folder, f"{split}-{part}") for part in (_IMAGES, _LABELS))
    pictures, classes = read(images), read(labels)
    for path, array, rank in ((images, pictures, 3), (labels, classes, 1)):
        if array.ndim != rank:
            raise UsageError(f"{path}: {array.ndim} dimensions where {rank} belong")
    return pictures, classes


def _content(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error


def _find(folder: Path, stem: str) -> Path:
    for name in (stem, f"{stem}.gz"):
        if (folder / name).is_file():
            return folder / name
    raise UsageError(
        f"{folder}: no {stem}[.gz] here; give a folder of IDX files, "
        "or install Debian's dataset-fashion-mnist"
    )
