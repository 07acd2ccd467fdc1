"""The rows of a guided forward: two halves of the same samples, those with their condition first."""

from __future__ import annotations

from dataclasses import dataclass

ALL_ROWS, WITH, WITHOUT = "all rows", "with its condition", "without"


@dataclass(frozen=True)
class Half:
    """Rows start to stop that are decided about together. of: what share of the forward's they are."""

    name: str
    start: int
    stop: int
    of: float = 1.0

    @property
    def number(self) -> int:
        """Of rows."""
        return self.stop - self.start

    def among(self, first: int) -> slice:
        """These rows where the first at hand is that one of the forward's."""
        return slice(self.start - first, self.stop - first)


def halves(rows: int, *, apart: bool) -> tuple[Half, ...]:
    """Of so many rows both halves, or all as one."""
    if not apart:
        return (Half(ALL_ROWS, 0, rows),)
    middle = rows // 2
    return Half(WITH, 0, middle, 0.5), Half(WITHOUT, middle, rows, 0.5)
