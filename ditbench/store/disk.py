"""Files written whole or not at all, and a disk's refusal as one line with the way out."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ditbench.errors import StoreError

RESUME = "go on with --resume"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CLOSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_NO_ROOM = os.strerror(errno.ENOSPC)


@contextlib.contextmanager
def writing(path: Path, then: str = RESUME) -> Iterator[None]:
    """Tell a disk's refusal as StoreError. then: what to do when there is room again."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be written: {error.strerror or error}{_way_out(error, then)}"
        ) from error


@contextlib.contextmanager
def replacing(path: Path, then: str = RESUME) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when all is on disk, and is gone where it is not.

    Raises StoreError where the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path, then):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync(path.parent)


def write_whole(path: Path, data: str | bytes, then: str = RESUME) -> None:
    """Write a file whole or not at all. Raises StoreError."""
    with replacing(path, then) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def write_all(file: int, data: bytes) -> None:
    """All of it: one call may write less where a disk is nearly full. Raises OSError."""
    while data:
        data = data[os.write(file, data) :]


def load(path: Path) -> bytes:
    """A file's bytes. Raises StoreError."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise StoreError(f"{path}: is no file")
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error


def sync(folder: Path) -> None:
    """Have the names in a folder on disk too, so that a new file outlives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refusal(error: Exception) -> StoreError | None:
    """The disk's refusal that stands behind an error which something raised, or None.

    A full disk is never the result of the method that met it.
    """
    if isinstance(error, StoreError):
        return error
    if isinstance(error, OSError) and error.errno in _FULL | {errno.EROFS}:
        place = error.filename or "a file of the run"
        return StoreError(f"{place}: cannot be written: {error.strerror}{_way_out(error, RESUME)}")
    if _NO_ROOM in str(error):
        return StoreError(f"{_NO_ROOM}: make room, then {RESUME}")
    return None


def _way_out(error: OSError, then: str) -> str:
    if error.errno in _FULL:
        return f"; make room, then {then}"
    return "; make it writable, or name another folder" if error.errno in _CLOSED else ""
