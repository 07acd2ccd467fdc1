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


def screened(before, now, asked=0.02, gate=0.02, base=None):
    """base: None for a baseline at the middle of the nights."""
    seen = deciding.nights(before)
    return deciding.screened(seen, seen[0] if base is None else base, now, asked, gate)


def beyond(*given, **named):
    return bool(screened(*given, **named).beyond)


def test_the_screen_looks_back_ten_nights_and_no_lower_than_the_gate():
    middle, spread = deciding.nights(NIGHTS)
    assert (middle, spread) == (1.0, pytest.approx(1.4826 * 0.02 / math.sqrt(2)))
    assert not beyond(NIGHTS, 1.06)
    assert beyond(NIGHTS, 1.07)
    assert not beyond([1.0] * 10, 1.015)
    assert beyond([1.0] * 10, 0.97)


@pytest.mark.parametrize("night", range(11))
def test_a_step_at_any_night_of_the_window_is_beyond_the_nights_or_the_baseline(night):
    """Around it the nights vary by 0.3 %."""
    quiet = 1 + 0.003 * np.random.default_rng(night).standard_normal(10)
    nights = np.where(np.arange(10) < night, 1.0, 1.1) * quiet
    assert deciding.nights(nights)[1] < 0.01
    found = screened(nights, 1.1, base=1.0)
    assert bool(found.beyond)
    assert 0.04 < found.change < 0.11


@pytest.mark.parametrize(("a_night", "first"), [(0.005, 4), (0.002, 10)])
def test_a_creep_is_found_beside_the_baseline_as_soon_as_it_leaves_the_floor(a_night, first):
    """The window follows: 0.2 % a night never lie 2 % above its middle."""
    level = (1 + a_night) ** np.maximum(np.arange(-10, 30), 0)
    windows = [(level[at : at + 10], level[at + 10]) for at in range(30)]
    assert [beyond(*one, base=1.0) for one in windows] == [at >= first for at in range(30)]
    assert any(beyond(*one) for one in windows) is (a_night == 0.005)


def test_nights_that_alternate_between_two_modes_stay_quiet():
    modes = [1.0, 1.11] * 5
    for base, now in ((1.0, 1.0), (1.0, 1.11), (1.11, 1.0)):
        assert not beyond(modes, now, base=base)
    assert beyond(modes, 1.6, base=1.0)


def test_the_change_is_the_nights_where_that_is_beyond_and_else_the_farther():
    told = {
        (0.90, 1.0, 0.95): (0.95 / 0.90 - 1, False),  # beyond both, and on either side
        (1.00, 0.9, 0.95): (-0.05, False),
        (1.00, 0.9, 1.00): (1 / 0.9 - 1, True),
        (1.00, 1.01, 1.0): (1 / 1.01 - 1, True),  # within both
        (1.00, 0.995, 0.985): (-0.015, False),
    }
    for (middle, base, now), (change, of_base) in told.items():
        found = screened([middle] * 10, now, base=base)
        assert (float(found.change), bool(found.of_base)) == (pytest.approx(change), of_base)


def test_between_what_was_asked_and_the_gate_it_moved_and_no_session_can_tell():
    now = np.array([1.01, 0.975, 1.05, 0.9])
    found = screened([1.0] * 10, now, gate=0.06)
    assert found.moved.tolist() == [False, True, True, True]
    assert found.beyond.tolist() == [False, False, False, True]
    assert found.change == pytest.approx(now - 1)


def test_what_nights_vary_by_is_no_move_whatever_was_asked():
    found = screened(NIGHTS, 1.04, gate=0.10)
    assert (bool(found.moved), bool(found.beyond)) == (False, False)
    assert found.least == pytest.approx(3 * 1.4826 * 0.02 / math.sqrt(2))
    assert found.allowed == 0.10


def test_of_independent_nights_the_spread_is_their_deviation():
    nights = 1 + 0.01 * np.random.default_rng(0).standard_normal((20_000, 10))
    assert np.median(deciding.nights(nights)[1]) == pytest.approx(0.01, rel=0.05)


def test_nights_of_nothing_but_noise_are_flagged_once_in_ten_and_then_a_session_looks():
    """3,000 series of 1 %; of a machine of 0.3 % it is none, for its deviations are below the gate."""
    series = np.random.default_rng(0).standard_normal((3000, 12))
    shares = []
    for deviation in (0.003, 0.01):
        base, *before, now = (1 + deviation * series).T
        shares.append(screened(np.stack(before, -1), now, base=base).beyond.mean())
    assert (shares[0], shares[1]) == (pytest.approx(0, abs=1e-3), pytest.approx(0.07, abs=0.03))


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
    found = screened(before, now, gate=0.06, base=1.0)
    assert (math.isnan(found.change), bool(found.moved), bool(found.beyond)) == (True, True, True)


def test_the_screen_takes_many_cells_at_once_and_each_has_its_own_gate():
    before = np.stack([NIGHTS, [1.0] * 10])
    found = screened(before, [1.04, 1.04], [0.02, 0.02], [0.02, 0.05])
    assert found.moved.tolist() == [False, True]
    assert found.beyond.tolist() == [False, False]


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=12))
def test_the_spread_is_that_of_the_statistics_of_one_cell(values):
    middle, spread = deciding.seen(values)
    assert np.isnan(deciding.nights(values[:1])[1])
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
