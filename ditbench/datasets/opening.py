"""From what a person writes to a data set: a folder, an .npz, or `hub:owner/name`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ditbench.datasets import cifar, folder, hub, idx, npz
from ditbench.datasets.base import Dataset
from ditbench.errors import UsageError

_Holds = Callable[[Path], bool]
_Opens = Callable[[Path, str], Dataset]

# Which folder is of which format; one that is of none is a folder of pictures.
_FOLDERS: tuple[tuple[_Holds, _Opens], ...] = (
    (idx.holds, idx.dataset),
    (cifar.holds_bytes, cifar.from_bytes),
    (cifar.holds_sheets, cifar.from_sheets),
)
# Where an archive unpacks to a folder of its own, that one is meant.
_INNER = ("cifar-10-batches-bin", "package")


def open_dataset(text: str, split: str = "train") -> Dataset:
    """The real pictures that a text names, of one split.

    A folder of IDX files (MNIST, Fashion-MNIST), of CIFAR-10 (binary version or sheets) or of pictures, an
    .npz with `arr_0`, or `hub:owner/name`. Raises UsageError, one line with the place and the way out.
    """
    if text.startswith(hub.PREFIX):
        return hub.dataset(text, split)
    path = Path(text).expanduser()
    if not path.exists():
        raise UsageError(
            f"{text}: is not there: give a folder of pictures, of IDX files or of CIFAR-10, "
            "an .npz, or hub:owner/name"
        )
    if path.is_file():
        return npz.dataset(path, split)
    if not path.is_dir():
        raise UsageError(f"{text}: is neither a folder nor a file")
    return _opened(path, split)


def _opened(path: Path, split: str) -> Dataset:
    for place in (path, *(path / inner for inner in _INNER)):
        for holds, opens in _FOLDERS:
            if place.is_dir() and holds(place):
                return opens(place, split)
    if (path / "batches.meta").is_file() or (path / "data_batch_1").is_file():
        raise UsageError(
            f"{path}: is CIFAR-10's version for Python, a pickle that is never opened: "
            "take the binary version"
        )
    return folder.dataset(path, split)
