"""Precision and recall of generated pictures: Kynkaanniemi et al. 2019 (arXiv 1904.06991).

Each set's manifold is the union of balls about its samples, each ball reaching to the k-th nearest other
sample of its set. Precision is the share of fakes within the reals' manifold, recall the share of reals
within the fakes'. As in ADM's evaluator distances are squared, k is 3, and a ball holds its border.

Both depend on how many samples there are: compare equal counts only. Memory is bounded by blocks of rows; the
time is that of (n + m)^2 d multiply-adds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ditbench.distances.moments import Features, Floats, finite
from ditbench.errors import UsageError

_HELD = 8 * 1024**2  # squared distances at once: 64 MiB
_GROUPS = 10  # of centres that are left out in turn
_NEAREST = 32  # of a centre, among which its neighbours are looked for when some are left out


def precision_recall(real: Features, fake: Features, k: int = 3) -> tuple[float, float]:
    """Precision and recall of features (n, d) and (m, d), more than k each. Raises UsageError."""
    return float(covered(fake, real, k).mean()), float(covered(real, fake, k).mean())


def covered(samples: Features, centres: Features, k: int = 3) -> NDArray[np.bool_]:
    """Which samples (n, d) lie within the manifold of the centres (m, d): (n,).

    Precision is the mean of covered(fake, real), recall that of covered(real, fake); one value a sample is
    what a paired comparison needs. Raises UsageError where there are not more than k centres.
    """
    if samples.shape[1] != centres.shape[1]:
        raise UsageError(
            f"features of {samples.shape[1]} and of {centres.shape[1]} numbers are of different networks"
        )
    if len(centres) <= k:
        raise UsageError(f"{len(centres)} samples have no nearest neighbour number {k}: give more")
    C = finite(centres)
    middle = C.mean(axis=0)  # distances do not know where nothing is, and their rounding does
    S = finite(samples) - middle
    C -= middle
    radii = _radii(C, k)
    found = [(squares <= radii).any(axis=1) for squares in _squares(S, C)]
    return np.concatenate(found) if found else np.zeros(0, bool)


def shares(samples: Features, centres: Features, k: int = 3) -> Floats:
    """The share of samples (n, d) that the centres' manifold (m, d) covers, and those without some centres.

    First that of all centres, then one for each of 10 random groups, left out in turn: what `spread` makes a
    standard error of. With m centres more or less the balls have other sizes too, which a spread over the
    samples alone misses. Raises UsageError where there are not more than k centres.
    """
    whole = float(covered(samples, centres, k).mean())
    groups = _groups(len(centres))
    if len(centres) - np.bincount(groups).max() <= k:
        return np.array([whole])
    C = finite(centres)
    middle = C.mean(axis=0)
    S = finite(samples) - middle
    C -= middle
    radii = _radii_without(C, groups, k)
    found = np.zeros(len(radii))
    for squares in _squares(S, C):
        found += [np.count_nonzero((squares <= each).any(axis=1)) for each in radii]
    return np.array([whole, *found / len(S)])


def spread(found: Floats) -> float:
    """The standard error by the grouped jackknife (Quenouille 1956), of `shares` or a difference of two.

    NaN where there were too few centres to leave any out.
    """
    parts = found[1:]
    if not len(parts):
        return float("nan")
    return float(np.sqrt((len(parts) - 1) * np.var(parts)))


def _groups(count: int) -> NDArray[np.int64]:
    """Each one's group; drawn, because what comes at equal distances is often of one class."""
    order = np.random.default_rng(0).permutation(count)
    return order % min(_GROUPS, count)


def _radii_without(centres: Floats, groups: NDArray[np.int64], k: int) -> list[Floats]:
    """The radii without each group in turn; those of its own members hold nothing."""
    near = min(_NEAREST, len(centres))
    rows = []
    for squares in _squares(centres, centres):
        at = np.argpartition(squares, near - 1, axis=1)[:, :near]
        held = np.take_along_axis(squares, at, axis=1)
        rows.append([_kth(held, groups[at] == group, k) for group in range(groups.max() + 1)])
    radii = [np.concatenate(parts) for parts in zip(*rows, strict=True)]
    return [np.where(groups == group, -1.0, each) for group, each in enumerate(radii)]


def _kth(held: Floats, gone: NDArray[np.bool_], k: int) -> Floats:
    """The k-th of each row, itself aside, without those gone; the farthest where too few are left."""
    left = np.where(gone, held.max(axis=1, keepdims=True), held)
    return np.asarray(np.partition(left, k, axis=1)[:, k])


def _radii(centres: Floats, k: int) -> Floats:
    """The squared distance of each sample to its k-th nearest other one: the first of k + 1 is itself."""
    parts = [np.partition(squares, k, axis=1)[:, k] for squares in _squares(centres, centres)]
    return np.concatenate(parts)


def _squares(A: Floats, B: Floats) -> Iterator[Floats]:
    """Squared distances (rows, m) of A (n, d) to B (m, d), some rows at a time."""
    norms = np.square(B).sum(axis=1)
    rows = max(1, _HELD // len(B))
    for start in range(0, len(A), rows):
        block = A[start : start + rows]
        sums = np.square(block).sum(axis=1)[:, None] + norms
        squares = sums - 2 * block @ B.T
        # Equal samples are at distance 0, not at the rounding of what cancels.
        squares[squares <= sums * (8 * np.finfo(np.float64).eps)] = 0
        yield squares
