"""A fence around a piece of code: it may write in one folder, start nothing, and take so long."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Events of the interpreter (docs.python.org, audit events) and which of their arguments are paths.
_TOUCHING = {
    "os.mkdir": (0,),
    "os.rmdir": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.link": (0, 1),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.utime": (0,),
    "shutil.rmtree": (0,),
    "tempfile.mkstemp": (0,),
    "tempfile.mkdtemp": (0,),
}
_STARTING = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn")


class OutsideError(BaseException):
    """Something was touched outside the fence; not an Exception, so that nothing swallows it."""


class TooSlowError(BaseException):
    """An input took longer than it may."""


class _Fence:
    """What the one audit hook of this process knows; a hook can never be taken away again."""

    allowed: str | None = None
    installed = False

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.allowed is None:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING:
                self._look(event, path)
        elif event in _TOUCHING:
            for index in _TOUCHING[event]:
                self._look(event, arguments[index])
        elif event in _STARTING:
            raise OutsideError(f"{event}: {arguments[:2]}")

    def _look(self, event: str, path: object) -> None:
        if isinstance(path, int):  # an open file: it was looked at when it was opened
            return
        real = os.path.realpath(os.fsdecode(path))
        if real != "/dev/null" and os.path.commonpath((real, self.allowed)) != self.allowed:
            raise OutsideError(f"{event}: {real}")


_FENCE = _Fence()


@contextlib.contextmanager
def fence(folder: Path, seconds: float = 5.0) -> Iterator[None]:
    """Raise OutsideError for a write outside the folder or a process started, TooSlowError after a time."""
    if not _FENCE.installed:
        sys.addaudithook(_FENCE.hear)
        _FENCE.installed = True

    def late(*_: object) -> None:
        raise TooSlowError(f"still at it after {seconds} seconds")

    # Of the processor, and not of the clock: other programs may keep the machine busy.
    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    _FENCE.allowed = os.path.realpath(folder)
    try:
        yield
    finally:
        _FENCE.allowed = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
