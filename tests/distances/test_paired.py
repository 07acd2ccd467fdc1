"""The paired bootstrap on a case whose answer is known, and the Inception Score."""

from __future__ import annotations

import numpy as np
import pytest

from ditbench.distances import paired
from ditbench.distances.score import inception_score
from ditbench.errors import UsageError

RNG = np.random.default_rng(4)


def mean(rows):
    return float(rows.mean())


def test_pairing_finds_a_change_that_two_separate_intervals_cannot():
    luck = RNG.normal(size=300)
    softmax = luck + 0.02 * RNG.normal(size=300)
    method = luck + 0.05 + 0.02 * RNG.normal(size=300)
    together = paired.change(mean, method, softmax)
    alone = [paired.estimate(mean, rows) for rows in (method, softmax)]
    assert together.error < np.hypot(*(one.error for one in alone)) / 20
    assert together.low < 0.05 < together.high
    assert together.low > 0
    assert alone[0].low < alone[1].high, "separate intervals overlap"


def test_its_interval_holds_the_truth_nineteen_times_in_twenty():
    """A known case: a change of exactly 0.3 under noise, 250 times over."""
    held = 0
    for seed in range(250):
        draw = np.random.default_rng(seed)
        softmax = draw.normal(size=60)
        found = paired.change(
            mean, softmax + 0.3 + 0.5 * draw.normal(size=60), softmax, 300, 9000 + seed
        )
        held += found.low <= 0.3 <= found.high
    assert 0.91 <= held / 250 <= 0.98


def test_any_figure_of_the_rows_can_be_compared():
    softmax = RNG.normal(size=(200, 3)) + 30
    found = paired.change(lambda rows: float(np.median(rows[:, 0])), softmax + 2, softmax)
    assert found.value == pytest.approx(2)
    assert (found.low, found.high, found.error) == pytest.approx((2, 2, 0), abs=1e-9)


def test_the_same_numbers_give_the_same_interval():
    rows = RNG.normal(size=50)
    assert paired.estimate(mean, rows) == paired.estimate(mean, rows)


def test_rows_that_are_no_pairs_are_refused():
    with pytest.raises(UsageError, match="3 rows and 4 are not of the same samples"):
        paired.change(mean, np.zeros(3), np.zeros(4))
    with pytest.raises(UsageError, match="1 rows have no spread"):
        paired.estimate(mean, np.zeros(1))


def test_the_score_is_the_number_of_classes_that_are_told_apart():
    sure = np.kron(np.ones((5, 1)), np.eye(4)) * 1000
    assert inception_score(sure, splits=1) == pytest.approx((4, 0))
    assert inception_score(np.zeros((20, 4)), splits=2) == pytest.approx((1, 0))


def test_the_score_is_its_definition_on_each_split():
    logits = RNG.normal(size=(30, 5))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scores = []
    for part in np.split(shares, 3):
        kl = (part * np.log(part / part.mean(axis=0))).sum(axis=1)
        scores.append(np.exp(kl.mean()))
    assert inception_score(logits, 3) == pytest.approx((np.mean(scores), np.std(scores)))
    assert inception_score(np.log(shares) + 7, 3) == pytest.approx(inception_score(logits, 3))


def test_more_splits_than_pictures_are_refused():
    with pytest.raises(UsageError, match="3 pictures do not make 10 splits"):
        inception_score(np.zeros((3, 4)))
