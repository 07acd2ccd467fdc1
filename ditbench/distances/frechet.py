"""The Frechet distance of two Gaussians (Dowson & Landau 1982; as FID: Heusel et al. 2017, arXiv 1706.08500).

    d = |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))

The root's trace is taken from the eigenvalues of the symmetric S1^(1/2) S2 S1^(1/2), clipped at zero: real
also where fewer samples than features make the covariances singular. Everything is float64; in float32 the
singular case is 0.3 % wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Mean (d,) and covariance (d, d) of features."""

    mean: Floats
    covariance: Floats


def moments(features: NDArray[np.floating]) -> Moments:
    """Of features (n, d), n at least 2; the covariance divides by n - 1."""
    exact = features.astype(np.float64)
    return Moments(exact.mean(axis=0), np.cov(exact, rowvar=False).reshape(2 * exact.shape[1:]))


def distance(one: Moments, other: Moments) -> float:
    """The distance; where rounding would make it negative, 0."""
    root = _root(one.covariance)
    middle = np.linalg.eigvalsh(root @ other.covariance @ root)
    cross = np.sqrt(np.clip(middle, 0, None)).sum()
    shift = one.mean - other.mean
    found = shift @ shift + np.trace(one.covariance) + np.trace(other.covariance) - 2 * cross
    return max(0.0, float(found))


def paired_change(
    method: NDArray[np.floating],
    softmax: NDArray[np.floating],
    reference: Moments,
    resamples: int = 200,
) -> tuple[float, float]:
    """d(method, reference) - d(softmax, reference), and its bootstrap standard error.

    Both features (n, d) come from the same noise and labels, so the same resampled indices are taken from
    both: the seeds' common luck cancels.
    """
    draw = np.random.default_rng(0)
    changes = [
        distance(moments(method[chosen]), reference) - distance(moments(softmax[chosen]), reference)
        for chosen in draw.integers(0, len(method), (resamples, len(method)))
    ]
    change = distance(moments(method), reference) - distance(moments(softmax), reference)
    return change, float(np.std(changes, ddof=1))


def _root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    rooted: Floats = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return rooted
