"""The rule that confirms: a defined verdict for any number of processes and any values, never by accident."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as distributions

from ditbench import deciding, stats
from ditbench.deciding import IMPROVED, INCONCLUSIVE, REGRESSED, UNCHANGED, decide, wants_more

STEADY = (1.00, 1.01, 0.99, 1.00, 1.005)
SLOW = 1.11


def times(values, factor):
    return [factor * value for value in values]


def code(base, judged, gate=0.02, paired=None):
    return int(decide(base, judged, gate, paired).codes)


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.05, REGRESSED), (0.95, IMPROVED), (1.0, UNCHANGED), (1.01, UNCHANGED), (2.0, REGRESSED)],
)
def test_both_figures_beyond_the_gate_are_a_verdict(factor, verdict):
    assert code(STEADY, times(STEADY, factor)) == verdict


def test_the_ratio_is_the_median_of_all_ratios_and_of_the_best():
    found = decide([1.0, 1.1, 9.0, 1.2, 1.3], [2.0, 4.0, 8.0, 4.4, 4.8], 0.02)
    ratios = sorted(b / a for b in (2.0, 4.0, 8.0, 4.4, 4.8) for a in (1.0, 1.1, 9.0, 1.2, 1.3))
    assert found.ratio == pytest.approx(ratios[12])
    assert found.best == pytest.approx(2.0)


def test_paired_ratios_are_walsh_averages():
    """Of 1, 2 and 4 the means of two, each with itself, are 1, sqrt 2, 2, 2, sqrt 8 and 4."""
    assert deciding.ratio((), (), [1.0, 2.0, 4.0]) == pytest.approx(2.0)
    assert deciding.ratio((), (), [1.0, 1.0, 4.0]) == pytest.approx(math.sqrt(2))


def test_of_shared_processes_the_best_are_the_faster_half_by_their_own_ratios():
    base = np.array([1.0, 9.0, 2.0, 8.0, 3.0])
    own = np.array([1.10, 0.50, 1.12, 0.60, 1.14])
    found = decide(base, base * own, 0.02, own)
    assert found.best == pytest.approx(math.sqrt(1.10 * 1.14), rel=0.01)
    assert found.codes == INCONCLUSIVE


def test_processes_of_50_ms_that_spread_ten_per_cent_are_decided_by_their_own_ratios():
    base = [1.00, 1.10, 0.95, 1.05, 1.02]
    judged = times(base, 1.03)
    assert code(base, judged, paired=times([1] * 5, 1.03)) == REGRESSED
    shuffled = [judged[at] for at in (1, 0, 3, 2, 4)]
    assert code(base, shuffled, paired=[b / a for a, b in zip(base, shuffled, strict=True)]) != (
        UNCHANGED
    )


def test_figures_on_two_sides_of_the_gate_are_no_verdict():
    """One arm slow in three of five processes: the machine's mode, and not the code."""
    slow = [1.0, 1.0, SLOW, SLOW, SLOW]
    assert code([1.0] * 5, slow) == INCONCLUSIVE
    assert code(slow, [1.0] * 5) == INCONCLUSIVE
    assert code([1.0] * 5, [0.9, 1.0, 1.0, 1.0, 1.0]) == INCONCLUSIVE


@pytest.mark.parametrize("number", [5, 6, 7, 20])
def test_mistake_32_asv_twice_as_slow_is_different_at_every_number(number):
    """asv calls six against six equal however large the change: its guard is one-sided."""
    rng = np.random.default_rng(number)
    base = rng.normal(1, 0.01, number)
    assert code(base, 2 * base) == REGRESSED


def test_mistake_32_pyperf_unequal_counts_are_not_significant_by_accident():
    """pyperf calls 20 against 21 values significant, because its test raises."""
    rng = np.random.default_rng(0)
    assert code(rng.normal(1, 0.003, 20), rng.normal(1, 0.003, 21)) == UNCHANGED
    assert code(rng.normal(1, 0.003, 20), 1.05 * rng.normal(1, 0.003, 21)) == REGRESSED


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4])
def test_mistake_32_fewer_than_five_processes_confirm_nothing(number):
    assert code([1.0] * number, [2.0] * 5) == INCONCLUSIVE
    assert code([1.0] * 5, [2.0] * number) == INCONCLUSIVE
    assert code([1.0] * number, [1.0] * number) == INCONCLUSIVE


