"""Sessions of two arms: what confirms, what does not, and what each says."""

from __future__ import annotations

import dataclasses

import pytest
from fakes_runs import cell
from fakes_sessions import abba, beside, noise, process, session, turns

from ditbench.compare import Verdict, judge_session
from ditbench.records import Record, Stage, Status

OF = cell("monarch")
STEADY = (1.00, 1.01, 0.99, 1.00, 1.005)
SLOW = 1.11


def slower(factor, base=STEADY):
    return [factor * value for value in base]


def judged(*records, floors=None, **parts):
    """Findings by metric, of one pair."""
    return {one.metric: one for one in judge_session(session(*records, **parts), floors)}


def latency(*records, **parts):
    return judged(*records, **parts)["latency"]


def rule(finding, name):
    (step,) = [step for step in finding.steps if step.rule == name]
    return step


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [
        (1.05, Verdict.REGRESSED),
        (0.95, Verdict.IMPROVED),
        (1.0, Verdict.UNCHANGED),
        (1.01, Verdict.UNCHANGED),
    ],
)
def test_arms_apart_are_decided_by_their_process_medians(factor, verdict):
    one = latency(*abba(OF, STEADY, slower(factor)))
    assert one.verdict is verdict
    assert one.change == pytest.approx(factor - 1)
    assert (one.then, one.now) == (one.duel.base, one.duel.judged)
    assert sorted(one.duel.base) == sorted(STEADY)
    assert one.duel.ratio.low <= one.duel.ratio.value <= one.duel.ratio.high


def test_a_confirmed_time_says_both_ratios_and_how_it_was_measured():
    one = latency(*abba(OF, STEADY, slower(1.05)))
    assert one.reason.startswith("side by side B/A is 1.050 (1.0")
    assert one.reason.endswith("of the best 1.050: both beyond 2.00 %; A B B A, 5 and 5 processes")


def test_arms_inside_one_process_are_decided_by_its_own_ratio():
    uneven = (1.00, 1.30, 0.80, 1.15, 0.95)
    one = latency(*turns(OF, uneven, slower(1.03, uneven)), inside=True)
    assert one.verdict is Verdict.REGRESSED
    assert one.duel.inside
    assert one.duel.ratio.low > 1.02
    assert "in turns in each of 5 processes" in one.reason


def test_a_pair_of_calls_is_two_neighbours_in_time():
    """A drift through the process moves both of a pair, and no ratio of theirs."""
    drift = tuple(1 + 0.2 * at for at in range(10))
    both = [
        dataclasses.replace(one, metrics={"latency": tuple(factor * value for value in drift)})
        for one, factor in zip(turns(OF, STEADY, STEADY), (1.0, 1.04) * 5, strict=True)
    ]
    assert latency(*both, inside=True).duel.ratio.value == pytest.approx(1.04)


def test_unequal_numbers_of_calls_pair_as_far_as_they_go():
    records = list(turns(OF, STEADY, slower(1.05)))
    for at in (0, 3):
        values = records[at].metrics["latency"]
        records[at] = dataclasses.replace(records[at], metrics={"latency": values[:1]})
    assert latency(*records, inside=True).verdict is Verdict.REGRESSED


def test_first_calls_and_peaks_of_a_shared_process_are_nobodys():
    assert set(judged(*turns(OF, STEADY, STEADY), inside=True)) == {"latency"}
    assert set(judged(*abba(OF, STEADY, STEADY))) == {"latency", "first_call", "peak_allocated"}


def test_mistake_32_fewer_than_five_processes_confirm_nothing_and_say_so():
    one = latency(*abba(OF, STEADY[:4], slower(2, STEADY)))
    assert one.verdict is Verdict.INCONCLUSIVE
    assert one.reason == "4 and 5 processes: fewer than 5 an arm confirm nothing"


def test_what_crashed_is_named():
    crash = process(OF, "b", 9, 1.0)
    crash = dataclasses.replace(crash, status=Status.CRASHED, reason="SIGSEGV", metrics={})
    one = latency(*abba(OF, STEADY, ()), crash)
    assert one.verdict is Verdict.INCONCLUSIVE
    assert one.reason.endswith("; B: crashed, SIGSEGV")
    assert (one.duel, one.change) == (None, None)


