"""A data set of the Hugging Face Hub, through the `datasets` package where it is installed."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ditbench.datasets.base import Dataset, Images
from ditbench.errors import UsageError, one_line

PREFIX = "hub:"


class HubDataset(Dataset):
    """Pictures of one column, decoded when they are asked for; labels of the column of classes, if any."""

    def __init__(self, name: str, rows: Any, column: str, label: str | None) -> None:  # noqa: ANN401 (theirs)
        self._rows, self._column = rows, column
        first = _array(rows[0][column], name, 0)
        labels = np.array(rows[label], np.int64) if label else None
        classes = tuple(rows.features[label].names) if label else ()
        height, width, channels = first.shape
        super().__init__(name, len(rows), (height, width, channels), labels, classes)

    def _images(self, indices: NDArray[np.int64]) -> Images:
        found = [
            _array(self._rows[index][self._column], self.name, index) for index in indices.tolist()
        ]
        for index, picture in zip(indices.tolist(), found, strict=True):
            if picture.shape != self.shape:
                raise UsageError(
                    f"{self.name}: picture {index} is {picture.shape}, picture 0 {self.shape}"
                )
        return np.stack(found) if found else np.zeros((0, *self.shape), np.uint8)


def dataset(text: str, split: str) -> Dataset:
    """`hub:owner/name`. Raises UsageError where package, network or pictures are missing."""
    name = text.removeprefix(PREFIX)
    try:
        package = importlib.import_module("datasets")
    except ImportError as error:
        raise UsageError(
            f"{text}: needs the package datasets: pip install datasets, or give a folder of pictures"
        ) from error
    try:
        rows = package.load_dataset(name, split=split)
    except Exception as error:  # it raises errors of five packages, none of them ours to list
        cause = one_line(str(error)) or type(error).__name__
        raise UsageError(f"{text}: split {split!r} cannot be loaded: {cause}") from error
    kinds = {column: type(kind).__name__ for column, kind in rows.features.items()}
    pictures = [column for column, kind in kinds.items() if kind == "Image"]
    if not pictures or not len(rows):
        raise UsageError(f"{text}: no pictures in it: its columns are {', '.join(kinds)}")
    labels = [column for column, kind in kinds.items() if kind == "ClassLabel"]
    return HubDataset(f"{text}/{split}", rows, pictures[0], labels[0] if labels else None)


def _array(picture: Any, name: str, index: int) -> Images:  # noqa: ANN401 (Pillow's, or anything)
    mode = getattr(picture, "mode", type(picture).__name__)
    if mode not in {"L", "RGB"}:
        raise UsageError(
            f"{name}: picture {index} has mode {mode}: only grey (L) and RGB of 8 bits are read"
        )
    array = np.asarray(picture)
    return array[..., None] if array.ndim == 2 else array