@pytest.mark.parametrize("odd", [math.nan, 0.0, -1.0, math.inf, -math.inf])
@pytest.mark.parametrize("side", ["base", "judged", "paired"])
def test_mistake_32_what_has_no_logarithm_is_inconclusive(odd, side):
    arms = {"base": list(STEADY), "judged": times(STEADY, 2), "paired": None}
    if side == "paired":
        arms["paired"] = [2.0] * 5
    arms[side][2] = odd
    found = decide(arms["base"], arms["judged"], 0.02, arms["paired"])
    assert found.codes == INCONCLUSIVE
    assert np.isnan(found.p) or np.isnan(found.ratio) or np.isnan(found.best)


def test_mistake_32_all_equal_is_unchanged_and_certain():
    found = decide([1.0] * 5, [1.0] * 5, 0.02)
    assert (found.ratio, found.best, found.codes, found.p) == (1.0, 1.0, UNCHANGED, 1.0)


@pytest.mark.parametrize("value", [5e-324, 1e-300, 1e300, 1.7e308])
def test_values_at_the_ends_of_what_a_float_holds_have_a_verdict(value):
    assert code([value] * 5, [value] * 5) == UNCHANGED
    assert code([1.0] * 5, [value] * 5) == (REGRESSED if value > 1 else IMPROVED)


def test_leading_axes_are_decided_one_by_one():
    factors = np.array([[1.0, 1.05, 0.9], [1.0, 2.0, 1.01]])
    base = np.broadcast_to(STEADY, (2, 3, 5))
    found = decide(base, factors[..., None] * base, 0.02)
    assert found.codes.tolist() == [[0, 1, -1], [0, 1, 0]]
    alone = [[code(STEADY, times(STEADY, one)) for one in row] for row in factors]
    assert found.codes.tolist() == alone
    gates = decide(base, factors[..., None] * base, np.full((2, 3), 0.07))
    assert gates.codes.tolist() == [[0, 0, -1], [0, 1, 0]]


@pytest.mark.parametrize(
    ("base", "judged", "more"),
    [
        ([1.0, 1.0, 1.01, 1.0, SLOW], [1.0] * 5, True),
        ([1.0] * 5, [1.0, SLOW, 1.0, SLOW, 1.0], True),
        ([1.0] * 5, [SLOW] * 5, True),
        (STEADY, STEADY, False),
        (STEADY, times(STEADY, 1.01), False),
        ([1.0, 1.03, 1.06, 1.09, 1.12], [1.0, 1.03, 1.06, 1.09, 1.12], False),
        ([1.0, 1.01, 1.02, 1.06, 1.07], [1.0, 1.01, 1.02, 1.06, 1.07], False),
        ([1.0], [1.0], False),
        ([], [], False),
        ([math.nan] * 5, [1.0] * 5, False),
    ],
    ids=[
        "a slow one", "two slow ones", "one arm each", "steady", "moved little", "spread", "groups", "one",
        "none", "not numbers",
    ],
)  # fmt: skip
def test_two_modes_want_eight_processes(base, judged, more):
    assert bool(wants_more(base, judged)) is more


def test_modes_of_shared_processes_cancel_and_want_nothing():
    slow = [1.0, SLOW, 1.0, SLOW, SLOW]
    assert not wants_more(slow, times(slow, 1.05), paired=[1.05] * 5)
    assert wants_more(slow, slow, paired=[1.0, 1.0, 1.0, 1.0, SLOW])


def test_the_slow_share_counts_processes_of_the_slower_mode():
    assert deciding.slow_share([1.0, 1.0, 1.01, SLOW, SLOW]) == pytest.approx(0.4)
    assert deciding.slow_share(STEADY) == 0
    assert deciding.slow_share([1.0]) == 0


def test_p_is_that_of_students_t_where_one_mode_shows():
    judged = times(STEADY, 1.013)
    expected = distributions.ttest_ind(np.log(judged), np.log(STEADY)).pvalue
    assert deciding.p_value(STEADY, judged) == pytest.approx(expected)
    own = [1.01, 1.02, 1.015, 1.0, 1.03]
    expected = distributions.ttest_1samp(np.log(own), 0).pvalue
    assert deciding.p_value(STEADY, STEADY, own) == pytest.approx(expected)


def test_a_slow_process_does_not_blind_p_nor_make_it_sure():
    assert deciding.p_value(STEADY, [1.05, 1.055, 1.045, 1.05, 1.05 * SLOW]) < 1e-4
    assert deciding.p_value(STEADY, [1.0, 1.01, 0.99, 1.0, SLOW]) > 0.5


NIGHTS = [1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01, 0.99, 1.0, 1.0]


def beyond(before, now, gate=0.02):
    return bool(deciding.screened(deciding.seen(before), now, gate, gate).beyond)


def test_the_screen_looks_back_ten_nights_and_no_lower_than_the_gate():
    middle, spread = deciding.seen(NIGHTS)
    assert (middle, spread) == (1.0, pytest.approx(1.4826 * 0.01))
    assert not beyond(NIGHTS, 1.04)
    assert beyond(NIGHTS, 1.05)
    assert not beyond([1.0] * 10, 1.015)
    assert beyond([1.0] * 10, 0.97)


