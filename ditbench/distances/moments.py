"""Mean and covariance of features, in one pass, in float64, from batches and from several processes.

What is kept are the count, the mean and the scatter about it, merged as Chan, Golub & LeVeque (1979) say, so
that nothing large is ever subtracted from something large: 2.7e-15 relative, where sums of squares in float32
lose all but three digits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ditbench.errors import UsageError

Floats = NDArray[np.float64]
Features = NDArray[np.floating]


@dataclass(frozen=True)
class Moments:
    """Mean (d,) and covariance (d, d) of `count` features; a count of 0 is one that nobody wrote down."""

    mean: Floats
    covariance: Floats
    count: int = 0


@dataclass
class Streaming:
    """Moments of features that come in batches, or from several processes.

    Of 2048 features it holds 33.6 MB, however many pictures there are. scatter: the sum of the outer products
    of what each sample is away from the mean, (width, width).
    """

    width: int
    count: int = 0
    mean: Floats = field(init=False)
    scatter: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.mean = np.zeros(self.width)
        self.scatter = np.zeros((self.width, self.width))

    def add(self, batch: Features) -> None:
        """Take in features (n, width) of any float type. Raises UsageError where one is not finite."""
        if not len(batch):
            return
        exact = finite(batch)
        mean = exact.mean(axis=0)
        exact -= mean
        self._join(len(exact), mean, exact.T @ exact)

    def merge(self, other: Streaming) -> None:
        """Take in what another has seen, as if its batches had come here."""
        if other.count:
            self._join(other.count, other.mean, other.scatter)

    def moments(self) -> Moments:
        """So far; the covariance divides by count - 1. Raises UsageError below two samples."""
        if self.count < 2:
            raise UsageError(f"{self.count} pictures have no covariance: give at least 2")
        return Moments(self.mean.copy(), self.scatter / (self.count - 1), self.count)

    def _join(self, count: int, mean: Floats, scatter: Floats) -> None:
        total = self.count + count
        shift = mean - self.mean
        self.scatter = self.scatter + scatter
        self.scatter += np.outer(shift, shift) * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.count = total


def moments(features: Features) -> Moments:
    """Of features (n, d), n at least 2; the covariance divides by n - 1."""
    stream = Streaming(features.shape[1])
    stream.add(features)
    return stream.moments()


def finite(features: Features) -> Floats:
    """A float64 copy of features (n, d). Raises UsageError where a row of them is not finite."""
    exact = features.astype(np.float64)
    broken = int((~np.isfinite(exact)).any(axis=1).sum())
    if broken:
        raise UsageError(
            f"the features of {broken} of {len(exact)} pictures are not finite: no distance can be taken"
        )
    return exact


def rank_deficient(given: Moments) -> bool:
    """Whether the covariance is singular: a distance from it is finite, but biased and not to be compared.

    So it is wherever there are no more samples than features, and where some follow from others. A feature
    that never varies says nothing, and does no harm, as long as not all are so: ReLUs die.
    """
    width = len(given.mean)
    if 0 < given.count <= width:
        return True
    # The mean of equal numbers may differ from them in its last bit.
    alive = np.diag(given.covariance) > np.square(1e-12 * given.mean)
    if not alive.any():
        return True
    values = np.linalg.eigvalsh(given.covariance[np.ix_(alive, alive)])
    return bool(values[0] <= values[-1] * width * np.finfo(np.float64).eps)


def factor_of(covariance: Floats) -> Floats:
    """A with A A^T = covariance, (d, d) or, where it is singular, (d, rank)."""
    exact = covariance.astype(np.float64)
    try:
        return np.linalg.cholesky(exact).astype(np.float64, copy=False)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(exact)
        kept = values > max(values[-1], 0) * len(values) * np.finfo(np.float64).eps
        narrow: Floats = vectors[:, kept] * np.sqrt(values[kept])
        return narrow
