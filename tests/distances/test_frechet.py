"""The Frechet distance against its closed forms, and its paired error."""

from __future__ import annotations

import numpy as np
import pytest

from ditbench.distances.frechet import Moments, distance, moments, paired_change

RNG = np.random.default_rng(0)


def test_a_distribution_is_at_distance_nothing_from_itself():
    own = moments(RNG.normal(size=(500, 8)))
    assert distance(own, own) == pytest.approx(0, abs=1e-9)


def test_a_shift_of_the_mean_counts_squared():
    base = moments(RNG.normal(size=(500, 3)))
    moved = Moments(base.mean + np.array([1.0, 2.0, 2.0]), base.covariance)
    assert distance(base, moved) == pytest.approx(9)


def test_diagonal_covariances_have_a_closed_form():
    one, other = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 1.0])
    found = distance(Moments(np.zeros(3), np.diag(one)), Moments(np.zeros(3), np.diag(other)))
    assert found == pytest.approx(((np.sqrt(one) - np.sqrt(other)) ** 2).sum())


def test_fewer_samples_than_features_give_a_real_and_symmetric_figure():
    one, other = (moments(RNG.normal(size=(10, 64))) for _ in range(2))
    assert distance(one, other) > 0
    assert distance(one, other) == pytest.approx(distance(other, one), rel=1e-6)


def test_it_agrees_with_the_matrix_square_root():
    from scipy.linalg import sqrtm

    one, other = (moments(RNG.normal(size=(300, 6)) @ RNG.normal(size=(6, 6))) for _ in range(2))
    root = sqrtm(one.covariance @ other.covariance).real
    shift = ((one.mean - other.mean) ** 2).sum()
    assert distance(one, other) == pytest.approx(
        shift + np.trace(one.covariance + other.covariance - 2 * root)
    )


def test_equal_pictures_change_nothing_with_no_error():
    features = RNG.normal(size=(50, 4))
    assert paired_change(features, features, moments(RNG.normal(size=(90, 4)))) == (0.0, 0.0)


def test_pairing_makes_the_error_of_a_small_change_far_smaller_than_the_distance_varies():
    softmax = RNG.normal(size=(100, 8))
    method = softmax + 0.01 * RNG.normal(size=(100, 8))
    real = moments(RNG.normal(size=(1000, 8)))
    _, error = paired_change(method, softmax, real)
    unpaired = np.std([distance(moments(RNG.normal(size=(100, 8))), real) for _ in range(30)])
    assert error < unpaired / 10
