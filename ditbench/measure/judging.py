"""Figures of a whole set of pictures: distances, coverage and class scores in one network's features.

Each comes with its standard error, and beside softmax's pictures of the same noise with the difference to
softmax's own figure and that difference's error, the same pictures drawn from both. A figure that cannot be
had says why; none is left out in silence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ditbench.distances import coverage, frechet, kernel, paired, score
from ditbench.distances.moments import Moments
from ditbench.errors import UsageError
from ditbench.extractors.base import Features
from ditbench.scores import ALONE, References, Score

Rows = NDArray[np.float32]
Change = tuple[float, float]
# Of a reference's pictures that have balls about them, as in ADM's evaluator: they cost their square.
MOST_REAL = 10_000
# Kernel distances of more pictures are means over subsets of so many (Binkowski et al. 2018).
_MOST_AT_ONCE, _SUBSETS, _SUBSET = 5_000, 100, 1_000
# Pictures of one split of a class score, as ADM's evaluator takes them.
_SPLIT = 5_000
# Numbers that the draws of a class score may look at, all told.
_DRAWN, _LEAST_DRAWS, _MOST_DRAWS = 2e8, 20, 200
# Fewer pictures show no curve of a distance against their number.
_LEAST_CURVE = 16


class MissingError(Exception):
    """Why a figure cannot be measured, as a clause."""


@dataclass(frozen=True)
class Target:
    """What features are compared with.

    moments, spatial: of pooled features and of spatial ones. features (m, d): where they are kept; against
    softmax row i is of the same noise as row i of the method's.
    """

    against: References
    moments: Moments | None = None
    spatial: Moments | None = None
    features: Rows | None = None


@dataclass(frozen=True)
class Figure:
    """A value with its standard error. change: the difference to softmax's own value, and its error."""

    value: float
    error: float
    change: Change | None = None
    by_count: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Sets:
    """A method's features, softmax's of the same noise (of softmax the same object), and the target."""

    ours: Features
    softmax: Features | None
    target: Target
    headless: str = "its classes are not at hand"

    @property
    def is_itself(self) -> bool:
        """Whether the method is softmax, so that every difference to softmax is nothing."""
        return self.ours is self.softmax

    @property
    def is_matched(self) -> bool:
        """Whether the target is softmax's pictures of the same noise."""
        return self.target.against == "softmax"

    @property
    def rows(self) -> Rows:
        """The target's features. Raises MissingError."""
        if self.target.features is None:
            raise MissingError(
                "the statistics of the real pictures hold no features: ditbench stats make keeps them"
            )
        return self.target.features


