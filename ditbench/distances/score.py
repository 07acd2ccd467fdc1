"""The Inception Score: Salimans et al. 2016 (arXiv 1606.03498). It looks at no real picture at all.

exp(mean over pictures of KL(p(class | picture) || p(class)))
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ditbench.distances.moments import finite
from ditbench.errors import UsageError


def inception_score(logits: NDArray[np.floating], splits: int = 10) -> tuple[float, float]:
    """Mean and standard deviation of the score over equal, consecutive splits of logits (n, classes).

    ADM's evaluator takes splits of 5,000 pictures: ten of 50,000. Raises UsageError where a split would be
    empty. The logarithms of probabilities are logits too.
    """
    if not 1 <= splits <= len(logits):
        raise UsageError(f"{len(logits)} pictures do not make {splits} splits")
    scores = [_score(part) for part in np.array_split(_log_probabilities(logits), splits)]
    return float(np.mean(scores)), float(np.std(scores))


def _log_probabilities(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    exact = finite(logits)
    exact -= exact.max(axis=1, keepdims=True)
    exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
    return exact


def _score(logs: NDArray[np.float64]) -> float:
    shares = np.exp(logs)
    # A class that no picture is given to counts 0, although its logarithm has no bounds.
    with np.errstate(divide="ignore"):
        marginal = np.log(shares.mean(axis=0))
    terms = np.where(shares > 0, shares * (logs - np.where(shares > 0, marginal, 0)), 0)
    return float(np.exp(terms.sum(axis=1).mean()))
