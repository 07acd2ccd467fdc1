"""Ctrl-C, SIGTERM and a closed terminal as one exception, held back while a line is being written."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from ditbench.errors import INTERRUPTED, DitbenchError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Who presses Ctrl-C twice means it once: what the first has begun to put away must not be torn.
PATIENCE_S = 5.0
# After what swallowed it has been left, and before anybody waits.
_AGAIN_S = 0.01


class Wish(KeyboardInterrupt):
    """Raised on a signal.

    A kind of its own: when a plain KeyboardInterrupt comes up inside an `exec`, as where a dataclass is made,
    Python remembers it and ends by SIGINT, whatever exit code was meant.
    """


class InterruptedRunError(DitbenchError):
    """The run was stopped from outside; what had ended by then is saved."""

    exit_code = INTERRUPTED


@dataclass
class _State:
    """What has come, of which there is one in a process as there is one set of signal handlers."""

    acting: Interrupts | None = None
    holding: bool = False
    pending: bool = False
    swallowed: bool = False
    last: float | None = None


_STATE = _State()


@dataclass
class Interrupts:
    """While entered, any of the signals raises `Wish` in the main thread.

    Entered outside the main thread, or again inside itself, it changes nothing. A signal that comes within
    seconds of another is the same wish. at_the_end: this process ends next, so that after one signal no
    later one matters.
    """

    at_the_end: bool = False
    _before: dict[signal.Signals, Any] = field(default_factory=dict)
    _hook: Callable[[Any], object] = sys.unraisablehook

    def __enter__(self) -> Self:
        if _STATE.acting or threading.current_thread() is not threading.main_thread():
            return self
        _STATE.acting, _STATE.last = self, None
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # as nohup wants it
        heard = [number for number in SIGNALS if not (ignored and number is signal.SIGHUP)]
        self._before = {number: signal.signal(number, _arrive) for number in heard}
        self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        return self

    def __exit__(self, *_exception: object) -> None:
        if _STATE.acting is not self:
            return
        _STATE.acting = None
        sys.unraisablehook = self._hook
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self.at_the_end and arrived() else handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A signal that comes in here is raised at the end of it."""
        _STATE.holding = True
        try:
            yield
        finally:
            _STATE.holding = False
        if _STATE.pending:
            _STATE.pending = False
            raise Wish

    def _unraisable(self, told: sys.UnraisableHookArgs) -> None:
        """A wish that came up in `__del__` or a weak reference's callback ended there: it is sent again."""
        if not issubclass(told.exc_type, Wish):
            self._hook(told)
            return
        _STATE.swallowed = True
        again = threading.Timer(_AGAIN_S, self._send)
        again.daemon = True
        again.start()

    def _send(self) -> None:
        if _STATE.acting is self:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def arrived() -> bool:
    """Whether a signal has come since the outermost `Interrupts` was entered."""
    return _STATE.last is not None


def _arrive(_number: int, _frame: object) -> None:
    now = time.monotonic()
    again = _STATE.last is not None and now - _STATE.last < PATIENCE_S
    if again and not _STATE.swallowed:
        return
    _STATE.last, _STATE.swallowed = now, False
    if not _STATE.holding:
        raise Wish
    _STATE.pending = True
