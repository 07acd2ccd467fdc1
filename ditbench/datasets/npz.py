"""One .npz of pictures, as ADM's evaluator reads them: `arr_0` uint8 (n, height, width, channels).

Labels may stand in `arr_1`. What numpy.savez wrote is mapped into memory and not read whole.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ditbench.datasets.base import Dataset, Held, checked_labels, numbers
from ditbench.errors import UsageError, one_line

IMAGES, LABELS = "arr_0", "arr_1"
_LOCAL_HEADER = 30  # bytes of a member's header in front of its name


def dataset(path: Path, split: str) -> Dataset:
    """The pictures of a file, which is one split. Raises UsageError where they are none for a network."""
    if split != "train":
        raise UsageError(f"{path}: one file is one set: it has no split {split!r}")
    names = keys(path)
    if IMAGES not in names:
        told = ", ".join(names) or "nothing"
        raise UsageError(
            f"{path}: no {IMAGES} in it but {told}: write numpy.savez(file, pictures) without a name"
        )
    images = array(path, IMAGES)
    _check(images, path)
    if LABELS not in names:
        return Held(path.stem, images)
    labels = array(path, LABELS)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(f"{path}: {LABELS} is {_told(labels)}: labels are integers (n,)")
    classes = checked_labels(labels, len(images), str(path))
    return Held(path.stem, images, classes, numbers(classes))


def keys(path: Path) -> list[str]:
    """The names of a file's arrays. Raises UsageError where it is no .npz."""
    try:
        with zipfile.ZipFile(path) as file:
            return [name.removesuffix(".npy") for name in file.namelist()]
    except Exception as error:  # damage meets zip, zlib, a tokenizer and a parser
        raise UsageError(f"{path}: is no whole .npz: {cause(error)}") from error


def array(path: Path, key: str) -> NDArray[Any]:
    """One array, mapped where it is not compressed. Raises UsageError for a damaged one, or objects."""
    try:
        with zipfile.ZipFile(path) as file:
            member = file.getinfo(f"{key}.npy")
        if member.compress_type == zipfile.ZIP_STORED:
            return _mapped(path, member)
        with np.load(path, allow_pickle=False) as loaded:
            whole: NDArray[Any] = loaded[key]
            return whole
    except Exception as error:  # damage meets zip, zlib, a tokenizer and a parser
        raise UsageError(f"{path}: {key} cannot be read: {cause(error)}") from error


def cause(error: Exception) -> str:
    """Why, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if "allow_pickle" in str(error):
        return "it holds Python objects, which are never unpickled"
    return one_line(str(error)) or type(error).__name__


def _mapped(path: Path, member: zipfile.ZipInfo) -> NDArray[Any]:
    with path.open("rb") as file:
        file.seek(member.header_offset)
        name, extra = struct.unpack("<26x2H", file.read(_LOCAL_HEADER))
        file.seek(member.header_offset + _LOCAL_HEADER + name + extra)
        version = np.lib.format.read_magic(file)
        head = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = head(file)
        if dtype.hasobject:
            raise ValueError("allow_pickle")
        start = file.tell()
    if 0 in shape:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")


def _check(images: NDArray[Any], path: Path) -> None:
    """Raises UsageError where they are not pictures of 8 bits."""
    if images.dtype != np.uint8:
        raise UsageError(
            f"{path}: {IMAGES} is {_told(images)}{_spoilt(images)}: write uint8, 0 to 255"
        )
    if images.ndim != 4 or images.shape[-1] not in {1, 3}:
        raise UsageError(
            f"{path}: {IMAGES} is {_told(images)}: pictures are (n, height, width, 1 or 3)"
        )
    if 0 in images.shape:
        raise UsageError(f"{path}: {IMAGES} holds no picture")


def _spoilt(images: NDArray[Any]) -> str:
    """How many of them hold NaN or infinities."""
    if not np.issubdtype(images.dtype, np.floating) or not images.ndim:
        return ""
    broken = sum(not np.isfinite(image).all() for image in images)
    return f", and {broken} of {len(images)} are not finite" if broken else ""


def _told(images: NDArray[Any]) -> str:
    return f"{images.dtype} {images.shape}"
