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
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Groups = Sequence[Sequence[float]]

DRAWS = 1000
_SEED = 0
_TAIL = 0.025
# The two sides of a ratio are drawn apart.
_ABOVE, _BELOW = 0, 1
# Makes the median absolute deviation of normal values their standard deviation.
NORMAL = 1.4826
# Values near the end of what a float holds overflow to infinity, which every function here is defined for.
_quiet = np.errstate(over="ignore", invalid="ignore")


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval; low <= value <= high, and equal where there is nothing to resample."""

    value: float
    low: float
    high: float


@_quiet
def medians(groups: Groups) -> tuple[float, ...]:
    """The median of each process's samples. Raises ValueError where there are none."""
    if not groups or not all(groups):
        raise ValueError("a process without samples has no median")
    return tuple(middle(group) for group in groups)


def middle(values: Sequence[float]) -> float:
    """The median, NaN where a value is; for a few values many times faster than numpy's."""
    if any(map(math.isnan, values)):
        return math.nan
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


@_quiet
def median(groups: Groups) -> Interval:
    """The median of process medians, one process's samples in each group. Raises ValueError on no samples."""
    return interval(middle(medians(groups)), _resampled(_frozen(groups), _ABOVE))


@_quiet
def ratio(above: Groups, below: Groups) -> Interval:
    """`median(above) / median(below)`, the two resampled apart; NaN where it is 0/0, infinite for x/0."""
    drawn = _divided(_resampled(_frozen(above), _ABOVE), _resampled(_frozen(below), _BELOW))
    value = _divided(np.float64(middle(medians(above))), np.float64(middle(medians(below))))
    return interval(float(value), drawn)


def draws(groups: Groups, *, below: bool = False) -> Array:
    """(DRAWS, processes): medians of processes that were drawn with replacement, and samples within each.

    below: the other side of a ratio, drawn apart.
    """
    return _drawn(_frozen(groups), _BELOW if below else _ABOVE)


@_quiet
def deviation(values: Sequence[float]) -> float:
    """The median absolute deviation, unscaled; 0 for one value, infinite where values differ infinitely."""
    centre = middle(values)
    return middle([0.0 if value == centre else abs(value - centre) for value in values])


@_quiet
def spread(values: Sequence[float]) -> float:
    """How far values lie from their median, relative to it: 1.4826 x MAD / median; 0 for one value."""
    centre, scatter = abs(middle(values)), NORMAL * deviation(values)
    if scatter == 0:
        return 0.0
    return scatter / centre if 0 < centre < math.inf else math.inf


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed; always one of them."""
    ordered = sorted(values)
    return float(ordered[max(0, math.ceil(share * len(ordered)) - 1)])


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's: Pearson's correlation of the ranks, equal values at the mean of theirs.

    None where either has no two different values.
    """
    first, second = (mean_ranks(values) for values in (one, other))
    first, second = first - first.mean(), second - second.mean()
    length = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / length if length > 0 else None


def mean_ranks(values: Sequence[float] | NDArray[np.floating]) -> Array:
    """Of each value its rank, from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def _frozen(groups: Groups) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, groups))


@lru_cache(maxsize=64)
def _resampled(groups: tuple[tuple[float, ...], ...], arm: int) -> Array:
    """DRAWS medians of process medians. Kept: one reference stands in the ratios of many cells."""
    middles, half = np.sort(_drawn(groups, arm), axis=1), len(groups) // 2
    return np.asarray((middles[:, half] + middles[:, half - 1 + len(groups) % 2]) / 2)


def _drawn(groups: tuple[tuple[float, ...], ...], arm: int) -> Array:
    """(DRAWS, processes) medians of processes. arm: equal ones draw alike."""
    sizes = np.array([len(group) for group in groups])
    table = np.full((len(groups), sizes.max()), np.nan)
    for row, group in zip(table, groups, strict=True):
        row[: len(group)] = sorted(group)
    chosen = _chosen(len(groups), arm)
    low, high = _ranks(int(sizes[0]), len(groups), arm)
    for size in {*sizes.tolist()} - {int(sizes[0])}:
        here = sizes[chosen] == size
        low, high = (
            np.where(here, other, rank)
            for other, rank in zip(_ranks(size, len(groups), arm), (low, high), strict=True)
        )
    flat, start = table.ravel(), chosen * table.shape[1]
    return np.asarray((flat[start + low] + flat[start + high]) / 2)


@lru_cache(maxsize=64)
def _chosen(processes: int, arm: int) -> NDArray[np.intp]:
    """Which process stands in each place of each draw."""
    rng = np.random.default_rng((_SEED, arm, processes))
    return rng.integers(processes, size=(DRAWS, processes), dtype=np.intp)


@lru_cache(maxsize=512)
def _ranks(n: int, processes: int, arm: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The ranks, from 0, of the two values whose mean is the median of n that were drawn from n sorted ones.

    The k-th of n drawn values is the value at rank floor(n U), U being the k-th order statistic of n
    uniform numbers, which is Beta-distributed: exact, and no dearer for a large n.
    """
    rng = np.random.default_rng((_SEED, arm, processes, n))
    rank = (n + 1) // 2
    lower = rng.beta(rank, n - rank + 1, size=(DRAWS, processes))
    # Of an even number the median lies between two: the next order statistic, given this one.
    step = 0.0 if n % 2 else rng.beta(1, n - rank, size=(DRAWS, processes))
    upper = lower + (1 - lower) * step
    low, high = (np.minimum((u * n).astype(np.intp), n - 1) for u in (lower, upper))
    return low, high


def interval(value: float, drawn: Array) -> Interval:
    """A figure with the 95 % interval of its draws.

    Percentiles that are draws themselves, so that infinite ones do no harm.
    """
    last = len(drawn) - 1
    ends = math.floor(_TAIL * last), math.ceil((1 - _TAIL) * last)
    low, high = np.partition(drawn, ends)[list(ends)].tolist()
    return Interval(value, min(low, value), max(high, value))


def _divided(above: Array | np.floating, below: Array | np.floating) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.divide(above, below))
