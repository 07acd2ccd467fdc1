"""Sessions of two arms: what confirms, what does not, and what each says."""

from __future__ import annotations

import dataclasses

import pytest
from fakes_runs import cell, fake_run, gate, timed
from fakes_sessions import abba, beside, canaries, noise, process, session, turns

from ditbench import errors
from ditbench.cli.ab import codes
from ditbench.compare import Given, Verdict, compare, judge_session
from ditbench.compare.confirming import confirms
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


def test_first_calls_and_peaks_are_nobodys_and_no_session_judges_them():
    """Whoever comes second finds the work done that the first one paid for; a process has one peak."""
    assert set(judged(*turns(OF, STEADY, STEADY), inside=True)) == {"latency"}
    assert set(judged(*abba(OF, STEADY, slower(1.5)))) == {"latency"}
    named = ("latency", "step_latency", "first_call", "energy", "peak_allocated", "macs", "psnr")
    assert [confirms(name) for name in named] == [True, True, *[False] * 5]


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


NO_REFERENCE, NO_CANARY = None, None
STEADY_CANARY, SLOW_PRODUCT, SLOW_COPY = {}, {"product": 1.05}, {"copy": 1.05}
FAST_PRODUCT = {"product": 0.95}
INCONCLUSIVE, UNCHANGED = Verdict.INCONCLUSIVE, Verdict.UNCHANGED
REGRESSED, IMPROVED = Verdict.REGRESSED, Verdict.IMPROVED


def witnessed(factor, reference, canary, **parts):
    """A session whose B takes so many times as long, the reference method beside it and the canary too."""
    timed = abba(OF, STEADY, slower(factor))
    told = beside(OF, timed, {"a": 0.5, "b": 0.5 * reference}) if reference else ()
    sung = () if canary is None else canaries(timed, **canary)
    return session(*timed, *told, *sung, **parts)


