"""Processes as the kernel tells of them: whose child one is, what it was started as, how to end a family."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_SERVER = "multiprocessing.forkserver"
_LONGEST = 100  # characters of a command line that are shown


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when the thread that started it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Become the parent of whatever descendants lose theirs, so that none gets out of sight."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def parent_of(pid: int) -> int:
    """The id of a process's parent; 0 where there is no such process."""
    return _stat(pid)[1]


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    return _stat(pid)[0] not in {"", "Z", "X"}


def gone(pid: int, within_s: float) -> bool:
    """Whether a process ends within so long."""
    end = time.monotonic() + within_s
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(pid)


def children_of(pid: int) -> list[int]:
    """The ids of a process's children that run.

    Read as bytes, here and below: an interpreter that is ending may know no encodings any more.
    """
    listed = Path(f"/proc/{pid}/task/{pid}/children")  # not every kernel has it, nor of all threads
    try:
        found = [int(word) for word in listed.read_bytes().split()]
    except OSError:
        everybody = (
            int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()
        )
        found = [one for one in everybody if parent_of(one) == pid]
    return [one for one in found if alive(one)]


def kill(pid: int) -> None:
    """SIGKILL, whether or not the process is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def end_children() -> None:
    """Kill and reap every child of this process, and theirs, which become its own on the way."""
    with contextlib.suppress(ChildProcessError):
        while True:
            for pid in children_of(os.getpid()):
                kill(pid)
            os.waitpid(-1, 0)


def end_strays(parent: int, own: set[int], within_s: float = 2.0) -> None:
    """Kill all children of a process but its own: what workers that have ended left behind.

    The parent is one that adopts orphans and reaps them.
    """
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        strays = [pid for pid in children_of(parent) if pid not in own]
        if not strays:
            return
        for pid in strays:
            kill(pid)
        time.sleep(0.002)


def described(pid: int) -> str:
    """A process by the command that a person started, as "process 12 (ditbench run a.yaml)".

    A worker's own command line is its fork server's, which says nothing.
    """
    while _SERVER in (command := _command(pid)) and (above := parent_of(pid)) > 1:
        pid = above
    command = _short(command)
    shown = command if len(command) <= _LONGEST else f"{command[: _LONGEST - 3]}..."
    return f"process {pid} ({shown})" if shown else f"process {pid}"


def _command(pid: int) -> str:
    """A process's command line on one line; empty where it cannot be seen."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
    text = " ".join(text.split("\0"))
    return "".join(sign if sign.isprintable() else " " for sign in text).strip()


def _short(command: str) -> str:
    """A command without its folder, and without the interpreter that runs it."""
    program, *rest = command.split(" ")
    if rest and Path(program).name.startswith("python") and not rest[0].startswith("-"):
        program, *rest = rest
    return " ".join([Path(program).name, *rest])


def _stat(pid: int) -> tuple[str, int]:
    """State and parent of a process; "" and 0 where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes().decode(errors="replace")
    except OSError:
        return "", 0
    state, parent, *_ = text.rpartition(")")[2].split()  # a name may hold blanks and parentheses
    return state, int(parent)
