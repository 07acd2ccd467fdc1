"""Ctrl-C and SIGTERM as one exception, held back while a line is being written."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from ditbench.errors import INTERRUPTED, DitbenchError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptedRunError(DitbenchError):
    """The run was stopped from outside; what had ended by then is saved."""

    exit_code = INTERRUPTED


@dataclass
class Interrupts:
    """Raises KeyboardInterrupt in the main thread on either signal while entered; elsewhere does nothing."""

    _before: dict[signal.Signals, Any] = field(default_factory=dict)
    _holding: bool = False
    _pending: bool = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._arrive) for number in _SIGNALS}
        return self

    def __exit__(self, *_exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A signal that comes in here is raised at the end of it."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    def _arrive(self, _number: int, _frame: object) -> None:
        if not self._holding:
            raise KeyboardInterrupt
        self._pending = True
