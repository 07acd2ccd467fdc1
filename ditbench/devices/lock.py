"""One device, one benchmark at a time: a lock per device, held by a worker until it ends, however it ends.

The CPU is locked like a GPU: two runs on it at once would each measure the other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from ditbench.devices import processes
from ditbench.errors import UnfitError

FOLDER = "DITBENCH_LOCKS"  # the variable that names another folder for lock files
_WAIT = "waiting for "
_KERNELS = Path("/proc/locks")


def is_wait(phase: str) -> bool:
    """Whether a phase is what `take` says while it waits."""
    return phase.startswith(_WAIT)


def path_of(device: str) -> Path:
    """The lock file of a device."""
    return folder() / f"ditbench-{device}.lock"


def folder() -> Path:
    """Where all users and jobs of a machine meet; not TMPDIR, of which each may have its own."""
    return Path(os.environ.get(FOLDER) or "/tmp")  # noqa: S108 (on purpose)


def take(device: str, say: Callable[[str], None]) -> FileIO:
    """Wait until this process has the device to itself, saying whom it waits for; close to let go.

    A file that an earlier run or another user left behind holds nobody up. Raises UnfitError where it
    cannot be opened, or its file system locks nothing.
    """
    file = _open(path_of(device))
    while not _locked(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
        if not _locked(file, fcntl.LOCK_SH | fcntl.LOCK_NB):  # else somebody only looked
            say(f"{_WAIT}{device}, which {_name(file)} holds")
            _locked(file, fcntl.LOCK_EX)
            break
    return file


def holder(device: str) -> str:
    """Who holds the lock of this device, as "process 1234 (ditbench run a.yaml)"; empty for nobody.

    "another run" where the kernel does not tell.
    """
    try:
        with FileIO(path_of(device)) as file:
            free = _locked(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return "" if free else _name(file)
    except (OSError, UnfitError):  # no such file, or none that can be locked
        return ""


def _locked(file: FileIO, how: int) -> bool:
    """Whether the lock was to be had. Raises UnfitError where the file system refuses any, and closes."""
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError as error:
        file.close()
        raise _unfit(file.name, error) from error
    return True


def _name(file: FileIO) -> str:
    """Who holds the lock of this file, which somebody does.

    Files of several file systems may have one number; the kernel's number of a file system is not always
    the one that the file tells, so it decides only where it is found.
    """
    status = os.fstat(file.fileno())
    system = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    holders = {}
    with contextlib.suppress(OSError):
        for line in _KERNELS.read_text(encoding="ascii").splitlines():
            # "1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF"; waiting ones have "->" after the number
            _, kind, _, access, number, place, *_ = line.split()
            where, _, inode = place.rpartition(":")
            if (kind, access, inode) == ("FLOCK", "WRITE", str(status.st_ino)):
                holders[where] = int(number)
    pid = holders.get(system, next(iter(holders.values()), None))
    if pid is None:
        return "another run"
    return processes.described(pid) if pid > 0 else "a process outside this container"


def _open(path: Path) -> FileIO:
    """Another user's lock file can only be read, and opening it to create it is refused."""
    try:
        with contextlib.suppress(FileNotFoundError):
            return FileIO(path)
        file = FileIO(path, opener=lambda name, _: os.open(name, os.O_RDONLY | os.O_CREAT, 0o644))
        with contextlib.suppress(PermissionError):  # another user's, made in between
            # whatever the umask: others must be able to wait for it
            os.fchmod(file.fileno(), 0o644)
    except OSError as error:
        raise _unfit(path, error) from error
    return file


def _unfit(file: object, error: OSError) -> UnfitError:
    told = f"{file}: no lock on the device can be taken by it: {error.strerror}"
    return UnfitError(f"{told}; remove it, or set {FOLDER} to a folder that all users can write")
