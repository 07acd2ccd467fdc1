"""Medians, intervals and ratios, defined for every number of processes and samples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ditbench import stats
from ditbench.stats import Interval


def processes(count, samples, between, within, *, seed=0, middle=1.0):
    rng = np.random.default_rng(seed)
    return [
        (middle * (1 + rng.normal(0, between)) * (1 + rng.normal(0, within, samples))).tolist()
        for _ in range(count)
    ]


def test_the_figure_is_the_median_of_process_medians_not_of_pooled_samples():
    groups = [[1.0], [3.0], [9.0, 9.0, 9.0, 9.0, 9.0]]
    assert stats.median(groups).value == 3.0
    assert stats.medians(groups) == (1.0, 3.0, 9.0)


def test_an_interval_of_a_median_of_samples_is_that_of_a_plain_bootstrap():
    values = np.random.default_rng(1).normal(10, 1, 40)
    rng = np.random.default_rng(2)
    plain = np.median(rng.choice(values, (20_000, 40)), axis=1)
    found = stats.median([values.tolist()])
    assert found.low == pytest.approx(np.quantile(plain, 0.025), abs=0.06)
    assert found.high == pytest.approx(np.quantile(plain, 0.975), abs=0.06)


@pytest.mark.parametrize(
    ("values", "chances"),
    [
        pytest.param((1.0, 3.0), {1.0: 1 / 4, 2.0: 1 / 2, 3.0: 1 / 4}, id="two"),
        pytest.param((1.0, 2.0, 4.0), {1.0: 7 / 27, 2.0: 13 / 27, 4.0: 7 / 27}, id="three"),
        pytest.param(
            (0.0, 0.0, 0.0, 8.0), {0.0: 189 / 256, 4.0: 54 / 256, 8.0: 13 / 256}, id="four"
        ),
    ],
)
def test_resampled_medians_come_as_often_as_counting_all_resamples_says(values, chances):
    draws = np.concatenate([stats._resampled((values,), arm) for arm in range(40)])
    for value, chance in chances.items():
        assert np.mean(draws == value) == pytest.approx(chance, abs=0.01)
    assert set(draws.tolist()) == set(chances)


def test_an_interval_holds_the_true_median_about_as_often_as_it_says():
    held = 0
    for seed in range(200):
        found = stats.median(processes(10, 10, 0.02, 0.01, seed=seed))
        held += found.low <= 1 <= found.high
    assert 0.88 <= held / 200 <= 1.0


def test_mistake_13_processes_that_differ_widen_the_interval_however_many_samples_each_has():
    calm = stats.median(processes(5, 500, 0.0, 0.01))
    restless = stats.median(processes(5, 500, 0.05, 0.01))
    assert restless.high - restless.low > 10 * (calm.high - calm.low)


def test_the_same_values_give_the_same_interval_every_time():
    groups = processes(3, 20, 0.01, 0.01)
    assert stats.median(groups) == stats.median(groups)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        pytest.param([[5.0]], Interval(5, 5, 5), id="one process, one sample"),
        pytest.param([[5.0], [5.0], [5.0]], Interval(5, 5, 5), id="equal processes"),
        pytest.param([[0.0, 0.0], [0.0]], Interval(0, 0, 0), id="zeros"),
        pytest.param([[math.inf] * 4], Interval(math.inf, math.inf, math.inf), id="infinities"),
        pytest.param([[1.0, 3.0]], Interval(2, 1, 3), id="two samples"),
    ],
)
def test_small_and_strange_inputs_have_an_interval(groups, expected):
    assert stats.median(groups) == expected


@pytest.mark.parametrize("samples", range(1, 12))
@pytest.mark.parametrize("count", range(1, 8))
def test_mistake_32_every_number_of_processes_and_samples_is_defined(count, samples):
    groups = processes(count, samples, 0.01, 0.01)
    found = stats.median(groups)
    assert found.low <= found.value <= found.high
    assert stats.ratio(groups, groups).value == 1.0


def test_mistake_32_samples_of_unequal_number_are_no_difference_by_themselves():
    short, long = processes(3, 20, 0.01, 0.01, seed=1), processes(3, 21, 0.01, 0.01, seed=2)
    found = stats.ratio(short, long)
    assert found.low < 1 < found.high


def test_mistake_32_six_against_six_sees_a_change_of_two():
    found = stats.ratio(
        processes(6, 1, 0.01, 0, seed=1, middle=2.0), processes(6, 1, 0.01, 0, seed=2)
    )
    assert found.low > 1.9
    assert found.value == pytest.approx(2, rel=0.03)


def test_infinite_and_finite_samples_together_have_an_interval_without_a_nan():
    found = stats.median([[30.0, 40.0, math.inf, math.inf, math.inf]])
    assert found.value == math.inf
    assert found.low in {30.0, 40.0, math.inf}


def test_no_samples_are_refused():
    for nothing in ([], [[]], [[1.0], []]):
        with pytest.raises(ValueError, match="without samples"):
            stats.median(nothing)


def test_a_ratio_to_zero_is_infinite_and_of_zeros_is_not_a_number():
    assert stats.ratio([[1.0]], [[0.0]]) == Interval(math.inf, math.inf, math.inf)
    assert math.isnan(stats.ratio([[0.0]], [[0.0]]).value)


def test_deviation_and_spread():
    assert stats.deviation([1.0, 2.0, 3.0, 4.0, 100.0]) == 1
    assert stats.spread([99.0, 100.0, 102.0]) == pytest.approx(0.014826)
    assert stats.spread([7.0]) == 0
    assert stats.spread([0.0, 0.0]) == 0
    assert stats.spread([-1.0, 0.0, 1.0]) == math.inf
    assert stats.deviation([math.inf, math.inf]) == 0


def test_a_percentile_is_one_of_the_values():
    assert stats.percentile([math.inf, 30.0, 20.0, 40.0], 0.05) == 20
    assert stats.percentile(range(1, 101), 0.05) == 5
    assert stats.percentile(range(1, 101), 1.0) == 100
    assert stats.percentile([3.0], 0.0) == 3


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ((1, 2, 3), (10, 20, 400), 1.0),
        ((1, 2, 3), (3, 2, 1), -1.0),
        ((1, 2, 2, 4), (1, 3, 2, 4), 0.9486832980505138),
        ((1, 1, 1), (1, 2, 3), None),
        ((1,), (2,), None),
    ],
    ids=["rising", "falling", "ties", "constant", "one"],
)
def test_a_rank_correlation_is_that_of_the_ranks(one, other, found):
    assert stats.rank_correlation(one, other) == (found and pytest.approx(found))