def test_a_session_that_was_cut_off_before_its_first_process_is_inconclusive():
    one = latency(pairs=((OF, OF),), finished=False)
    assert (one.verdict, one.baseline) == (Verdict.INCONCLUSIVE, None)


@pytest.mark.parametrize("odd", [0.0, float("nan"), float("inf")])
def test_mistake_32_a_median_that_is_no_time_is_inconclusive(odd):
    one = latency(*abba(OF, (*STEADY[:4], odd), STEADY))
    assert one.verdict is Verdict.INCONCLUSIVE
    assert "no time" in one.reason
    assert one.change is None


def test_mistake_42_a_gate_below_the_measured_floor_is_raised_to_twice_the_floor():
    records = abba(OF, STEADY, slower(1.05))
    one = latency(*records, floors=noise(OF, 0.03))
    assert one.verdict is Verdict.INCONCLUSIVE
    assert one.floor == pytest.approx(0.06)
    assert "beyond 2.00 %, within twice this machine's floor, 6.00 %" in one.reason
    assert rule(one, "gate").outcome == "6.00 %, raised to 2 x the measured floor"
    assert latency(*records, floors=noise(OF, 0.005)).verdict is Verdict.REGRESSED
    narrow = latency(*records, floors=noise(OF, 0.03), gate={"latency": 0.001})
    assert narrow.verdict is Verdict.INCONCLUSIVE
    assert latency(*records, gate={"latency": 0.07}).verdict is Verdict.UNCHANGED


def test_ratios_on_two_sides_of_the_gate_are_told_and_no_verdict():
    """Slow in three of five processes, and as fast as ever in the others."""
    one = latency(*abba(OF, [1.0] * 5, (1.0, 1.0, SLOW, SLOW, SLOW)))
    assert one.verdict is Verdict.INCONCLUSIVE
    assert one.reason.startswith("side by side B/A is 1.110 (")
    assert one.reason.endswith("of the best 1.000: not both beyond 2.00 % on one side")
    assert rule(one, "ratios").numbers == "Hodges-Lehmann 1.110, best processes 1.000"


def test_a_mode_mix_that_changed_is_told_and_gates_nothing():
    one = latency(*abba(OF, STEADY, (1.0, SLOW, 1.0, SLOW, 1.0)))
    assert one.verdict is Verdict.UNCHANGED
    assert one.duel.slow == (0.0, 0.4)
    step = rule(one, "modes")
    assert (step.outcome, step.numbers) == (
        "mode mix changed",
        "slow processes: A 0 of 5, B 2 of 5",
    )


def test_an_interval_that_contains_1_does_not_judge_where_two_modes_show():
    """Of five processes in two modes it does so whatever the change: ADR 19."""
    base, better = (1.0, 1.005, 0.995, SLOW, SLOW), (1.0, SLOW, 1.0, SLOW, 0.995)
    one = latency(*abba(OF, base, slower(1.05, better)))
    assert one.duel.ratio.low < 1 < one.duel.ratio.high
    assert rule(one, "interval").outcome == "contains 1"
    assert one.verdict is Verdict.REGRESSED
    assert rule(one, "modes").outcome == "the same mix of modes"


class TestWitness:
    timed = abba(OF, STEADY, slower(1.05))

    def test_a_witness_that_agrees_confirms(self):
        one = latency(*self.timed, *beside(OF, self.timed, {"a": 0.5, "b": 0.5}))
        assert one.verdict is Verdict.REGRESSED
        assert one.duel.witness.value == pytest.approx(1.05)
        assert rule(one, "witness").outcome == "agrees"

    def test_a_clock_that_fell_is_no_regression_and_both_numbers_are_told(self):
        one = latency(*self.timed, *beside(OF, self.timed, {"a": 0.5, "b": 0.525}))
        assert one.verdict is Verdict.INCONCLUSIVE
        assert one.reason.startswith("B/A 1.050; of the ratios to the reference method 1.000 (")
        assert one.reason.endswith("the witness disagrees")

    def test_half_of_the_gate_is_enough_for_a_witness(self):
        most = beside(OF, self.timed, {"a": 0.5, "b": 0.5 * 1.05 / 1.011})
        least = beside(OF, self.timed, {"a": 0.5, "b": 0.5 * 1.05 / 1.009})
        assert latency(*self.timed, *most).verdict is Verdict.REGRESSED
        assert latency(*self.timed, *least).verdict is Verdict.INCONCLUSIVE

    def test_inside_one_process_the_witness_is_paired_too(self):
        both = turns(OF, STEADY, slower(1.05))
        one = latency(*both, *beside(OF, both, {"a": 0.5, "b": 0.5}), inside=True)
        assert one.verdict is Verdict.REGRESSED
        assert one.duel.witness.value == pytest.approx(1.05)

    def test_the_reference_method_is_no_finding_of_its_own(self):
        found = judge_session(session(*self.timed, *beside(OF, self.timed, {"a": 1, "b": 1})))
        assert {one.cell for one in found} == {OF}


