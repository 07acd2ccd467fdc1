"""A worker's log has a limit, so that a flood of output fills no disk: its head and its tail are kept."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

MOST = 16 * 2**20
LOOK_S = 0.5  # between two looks at a log


@dataclass
class Growth:
    """A log while somebody writes it; None is one that may grow as it likes."""

    log: Path | None
    _begin: int = 0  # an attempt that was cut off may have left something
    _look: float = field(default_factory=lambda: time.monotonic() + LOOK_S)

    def __post_init__(self) -> None:
        self._begin = _size(self.log) if self.log else 0

    def is_too_much(self) -> bool:
        """Whether more was written than a log may hold; looked up now and then only."""
        if self.log is None or time.monotonic() < self._look:
            return False
        self._look = time.monotonic() + LOOK_S
        return _size(self.log) - self._begin > MOST


def trim(log: Path) -> None:
    """Leave of a log that is too long its first and its last half, and how much was between them."""
    written = _size(log)
    if written <= MOST:
        return
    half = MOST // 2
    with log.open("r+b") as file:
        file.seek(written - half)
        tail = file.read()
        file.seek(half)
        file.write(f"\n... {written - 2 * half} bytes left out ...\n".encode())
        file.write(tail)
        file.truncate()


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:  # there is none: nothing was written
        return 0
