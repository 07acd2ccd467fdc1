"""One GPU, one benchmark at a time: a lock per device, held by a worker until it ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from io import FileIO
from pathlib import Path


def path_of(device: str) -> Path:
    """The lock file of a device."""
    return Path(tempfile.gettempdir()) / f"ditbench-{device}.lock"


def take(device: str, say: Callable[[str], None]) -> FileIO:
    """Wait until this process has the device to itself, saying whom it waits for; close to let go.

    The CPU is not locked: runs on it disturb each other no more than any other program does.
    """
    if device == "cpu":
        return FileIO(os.devnull)
    file = _open(path_of(device))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"waiting for {device}, which {holder(device) or 'another run'} holds")
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def holder(device: str) -> str:
    """Who holds the lock of this device, as "process 1234"; empty for nobody, or where it cannot be seen."""
    path = path_of(device)
    locks = Path("/proc/locks")
    if not path.exists() or not locks.exists():
        return ""
    inode = str(path.stat().st_ino)
    for line in locks.read_text(encoding="ascii").splitlines():
        # "1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF"; waiting ones have "->" after the number
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == inode:
            return f"process {fields[4]}"
    return ""


def _open(path: Path) -> FileIO:
    """Another user's lock file can only be read, and opening it to create it is refused."""
    try:
        return FileIO(path)
    except FileNotFoundError:
        return FileIO(os.open(path, os.O_RDONLY | os.O_CREAT, 0o644))
