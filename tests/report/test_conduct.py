"""How it was measured, in the words of the report."""

from __future__ import annotations

from fakes_runs import cell, fake_run, gate, timed

from ditbench.report import conduct
from ditbench.summary import summarise


def told(*facts):
    """What is said of timing where the processes of one cell found out these facts."""
    of = cell()
    records = timed(of, *((0.1,) * 5 for _ in facts))
    for record, more in zip(records, facts, strict=True):
        record.facts.update(more)
    run = fake_run(gate(of, exact=True), *records)
    return dict(conduct.sentences(run, summarise(run)))["Timing"]


def warmed(unmet="", *, stable=True, cap_s=10.0):
    return {
        "warmup": {"calls": 6, "seconds": 1.2, "cap_s": cap_s, "stable": stable, "unmet": unmet}
    }


def stopped(by, precision=0.01):
    return {"stopping": {"calls": 9, "by": by, "precision": precision, "unmet": ""}}


def test_operators_that_a_methods_own_formula_counts_are_named_once():
    of = cell()
    run = fake_run(gate(of, exact=True, own_formulas=["lib.fused"]), *timed(of, (0.1,) * 5))
    said = dict(conduct.sentences(run, summarise(run)))
    told = next(text for text in said.values() if "passed every gate" in text)
    assert "Counted by a method's own formula: lib.fused." in told


def test_mistake_10_steady_and_unsteady_warm_ups_are_told_apart():
    assert "at most 10 s, and all of them got there." in told(warmed(), warmed())
    unmet = warmed("still moving by \N{MINUS SIGN}5.88 %", stable=False)
    assert (
        "at most 10 s; 1 process of 2 ended without: still moving by \N{MINUS SIGN}5.88 %."
        in told(warmed(), unmet)
    )
    assert "Nobody waited for a steady speed" in told(warmed(stable=None, cap_s=0))


def test_what_ended_the_timed_calls_is_told_where_a_precision_was_asked_for():
    said = told(stopped("precision"), stopped("precision"), stopped("plateau"))
    assert "was 1.00 % of it" in said
    assert said.endswith(
        "what ended them: that precision in 2, an interval that twice the calls did not narrow in 1."
    )
    assert "what ended them" not in told(stopped("repeats", None))


def test_records_of_before_are_read_without_what_they_lack():
    assert told({}).endswith("The device is waited for before the clock starts and after it stops.")
