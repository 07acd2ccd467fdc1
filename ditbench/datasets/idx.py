"""IDX files, the format of MNIST and Fashion-MNIST (http://yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ditbench.errors import UsageError

_UNSIGNED_BYTE = 0x08


def read(path: Path) -> NDArray[np.uint8]:
    """One array from an IDX file, plain or gzip.

    Raises UsageError where the file is not IDX of unsigned bytes or is cut off.
    """
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != _UNSIGNED_BYTE:
        message = f"{path}: not an IDX file of unsigned bytes"
        raise UsageError(message)
    rank = raw[3]
    shape = tuple(np.frombuffer(raw, ">u4", rank, 4).astype(int))
    data = np.frombuffer(raw, np.uint8, offset=4 + 4 * rank)
    if data.size != np.prod(shape):
        message = f"{path}: cut off, {data.size} bytes where {shape} needs {np.prod(shape)}"
        raise UsageError(message)
    return data.reshape(shape)


def load(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (n, 32, 32) padded with black, and labels (n,), of split `train` or `t10k`."""
    images, labels = (
        read(_find(folder, f"{split}-{part}"))
        for part in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    missing = 32 - images.shape[1]
    before = missing // 2
    margin = (before, missing - before)
    return np.pad(images, ((0, 0), margin, margin)), labels


def digest(folder: Path) -> str:
    """sha256 over the four files of a data set, in name order."""
    total = hashlib.sha256()
    for split in ("t10k", "train"):
        for part in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            path = _find(folder, f"{split}-{part}")
            total.update(
                gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            )
    return total.hexdigest()


def _find(folder: Path, stem: str) -> Path:
    for name in (stem, f"{stem}.gz"):
        if (folder / name).is_file():
            return folder / name
    message = (
        f"{folder}: no {stem}[.gz] here; give a folder of IDX files, "
        "or install Debian's dataset-fashion-mnist"
    )
    raise UsageError(message)