def test_between_what_was_asked_and_the_gate_it_moved_and_no_session_can_tell():
    now = np.array([1.01, 0.975, 1.05, 0.9])
    found = deciding.screened(deciding.seen([1.0] * 10), now, 0.02, 0.06)
    assert found.moved.tolist() == [False, True, True, True]
    assert found.beyond.tolist() == [False, False, False, True]
    assert found.change == pytest.approx(now - 1)


def test_what_nights_vary_by_is_no_move_whatever_was_asked():
    found = deciding.screened(deciding.seen(NIGHTS), 1.04, 0.02, 0.10)
    assert (bool(found.moved), bool(found.beyond)) == (False, False)
    assert found.least == pytest.approx(3 * 1.4826 * 0.01)
    assert found.allowed == 0.10


def test_before_there_are_ten_nights_the_wider_spread_of_both_runs_counts():
    base, judged = [0.98, 1.0, 1.02], [1.06, 1.06, 1.06]
    assert deciding.seen_once(base, judged) == (1.0, pytest.approx(1.4826 * 0.02))
    assert deciding.seen_once(judged, base) == (1.06, pytest.approx(1.4826 * 0.02))
    assert deciding.seen_once([1.0], []) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ([0.0] * 10, 1.0),
        ([-1.0] * 10, -2.0),
        ([math.nan] * 10, 1.0),
        ([math.inf] * 10, 1.0),
        ([1.0] * 10, math.inf),
        ([1.0] * 10, math.nan),
        ([], 1.0),
    ],
    ids=["zeros", "negative", "no numbers", "infinite", "infinite now", "no number now", "none"],
)
def test_mistake_32_what_has_no_ratio_is_not_called_unchanged(before, now):
    found = deciding.screened(deciding.seen(before), now, 0.02, 0.06)
    assert (math.isnan(found.change), bool(found.moved), bool(found.beyond)) == (True, True, True)


def test_the_screen_takes_many_cells_at_once_and_each_has_its_own_gate():
    before = np.stack([NIGHTS, [1.0] * 10])
    found = deciding.screened(deciding.seen(before), [1.04, 1.04], [0.02, 0.02], [0.02, 0.05])
    assert found.moved.tolist() == [False, True]
    assert found.beyond.tolist() == [False, False]


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=12))
def test_the_spread_is_that_of_the_statistics_of_one_cell(values):
    middle, spread = deciding.seen(values)
    assert middle == stats.middle(values)
    assert spread == pytest.approx(stats.spread(values))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_discoveries_are_those_of_benjamini_and_hochberg_along_any_axis(axis):
    p = np.random.default_rng(0).random((7, 11)) ** 3
    expected = distributions.false_discovery_control(p, axis=axis)
    assert deciding.discoveries(p, axis) == pytest.approx(expected)


def test_discoveries_of_ten_equal_p_and_of_one_among_nine_large_ones():
    assert deciding.discoveries([0.04] * 10) == pytest.approx([0.04] * 10)
    assert deciding.discoveries([0.004, *[0.9] * 9])[0] == pytest.approx(0.04)
    assert deciding.discoveries([0.006, *[0.9] * 9])[0] == pytest.approx(0.06)
    assert deciding.discoveries([]).tolist() == []


def test_what_is_no_p_counts_for_nothing_and_stays():
    found = deciding.discoveries([0.01, math.nan, 0.5])
    assert found[[0, 2]] == pytest.approx([0.02, 0.5])
    assert math.isnan(found[1])


def test_where_each_arm_has_one_fast_process_all_are_tested_and_chance_is_asked():
    """One fast process among eight tells nothing of what fast ones vary by."""
    base = [0.100, 0.150, 0.1505, 0.151, 0.1502, 0.1508, 0.1499, 0.1501]
    found = decide(base, times(base, 1.03), 0.02)
    plain = distributions.ttest_ind(np.log(times(base, 1.03)), np.log(base))
    assert found.codes == REGRESSED
    assert found.p == pytest.approx(plain.pvalue)


def test_every_verdict_that_counts_has_a_p():
    rng = np.random.default_rng(5)
    slow = rng.random((2, 400, 8)) < rng.random((2, 400, 1))
    base, judged = rng.normal(1, 0.002, (2, 400, 8)) * np.where(slow, 1.4, 1)
    found = decide(base, judged * 1.05, 0.02)
    counts = np.isin(found.codes, (REGRESSED, IMPROVED))
    assert counts.any()
    assert not np.isnan(found.p[counts]).any()
