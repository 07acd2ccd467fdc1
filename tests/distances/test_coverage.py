"""Precision and recall against brute force, whatever the size of a block."""

from __future__ import annotations

import numpy as np
import pytest

from ditbench.distances import coverage
from ditbench.distances.coverage import covered, precision_recall
from ditbench.errors import UsageError

RNG = np.random.default_rng(2)


def brute(samples, centres, k):
    """Each sample against each ball, one at a time."""
    radii = [sorted(((c - o) ** 2).sum() for o in centres)[k] for c in centres]
    balls = list(zip(centres, radii, strict=True))
    return np.mean([any(((s - c) ** 2).sum() <= r for c, r in balls) for s in samples])


@pytest.mark.parametrize("held", [1, 100, 10**6])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_it_agrees_with_brute_force_in_blocks_of_any_size(monkeypatch, held, k):
    monkeypatch.setattr(coverage, "_HELD", held)
    real, fake = RNG.normal(size=(40, 3)), RNG.normal(size=(33, 3)) * 1.4 + 0.5
    assert precision_recall(real, fake, k) == (brute(fake, real, k), brute(real, fake, k))


def test_narrow_fakes_are_precise_and_recall_little():
    real = RNG.normal(size=(300, 2))
    precision, recall = precision_recall(real, real[0] + 1e-6 * RNG.normal(size=(300, 2)))
    assert precision == 1
    assert recall < 0.1


def test_far_fakes_have_neither():
    real = RNG.normal(size=(30, 2))
    assert precision_recall(real, RNG.normal(size=(30, 2)) + 1000) == (0, 0)


def test_equal_sets_have_both_also_far_from_zero():
    real = RNG.normal(size=(30, 4)) + 1e6
    assert precision_recall(real, real.copy()) == (1, 1)


def test_mistake_27_constant_pictures_cover_only_themselves():
    real = RNG.normal(size=(30, 4))
    black = np.full((30, 4), 0.37)
    assert precision_recall(real, black + 100) == (0, 0)
    assert covered(black, black).all()
    assert not covered(real, black).any()


def test_float32_features_are_judged_in_float64():
    real = RNG.normal(size=(50, 8)).astype(np.float32)
    fake = RNG.normal(size=(50, 8)).astype(np.float32)
    assert precision_recall(real, fake) == (brute(fake, real, 3), brute(real, fake, 3))


def test_too_few_samples_have_no_third_neighbour():
    with pytest.raises(UsageError, match="3 samples have no nearest neighbour number 3"):
        precision_recall(np.zeros((3, 2)), np.zeros((9, 2)))
    with pytest.raises(UsageError, match="features of 3 and of 2 numbers"):
        precision_recall(np.zeros((9, 2)), np.zeros((9, 3)))


def test_shares_are_those_without_each_group_by_brute_force(monkeypatch):
    real, fake = RNG.normal(size=(40, 3)), RNG.normal(size=(33, 3)) * 1.2
    monkeypatch.setattr(coverage, "_HELD", 100)
    found, groups = coverage.shares(real, fake), coverage._groups(33)
    assert found[0] == brute(real, fake, 3)
    assert found[1:] == pytest.approx([brute(real, fake[groups != g], 3) for g in range(10)])


def test_the_error_of_a_recall_is_that_of_other_fakes():
    """A quarter wider, as leaving groups out tells it (seeds 0 to 5: 1.12 to 1.35), and not narrower.

    Over the reals alone it would be 0.008: they say nothing of how the balls change.
    """
    real = RNG.normal(size=(2000, 8))
    found = [coverage.shares(real, RNG.normal(0.1, 0.9, (100, 8))) for _ in range(80)]
    told = np.mean([coverage.spread(one) for one in found])
    assert 0.9 < told / np.std([one[0] for one in found], ddof=1) < 1.6


def test_too_few_centres_to_leave_any_out_have_no_error():
    real = RNG.normal(size=(40, 3))
    found = coverage.shares(real, RNG.normal(size=(4, 3)))
    assert len(found) == 1
    assert np.isnan(coverage.spread(found))
