"""The Frechet distance of two Gaussians (Dowson & Landau 1982; as FID: Heusel et al. 2017, arXiv 1706.08500).

    d = |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))

With S1 = A A^T and S2 = B B^T the root's trace is the nuclear norm of A^T B, which is real and finite also
where fewer samples than features make the covariances singular. From two covariances the factor A is
Cholesky's, or where there is none the one of the eigenvectors; from fewer samples than features it is the
centred samples themselves, and all work is on matrices of samples instead of features. Everything is
float64; in float32 the singular case is 0.3 % wrong. No matrix square root is ever taken.

Cost of d features: about 6 d^3 multiply-adds from two covariances; n d^2 + n^3 from n < d samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ditbench.distances import resampling
from ditbench.distances.moments import (
    Features,
    Floats,
    Moments,
    Streaming,
    factor_of,
    finite,
    moments,
    rank_deficient,
)
from ditbench.errors import UsageError

__all__ = ["Features", "Floats", "Moments", "Streaming", "moments", "rank_deficient"]


def distance(one: Moments, other: Moments) -> float:
    """The distance; where rounding would make it negative, 0. Raises UsageError where widths differ."""
    _check_widths(len(one.mean), len(other.mean))
    # Of the one with fewer samples the factor is narrower.
    few, many = (one, other) if one.count < other.count else (other, one)
    factor = factor_of(few.covariance)
    cross = _sum_of_roots(factor.T @ many.covariance @ factor)
    shift = one.mean - other.mean
    found = shift @ shift + np.trace(one.covariance) + np.trace(other.covariance) - 2 * cross
    return max(0.0, float(found))


def from_features(features: Features, reference: Moments) -> float:
    """d(moments(features), reference), by way of the samples where they are fewer than the features."""
    if len(features) > features.shape[1]:
        return distance(moments(features), reference)
    _check_widths(features.shape[1], len(reference.mean))
    centred, mean = _centred(features)
    cross = _sum_of_roots(centred @ reference.covariance @ centred.T)
    shift = mean - reference.mean
    found = shift @ shift + np.square(centred).sum() + np.trace(reference.covariance) - 2 * cross
    return max(0.0, float(found))


def between(features: Features, others: Features) -> float:
    """The distance of features (n, d) and (m, d), by a nuclear norm of (n, m) where both are fewer than d."""
    if max(len(features), len(others)) > features.shape[1]:
        return from_features(features, moments(others))
    _check_widths(features.shape[1], others.shape[1])
    (A, mean), (B, other) = _centred(features), _centred(others)
    cross = np.linalg.svd(A @ B.T, compute_uv=False).sum()
    found = np.square(mean - other).sum() + np.square(A).sum() + np.square(B).sum() - 2 * cross
    return max(0.0, float(found))


def by_count(
    features: Features, reference: Moments, counts: Sequence[int]
) -> list[tuple[int, float]]:
    """The distance of the first n features for each n of counts, which shows how n biases it.

    Raises UsageError where a count is below 2 or above what there is.
    """
    for count in counts:
        if not 2 <= count <= len(features):
            raise UsageError(f"{count} of {len(features)} features: give from 2 to {len(features)}")
    return [(count, from_features(features[:count], reference)) for count in counts]


def error(features: Features, reference: Moments, resamples: int = 200) -> float:
    """The standard error of d(features, reference), the reference being taken as it is.

    By bootstrap, or to first order where draws are dear: `resampling` says when, and why.
    """
    return resampling.error(features, reference, resamples)


def paired_change(
    method: Features, softmax: Features, reference: Moments, resamples: int = 200
) -> tuple[float, float]:
    """d(method, reference) - d(softmax, reference), and its standard error.

    Both features (n, d) come from the same noise and labels, so the same samples are drawn from both: the
    seeds' common luck cancels. Raises UsageError where they are not as many.
    """
    if method.shape != softmax.shape:
        raise UsageError(f"features {method.shape} and {softmax.shape} are not of the same samples")
    change = from_features(method, reference) - from_features(softmax, reference)
    return change, resampling.paired_error(method, softmax, reference, resamples)


def of_pairs(one: Features, other: Features) -> tuple[float, float]:
    """d(one, other) of features (n, d) whose rows belong together, and its standard error.

    Raises UsageError where they are not as many.
    """
    if one.shape != other.shape:
        raise UsageError(f"features {one.shape} and {other.shape} are not of the same samples")
    return between(one, other), resampling.error_of_pairs(one, other)


def _centred(features: Features) -> tuple[Floats, Floats]:
    """A (n, d) with A^T A = covariance, and the mean (d,). Raises UsageError below two samples."""
    if len(features) < 2:
        raise UsageError(f"{len(features)} pictures have no covariance: give at least 2")
    exact = finite(features)
    mean = exact.mean(axis=0)
    return (exact - mean) / np.sqrt(len(exact) - 1), mean


def _sum_of_roots(squares: Floats) -> float:
    """Sum of the singular values of a matrix X, from X X^T; what rounding made negative is 0."""
    if not squares.size:
        return 0.0
    return float(np.sqrt(np.clip(np.linalg.eigvalsh(squares), 0, None)).sum())


def _check_widths(one: int, other: int) -> None:
    if one != other:
        raise UsageError(f"features of {one} and of {other} numbers are of different networks")
