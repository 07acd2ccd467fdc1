"""What every format is made from, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass

from ditbench.compare import Comparison
from ditbench.store import Run
from ditbench.summary import Summary


@dataclass(frozen=True)
class Result:
    """A run as read, what it amounts to, and what became of it since the baseline."""

    run: Run
    summary: Summary
    comparison: Comparison


@dataclass(frozen=True)
class Exported:
    """The bytes of a file. notes: what a person must know of them, one line each."""

    data: bytes
    notes: tuple[str, ...] = ()
