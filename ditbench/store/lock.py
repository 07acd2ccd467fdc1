"""One writer a run: a lock that goes with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from ditbench.errors import StoreError
from ditbench.store.disk import writing

_LOCK = ".lock"


def locked(folder: Path) -> IO[str]:
    """The folder's lock, held until it is closed. Raises StoreError where another process holds it."""
    path = folder / _LOCK
    with writing(path):
        file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = _holder(file)
        file.close()
        raise StoreError(
            f"{folder}: {holder} is writing this run; wait for it, or start another run"
        ) from error
    with writing(path):
        # Unbuffered and in place: at no moment is the number of an earlier holder seen beside ours.
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), str(os.getpid()).encode())
    return file


def holder(folder: Path) -> str:
    """Who writes this run now, for people; empty for nobody. Needs no right to write there."""
    try:
        file = (folder / _LOCK).open(encoding="utf-8")
    except OSError:
        return ""
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(file)
    return ""


def _holder(file: IO[str]) -> str:
    """Who holds it; the holder may not have said so yet, and the one before it has ended."""
    file.seek(0)
    number = file.read().strip()
    if number.isdigit() and Path(f"/proc/{number}").exists():
        return f"process {number}"
    return "another process"
