"""Stage one: what is screened against what, what a session decides, and what only the whole suite tells."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from fakes_runs import FD, cell, fake_run, gate, quality, timed
from fakes_sessions import ARMS, abba, noise, session

from ditbench import deciding, errors, stats
from ditbench.compare import Given, Verdict, compare, finding_to_json, flagged
from ditbench.environment import Environment
from ditbench.summary.history import History, Point

OF = cell("monarch")
STEADY = (0.100, 0.101, 0.099, 0.100, 0.100)
PEAK = 4000 * 2**20
STEPS = ("latency", "step_latency")
HOT = {"telemetry": {"samples": 100, "slowed_share": 0.3, "slowed": {"heat": 0.3}}}
CROWD = {"telemetry": {"samples": 10, "window_s": 1.0, "others": 1.2}}
UNCONFIRMED = "not confirmed: run with --confirm or `ditbench ab`"


def records(factor=1.0, of=OF, *, peak=PEAK, **telemetry):
    found = timed(of, *((factor * value,) * 3 for value in STEADY), peak=peak)
    if telemetry:
        found = [dataclasses.replace(one, facts=one.facts | telemetry) for one in found]
    return gate(of), *found


STARTED = fake_run(*records()).started


def nights(*values, metric="latency", of=OF, started=STARTED):
    points = tuple(
        Point(f"run{at}", started, value, (value,), clean=True, code="0.1.0")
        for at, value in enumerate(values)
    )
    return History(tuple(one.run for one in points), {(of.key, metric): points})


def confirmed(factor, number=5, of=OF):
    base = STEADY[:number]
    return session(*abba(of, base, [factor * value for value in base]))


def latency(factor, before=1.0, **given):
    result = compare(
        fake_run(*records(factor)), fake_run(*records(before)), "main", given=Given(**given)
    )
    return next(one for one in result.findings if one.metric == "latency")


def step(finding, rule):
    return next(one for one in finding.steps if one.rule == rule)


class TestHistory:
    def test_ten_clean_nights_are_screened_against_and_the_baseline(self):
        one = latency(1.05, history=nights(*[0.1035] * 10))
        assert one.verdict is Verdict.INCONCLUSIVE
        assert one.reason.startswith(
            "+5.00 % against the baseline, beyond the floor of 2.00 % of the last 10 clean nights; "
        )
        one = latency(1.0, history=nights(*[0.105] * 10))
        assert one.verdict is Verdict.INCONCLUSIVE
        assert one.reason.startswith(
            "\N{MINUS SIGN}4.76 % beyond the floor of 2.00 % of the last 10"
        )
        one = latency(1.015, history=nights(*[0.1005] * 10))
        assert (one.verdict, one.reason) == (
            Verdict.UNCHANGED,
            "+1.50 % against the baseline, within the floor of 2.00 % of the last 10 clean nights",
        )

    @pytest.mark.parametrize("night", range(11))
    def test_a_step_of_ten_per_cent_is_flagged_at_any_night_of_the_window(self, night):
        history = nights(*[0.1] * night, *[0.11] * (10 - night))
        result = compare(
            fake_run(*records(1.1)), fake_run(*records()), "main", given=Given(history=history)
        )
        assert flagged(result) == (OF,)

    def test_steps_go_by_the_nights_of_the_batch_that_they_make_up(self):
        wide = nights(*[0.100, 0.102, 0.098, 0.103, 0.097] * 2)
        for factor, verdict in ((1.05, Verdict.UNCHANGED), (1.13, Verdict.INCONCLUSIVE)):
            runs = fake_run(*records(factor)), fake_run(*records())
            result = compare(*runs, "main", given=Given(history=wide))
            times = {one.metric: one for one in result.findings if one.metric in STEPS}
            assert {one.verdict for one in times.values()} == {verdict}
            assert times["step_latency"].floor == pytest.approx(times["latency"].floor)

    def test_what_equals_the_nights_is_not_called_equal_to_the_baseline(self):
        assert latency(1.1, history=nights(*[0.11] * 10)).verdict is Verdict.INCONCLUSIVE

    @pytest.mark.parametrize("judged", [(110, 140, 180, 250, 130), (100, 101, 130, 131, 150)])
    def test_the_candidates_own_scatter_does_not_acquit_it(self, judged):
        now = timed(OF, *((value / 1000,) * 3 for value in judged))
        result = compare(fake_run(gate(OF), *now), fake_run(*records()), "main")
        found = {one.metric: one for one in result.findings}
        assert found["latency"].verdict is Verdict.INCONCLUSIVE
        assert found["latency"].floor == 0.02
        assert flagged(result) == (OF,)

    def test_the_baselines_scatter_widens_the_floor(self):
        then = timed(OF, *((value / 1000,) * 3 for value in (100, 103, 97, 104, 96)))
        result = compare(fake_run(*records(1.08)), fake_run(gate(OF), *then), "main")
        (one,) = [one for one in result.findings if one.metric == "latency"]
        assert (one.verdict, one.floor) == (
            Verdict.UNCHANGED,
            pytest.approx(3 * 1.4826 * 0.03),
        )

    def test_nine_nights_are_not_enough(self):
        one = latency(1.05, history=nights(*[0.105] * 9))
        assert one.verdict is Verdict.INCONCLUSIVE
        assert "clean nights: 9" in step(one, "screen").numbers

    def test_nights_of_before_the_baseline_do_not_count(self):
        """It was promoted when the code became faster, which the last ten nights are not."""
        history = nights(*[0.125] * 10, started="2026-11-20T10:00:00+00:00")
        one = latency(1.25, history=history)
        assert one.verdict is Verdict.INCONCLUSIVE
        assert one.reason.startswith("+25.0 % beyond the floor of 2.00 %; not confirmed")

    def test_nights_that_spread_widen_the_screen(self):
        wide = nights(*[0.100, 0.102, 0.098, 0.103, 0.097] * 2)
        floor = 3 * 1.4826 * 0.004 / math.sqrt(2) / 0.1
        assert latency(1.05, history=wide).verdict is Verdict.UNCHANGED
        assert latency(1.05, history=wide).floor == pytest.approx(floor)
        assert latency(1.13, history=wide).verdict is Verdict.INCONCLUSIVE

    def test_what_no_clock_resolves_is_unchanged_whatever_its_share(self):
        quick = 0.005
        one = latency(quick * 1.5, quick, history=nights(*[0.1 * quick] * 10))
        assert one.verdict is Verdict.UNCHANGED
        assert "which 0.001 may be by itself" in one.reason

    def test_unclean_nights_do_not_count(self):
        history = nights(*[0.105] * 10)
        points = history.points[OF.key, "latency"]
        spoilt = (dataclasses.replace(points[0], clean=False), *points[1:])
        history = dataclasses.replace(history, points={(OF.key, "latency"): spoilt})
        assert latency(1.05, history=history).verdict is Verdict.INCONCLUSIVE


class TestSession:
    @pytest.mark.parametrize(
        ("factor", "verdict"),
        [
            (1.05, Verdict.REGRESSED),
            (0.95, Verdict.IMPROVED),
            (1.0, Verdict.UNCHANGED),
        ],
    )
    def test_its_verdict_decides_and_its_duel_stands_beside_it(self, factor, verdict):
        one = latency(1.05, session=confirmed(factor))
        assert one.verdict is verdict
        assert one.duel.ratio.value == pytest.approx(factor)
        assert one.change == pytest.approx(0.05)

    def test_what_a_session_does_not_find_is_cleared_with_its_ratio(self):
        one = latency(1.05, session=confirmed(1.0))
        assert one.reason.startswith("not confirmed: side by side B/A is 1.000 (")

    def test_one_that_was_cut_off_says_so_and_confirms_nothing(self):
        one = latency(1.05, session=confirmed(1.05, 3))
        assert one.verdict is Verdict.INCONCLUSIVE
        assert "fewer than 5 an arm confirm nothing" in one.reason

    def test_a_session_of_two_methods_confirms_nothing_about_one(self):
        both = session(*confirmed(1.05).records, pairs=((cell("sdpa"), OF),))
        assert latency(1.05, session=both).reason.endswith(UNCONFIRMED)

    def test_steps_follow_the_batch_that_they_make_up(self):
        result = compare(
            fake_run(*records(1.05)),
            fake_run(*records()),
            "main",
            given=Given(session=confirmed(1.05)),
        )
        found = {one.metric: one for one in result.findings}
        assert found["step_latency"].verdict is Verdict.REGRESSED
        assert found["step_latency"].duel is None
        assert result.exit_codes == {errors.PERFORMANCE}

    def test_what_a_session_left_open_is_not_flagged_again(self):
        given = Given(session=session(*abba(OF, STEADY, [1.11 * one for one in STEADY][:3])))
        result = compare(fake_run(*records(1.05)), fake_run(*records()), "main", given=given)
        assert {one.verdict for one in result.findings if one.metric == "step_latency"} == {
            Verdict.INCONCLUSIVE
        }
        assert flagged(result) == ()

    def test_flagged_are_cells_whose_times_wait_for_a_session(self):
        slow, fine = records(1.05), records(1.0, cell("sdpa"))
        then = (*records(), *records(1.0, cell("sdpa")))
        result = compare(fake_run(*slow, *fine), fake_run(*then), "main")
        assert flagged(result) == (OF,)
        again = compare(
            fake_run(*slow, *fine), fake_run(*then), "main", given=Given(session=confirmed(1.0))
        )
        assert flagged(again) == ()

    def test_a_first_call_has_a_wider_gate_than_a_warm_one(self):
        def first(factor):
            rows = [
                dataclasses.replace(one, metrics=one.metrics | {"first_call": (factor,)})
                for one in records()[1:]
            ]
            return fake_run(records()[0], *rows)

        for factor, verdict in ((1.09, Verdict.UNCHANGED), (1.2, Verdict.INCONCLUSIVE)):
            found = {one.metric: one for one in compare(first(factor), first(1.0), "x").findings}
            assert found["first_call"].verdict is verdict


def only(name, value, **given):
    """A run whose processes have this value of a metric, compared with one of 1.0; its finding, and all."""

    def run(value):
        head, *rows = records()
        return fake_run(
            head,
            *(dataclasses.replace(one, metrics=one.metrics | {name: (value,)}) for one in rows),
        )

    result = compare(run(value), run(1.0), "main", given=Given(**given))
    return next(one for one in result.findings if one.metric == name), result


class TestWhatNoSessionMeasures:
    """First calls and energy: arms that take turns in a process share them."""

    @pytest.mark.parametrize("name", ["first_call", "energy"])
    @pytest.mark.parametrize(
        "given", [{}, {"hindrance": "4 cells are beyond the 3"}, {"session": confirmed(1.0)}]
    )
    def test_it_is_never_flagged_and_its_reason_is_its_own(self, name, given):
        if "session" in given:  # as turns in a process leave it: of latencies alone
            bare = [
                dataclasses.replace(one, metrics={"latency": one.metrics["latency"]})
                for one in given["session"].records
            ]
            given = {"session": session(*bare)}
        one, result = only(name, 1.3, **given)
        assert (one.verdict, one.change) == (Verdict.INCONCLUSIVE, pytest.approx(0.3))
        assert one.reason.startswith("+30.0 % beyond the floor of ")
        assert one.reason.endswith(
            f"not confirmed, and no session confirms {name}: measure again, or see in "
            "`ditbench report --history` whether it stays"
        )
        assert flagged(result) == ()

    @pytest.mark.parametrize("name", ["first_call", "energy"])
    @pytest.mark.parametrize(("value", "sign"), [(1.3, 1), (0.7, -1)])
    def test_it_is_counted_with_exit_0_both_ways(self, name, value, sign):
        one, result = only(name, value)
        assert sign * one.change > one.floor
        assert result.unconfirmed == "1 figure moved, unconfirmed"
        assert result.exit_codes == frozenset()
        assert len(one.then) == len(one.now) == len(STEADY)

    def test_a_first_call_displaces_no_latency_from_those_that_are_confirmed(self):
        slow, noisy = OF, cell("sdpa")
        head, *rows = records(1.0, noisy)
        wild = [
            dataclasses.replace(one, metrics=one.metrics | {"first_call": (9.0,)}) for one in rows
        ]
        now = fake_run(head, *wild, *records(1.05, slow))
        then = fake_run(*records(1.0, noisy), *records(1.0, slow))
        result = compare(now, then, "main")
        assert result.findings[0].metric == "first_call"
        assert flagged(result) == (slow,)

    def test_what_a_session_cleared_is_not_held_against_the_night_by_its_first_call(self):
        crowded = records(1.3, **CROWD)
        latencies = [
            dataclasses.replace(one, metrics={"latency": one.metrics["latency"]})
            for one in confirmed(1.0).records
        ]
        before = compare(fake_run(*crowded), fake_run(*records()), "main")
        given = Given(session=session(*latencies))
        after = compare(fake_run(*crowded), fake_run(*records()), "main", given=given)
        found = {one.metric: one for one in after.findings}
        assert found["latency"].verdict is Verdict.UNCHANGED
        assert "other programs" in found["first_call"].reason
        assert (before.exit_codes, after.exit_codes) == ({errors.ENVIRONMENT}, frozenset())


class TestNoise:
    def test_mistake_42_the_gate_is_raised_to_twice_the_floor_and_says_so(self):
        one = latency(1.05, noise=noise(OF, 0.03))
        assert one.floor == pytest.approx(0.06)
        assert step(one, "gate").outcome == "6.00 %, raised to 2 x the measured floor"
        assert latency(1.07, noise=noise(OF, 0.03)).reason == (
            f"+7.00 % beyond the floor of 6.00 %; {UNCONFIRMED}"
        )

    @pytest.mark.parametrize(("factor", "change"), [(1.05, "+5.00"), (0.95, "\N{MINUS SIGN}5.00")])
    def test_below_twice_the_floor_this_machine_cannot_tell(self, factor, change):
        one = latency(factor, noise=noise(OF, 0.03))
        assert (one.verdict, one.reason) == (
            Verdict.INCONCLUSIVE,
            f"{change} % beyond 2.00 %, within twice this machine's floor, 6.00 %",
        )

    def test_what_was_asked_to_be_let_pass_is_unchanged_however_wide_the_floor(self):
        one = latency(1.015, noise=noise(OF, 0.03))
        assert (one.verdict, one.reason) == (
            Verdict.UNCHANGED,
            "+1.50 % within the floor of 2.00 %",
        )

    def test_what_nights_vary_by_is_unchanged_however_wide_the_floor(self):
        wide = nights(*[0.100, 0.102, 0.098, 0.103, 0.097] * 2)
        one = latency(1.05, noise=noise(OF, 0.10), history=wide)
        assert one.verdict is Verdict.UNCHANGED
        assert one.reason == "+5.00 % within the floor of 12.6 % of the last 10 clean nights"

    @pytest.mark.parametrize(("floor", "cells"), [(0.03, ()), (0.02, (OF,))])
    def test_what_no_session_could_tell_is_not_flagged_and_fails_nothing(self, floor, cells):
        """Neither its steps, which have the floor of the batch that they make up."""
        given = Given(noise=noise(OF, floor))
        result = compare(fake_run(*records(1.05)), fake_run(*records()), "main", given=given)
        times = {one.metric: one.verdict for one in result.findings if one.metric in STEPS}
        assert times == dict.fromkeys(STEPS, Verdict.INCONCLUSIVE)
        assert flagged(result) == cells
        assert result.exit_codes == frozenset()

    def test_a_session_decides_about_it_all_the_same(self):
        for factor, verdict in ((1.2, Verdict.REGRESSED), (1.0, Verdict.UNCHANGED)):
            one = latency(1.05, noise=noise(OF, 0.03), session=confirmed(factor))
            assert one.verdict is verdict

    @pytest.mark.parametrize("before", [None, [0.1] * 10, [0.100, 0.102, 0.098, 0.103, 0.097] * 2])
    def test_the_screen_of_a_run_is_the_one_that_is_simulated(self, before):
        """One rule, of arrays: each cell comes to what all of them come to at once."""
        factors = np.array([0.7, 0.92, 0.95, 0.97, 0.99, 1.0, 1.01, 1.03, 1.05, 1.08, 1.2])
        now = [stats.middle([one * value for value in STEADY]) for one in factors]
        seen = deciding.nights(before) if before else deciding.seen(STEADY)
        rule = deciding.screened(seen, stats.middle(STEADY), now, 0.02, 0.06)
        given = {"history": nights(*before or ()), "noise": noise(OF, 0.03)}
        found = [latency(one, **given) for one in factors]
        moved = [one.verdict is not Verdict.UNCHANGED for one in found]
        beyond = [any(one.rule == "confirm" for one in each.steps) for each in found]
        assert (moved, beyond) == (rule.moved.tolist(), rule.beyond.tolist())
        assert sum(moved) > 1

    def test_floors_of_another_machine_are_none(self):
        elsewhere = dataclasses.replace(
            noise(OF, 0.03), environment=Environment({"device": "cuda"})
        )
        one = latency(1.05, noise=elsewhere)
        assert one.verdict is Verdict.INCONCLUSIVE
        assert "floor not measured" in step(one, "gate").numbers


def CLOCK(hertz):  # noqa: N802 (beside HOT and CROWD)
    return {"telemetry": {"samples": 10, "sm_clock": [hertz] * 3}}


class TestMachine:
    @pytest.mark.parametrize(("facts", "factor"), [(HOT, 1.5), (HOT, 1.0), (CROWD, 1.5)])
    def test_a_machine_that_was_not_fit_is_exit_6_and_never_a_regression(self, facts, factor):
        now = fake_run(*records(factor, **facts))
        result = compare(now, fake_run(*records()), "main")
        times = {one.verdict for one in result.findings if one.metric in {"latency", "first_call"}}
        if factor != 1.0:
            assert times == {Verdict.INCONCLUSIVE}
        assert result.exit_codes == {errors.ENVIRONMENT}

    @pytest.mark.parametrize(
        ("then", "now", "factor", "cells"),
        [
            ({}, HOT, 1.5, (OF,)),
            ({}, HOT, 1.01, ()),
            (HOT, {}, 1.5, (OF,)),
            ({}, CROWD, 1.5, (OF,)),
            (CROWD, {}, 1.5, (OF,)),
            (CLOCK(1.40e9), CLOCK(1.35e9), 1.04, (OF,)),
        ],
    )
    def test_a_session_decides_what_the_machine_may_explain(self, then, now, factor, cells):
        runs = fake_run(*records(factor, **now)), fake_run(*records(**then))
        result = compare(*runs, "main")
        assert result.exit_codes == {errors.ENVIRONMENT}
        assert flagged(result) == cells
        decided = compare(*runs, "main", given=Given(session=confirmed(factor)))
        found = {one.metric: one for one in decided.findings}
        assert found["latency"].verdict is (
            Verdict.UNCHANGED if factor == 1.01 else Verdict.REGRESSED
        )

    def test_a_faster_clock_explains_no_slower_time(self):
        runs = fake_run(*records(1.5, **CLOCK(1.45e9))), fake_run(*records(**CLOCK(1.40e9)))
        result = compare(*runs, "main")
        assert (result.exit_codes, flagged(result)) == (frozenset(), (OF,))
        assert "clock" not in next(one.reason for one in result.findings if one.metric == "latency")

    def test_a_session_that_was_crowded_itself_leaves_it_to_the_machine(self):
        runs = fake_run(*records(1.5, **CROWD)), fake_run(*records())
        own = session(*abba(OF, STEADY, [1.5 * one for one in STEADY], **CROWD))
        result = compare(*runs, "main", given=Given(session=own))
        found = {one.metric: one for one in result.findings}
        assert found["latency"].verdict is Verdict.INCONCLUSIVE
        assert result.exit_codes == {errors.ENVIRONMENT}

    def test_a_session_of_four_processes_does_not_acquit_the_machine(self):
        runs = fake_run(*records(1.5, **CROWD)), fake_run(*records())
        for number, codes in ((4, {errors.ENVIRONMENT}), (5, {errors.PERFORMANCE})):
            given = Given(session=confirmed(1.5, number))
            assert compare(*runs, "main", given=given).exit_codes >= codes

    def test_other_programs_beside_a_time_that_did_not_move_are_no_fault(self):
        result = compare(fake_run(*records(1.0, **CROWD)), fake_run(*records()), "main")
        assert result.exit_codes == frozenset()

    def test_memory_does_not_mind_the_heat(self):
        now = fake_run(*records(1.0, peak=1.1 * PEAK, **HOT))
        found = {one.metric: one for one in compare(now, fake_run(*records()), "x").findings}
        assert found["peak_resident"].verdict is Verdict.REGRESSED

    def test_a_fit_session_decides_though_the_night_was_hot(self):
        now, then = fake_run(*records(1.5, **HOT)), fake_run(*records())
        result = compare(now, then, "main", given=Given(session=confirmed(1.5)))
        assert errors.PERFORMANCE in result.exit_codes


def suite(*factors):
    """A run of as many cells, each slower by its factor."""
    cells = [cell("monarch", number + 1) for number in range(len(factors))]
    return fake_run(
        *(one for of, factor in zip(cells, factors, strict=True) for one in records(factor, of))
    )


class TestShift:
    still = suite(*[1.0] * 10)

    def test_more_than_thirty_per_cent_that_move_alike_are_one_change_of_the_machine(self):
        result = compare(suite(*[1.08, 1.07, 1.09, 1.08], *[1.0] * 6), self.still, "main")
        assert result.shift == (
            "4 of 10 cells moved alike, by about +8.00 %: "
            "the machine changed, and not one of them by itself"
        )
        assert result.exit_codes == {errors.ENVIRONMENT}
        moved = [one for one in result.findings if one.metric == "latency" and one.change > 0.05]
        assert {one.verdict for one in moved} == {Verdict.INCONCLUSIVE}
        assert all(result.shift in one.reason for one in moved)

    @pytest.mark.parametrize(
        "factors",
        [
            [1.08, 1.07, 1.09, 1.0, 1.0],
            [1.08, 1.07, 0.93, 0.92, *[1.0] * 6],
            [1.05, 1.3, 1.9, 3.0, *[1.0] * 6],
        ],
        ids=["three cells", "both ways", "unlike factors"],
    )
    def test_fewer_or_unlike_moves_are_none(self, factors):
        result = compare(suite(*factors), suite(*[1.0] * len(factors)), "main")
        assert (result.shift, result.exit_codes) == ("", frozenset())

    def test_cells_that_left_their_nights_alike_are_one_change_too(self):
        """Beside the baseline nothing moved."""
        points = {}
        for number in range(10):
            points |= nights(
                *[0.105 if number < 4 else 0.1] * 10, of=cell("monarch", number + 1)
            ).points
        history = History(tuple(f"run{at}" for at in range(10)), points)
        result = compare(self.still, self.still, "main", given=Given(history=history))
        assert result.shift.startswith("4 of 10 cells moved alike, by about \N{MINUS SIGN}4.76 %: ")
        assert result.exit_codes == {errors.ENVIRONMENT}

    def test_thirty_per_cent_is_not_more_than_thirty(self):
        still, moved = [1.0] * 20, [*[1.08] * 6, *[1.0] * 14]
        assert compare(suite(*moved), suite(*still), "main").shift == ""
        assert compare(suite(*moved[:19]), suite(*still[:19]), "main").shift != ""

    def test_cells_that_a_session_confirmed_are_changes_of_their_own(self):
        now = suite(*[1.08] * 4, *[1.0] * 6)
        cells = [cell("monarch", number) for number in range(1, 5)]
        arms = [one for of in cells for one in confirmed(1.08, of=of).records]
        result = compare(now, self.still, "main", given=Given(session=session(*arms)))
        assert (result.shift, result.exit_codes) == ("", {errors.PERFORMANCE})

    def test_cells_that_a_session_cleared_fail_nothing_though_the_machine_changed(self):
        now = suite(*[1.08] * 4, *[1.0] * 6)
        cells = [cell("monarch", number) for number in range(1, 5)]
        arms = [one for of in cells for one in confirmed(1.0, of=of).records]
        steady = compare(now, self.still, "main", given=Given(session=session(*arms)))
        assert "the machine changed" in steady.shift
        assert {one.verdict for one in steady.findings if one.metric == "latency"} == {
            Verdict.UNCHANGED
        }


def pictured(factor, drift):
    return fake_run(*records(factor), quality(OF, drift))


class TestTraded:
    def test_faster_with_worse_pictures_is_traded_be_it_confirmed_or_not(self):
        for given in (Given(), Given(session=confirmed(0.9))):
            result = compare(pictured(0.9, 0.4), pictured(1.0, 0.2), "main", given=given)
            one = next(one for one in result.findings if one.metric == "latency")
            assert one.verdict is Verdict.TRADED
            assert "and its pictures became worse: " in one.reason
            assert "latent_drift" in one.reason
            assert result.exit_codes == {errors.QUALITY}

    @pytest.mark.parametrize(
        ("factor", "drift", "verdict"),
        [
            (0.9, 0.2, Verdict.INCONCLUSIVE),
            (1.1, 0.4, Verdict.INCONCLUSIVE),
            (1.0, 0.4, Verdict.UNCHANGED),
            (0.9, 0.1, Verdict.INCONCLUSIVE),
        ],
        ids=["same pictures", "slower", "as fast", "better pictures"],
    )
    def test_anything_else_is_not(self, factor, drift, verdict):
        result = compare(pictured(factor, drift), pictured(1.0, 0.2), "main")
        assert {one.verdict for one in result.findings if one.metric == "latency"} == {verdict}

    def test_slower_than_the_nights_is_no_speed_be_it_faster_than_the_baseline(self):
        given = Given(history=nights(*[0.090] * 10))
        result = compare(pictured(0.95, 0.4), pictured(1.0, 0.2), "main", given=given)
        one = next(one for one in result.findings if one.metric == "latency")
        assert one.verdict is Verdict.INCONCLUSIVE
        assert one.reason.startswith("+5.56 % beyond the floor of 2.00 % of the last 10")
        assert (one.change, one.screened) == (pytest.approx(-0.05), pytest.approx(0.95 / 0.9 - 1))
        assert finding_to_json(one)["screened"] == one.screened

    def test_mistake_33_worse_pictures_are_exit_5_before_4(self):
        given = Given(session=confirmed(1.1))
        result = compare(pictured(1.1, 0.4), pictured(1.0, 0.2), "main", given=given)
        assert result.exit_codes == {errors.QUALITY, errors.PERFORMANCE}
        assert errors.first_of(set(result.exit_codes)) == errors.QUALITY


def memory(name, before, after, **suite):
    """before, after: a peak a process."""

    def run(peaks, **parts):
        rows = [
            dataclasses.replace(one, metrics={"latency": (0.1,), name: (peak,)})
            for one, peak in zip(timed(OF, *((0.1,),) * len(peaks)), peaks, strict=True)
        ]
        return fake_run(gate(OF), *rows, **parts)

    result = compare(run(after, **suite), run(before), "main")
    return next(one for one in result.findings if one.metric == name), result.exit_codes


GIB = 2.0**30


class TestMemory:
    @pytest.mark.parametrize(
        ("before", "after", "verdict"),
        [
            ([4 * GIB], [4.1 * GIB], Verdict.REGRESSED),
            ([4.1 * GIB], [4 * GIB], Verdict.IMPROVED),
            ([4 * GIB], [4.03 * GIB], Verdict.UNCHANGED),
            ([GIB / 8], [GIB / 8 + 15 * 2**20], Verdict.UNCHANGED),
            ([GIB / 8], [GIB / 8 + 17 * 2**20], Verdict.REGRESSED),
        ],
        ids=["more", "less", "within 1 %", "within 16 MiB", "beyond both"],
    )
    def test_what_torch_allocates_repeats_so_one_process_is_enough(self, before, after, verdict):
        one, codes = memory("peak_allocated", before, after)
        assert one.verdict is verdict
        assert codes == ({errors.PERFORMANCE} if verdict is Verdict.REGRESSED else set())

    def test_a_suite_may_allow_more_but_no_less_than_16_mib(self):
        wide = {"gate": {"peak_allocated": 0.05}}
        assert memory("peak_allocated", [4 * GIB], [4.1 * GIB], **wide)[0].verdict is (
            Verdict.UNCHANGED
        )
        narrow = {"gate": {"peak_allocated": 0.0}}
        assert memory("peak_allocated", [GIB], [GIB + 2**20], **narrow)[0].verdict is (
            Verdict.UNCHANGED
        )

    def test_resident_memory_is_judged_where_every_process_agrees(self):
        then, now = [4 * GIB, 4.02 * GIB, 4.01 * GIB], [4.2 * GIB, 4.3 * GIB, 4.21 * GIB]
        assert memory("peak_resident", then, now)[0].verdict is Verdict.REGRESSED
        assert memory("peak_resident", now, then)[0].verdict is Verdict.IMPROVED
        one, codes = memory("peak_resident", [*then, 4.25 * GIB], now)
        assert (one.verdict, codes) == (Verdict.INCONCLUSIVE, frozenset())
        assert "processes of both sides overlap" in one.reason
        assert memory("peak_resident", then[:1], now)[0].verdict is Verdict.INCONCLUSIVE

    @pytest.mark.parametrize("name", ["peak_reserved", "device_used"])
    def test_what_is_held_in_reserve_is_advice(self, name):
        one, codes = memory(name, [4 * GIB] * 3, [8 * GIB] * 3)
        assert (one.verdict, codes) == (Verdict.INCONCLUSIVE, frozenset())
        assert "advisory" in one.reason

    def test_peaks_with_and_without_the_warm_up_are_no_change(self):
        def run(warm, peak):
            rows = [
                dataclasses.replace(one, facts={"peak_without_warmup": warm})
                for one in timed(OF, *((0.1,),) * 3, peak=peak)
            ]
            return fake_run(gate(OF), *rows)

        result = compare(run(False, 5 * GIB), run(True, 4 * GIB), "main")
        (one,) = [one for one in result.findings if one.metric == "peak_resident"]
        assert one.verdict is Verdict.INCONCLUSIVE
        assert "includes the warm-up" in one.reason


def judged(name, then, now, **suite):
    """A figure of pictures of two runs; one value a picture, or one of all."""

    def run(values, **parts):
        whole = quality(OF, 0.2)
        whole = dataclasses.replace(whole, metrics=whole.metrics | {name: tuple(values)})
        return fake_run(*records(), whole, **parts)

    result = compare(run(now, **suite), run(then), "main")
    return next(one for one in result.findings if one.metric == name)


MANY = [0.1 + 0.001 * (number % 7) for number in range(48)]


class TestPictures:
    def test_differences_are_paired_so_that_small_ones_of_all_pictures_count(self):
        """Pictures spread ten times wider than the change of each."""
        wide = [0.2 * (1 + number % 10) for number in range(48)]
        assert (
            judged("latent_drift", wide, [1.1 * one for one in wide]).verdict is Verdict.REGRESSED
        )
        assert judged("latent_drift", wide, [0.9 * one for one in wide]).verdict is Verdict.IMPROVED

    def test_within_the_tolerance_nothing_is_said(self):
        one = judged("latent_drift", MANY, [1.04 * one for one in MANY])
        assert (one.verdict, step(one, "paired error").outcome) == (
            Verdict.UNCHANGED,
            "beyond 3 standard errors",
        )
        assert "within the tolerance of 5.00 %" in one.reason
        narrow = {"gate": {"latent_drift": 0.01}}
        worse = judged("latent_drift", MANY, [1.04 * one for one in MANY], **narrow)
        assert worse.verdict is Verdict.REGRESSED

    def test_within_three_standard_errors_nothing_is_said(self):
        """Half of the pictures became far better and half far worse."""
        turned = [one * (1.5 if number % 2 else 0.6) for number, one in enumerate(MANY)]
        one = judged("latent_drift", MANY, turned)
        assert one.verdict is Verdict.UNCHANGED
        assert "may be by itself" in one.reason

    @pytest.mark.parametrize(
        ("name", "by", "verdict"),
        [
            ("psnr", -0.25, Verdict.UNCHANGED),
            ("psnr", -0.35, Verdict.REGRESSED),
            ("psnr", 0.35, Verdict.IMPROVED),
            ("ssim", -0.006, Verdict.REGRESSED),
            ("ssim", -0.004, Verdict.UNCHANGED),
            ("lpips", 0.006, Verdict.REGRESSED),
            ("lpips", 0.004, Verdict.UNCHANGED),
        ],
    )
    def test_tolerances_of_what_is_bounded_are_absolute(self, name, by, verdict):
        base = 25.0 if name == "psnr" else 0.5
        then = [base + 1e-4 * number for number in range(48)]
        assert judged(name, then, [one + by for one in then]).verdict is verdict

    @pytest.mark.parametrize(
        ("now", "verdict"),
        [
            (100.9, Verdict.UNCHANGED),
            (101.2, Verdict.UNCHANGED),
            (101.5, Verdict.REGRESSED),
            (98.5, Verdict.IMPROVED),
        ],
        ids=["within its error", "within 1.3 %", "worse", "better"],
    )
    def test_no_gate_of_a_frechet_distance_is_below_1_3_per_cent(self, now, verdict):
        """Its paired error is 0.4: three of them are 1.2; the suite asks for a per mille."""
        one = judged(f"{FD}@dataset", [100.0], [now], gate={"frechet": 0.001})
        assert one.verdict is verdict

    def test_a_figure_without_an_error_says_nothing(self):
        bare = {"paired": {}, "errors": {}}
        runs = [fake_run(*records(), quality(OF, drift, **bare)) for drift in (0.4, 0.2)]
        found = {one.metric: one for one in compare(*runs, "main").findings}
        assert found[f"{FD}@dataset"].verdict is Verdict.INCONCLUSIVE
        assert "its error is not known" in found[f"{FD}@dataset"].reason

    @pytest.mark.parametrize("name", ["latent_drift", "psnr", "ssim", "lpips"])
    def test_mistake_32_one_picture_is_never_significant(self, name):
        """It has no error: beyond the tolerance nothing is said, within it nothing changed."""
        worse = 0.1 if name == "psnr" else 0.9
        one = judged(name, [0.5], [worse])
        assert one.verdict is Verdict.INCONCLUSIVE
        assert one.reason.endswith(
            "beyond the tolerance, but of one picture: no change of it can be told"
        )
        assert judged(name, [0.5], [0.5]).verdict is Verdict.UNCHANGED
        assert judged(name, [0.5], [0.501]).verdict is Verdict.UNCHANGED

    def test_mistake_32_one_picture_is_no_exit_5(self):
        def run(drift):
            whole = quality(OF, 0.2, samples=1, errors={})
            one = {
                name: (values[0] if "@" not in name else drift,)
                for name, values in whole.metrics.items()
            }
            one["latent_drift"] = (drift,)
            return fake_run(*records(), dataclasses.replace(whole, metrics=one))

        result = compare(run(0.9), run(0.2), "main")
        moved = {one.metric for one in result.findings if one.verdict is Verdict.INCONCLUSIVE}
        assert moved == {"latent_drift", f"{FD}@dataset", f"{FD}@softmax"}
        assert result.exit_codes == frozenset()

    def test_the_larger_of_both_sides_errors_counts(self):
        def run(value, error):
            whole = quality(OF, 0.2, paired={f"{FD}@dataset": {"change": 1.0, "error": error}})
            figures = whole.metrics | {f"{FD}@dataset": (value,)}
            return fake_run(*records(), dataclasses.replace(whole, metrics=figures))

        for then, now in ((2.0, 0.1), (0.1, 2.0)):
            result = compare(run(105.0, now), run(100.0, then), "main")
            (one,) = [one for one in result.findings if one.metric == f"{FD}@dataset"]
            assert one.verdict is Verdict.UNCHANGED
            assert "standard error 2" in step(one, "paired error").numbers

    def test_a_drift_from_nothing_is_a_regression(self):
        runs = [fake_run(*records(), quality(OF, drift)) for drift in (0.3, 0.0)]
        found = {one.metric: one for one in compare(*runs, "main").findings}
        assert found["latent_drift"].verdict is Verdict.REGRESSED


def test_every_finding_of_a_metric_tells_its_rules():
    result = compare(pictured(1.05, 0.3), pictured(1.0, 0.2), "main")
    assert all(one.steps and one.steps[-1].outcome for one in result.findings if one.metric)


class TestArmsOfTheSameCode:
    """They tell what the machine does, and nothing of a change that neither arm holds."""

    WHY = (
        "both arms were the same code and packages, so that the machine moved, or something that is not "
        "recorded"
    )

    def beside(self, factor, **more):
        arm = ARMS[1]
        judged = [factor * value for value in STEADY]
        return session(*abba(OF, STEADY, judged, **more), arms=(arm, arm))

    @pytest.mark.parametrize("factor", [1.0, 1.05, 0.95])
    def test_mistake_32_they_neither_acquit_nor_confirm(self, factor):
        one = latency(1.05, session=self.beside(factor))
        assert one.verdict is Verdict.INCONCLUSIVE
        assert one.reason.endswith(self.WHY)
        assert one.reason.startswith(f"side by side B/A is {factor:.3f}")
        assert one.duel.ratio.value == pytest.approx(factor)

    def test_arms_of_other_packages_are_not_the_same(self):
        other = Environment(ARMS[1].environment.facts | {"plugin.ours": "1.1"})
        arms = (ARMS[1], dataclasses.replace(ARMS[1], environment=other))
        found = dataclasses.replace(self.beside(1.0), arms=arms)
        assert latency(1.05, session=found).verdict is Verdict.UNCHANGED
