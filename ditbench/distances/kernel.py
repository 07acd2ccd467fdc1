"""The kernel distance, as KID: Binkowski, Sutherland, Arbel & Gretton 2018 (arXiv 1801.01401).

    MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y)        k(a, b) = (a . b / d + 1)^3

The means of one set leave out each sample beside itself, which makes the estimate unbiased for every n: two
sets of real pictures give 0 on average, and a single value may be negative. That is its point beside the
Frechet distance, whose bias of few samples is larger than what one looks for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ditbench.distances.moments import Features, Floats, finite
from ditbench.errors import UsageError

_ROWS = 1024  # of a kernel matrix that are in memory at once


def mmd(x: Features, y: Features) -> float:
    """The unbiased MMD^2 of features (n, d) and (m, d), at least 2 each; all of them, in one estimate."""
    _check(x, y, 2)
    X, Y = finite(x), finite(y)
    return float(_values(X, Y, np.ones((1, len(X))))[0])


def distance(
    x: Features, y: Features, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Mean and standard deviation (of the population, as torchmetrics') of MMD^2 over random subsets.

    Each subset is `subset_size` samples of each side, drawn without putting back. Where that is more than a
    side has, UsageError is raised: `mmd` is the estimate from all of few samples, and as unbiased.
    """
    _check(x, y, max(2, subset_size))
    draw = np.random.default_rng(seed)
    values = [
        mmd(
            x[draw.choice(len(x), subset_size, replace=False)],
            y[draw.choice(len(y), subset_size, replace=False)],
        )
        for _ in range(subsets)
    ]
    return float(np.mean(values)), float(np.std(values))


def sway(x: Features, y: Features, peers: int = 1000, seed: int = 0) -> Floats:
    """The first-order change of mmd(x, y) with each sample's weight, (n,), y being taken as it is.

    Its standard deviation over sqrt(n) is a standard error, as good as a bootstrap's where n is in the
    thousands and at a fraction of its cost: the means are over so many samples of either side, the same for
    the same numbers of them.
    """
    _check(x, y, 2)
    draw = np.random.default_rng(seed)
    chosen, others = (draw.choice(len(of), min(peers, len(of)), replace=False) for of in (x, y))
    beside, against = finite(x[chosen]), finite(y[others])
    found = np.empty(len(x))
    for start in range(0, len(x), _ROWS):
        rows = finite(x[start : start + _ROWS])
        own = np.arange(start, start + len(rows))[:, None] != chosen  # no sample is its own peer
        near = (_kernel(rows, beside) * own).sum(axis=1) / own.sum(axis=1)
        found[start : start + _ROWS] = 2 * (near - _kernel(rows, against).mean(axis=1))
    return found


def error(x: Features, y: Features, resamples: int = 200, seed: int = 0) -> float:
    """The bootstrap standard error of mmd(x, y), y being taken as it is."""
    _check(x, y, 2)
    values = _values(finite(x), finite(y), _draws(len(x), resamples, seed))
    return float(np.std(values, ddof=1))


def paired_change(
    method: Features, softmax: Features, y: Features, resamples: int = 200, seed: int = 0
) -> tuple[float, float]:
    """mmd(method, y) - mmd(softmax, y), and its bootstrap standard error, the same rows drawn from both."""
    if method.shape != softmax.shape:
        raise UsageError(f"features {method.shape} and {softmax.shape} are not of the same samples")
    _check(method, y, 2)
    weights = np.vstack([np.ones(len(method)), _draws(len(method), resamples, seed)])
    exact = finite(y)
    changes = _values(finite(method), exact, weights) - _values(finite(softmax), exact, weights)
    return float(changes[0]), float(np.std(changes[1:], ddof=1))


def of_pairs(x: Features, y: Features, resamples: int = 200, seed: int = 0) -> tuple[float, float]:
    """MMD^2 of features (n, d) whose rows belong together, and its bootstrap standard error.

    Rows of the same noise are not independent, so each one beside its own partner is left out as well
    (Gretton et al. 2012, lemma 6); equal sets are at exactly 0. The same rows are drawn from both.
    """
    if x.shape != y.shape:
        raise UsageError(f"features {x.shape} and {y.shape} are not of the same samples")
    _check(x, y, 2)
    X, Y = finite(x), finite(y)
    weights = np.vstack([np.ones(len(X)), _draws(len(X), resamples, seed)])
    found = np.zeros(len(weights))
    for start in range(0, len(X), _ROWS):
        rows = slice(start, start + _ROWS)
        moved = _kernel(X[rows], X) + _kernel(Y[rows], Y)
        moved -= _kernel(X[rows], Y) + _kernel(Y[rows], X)
        moved[np.arange(len(moved)), np.arange(start, start + len(moved))] = 0
        found += np.einsum("rn,nr->r", weights[:, rows], moved @ weights.T)
    found /= len(X) ** 2 - np.square(weights).sum(axis=1)
    return float(found[0]), float(np.std(found[1:], ddof=1))


def _values(X: Floats, Y: Floats, weights: Floats) -> Floats:
    """MMD^2 (r,) for each of so many weights (r, n) of the rows of X, those of Y counting once.

    A sample drawn twice is no pair with itself: k(x, x) would enter that the estimate leaves out.
    """
    own, beside = np.zeros(len(weights)), np.zeros(len(weights))
    for start in range(0, len(X), _ROWS):
        rows = slice(start, start + _ROWS)
        kernel = _kernel(X[rows], X)
        kernel[np.arange(len(kernel)), np.arange(start, start + len(kernel))] = 0
        own += np.einsum("rn,nr->r", weights[:, rows], kernel @ weights.T)
        beside += weights[:, rows] @ _kernel(X[rows], Y).mean(axis=1)
    total = weights.sum(axis=1)
    pairs = total**2 - np.square(weights).sum(axis=1)
    found: Floats = own / pairs + _mean_of_pairs(Y) - 2 * beside / total
    return found


def _mean_of_pairs(Y: Floats) -> float:
    total = 0.0
    for start in range(0, len(Y), _ROWS):
        kernel = _kernel(Y[start : start + _ROWS], Y)
        total += kernel.sum() - np.trace(kernel, offset=start)
    return float(total / (len(Y) * (len(Y) - 1)))


def _kernel(A: Floats, B: Floats) -> Floats:
    found: Floats = (A @ B.T / A.shape[1] + 1) ** 3
    return found


def _draws(count: int, resamples: int, seed: int) -> Floats:
    draw = np.random.default_rng(seed)
    return draw.multinomial(count, np.full(count, 1 / count), resamples).astype(np.float64)


def _check(x: NDArray[np.floating], y: NDArray[np.floating], least: int) -> None:
    if x.shape[1] != y.shape[1]:
        raise UsageError(
            f"features of {x.shape[1]} and of {y.shape[1]} numbers are of different networks"
        )
    if min(len(x), len(y)) < least:
        raise UsageError(
            f"a kernel distance of {least} samples a side needs as many: {len(x)} and {len(y)} are given"
        )
