"""The kernel distance against its definition, and that it has no bias."""

from __future__ import annotations

import numpy as np
import pytest

from ditbench.distances import kernel
from ditbench.errors import UsageError

RNG = np.random.default_rng(1)


def by_definition(x, y):
    """Term by term, as the paper writes it."""

    def k(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    own = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    other = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return own + other - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_it_is_the_paper_term_by_term(monkeypatch):
    x, y = RNG.normal(size=(13, 5)), RNG.normal(size=(9, 5)) + 0.3
    assert kernel.mmd(x, y) == pytest.approx(by_definition(x, y))
    monkeypatch.setattr(kernel, "_ROWS", 4)
    assert kernel.mmd(x, y) == pytest.approx(by_definition(x, y))


def test_it_has_no_bias_where_the_frechet_distance_is_all_bias():
    values = [kernel.mmd(RNG.normal(size=(20, 16)), RNG.normal(size=(20, 16))) for _ in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300)
    assert min(values) < 0


def test_subsets_are_drawn_without_putting_back_and_told_by_mean_and_spread():
    x, y = RNG.normal(size=(60, 8)), RNG.normal(size=(80, 8)) + 0.5
    mean, std = kernel.distance(x, y, subsets=50, subset_size=30, seed=3)
    assert (mean, std) == kernel.distance(x, y, subsets=50, subset_size=30, seed=3)
    assert mean == pytest.approx(kernel.mmd(x, y), abs=3 * std / np.sqrt(50))
    assert std > 0
    whole, none = kernel.distance(x, y[:60], subsets=3, subset_size=60)
    assert whole == pytest.approx(kernel.mmd(x, y[:60]))
    assert none == pytest.approx(0, abs=1e-12)


def test_more_than_there_is_cannot_be_drawn():
    x = RNG.normal(size=(60, 8))
    with pytest.raises(UsageError, match="of 1000 samples a side needs as many: 60 and 60"):
        kernel.distance(x, x)
    with pytest.raises(UsageError, match="features of 8 and of 7 numbers"):
        kernel.mmd(x, x[:, :7])


def test_a_sample_that_is_drawn_twice_is_no_pair_with_itself():
    x, y = RNG.normal(size=(6, 4)), RNG.normal(size=(7, 4))
    weights = np.array([[2.0, 0, 1, 1, 2, 0]])
    drawn = [(0, 2), (0, 3), (0, 4), (2, 3), (2, 4), (3, 4)]
    k = lambda a, b: (a @ b / 4 + 1) ** 3  # noqa: E731 (one formula)
    pairs = sum(weights[0, i] * weights[0, j] for i, j in drawn)
    own = sum(weights[0, i] * weights[0, j] * k(x[i], x[j]) for i, j in drawn) / pairs
    other = np.mean([k(y[i], y[j]) for i in range(7) for j in range(7) if i != j])
    beside = sum(weights[0, i] * np.mean(k(y, x[i])) for i in range(6)) / 6
    assert kernel._values(x, y, weights)[0] == pytest.approx(own + other - 2 * beside)


def test_its_error_is_what_fresh_pictures_spread():
    y = RNG.normal(size=(200, 6))
    fresh = [kernel.mmd(RNG.normal(size=(100, 6)) + 0.5, y) for _ in range(100)]
    told = kernel.error(RNG.normal(size=(100, 6)) + 0.5, y)
    assert told == pytest.approx(np.std(fresh), rel=0.35)


def test_pairing_makes_its_change_far_surer():
    softmax, y = RNG.normal(size=(100, 6)), RNG.normal(size=(200, 6)) + 0.5
    method = softmax + 0.02 * RNG.normal(size=softmax.shape)
    change, error = kernel.paired_change(method, softmax, y)
    assert change == pytest.approx(kernel.mmd(method, y) - kernel.mmd(softmax, y))
    assert 0 < error < kernel.error(softmax, y) / 10
    assert kernel.paired_change(softmax, softmax, y) == (0.0, 0.0)


def test_what_each_sample_sways_makes_the_error_of_fresh_samples():
    y = RNG.normal(size=(400, 6))
    drawn = [RNG.normal(0.4, 1, (300, 6)) for _ in range(60)]
    sways = [kernel.sway(x, y, peers=200) for x in drawn[:10]]
    told = np.mean([sway.std() / np.sqrt(300) for sway in sways])
    assert told == pytest.approx(np.std([kernel.mmd(x, y) for x in drawn]), rel=0.4)


def test_no_sample_is_its_own_peer(monkeypatch):
    x, y = RNG.normal(size=(9, 4)), RNG.normal(size=(5, 4))
    monkeypatch.setattr(kernel, "_ROWS", 4)
    k = (x @ x.T / 4 + 1) ** 3
    np.fill_diagonal(k, 0)
    wanted = 2 * (k.sum(axis=1) / 8 - ((x @ y.T / 4 + 1) ** 3).mean(axis=1))
    np.testing.assert_allclose(kernel.sway(x, y), wanted)