def test_a_discovery_that_chance_explains_among_many_is_dropped_with_p_and_q():
    """Beyond the gate, on processes that spread widely, beside thirty cells that did not change."""
    wide = (1.00, 1.02, 1.04, 1.05, 1.03)
    moved = slower(1.04, wide)
    others = [one for number in range(30) for one in abba(cell("sdpa", number + 1), STEADY, STEADY)]
    alone, among = latency(*abba(OF, wide, moved)), None
    for one in judge_session(session(*abba(OF, wide, moved), *others)):
        if one.cell == OF and one.metric == "latency":
            among = one
    assert alone.verdict is Verdict.REGRESSED
    assert alone.duel.q < 0.05 < among.duel.q
    assert among.verdict is Verdict.INCONCLUSIVE
    assert among.reason.endswith("timings of the session, which chance explains")
    assert f"p = {among.duel.p:.2g}, q = {among.duel.q:.2g} over 62 timings" in among.reason


def test_a_machine_that_was_not_fit_for_the_session_confirms_nothing():
    hot = {"samples": 100, "slowed_share": 0.3, "slowed": {"heat": 0.3}}
    one = latency(*abba(OF, STEADY, slower(1.5), telemetry=hot))
    assert one.verdict is Verdict.INCONCLUSIVE
    assert one.reason.startswith("the machine was not fit for the session: the GPU was slowed")


def test_first_calls_have_a_wider_gate_for_they_have_no_median():
    assert judged(*abba(OF, STEADY, slower(1.08)))["first_call"].verdict is Verdict.UNCHANGED
    assert judged(*abba(OF, STEADY, slower(1.2)))["first_call"].verdict is Verdict.REGRESSED
    quick = slower(0.02)
    assert judged(*abba(OF, quick, slower(1.5, quick)))["first_call"].verdict is Verdict.UNCHANGED


def test_peaks_of_arms_apart_have_the_rule_of_memory():
    def peaks(then, now):
        rows = [
            dataclasses.replace(
                one, metrics=one.metrics | {"peak_allocated": (now if arm == "b" else then,)}
            )
            for one in abba(OF, STEADY, STEADY)
            for arm in [one.facts["arm"]]
        ]
        return judged(*rows)["peak_allocated"].verdict

    assert peaks(4e9, 4.2e9) is Verdict.REGRESSED
    assert peaks(4.2e9, 4e9) is Verdict.IMPROVED
    assert peaks(4e9, 4.03e9) is Verdict.UNCHANGED
    assert peaks(1e8, 1.1e8) is Verdict.UNCHANGED  # 10 %, and less than 16 MiB


def test_arms_that_are_two_methods_are_judged_about_the_second():
    a, b = abba(OF, STEADY, ()), abba(cell("sdpa"), (), slower(0.5))
    (one,) = [
        one
        for one in judge_session(session(*a, *b, pairs=((OF, cell("sdpa")),)))
        if one.metric == "latency"
    ]
    assert (one.cell, one.verdict) == (cell("sdpa"), Verdict.IMPROVED)


def test_records_of_other_stages_are_no_processes():
    gates = Record(OF, Stage.GATE, Status.OK, facts={"arm": "a"})
    assert latency(gates, *abba(OF, STEADY, STEADY)).verdict is Verdict.UNCHANGED
