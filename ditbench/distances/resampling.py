"""How sure a Frechet distance is, and how sure the difference of two from the same noise and labels.

A bootstrap (Efron 1979) draws n of n samples again and again and sees how the distance spreads. A draw
costs one decomposition of a matrix as wide as the smaller of 0.63 n (the samples that a draw holds) and d:
a second or more at d = 2048 once n is in the thousands. Where that is so, the spread comes from the
distance's first-order change with each sample's weight (the infinitesimal jackknife, Jaeckel 1972), in one
decomposition for all. With H = (samples - m) B / sqrt(n - 1), where B B^T is the reference's covariance,
sample i changes the distance by

    2 (m - m_ref) . (x_i - m) + |x_i - m|^2 n / (n - 1) - n ((H H^T)^(1/2))_ii    for each unit of its weight.

Against distances of many fresh draws (tests) both are right where n is far above d; near and below d both are
too wide, the bootstrap more so, because its draws have a lower rank than the samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ditbench.distances.moments import Features, Floats, Moments, factor_of, finite, moments

# Multiply-adds of one draw, n min(n, d)^2, up to which the bootstrap is taken: 200 draws then cost seconds.
MOST_A_DRAW = 512**3
_ROWS = 4096  # of features that are float64 at once


def error(features: Features, reference: Moments, resamples: int = 200) -> float:
    """The standard error of d(features, reference), the reference being taken as it is."""
    target = _Target.of(reference)
    if _is_dear(features):
        return _spread(_influences(features, target))
    sample = _Sample.of(features, target)
    return float(np.std([sample.distance(w) for w in _draws(len(features), resamples)], ddof=1))


def paired_error(
    method: Features, softmax: Features, reference: Moments, resamples: int = 200
) -> float:
    """The standard error of d(method, reference) - d(softmax, reference); row i of both has one seed."""
    target = _Target.of(reference)
    if _is_dear(method):
        return _spread(_influences(method, target) - _influences(softmax, target))
    one, other = _Sample.of(method, target), _Sample.of(softmax, target)
    changes = [one.distance(w) - other.distance(w) for w in _draws(len(method), resamples)]
    return float(np.std(changes, ddof=1))


def error_of_pairs(one: Features, other: Features) -> float:
    """The standard error of d(one, other), whose row i of both has one seed, to first order.

    A sample's weight counts on both sides, and most of what it does to the one it undoes on the other: with
    one side taken as it is the error would be ten times too large. A bootstrap is no better here, and where
    there are fewer samples than features worse.
    """
    there, back = _influences(one, _Target.seen(other)), _influences(other, _Target.seen(one))
    return _spread(there + back)


@dataclass(frozen=True)
class _Target:
    """The reference: mean (d,), B (d, r) with B B^T its covariance, and that covariance's trace."""

    mean: Floats
    factor: Floats
    trace: float

    @classmethod
    def of(cls, reference: Moments) -> _Target:
        covariance = reference.covariance
        return cls(reference.mean, factor_of(covariance), float(np.trace(covariance)))

    @classmethod
    def seen(cls, features: Features) -> _Target:
        """Of features themselves; fewer than their width make nothing as large as that squared."""
        if len(features) > features.shape[1]:
            return cls.of(moments(features))
        exact = finite(features)
        mean = exact.mean(axis=0)
        factor = (exact - mean).T / np.sqrt(len(exact) - 1)
        return cls(mean, factor, float(np.square(factor).sum()))


@dataclass(frozen=True)
class _Sample:
    """Features beside a reference, with all products that draws share.

    rows: less the reference's mean (n, d). squares: |row|^2 (n,). seen: rows times B (n, r). products: seen
    seen^T (n, n), kept where it is the smaller matrix.
    """

    rows: Floats
    squares: Floats
    seen: Floats
    products: Floats | None
    target: _Target

    @classmethod
    def of(cls, features: Features, target: _Target) -> _Sample:
        rows = finite(features) - target.mean
        seen = rows @ target.factor
        products = seen @ seen.T if len(seen) < seen.shape[1] else None
        return cls(rows, np.square(rows).sum(axis=1), seen, products, target)

    def distance(self, weights: Floats) -> float:
        """From the samples, each as often as its weight (n,) says; the weights add up to n."""
        count = weights.sum()
        shift = weights @ self.rows / count
        scatter = weights @ self.squares - count * (shift @ shift)
        values = np.linalg.eigvalsh(self._middle(weights, count))
        cross = np.sqrt(np.clip(values, 0, None)).sum() / np.sqrt(count - 1)
        return float(shift @ shift + scatter / (count - 1) + self.target.trace - 2 * cross)

    def _middle(self, weights: Floats, count: float) -> Floats:
        """A matrix with the eigenvalues of (count - 1) H H^T; samples that were not drawn are left out."""
        drawn = np.flatnonzero(weights)
        weights = weights[drawn]
        scale = np.sqrt(weights)
        if self.products is None:
            seen = self.seen[drawn]
            seen = (seen - weights @ seen / count) * scale[:, None]
            return seen.T @ seen
        products = self.products[np.ix_(drawn, drawn)]
        beside = products @ weights / count
        products = products - beside - beside[:, None] + weights @ beside / count
        products *= np.outer(scale, scale)
        return products


def _is_dear(features: Features) -> bool:
    count, width = features.shape
    return bool(count * min(count, width) ** 2 > MOST_A_DRAW)


def _draws(count: int, resamples: int) -> Floats:
    """How often each of so many samples is drawn, (resamples, count); the same for the same numbers."""
    draw = np.random.default_rng(0)
    drawn = draw.integers(0, count, (resamples, count))
    return np.array([np.bincount(one, minlength=count) for one in drawn], np.float64)


def _spread(influences: Floats) -> float:
    """The standard error that first-order changes with each weight amount to."""
    return float(np.std(influences) / np.sqrt(len(influences)))


def _influences(features: Features, target: _Target) -> Floats:
    """The first-order change of the distance with each sample's weight, up to a constant, (n,)."""
    count = len(features)
    mean = features.mean(axis=0, dtype=np.float64)
    scale, basis = _decomposed(features, mean, target)
    found = np.empty(count)
    for start in range(0, count, _ROWS):
        rows = finite(features[start : start + _ROWS]) - mean
        root = np.square(rows @ basis) @ scale
        straight = 2 * rows @ (mean - target.mean)
        found[start : start + _ROWS] = (
            straight + np.square(rows).sum(axis=1) * count / (count - 1) - root * count
        )
    return found


def _decomposed(features: Features, mean: Floats, target: _Target) -> tuple[Floats, Floats]:
    """Scales s (k,) and C (d, k): ((H H^T)^(1/2))_ii is the sum over k of s_k ((x_i - m) . c_k)^2."""
    count, width = len(features), target.factor.shape[1]
    middle = np.zeros((width, width))
    for start in range(0, count, _ROWS):
        seen = (finite(features[start : start + _ROWS]) - mean) @ target.factor
        middle += seen.T @ seen
    values, vectors = np.linalg.eigh(middle / (count - 1))
    kept = values > max(values[-1], 0) * width * np.finfo(np.float64).eps
    basis = target.factor @ vectors[:, kept]
    return 1 / (np.sqrt(values[kept]) * (count - 1)), basis
