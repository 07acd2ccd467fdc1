"""Gates that guard less than they seem to: each its own finding, and none looks green."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from fakes_runs import FACTS, cell, failures, fake_run, gate, timed
from fakes_sessions import abba, session

from ditbench.compare import Given, compare, findings_to_json
from ditbench.compare.lint import Gathered
from ditbench.compare.lint import lint as lint_of
from ditbench.environment import Environment
from ditbench.store import Admission, Floor, Noise
from ditbench.summary import gather

NOW = datetime(2026, 11, 22, 6, tzinfo=UTC)
A, B = cell("softmax"), cell("sdpa")
STEADY = ((0.1,) * 3,) * 5
TERMS = Admission(admitted="2026-11-20", expires="2026-12-20")


def lint(candidate, against, floors, now):
    return lint_of(gathered(candidate), gathered(against), floors, now)


def gathered(found):
    return Gathered(found, gather(found)) if found else None


def run(*cells, values=STEADY, **parts):
    return fake_run(*(part for of in cells for part in (gate(of), *timed(of, *values))), **parts)


def baseline(*cells, admission=TERMS, **parts):
    return replace(run(*cells, **parts), admission=admission)


def noise(apart=0.01, cells=(A, B), environment=FACTS):
    floors = {of.key: {"latency": Floor(of.id, apart, apart, 5)} for of in cells}
    return Noise("fashion", "", Environment(environment), {}, floors)


def kinds(found):
    return [(one.kind, one.cell) for one in found]


def test_a_gate_that_guards_everything_has_nothing_to_tell():
    assert lint(run(A, B), baseline(A, B), noise(), NOW) == ()


def test_mistake_31_a_cell_without_a_baseline_is_told_and_not_green():
    (one,) = lint(run(A, B), baseline(A), noise(), NOW)
    assert (one.kind, one.cell) == ("no baseline", B)
    assert one.said == "no baseline guards this cell: it is not in it"


def test_mistake_31_a_run_that_is_compared_with_nothing_says_so():
    found = compare(run(A), None, "", given=Given(now=NOW))
    assert [one.kind for one in found.lint] == ["no baseline"]


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_mistake_31_a_baseline_of_zero_is_told(value):
    holes = ((value,) * 3,) * 5
    found = lint(run(A), baseline(A, values=holes), noise(), NOW)
    assert {(one.kind, one.cell) for one in found} == {("zero", A)}
    assert f"the baseline's latency is {value:g}, against which nothing can" in found[1].said


def test_mistake_31_an_expired_baseline_judges_nothing_and_says_since_when():
    old = baseline(A, admission=Admission(admitted="2026-09-01", expires="2026-10-01"))
    found = compare(
        run(A, values=((0.3,) * 3,) * 5), old, "main", required=True, given=Given(now=NOW)
    )
    (one,) = found.findings
    told = "the baseline expired on 2026-10-01"
    assert (one.verdict, one.reason) == ("incomparable", told)
    assert (one.baseline.value, one.candidate.value) == (0.1, 0.3)
    assert found.incomparable
    assert found.exit_codes == {7}
    assert [told in one.said for one in found.lint if one.kind == "expired"] == [True]


def test_on_its_last_day_a_baseline_still_judges():
    day = replace(TERMS, expires="2026-11-23")
    found = compare(run(A), baseline(A, admission=day), "main", required=True, given=Given(now=NOW))
    assert found.exit_codes == frozenset()


@pytest.mark.parametrize(
    ("values", "admission"),
    [
        (STEADY[:3], TERMS),
        (STEADY[:3], replace(TERMS, provisional=True)),
        (STEADY[:3], Admission()),
    ],
    ids=["three processes", "provisional", "of schema 2"],
)
def test_a_provisional_baseline_is_told_and_confirms_no_regression(values, admission):
    """Against a baseline of five processes the same session would: the last line says so."""
    of = baseline(A, values=values, admission=admission)
    (one,) = lint(run(A), of, noise(), NOW)
    assert one.kind == "provisional"
    assert "timed in 3 processes where 5 gate" in one.said

    slow = run(A, values=((0.2,) * 3,) * 5)
    beside = Given(now=NOW, session=session(*abba(A, (0.1,) * 5, (0.2,) * 5)))
    for against, verdict, gated in ((of, "inconclusive", False), (baseline(A), "regressed", True)):
        told = compare(slow, against, "main", given=beside)
        (found,) = [one for one in told.findings if one.metric == "latency"]
        assert (found.verdict, 4 in told.exit_codes) == (verdict, gated), found.reason


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("number", [3, 5], ids=["three processes", "a machine that changed"])
def test_against_a_provisional_baseline_a_session_confirms_no_time(factor, number):
    """What both arms came to stands in the reason, and gates nothing."""
    of = baseline(A, values=STEADY[:number], admission=replace(TERMS, provisional=True))
    moved = [0.1 * factor] * 5
    given = Given(now=NOW, session=session(*abba(A, [0.1] * 5, moved)))
    found = compare(run(A, values=((0.1 * factor,) * 3,) * 5), of, "main", given=given)
    told = ("timed in 3 processes where 5 gate", "the machine changed while it was measured")
    why = f"the baseline is provisional: {told[number > 3]}, so that its times are advice only"
    times = {one.metric: one for one in found.findings if one.metric.endswith("latency")}
    for one in times.values():
        assert one.verdict == "inconclusive"
        assert "side by side B/A is" in one.reason
        assert one.reason.endswith(why)
        assert (one.steps[-1].rule, one.steps[-1].outcome) == ("provisional", why)
    assert times.keys() == {"latency", "step_latency"}
    assert found.exit_codes == set()
    assert why in [one.said for one in found.lint]


def test_peaks_against_a_provisional_baseline_gate_as_before():
    """They repeat, however few processes told them."""
    of = baseline(A, values=STEADY[:3], admission=replace(TERMS, provisional=True))
    more = fake_run(gate(A), *timed(A, *STEADY, peak=4e9))
    found = compare(more, of, "main", given=Given(now=NOW))
    assert ("peak_resident", "regressed") in {(one.metric, one.verdict) for one in found.findings}
    assert found.exit_codes == {4}


def test_a_threshold_wider_than_five_floors_is_told_once_on_the_quietest_cell():
    floors = noise()
    quiet = replace(floors, floors={**floors.floors, B.key: {"latency": Floor(B.id, 0, 0.004, 5)}})
    ten = run(A, B, gate={"latency": 0.10})
    (one,) = lint(ten, baseline(A, B), quiet, NOW)
    assert (one.kind, one.cell) == ("wide threshold", B)
    assert one.said == (
        "gate.latency of 10.0 % is above 5 x the measured floor in 2 of 2 cells, of which one has 0.400 %"
    )


def test_a_threshold_of_five_floors_is_not_too_wide():
    five = run(A, gate={"latency": 0.05})
    assert lint(five, baseline(A), noise(0.01), NOW) == ()


@pytest.mark.parametrize(
    ("gate", "whose"), [({"latency": 0.02}, "gate.latency"), ({}, "the usual gate on latency")]
)
def test_mistake_42_two_per_cent_are_wide_where_the_machine_tells_a_thousandth(gate, whose):
    (one,) = lint(run(A, gate=gate), baseline(A), noise(0.001), NOW)
    assert (one.kind, one.cell) == ("wide threshold", A)
    assert one.said.startswith(f"{whose} of 2.00 % is above 5 x the measured floor in 1 of 1 cells")
    assert lint(run(A, gate={"latency": 0.005}), baseline(A), noise(0.001), NOW) == ()


def test_a_floor_of_zero_measures_no_threshold():
    assert lint(run(A), baseline(A), noise(0.0), NOW) == ()


@pytest.mark.parametrize(
    ("floors", "told"),
    [
        (None, "the noise of this machine was not measured: `ditbench noise suites/fashion.yaml`"),
        (noise(cells=(A,)), "the noise of 1 of 2 cells was not measured"),
        (
            noise(environment=FACTS | {"cpus": 64}),
            "the noise was measured elsewhere (cpus: 64 -> 2)",
        ),
    ],
    ids=["none", "of some cells", "of another machine"],
)
def test_mistake_42_a_floor_that_nobody_measured_is_told(floors, told):
    (one,) = lint(run(A, B), baseline(A, B), floors, NOW)
    assert one.kind == "no floor"
    assert told in one.said


def test_mistake_33_a_suite_that_ran_nothing_is_told():
    (one,) = lint(fake_run(*failures()), baseline(A), noise(), NOW)
    assert (one.kind, one.said) == (
        "nothing ran",
        "the suite ran nothing: none of 7 cells has a result",
    )


def test_no_verdict_changes_by_what_lint_tells():
    plain = compare(run(A, B), run(A), "run x", given=Given(now=NOW))
    terms = compare(run(A, B), baseline(A), "main", given=Given(now=NOW))
    assert plain.exit_codes == terms.exit_codes
    assert findings_to_json(plain) == findings_to_json(terms)
