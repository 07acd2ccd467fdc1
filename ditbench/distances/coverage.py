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
