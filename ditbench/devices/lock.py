"""One device, one benchmark at a time: a lock per device, held by a worker until it ends, however it ends.

The CPU is locked like a GPU: two runs on it at once would each measure the other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from ditbench.devices import processes
from ditbench.errors import UnfitError

_WAIT = "waiting for "


def is_wait(phase: str) -> bool:
    """Whether a phase is what `take` says while it waits."""
    return phase.startswith(_WAIT)


def path_of(device: str) -> Path:
    """The lock file of a device."""
    return Path(tempfile.gettempdir()) / f"ditbench-{device}.lock"


def take(device: str, say: Callable[[str], None]) -> FileIO:
    """Wait until this process has the device to itself, saying whom it waits for; close to let go.

    A file that an earlier run or another user left behind holds nobody up. Raises UnfitError where it
    cannot be opened.
    """
    file = _open(path_of(device))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"{_WAIT}{device}, which {holder(device) or 'another run'} holds")
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def holder(device: str) -> str:
    """Who holds the lock of this device, as "process 1234 (ditbench run a.yaml)"; empty for nobody.

    Empty too where the kernel does not tell.
    """
    path = path_of(device)
    locks = Path("/proc/locks")
    if not path.exists() or not locks.exists():
        return ""
    inode = str(path.stat().st_ino)
    for line in locks.read_text(encoding="ascii").splitlines():
        # "1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF"; waiting ones have "->" after the number
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == inode:
            pid = int(fields[4])
            return processes.described(pid) if pid > 0 else "a process outside this container"
    return ""


def _open(path: Path) -> FileIO:
    """Another user's lock file can only be read, and opening it to create it is refused."""
    try:
        with contextlib.suppress(FileNotFoundError):
            return FileIO(path)
        file = FileIO(os.open(path, os.O_RDONLY | os.O_CREAT, 0o644))
        with contextlib.suppress(PermissionError):  # another user's, made in between
            os.fchmod(
                file.fileno(), 0o644
            )  # whatever the umask: others must be able to wait for it
    except OSError as error:
        raise UnfitError(
            f"{path}: cannot be opened to lock the device: {error.strerror}; remove it, or set TMPDIR"
        ) from error
    return file
