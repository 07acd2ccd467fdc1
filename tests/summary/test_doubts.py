"""Doubts: each lie of a benchmark planted, and caught in the words that a person reads."""

from __future__ import annotations

import pytest
from fakes_runs import cell, fake_run, gate, measured, quality, timed

from ditbench.summary import summarise

HALF = {"blocks": (0, 1, 2), "blocks_label": "first-half"}


def doubts(of, *records):
    return next(row.doubts for row in summarise(fake_run(*records)).rows if row.cell == of)


def good(of, seconds, **facts):
    """Three processes that agree to half a per cent."""
    times = tuple((seconds * factor,) * 5 for factor in (0.995, 1.0, 1.005))
    return gate(of, **facts), *timed(of, *times)


BASE = (*good(cell(), 0.8, exact=True), *good(cell("identity"), 0.4))


def test_an_honest_run_raises_no_doubt():
    assert [row.doubts for row in summarise(fake_run()).rows if row.status == "ok"] == [()] * 12


def test_mistake_20_a_speedup_above_what_the_replaced_work_allows_is_implausible():
    of = cell("monarch")
    assert doubts(of, *BASE, *good(of, 0.2)) == (
        "implausible: speed-up 4.00 above the measured bound 2.00",
    )


def test_mistake_20_a_speedup_within_the_noise_of_the_bound_is_believed():
    assert doubts(cell("monarch"), *BASE, *good(cell("monarch"), 0.398)) == ()


def test_mistake_20_an_exact_method_is_bounded_too():
    slow = good(cell("identity"), 1.6)
    assert doubts(cell(), *good(cell(), 0.8, exact=True), *slow) == (
        "implausible: speed-up 1.00 above the measured bound 0.500",
    )


def test_a_yardstick_is_bounded_by_no_other_and_a_method_by_none_in_other_blocks():
    zero, half = cell("zero"), cell("monarch", **HALF)
    assert doubts(zero, *BASE, *good(zero, 0.2)) == ()
    assert doubts(half, *BASE, *good(half, 0.2)) == ()


def test_mistake_15_a_setting_that_changes_no_picture_is_wired_to_nothing():
    one, other = cell("monarch"), cell("monarch {block_size: 8}")
    pictures = (quality(one, 0.2, knob_digest="same"), quality(other, 0.2, knob_digest="same"))
    records = (*BASE, *good(one, 0.5), *good(other, 0.5), *pictures)
    told = "pictures bit-identical to monarch: block_size changes nothing"
    assert doubts(other, *records) == (told,)
    assert doubts(one, *records) == (told.replace("monarch", "monarch {block_size: 8}"),)


def test_mistake_15_blocks_that_change_no_picture_of_an_approximate_method():
    one, other = cell("monarch"), cell("monarch", **HALF)
    pictures = (quality(one, 0.2, knob_digest="same"), quality(other, 0.2, knob_digest="same"))
    records = (*BASE, *good(one, 0.5), *good(other, 0.5), *pictures)
    assert doubts(one, *records) == (
        "pictures bit-identical to first-half: blocks changes nothing",
    )


@pytest.mark.parametrize(
    ("one", "other", "exact"),
    [
        pytest.param(cell("monarch"), cell("nystromformer"), False, id="two methods"),
        pytest.param(cell("monarch"), cell("monarch", 4), False, id="batch size only"),
        pytest.param(cell("monarch"), cell("monarch", steps=50), False, id="other steps"),
        pytest.param(
            cell("monarch"), cell("monarch {block_size: 8}", **HALF), False, id="two knobs at once"
        ),
        pytest.param(cell("monarch"), cell("monarch {block_size: 8}"), True, id="an exact method"),
    ],
)
def test_mistake_15_cells_that_differ_otherwise_are_not_accused(one, other, exact):
    pictures = {
        p.key: p for p in (quality(c, 0.0, knob_digest="same") for c in (one, other))
    }.values()
    records = (*BASE, *good(one, 0.5, exact=exact), *good(other, 0.5, exact=exact), *pictures)
    assert doubts(one, *records) == ()


def test_mistake_27_constant_pictures_are_told():
    of = cell("monarch")
    records = (*BASE, *good(of, 0.5), quality(of, 0.9, constant_share=0.25))
    assert doubts(of, *records) == ("25.0 % of its pictures are constant",)


def test_mistake_05_operators_that_no_counter_knows_are_listed():
    of = cell("monarch")
    records = (*BASE, *good(of, 0.5, uncounted=["lib::fused", "lib::other"]))
    assert doubts(of, *records) == ("multiply-adds of lib::fused, lib::other not counted",)


def test_mistake_38_another_number_of_parameters_is_told():
    of = cell("monarch")
    assert doubts(of, *BASE, *good(of, 0.5, parameters=65_100_000)) == (
        "65.1 M parameters against 2.10 M of softmax",
    )


def test_an_exact_method_whose_pictures_drift_is_doubted_by_dtype():
    of = cell("sdpa")
    records = (*good(of, 0.8, exact=True), quality(of, 0.1))
    (told,) = doubts(of, *records)
    assert told.startswith("declared exact, but its latents drift 0.")
    assert doubts(of, *good(of, 0.8, exact=True), quality(of, 1e-6)) == ()


def test_mistake_13_one_process_is_told():
    of = cell()
    assert doubts(of, gate(of, exact=True), *timed(of, (0.1,) * 9)) == ("one process only",)


def test_mistake_13_a_latency_that_nobody_knows_is_told():
    of = cell()
    times = timed(of, (0.10,) * 5, (0.11,) * 5, (0.12,) * 5)
    assert doubts(of, gate(of, exact=True), *times) == ("interval of latency spans 18.2 % of it",)


def test_a_cell_that_was_never_timed_in_a_run_that_times_is_told():
    assert doubts(cell("sdpa"), *measured("softmax"), gate(cell("sdpa"))) == ("not timed",)


def test_mistake_14_a_peak_that_holds_the_warm_up_is_told():
    of = cell()
    times = good(of, 0.1, exact=True)
    for one in times[1:]:
        one.facts["peak_without_warmup"] = False
    assert doubts(of, *times) == ("peak memory includes the warm-up",)


def test_mistake_10_a_process_that_was_timed_before_it_was_warm_is_told():
    of = cell()
    times = good(of, 0.1, exact=True)
    times[2].facts["warmup"] = {"unmet": "still moving by -5.88 %"}
    times[1].facts["warmup"] = {"unmet": ""}
    assert doubts(of, *times) == (
        "the warm-up ended unsteady in 1 of 3 processes: still moving by -5.88 %",
    )


def test_mistake_13_a_precision_that_was_not_reached_is_told():
    of = cell()
    times = good(of, 0.1, exact=True)
    unmet = "\N{PLUS-MINUS SIGN}2.10 % where 1.00 % was asked for"
    for one in times[1:]:
        one.facts["stopping"] = {"unmet": unmet}
    assert doubts(of, *times) == (f"the timed calls ended imprecise in 3 of 3 processes: {unmet}",)
