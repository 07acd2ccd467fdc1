"""Balanced channels: the product stays, the rounding gets better."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from ditbench.reuse import salience
from ditbench.reuse.quantise import GRANULARITIES, Quantiser, sqnr


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def uneven(dtype):
    """Activations (2, 40, 24) and weights (16, 24), each with channels of their own that are large."""
    x, weight = normal(2, 40, 24, dtype=dtype), normal(16, 24, seed=1, dtype=dtype)
    x[..., 5] *= 300
    weight[:, 11] *= 50
    return x, weight


def of_activations(x):
    """s(X): (channels,) of (..., channels)."""
    return x.abs().flatten(0, -2).amax(dim=0)


def balanced(x, weight):
    b = salience.factors(of_activations(x), salience.of_weights(weight))
    return x / b, weight * b


def test_saliences_and_factors_by_hand():
    x = torch.tensor([[[1.0, -8.0], [-4.0, 2.0]], [[3.0, 0.0], [0.0, 0.0]]])
    weight = torch.tensor([[0.5, 1.0], [-1.0, 2.0], [0.25, -1.5]])
    assert salience.of_weights(weight).tolist() == [1, 2]
    b = salience.factors(of_activations(x), salience.of_weights(weight))
    assert b.tolist() == pytest.approx([math.sqrt(4 / (1 + 1e-8)), math.sqrt(8 / (2 + 1e-8))])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_csb_leaves_the_product_unchanged_to_rounding(dtype, tolerance):
    x, weight = uneven(dtype)
    x_, weight_ = balanced(x, weight)
    true = x @ weight.T
    assert float((x_ @ weight_.T - true).norm() / true.norm()) < tolerance


def test_after_csb_both_sides_have_the_geometric_mean_of_their_saliences():
    x, weight = uneven(torch.float64)
    x_, weight_ = balanced(x, weight)
    mean = (of_activations(x) * salience.of_weights(weight)).sqrt()
    torch.testing.assert_close(of_activations(x_), mean, rtol=1e-7, atol=0)
    torch.testing.assert_close(salience.of_weights(weight_), mean, rtol=1e-7, atol=0)


def test_channels_that_either_side_lacks_are_left_alone():
    x, weight = uneven(torch.float64)
    x[..., 0] = 0
    weight[:, 1] = 0
    x[..., 2] = weight[:, 2] = 0
    b = salience.factors(of_activations(x), salience.of_weights(weight))
    assert b[:3].tolist() == [1, 1, 1]
    true = x @ weight.T
    assert float(((x / b) @ (weight * b).T - true).norm() / true.norm()) < 1e-12


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_what_is_not_finite_stays_told(bad):
    x, weight = uneven(torch.float32)
    x[0, 0, 0] = bad
    x_, weight_ = balanced(x, weight)
    assert not torch.isfinite(x_ @ weight_.T)[0, 0].any()


def test_in_float16_the_factors_neither_vanish_nor_overflow():
    """1e-8 is zero in float16."""
    of_x = torch.tensor([60000.0, 6e-8], dtype=torch.float16)
    of_w = torch.tensor([6e-8, 60000.0], dtype=torch.float16)
    b = salience.factors(of_x, of_w)
    assert b.dtype == torch.float32
    assert bool((torch.isfinite(b) & (b > 0)).all())


@pytest.mark.parametrize("seed", range(5))
def test_rank_correlation_is_scipys_with_ties_and_without(seed):
    a, b = normal(2, 40, seed=seed)
    for one, other in [(a, b), (a.round(), b), (a.round(), b.round()), (a, a.exp()), (a, -a)]:
        wanted = stats.spearmanr(one.numpy(), other.numpy()).statistic
        assert salience.spearman(one, other) == pytest.approx(wanted, abs=1e-12)


def test_what_has_no_order_has_no_correlation():
    assert salience.spearman(torch.ones(5), torch.arange(5.0)) == 0
    assert salience.spearman(torch.tensor([3.0]), torch.tensor([2.0])) == 0


def test_ssc_by_hand():
    """Steps whose order is that of the weights, none, and its reverse: exp(-1), 1 and e over their sum."""
    of_w = torch.tensor([1.0, 2.0, 3.0])
    of_x = torch.tensor([[1.0, 4.0, 9.0], [5.0, 5.0, 5.0], [9.0, 4.0, 1.0]])
    eta = [math.exp(-1), 1.0, math.e]
    eta = [one / sum(eta) for one in eta]
    assert salience.weights_over_time(of_x, of_w).tolist() == pytest.approx(eta, abs=1e-12)
    wanted = [sum(e * x for e, x in zip(eta, channel, strict=True)) for channel in of_x.T.tolist()]
    assert salience.over_time(of_x, of_w).tolist() == pytest.approx(wanted, rel=1e-6)


def test_ssc_of_one_step_is_that_step():
    of_x = torch.tensor([[3.0, 1.0, 2.0]])
    assert torch.equal(salience.over_time(of_x, torch.tensor([1.0, 2.0, 3.0])), of_x[0])


def scores(q, k, quantiser, *, by_b):
    """SQNR of q k^T where keys are codes."""
    true = q.double() @ k.double().mT
    b = salience.balance(q, k) if by_b else torch.ones(1)
    return sqnr(true, (q * b) @ quantiser.store(k / b).restored().mT)


def with_outliers():
    q, k = normal(2, 2, 4, 64, 32)
    k[..., 3] *= 30
    return q, k


def test_balanced_queries_and_keys_have_the_same_scores():
    q, k = with_outliers()
    b = salience.balance(q, k)
    assert b.shape == (2, 4, 1, 32)
    true = q.double() @ k.double().mT
    assert float(((q * b) @ (k / b).mT - true).norm() / true.norm()) < 1e-5


@pytest.mark.parametrize("granularity", ["tensor", "head", "token"])
def test_a_balanced_cache_keeps_scores_better_where_a_channel_of_the_keys_is_large(granularity):
    """By more than the six decibels of a bit."""
    q, k = with_outliers()
    quantiser = Quantiser(granularity)
    assert scores(q, k, quantiser, by_b=True) > scores(q, k, quantiser, by_b=False) + 6


def test_with_a_scale_a_channel_there_is_nothing_left_to_balance():
    q, k = with_outliers()
    quantiser = Quantiser("channel")
    found = scores(q, k, quantiser, by_b=True)
    assert found == pytest.approx(scores(q, k, quantiser, by_b=False), abs=0.1)
    best = max(scores(q, k, Quantiser(name), by_b=False) for name in GRANULARITIES)
    assert best == pytest.approx(found, abs=0.1)