@dataclass
class Judged:
    """What was found, by the names of records. unmeasured: what was not, with the reason."""

    metrics: dict[str, tuple[float, ...]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    paired: dict[str, dict[str, float]] = field(default_factory=dict)
    by_count: dict[str, list[list[float]]] = field(default_factory=dict)
    unmeasured: list[str] = field(default_factory=list)

    def add(self, name: str, found: Figure) -> None:
        """Take in a figure; what is not finite is no figure."""
        if not math.isfinite(found.value):
            self.unmeasured.append(f"{name}: {found.value}")
            return
        self.metrics[name] = (found.value,)
        if math.isfinite(found.error):
            self.errors[name] = found.error
        if found.change and all(map(math.isfinite, found.change)):
            self.paired[name] = dict(zip(("change", "error"), found.change, strict=True))
        if found.by_count:
            self.by_count[name] = [list(pair) for pair in found.by_count]


def judge(words: Iterable[str], network: str, several: Iterable[Sets], into: Judged) -> None:
    """Every figure that a suite's words ask for, against each target; a class score has none."""
    several = tuple(several)
    for word in words:
        alone = word == ALONE
        for sets in several[:1] if alone else several:
            against: References = "" if alone else sets.target.against
            score = Score(word, network, len(sets.ours.pool), against)
            try:
                into.add(score.name, _FIGURES[word](sets))
            except (MissingError, UsageError, ValueError) as error:
                beside = f" against {against}" if against else ""
                into.unmeasured.append(f"{word}{beside} in {network} features: {error}")


def _frechet(sets: Sets) -> Figure:
    softmax = sets.softmax.pool if sets.softmax else None
    return _distance(sets, sets.ours.pool, softmax, sets.target.moments)


def _spatial(sets: Sets) -> Figure:
    if sets.ours.spatial is None:
        raise MissingError("the network has no spatial features")
    softmax = sets.softmax.spatial if sets.softmax else None
    return _distance(sets, sets.ours.spatial, softmax, sets.target.spatial)


def _distance(sets: Sets, own: Rows, softmax: Rows | None, target: Moments | None) -> Figure:
    """A Frechet distance. To softmax's own pictures it is the difference to softmax's own, which is 0."""
    if target is None:
        raise MissingError("the statistics of the real pictures have none of these features")
    if sets.is_itself and sets.is_matched:
        return Figure(0.0, 0.0, (0.0, 0.0))
    if sets.is_matched and softmax is not None:
        value, error = frechet.of_pairs(own, softmax)
        return Figure(value, error, (value, error))
    change: Change | None = None
    if sets.is_itself:
        change = (0.0, 0.0)
    elif softmax is not None:
        change = frechet.paired_change(own, softmax, target)
    value = frechet.from_features(own, target)
    curve = tuple(frechet.by_count(own, target, _counts(len(own))))
    return Figure(value, frechet.error(own, target), change, curve)


def _counts(count: int) -> list[int]:
    """An eighth, a quarter, a half and all of the pictures."""
    return [count // part for part in (8, 4, 2, 1)] if count >= _LEAST_CURVE else []


def _kernel(sets: Sets) -> Figure:
    own, rows = sets.ours.pool, sets.rows
    if sets.is_matched:
        return _kernel_of_pairs(own, rows)
    softmax = sets.softmax.pool if sets.softmax else None
    if len(own) > _MOST_AT_ONCE:
        return _kernel_of_subsets(own, softmax, rows)
    real = drawn(rows, _MOST_AT_ONCE)
    value, error = kernel.mmd(own, real), kernel.error(own, real)
    if sets.is_itself:
        return Figure(value, error, (0.0, 0.0))
    change = kernel.paired_change(own, softmax, real) if softmax is not None else None
    return Figure(value, error, change)


def _kernel_of_pairs(own: Rows, rows: Rows) -> Figure:
    kept = slice(0, _MOST_AT_ONCE)
    value, error = kernel.of_pairs(own[kept], rows[kept])
    return Figure(value, error, (value, error))


def _kernel_of_subsets(own: Rows, softmax: Rows | None, real: Rows) -> Figure:
    size = min(_SUBSET, len(real))

    def each(rows: Rows) -> NDArray[np.float64]:
        return np.array([kernel.distance(rows, real, 1, size, seed)[0] for seed in range(_SUBSETS)])

    def of_sample(rows: Rows) -> NDArray[np.float64]:
        return kernel.sway(rows, real)

    values, sways = each(own), of_sample(own)
    found = _of_subsets(values, sways)
    if softmax is None:
        return Figure(*found)
    return Figure(*found, _of_subsets(values - each(softmax), sways - of_sample(softmax)))


def _of_subsets(values: NDArray[np.float64], sways: NDArray[np.float64]) -> Change:
    """A mean over subsets, with the error of its pictures and that of the subsets, which are drawn from them.

    The subsets' alone would fall to nothing with their number, however few the pictures are.
    """
    (value, drawing), (_, sampling) = _mean(values), _mean(sways)
    return value, math.hypot(drawing, sampling)


def _precision(sets: Sets) -> Figure:
    real = drawn(sets.rows, MOST_REAL)
    within = coverage.covered(sets.ours.pool, real)
    return _share(within, sets, lambda softmax: coverage.covered(softmax, real))


def _recall(sets: Sets) -> Figure:
    real = drawn(sets.rows, MOST_REAL)
    shares = coverage.shares(real, sets.ours.pool)
    value, error = float(shares[0]), coverage.spread(shares)
    if sets.is_itself:
        return Figure(value, error, (0.0, 0.0))
    if sets.softmax is None:
        return Figure(value, error)
    moved = shares - coverage.shares(real, sets.softmax.pool)
    return Figure(value, error, (float(moved[0]), coverage.spread(moved)))


def _share(
    within: NDArray[np.bool_], sets: Sets, of_softmax: Callable[[Rows], NDArray[np.bool_]]
) -> Figure:
    """A share of pictures, with the error of a share; paired, that of a mean of differences.

    The balls about the real pictures are taken as they are, like the reference of every other figure.
    """
    value, error = float(within.mean()), _error_of_share(within)
    if sets.is_itself:
        return Figure(value, error, (0.0, 0.0))
    if sets.softmax is None:
        return Figure(value, error)
    change = _mean(within.astype(np.float64) - of_softmax(sets.softmax.pool))
    return Figure(value, error, change)


def _error_of_share(within: NDArray[np.bool_]) -> float:
    """With two of each kind added (Agresti & Coull 1998): all or none of a few pictures is no certainty."""
    count = len(within) + 4
    share = (int(within.sum()) + 2) / count
    return math.sqrt(share * (1 - share) / count)


def _class_score(sets: Sets) -> Figure:
    own = sets.ours.logits
    if own is None:
        raise MissingError(sets.headless)
    splits = max(1, len(own) // _SPLIT)

    def statistic(logits: Rows) -> float:
        return score.inception_score(logits, splits)[0]

    draws = int(min(_MOST_DRAWS, max(_LEAST_DRAWS, _DRAWN // own.size)))
    found = paired.estimate(statistic, own, draws)
    if sets.is_itself:
        return Figure(found.value, found.error, (0.0, 0.0))
    softmax = sets.softmax.logits if sets.softmax else None
    if softmax is None:
        return Figure(found.value, found.error)
    change = paired.change(statistic, own, softmax, draws)
    return Figure(found.value, found.error, (change.value, change.error))


def drawn(rows: Rows, most: int) -> Rows:
    """At most so many rows, drawn once and always the same: a folder's first are all of one class."""
    if len(rows) <= most:
        return rows
    chosen = np.random.default_rng(0).choice(len(rows), most, replace=False)
    return rows[np.sort(chosen)]


def _mean(values: NDArray[np.generic]) -> Change:
    """A mean and its standard error."""
    exact = values.astype(np.float64)
    return float(exact.mean()), float(exact.std(ddof=1) / math.sqrt(len(exact)))


_FIGURES: Mapping[str, Callable[[Sets], Figure]] = {
    "frechet": _frechet,
    "sfid": _spatial,
    "kid": _kernel,
    "precision": _precision,
    "recall": _recall,
    "inception_score": _class_score,
}
