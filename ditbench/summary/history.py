"""What the nights before a run measured, cell by cell: for gates, and for a line that a person looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# A gate looks back so many clean nights.
WINDOW = 10


@dataclass(frozen=True)
class Point:
    """One cell's metric in one run. value: the median of process medians, in base units.

    clean: whether the cell was ok and the machine fit; only clean points gate anything. code: the label of
    the code that measured (`environment.code_label`).
    """

    run: str
    started: str
    value: float
    processes: tuple[float, ...]
    clean: bool
    code: str


@dataclass(frozen=True)
class History:
    """Points by (cell key, metric), oldest first; of runs of one suite, effort and environment.

    runs: their ids, oldest first. The run that is judged is not among them.
    """

    runs: tuple[str, ...] = ()
    points: Mapping[tuple[str, str], tuple[Point, ...]] = field(default_factory=dict)

    def clean(self, key: str, metric: str) -> tuple[float, ...]:
        """The last clean values of a cell's metric, at most WINDOW, oldest first."""
        found = self.points.get((key, metric), ())
        return tuple(point.value for point in found if point.clean)[-WINDOW:]