class TestWitness:
    @pytest.mark.parametrize(
        ("factor", "reference", "canary", "verdict", "code"),
        [
            # The reference method stayed, or went the other way: the method's own change.
            (1.05, 1.0, NO_CANARY, REGRESSED, errors.PERFORMANCE),
            (1.05, 1.0, SLOW_PRODUCT, REGRESSED, errors.PERFORMANCE),
            (1.05, 0.95, NO_CANARY, REGRESSED, errors.PERFORMANCE),
            (0.95, 1.05, NO_CANARY, IMPROVED, errors.OK),
            # It moved too, and the canary did not: a change of what all methods share.
            (1.05, 1.05, STEADY_CANARY, REGRESSED, errors.PERFORMANCE),
            (1.05, 1.10, STEADY_CANARY, REGRESSED, errors.PERFORMANCE),
            (0.95, 0.95, STEADY_CANARY, IMPROVED, errors.OK),
            # The canary moved as well, or is unknown: this may be the machine.
            (1.05, 1.05, SLOW_PRODUCT, INCONCLUSIVE, errors.ENVIRONMENT),
            (1.05, 1.05, SLOW_COPY, INCONCLUSIVE, errors.ENVIRONMENT),
            (1.05, 1.05, FAST_PRODUCT, INCONCLUSIVE, errors.ENVIRONMENT),
            (0.95, 0.95, FAST_PRODUCT, INCONCLUSIVE, errors.ENVIRONMENT),
            (1.05, 1.05, NO_CANARY, INCONCLUSIVE, errors.ENVIRONMENT),
            # The reference method alone moved: its own change, or a machine that hides the method's.
            (1.001, 0.95, STEADY_CANARY, UNCHANGED, errors.OK),
            (1.001, 1.05, STEADY_CANARY, UNCHANGED, errors.OK),
            (1.001, 0.95, FAST_PRODUCT, INCONCLUSIVE, errors.ENVIRONMENT),
            (1.001, 0.95, NO_CANARY, INCONCLUSIVE, errors.ENVIRONMENT),
            # Nothing moved but the canary, or nothing stands beside the method: the time speaks alone.
            (1.001, 1.0, SLOW_PRODUCT, UNCHANGED, errors.OK),
            (1.05, NO_REFERENCE, NO_CANARY, REGRESSED, errors.PERFORMANCE),
            (1.0, NO_REFERENCE, SLOW_PRODUCT, UNCHANGED, errors.OK),
        ],
    )
    def test_time_reference_and_canary_come_to_one_verdict(
        self, factor, reference, canary, verdict, code
    ):
        made = witnessed(factor, reference, canary)
        (one,) = judge_session(made)
        assert one.verdict is verdict, one.reason
        assert errors.first_of(codes(made, (one,))) == code

    def test_a_witness_that_agrees_says_so_with_its_ratio(self):
        (one,) = judge_session(witnessed(1.05, 1.0, NO_CANARY))
        assert one.duel.witness.value == pytest.approx(1.05)
        assert rule(one, "witness").outcome == "agrees"

    def test_a_shared_slow_down_says_that_it_is_one(self):
        (one,) = judge_session(witnessed(1.05, 1.05, STEADY_CANARY))
        assert one.reason.endswith(
            "5 and 5 processes; the reference method moved with it and the canary did not: "
            "what all methods share"
        )
        step = rule(one, "canary")
        assert step.numbers == "B/A: matrix product 1.000, copy 1.000"
        assert step.outcome.endswith("what all methods share")

    def test_a_clock_that_fell_tells_all_three_numbers(self):
        (one,) = judge_session(witnessed(1.05, 1.05, SLOW_PRODUCT))
        assert one.reason.startswith("B/A 1.050; of the ratios to the reference method 1.000 (")
        assert one.reason.endswith(
            "the reference method moved with it, and so did the canary (matrix product 1.050, "
            "copy 1.000: not both within 1.00 %): this may be the machine"
        )

    def test_a_canary_that_nobody_measured_says_that(self):
        (one,) = judge_session(witnessed(1.05, 1.05, NO_CANARY))
        assert one.reason.endswith(
            "the canary was measured in 0 and 0 processes, and 5 an arm tell of the machine: "
            "this may be the machine"
        )

    def test_a_canary_beside_other_programs_is_none(self):
        crowd = {"telemetry": {"samples": 10, "window_s": 1.0, "others": 1.2}}
        (one,) = judge_session(witnessed(1.05, 1.05, crowd))
        assert one.verdict is INCONCLUSIVE
        assert "in 0 and 0 processes, in 10 more beside other programs, and 5 an arm" in one.reason

    def test_canaries_of_other_processes_or_sizes_tell_nothing(self):
        """Those of processes that did not time the cell met another machine, perhaps."""
        made = witnessed(1.05, 1.05, STEADY_CANARY)
        times = [one for one in made.records if one.stage is Stage.TIME]
        sung = [one for one in made.records if one.stage is Stage.CANARY]
        late = [
            dataclasses.replace(one, facts=one.facts | {"process": 99 + at})
            for at, one in enumerate(sung)
        ]
        assert "in 0 and 0 processes" in judge_session(session(*times, *late))[0].reason
        sung[0] = dataclasses.replace(sung[0], facts=sung[0].facts | {"side": 192})
        assert "not of one size" in judge_session(session(*times, *sung))[0].reason

    def test_half_of_the_gate_is_enough_for_a_witness_and_the_most_for_a_canary(self):
        for reference, verdict in ((1.05 / 1.011, REGRESSED), (1.05 / 1.009, INCONCLUSIVE)):
            assert judge_session(witnessed(1.05, reference, NO_CANARY))[0].verdict is verdict
        for product, verdict in ((1.009, REGRESSED), (1.011, INCONCLUSIVE)):
            made = witnessed(1.05, 1.05, {"product": product})
            assert judge_session(made)[0].verdict is verdict

    def test_a_reference_that_wavers_within_the_gate_contradicts_nothing(self):
        for reference in (0.985, 1.015):
            assert judge_session(witnessed(1.001, reference, NO_CANARY))[0].verdict is UNCHANGED

    @pytest.mark.parametrize(
        ("canary", "verdict", "codes"),
        [
            (STEADY_CANARY, REGRESSED, {errors.PERFORMANCE}),
            (SLOW_PRODUCT, INCONCLUSIVE, {errors.ENVIRONMENT}),
            (NO_CANARY, INCONCLUSIVE, {errors.ENVIRONMENT}),
        ],
    )
    def test_a_night_that_all_cells_share_ends_in_4_or_6_and_never_in_0(
        self, canary, verdict, codes
    ):
        """Every flagged cell was judged, and every reference method is as slow as its cell."""
        then, now = (
            fake_run(gate(OF), *timed(OF, *((factor * seconds,) * 3 for seconds in STEADY)))
            for factor in (1.0, 1.1)
        )
        made = witnessed(1.1, 1.1, canary)
        result = compare(now, then, "main", given=Given(session=made))
        times = {one.metric: one.verdict for one in result.findings if confirms(one.metric)}
        assert times == {"latency": verdict, "step_latency": verdict}
        assert result.exit_codes == codes

    def test_the_reference_method_and_the_canary_are_no_findings_of_their_own(self):
        found = judge_session(witnessed(1.05, 1.05, STEADY_CANARY))
        assert [one.cell for one in found] == [OF]


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
    assert f"p = {among.duel.p:.2g}, q = {among.duel.q:.2g} over 31 timings" in among.reason


def test_a_machine_that_was_not_fit_for_the_session_confirms_nothing():
    hot = {"samples": 100, "slowed_share": 0.3, "slowed": {"heat": 0.3}}
    one = latency(*abba(OF, STEADY, slower(1.5), telemetry=hot))
    assert one.verdict is Verdict.INCONCLUSIVE
    assert one.reason.startswith("the machine was not fit for the session: the GPU was slowed")


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
