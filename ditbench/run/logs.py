"""A worker's log has a limit, so that a flood of output fills no disk: its head and its tail are kept."""

from __future__ import annotations

from pathlib import Path

MOST = 16 * 2**20


def overflows(log: Path) -> bool:
    """Whether the log is longer than a log may be."""
    return _size(log) > MOST


def trim(log: Path) -> None:
    """Leave of a log that is too long its first and its last half, and how much was between them."""
    size = _size(log)
    if size <= MOST:
        return
    half = MOST // 2
    with log.open("r+b") as file:
        file.seek(size - half)
        tail = file.read()
        file.seek(half)
        file.write(f"\n... {size - 2 * half} bytes left out ...\n".encode())
        file.write(tail)
        file.truncate()


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:  # there is none: nothing was written
        return 0
