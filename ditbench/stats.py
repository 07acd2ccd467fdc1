"""Medians of process medians, and intervals that resample processes first, then samples.

The unit is the process: what differs between processes is the error that matters, and a pooled sample would
hide it. Every function here is defined for one process, one sample, zeros and infinities.

Interval: the 2.5th and 97.5th percentile of a bootstrap over processes, then over samples within each
(Davison & Hinkley 1997, section 3.8, with replacement at both levels).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Groups = Sequence[Sequence[float]]

DRAWS = 1000
_SEED = 0
_TAIL = 0.025
# Makes the median absolute deviation of normal values their standard deviation.
_NORMAL = 1.4826


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval; low <= value <= high, and equal where there is nothing to resample."""

    value: float
    low: float
    high: float


def medians(groups: Groups) -> tuple[float, ...]:
    """The median of each process's samples. Raises ValueError where there are none."""
    if not groups or not all(groups):
        raise ValueError("a process without samples has no median")
    return tuple(float(np.median(group)) for group in groups)


def median(groups: Groups) -> Interval:
    """The median of process medians, one process's samples in each group. Raises ValueError on no samples."""
    value = float(np.median(medians(groups)))
    return _interval(value, _resampled(groups, np.random.default_rng(_SEED)))


def ratio(above: Groups, below: Groups) -> Interval:
    """`median(above) / median(below)`, the two resampled apart; NaN where it is 0/0, infinite for x/0."""
    rng = np.random.default_rng(_SEED)
    draws = _divided(_resampled(above, rng), _resampled(below, rng))
    value = _divided(np.median(medians(above)), np.median(medians(below)))
    return _interval(float(value), draws)


def hodges_lehmann_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of all ratios a / b, taken on the logarithmic scale (Hodges & Lehmann 1963).

    For process medians; NaN where a value is not positive, because it has no logarithm.
    """
    tops, bottoms = np.asarray(above, float), np.asarray(below, float)
    if min(tops.min(), bottoms.min()) <= 0:
        return math.nan
    return float(np.exp(np.median(np.log(tops)[:, None] - np.log(bottoms)[None, :])))


def deviation(values: Sequence[float]) -> float:
    """The median absolute deviation, unscaled; 0 for one value, infinite where values differ infinitely."""
    centre = float(np.median(values))
    return float(np.median([0.0 if value == centre else abs(value - centre) for value in values]))


def spread(values: Sequence[float]) -> float:
    """How far values lie from their median, relative to it: 1.4826 x MAD / median; 0 for one value."""
    centre, scatter = abs(float(np.median(values))), _NORMAL * deviation(values)
    if scatter == 0:
        return 0.0
    return scatter / centre if 0 < centre < math.inf else math.inf


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed; always one of them."""
    ordered = sorted(values)
    return float(ordered[max(0, math.ceil(share * len(ordered)) - 1)])


def _resampled(groups: Groups, rng: np.random.Generator) -> Array:
    """DRAWS medians of process medians, processes and then samples drawn with replacement.

    The median of n values drawn from n sorted ones is the value at rank floor(n U), U being the middle
    order statistic of n uniform numbers, which is Beta-distributed: exact, and free of n.
    """
    sizes = np.array([len(group) for group in groups])
    table = np.full((len(groups), sizes.max()), np.nan)
    for row, group in zip(table, groups, strict=True):
        row[: len(group)] = np.sort(np.asarray(group, float))
    chosen = rng.integers(len(groups), size=(DRAWS, len(groups)))
    n = sizes[chosen]
    rank = (n + 1) // 2
    lower = rng.beta(rank, n - rank + 1)
    # Of an even number the median lies between two: the next order statistic, given this one.
    step = rng.beta(1, np.maximum(1, n - rank)) * (n % 2 == 0)
    upper = lower + (1 - lower) * step
    low, high = (np.minimum((u * n).astype(int), n - 1) for u in (lower, upper))
    middles = (table[chosen, low] + table[chosen, high]) / 2
    return np.asarray(np.median(middles, axis=1))


def _interval(value: float, draws: Array) -> Interval:
    """Percentiles that are draws themselves, so that infinite ones do no harm."""
    ordered = np.sort(draws)
    last = len(ordered) - 1
    low = float(ordered[math.floor(_TAIL * last)])
    high = float(ordered[math.ceil((1 - _TAIL) * last)])
    return Interval(value, min(low, value), max(high, value))


def _divided(above: Array | np.floating, below: Array | np.floating) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.divide(above, below))
