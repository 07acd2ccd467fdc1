"""How much a method moves any figure of its pictures, and how sure that is (paired bootstrap, Efron 1979).

Row i of the method and row i of softmax come from the same noise and label, so every draw takes the same
rows of both: what the seeds have in common cancels, and the interval of the difference is often a tenth of
what two separate intervals would say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ditbench.errors import UsageError

Rows = NDArray[Any]
# From rows (n, ...) to one number.
Statistic = Callable[[Rows], float]


@dataclass(frozen=True)
class Estimate:
    """A figure, its bootstrap standard error, and the percentile interval of 95 %."""

    value: float
    error: float
    low: float
    high: float


def change(
    statistic: Statistic, method: Rows, softmax: Rows, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """statistic(method) - statistic(softmax), the same rows drawn from both. Raises UsageError."""
    if len(method) != len(softmax):
        raise UsageError(f"{len(method)} rows and {len(softmax)} are not of the same samples")

    def moved(rows: NDArray[np.int64]) -> float:
        return statistic(method[rows]) - statistic(softmax[rows])

    return _bootstrap(moved, len(method), resamples, seed)


def estimate(statistic: Statistic, rows: Rows, resamples: int = 1000, seed: int = 0) -> Estimate:
    """statistic(rows) on its own. Raises UsageError where there is only one row."""
    return _bootstrap(lambda drawn: statistic(rows[drawn]), len(rows), resamples, seed)


def _bootstrap(
    figure: Callable[[NDArray[np.int64]], float], count: int, resamples: int, seed: int
) -> Estimate:
    if count < 2:
        raise UsageError(f"{count} rows have no spread: give at least 2")
    draw = np.random.default_rng(seed)
    values = [figure(draw.integers(0, count, count)) for _ in range(resamples)]
    low, high = np.percentile(values, (2.5, 97.5))
    error = float(np.std(values, ddof=1))
    return Estimate(float(figure(np.arange(count))), error, float(low), float(high))
