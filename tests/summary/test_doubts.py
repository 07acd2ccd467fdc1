"""Doubts: each lie of a benchmark planted, and caught in the words that a person reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes_runs import cell, fake_run, gate, measured, quality, record, timed

from ditbench.records import Choice, Op, Stage, Status
from ditbench.summary import summarise

WAY_OUT = "(see that the method reads it, or leave it out)"
HALF = {"blocks": (0, 1, 2), "blocks_label": "first-half"}


def row(of, *records):
    return next(row for row in summarise(fake_run(*records)).rows if row.cell == of)


def doubts(of, *records):
    return row(of, *records).doubts


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
        (
            "implausible: speed-up 4.00 (at least 3.96) above the bound 2.00 (at most 2.02) measured with "
            "identity, by 96.0 % beyond both intervals; usually another dtype, other shapes or another axis "
            "in one arm, or work that was skipped"
        ),
    )


def test_mistake_20_a_method_that_may_skip_projections_is_bounded_by_zero():
    of = cell("monarch")
    ours = good(of, 0.2, core_only=False)
    (told,) = doubts(of, *BASE, *good(cell("zero"), 0.32), *ours)
    assert told.startswith("implausible: speed-up 4.00")
    assert " measured with zero, by " in told
    assert doubts(of, *BASE, *good(cell("zero"), 0.199), *ours) == ()
    found = row(of, *BASE, *ours)
    assert (found.bound, found.bound_by) == (None, "zero")
    assert found.boundless == (
        "no bound: it may skip projections, and this run has no zero (add `- zero` under `attention`)"
    )


def remembering(of, seconds, bound):
    """Like `good`, with a bound of its own pattern of reuse."""
    told, *times = good(of, seconds, core_only=False)
    bounds = (bound * 0.995, bound, bound * 1.005)
    return told, *(
        replace(one, metrics={**one.metrics, "replay_latency": (at,) * 5})
        for one, at in zip(times, bounds, strict=True)
    )


def test_mistake_20_a_method_with_memory_is_bounded_by_its_own_pattern_of_reuse():
    """`zero`, which skips attention at every step, would let it be twice as fast as it can be."""
    of, zero = cell("monarch"), good(cell("zero"), 0.2)
    (told,) = doubts(of, *BASE, *zero, *remembering(of, 0.4, 0.6))
    assert told.startswith("implausible: speed-up 2.00 (at least 1.98) above the bound 1.33")
    assert "measured with its own pattern of reuse, and nothing where it reused, by " in told
    found = row(of, *BASE, *zero, *remembering(of, 0.7, 0.6))
    assert (found.doubts, found.boundless) == ((), "")
    assert found.bound.value == pytest.approx(0.8 / 0.6, rel=0.01)


def test_a_bound_that_was_measured_while_the_machine_was_slow_is_read_beside_the_methods_own_runs():
    """Twice as slow when the bound was measured, the method too: its bound is what it would have been."""
    of = cell("monarch")
    slow = [
        replace(one, facts={**one.facts, "replay_beside": [1.4] * 5})
        if one.stage is Stage.TIME
        else one
        for one in remembering(of, 0.7, 1.2)
    ]
    found = row(of, *BASE, *slow)
    assert found.doubts == ()
    assert found.bound.value == pytest.approx(0.8 / 0.6, rel=0.01)


def test_mistake_20_in_a_single_process_more_than_noise_is_wanted():
    def told(seconds):
        cells = (
            (cell(), 0.8, True),
            (cell("identity"), 0.4, False),
            (cell("monarch"), seconds, False),
        )
        records = [
            part
            for of, time, exact in cells
            for part in (gate(of, exact=exact), *timed(of, (time,) * 5))
        ]
        return doubts(cell("monarch"), *records)

    assert told(0.39) == ("one process only",)
    assert told(0.2)[0].startswith("implausible: speed-up 4.00")


@pytest.mark.parametrize(
    ("others", "why"),
    [
        ((), "no bound: this run has no identity (add `- identity` under `attention`)"),
        (
            good(cell("identity", **HALF), 0.4),
            "no bound: identity was not measured in the same blocks",
        ),
        (
            (record(cell("identity"), Stage.GATE, status=Status.FAILED_GATE, reason="vacuous"),),
            "no bound: identity has no speed (vacuous)",
        ),
    ],
)
def test_a_speedup_without_a_bound_says_why_and_what_would_give_one(others, why):
    softmax = good(cell(), 0.8, exact=True)
    run = fake_run(*softmax, *good(cell("monarch"), 0.5), *others)
    summary = summarise(run)
    timed_cells = sum(row.speedup is not None for row in summary.rows)
    assert next(r for r in summary.rows if r.cell == cell("monarch")).boundless == why
    told = why.removeprefix("no bound: ")
    assert f"No bound stands beside 2 of {timed_cells} speed-ups: {told}." in summary.notes


def test_mistake_20_a_speedup_within_the_noise_of_the_bound_is_believed():
    assert doubts(cell("monarch"), *BASE, *good(cell("monarch"), 0.398)) == ()


def test_mistake_20_an_exact_method_is_bounded_too():
    slow = good(cell("identity"), 1.6)
    (told,) = doubts(cell(), *good(cell(), 0.8, exact=True), *slow)
    assert told.startswith(
        "implausible: speed-up 1.00 (at least 1.00) above the bound 0.500 (at most 0.505)"
    )
    assert told.endswith(
        "no model is slower without attention, so the bound's own times were disturbed"
    )


def test_a_yardstick_is_bounded_by_no_other_and_a_method_by_none_in_other_blocks():
    zero, half = cell("zero"), cell("monarch", **HALF)
    assert doubts(zero, *BASE, *good(zero, 0.2)) == ()
    assert doubts(half, *BASE, *good(half, 0.2)) == ()


def test_of_a_core_by_itself_everything_can_be_saved_and_no_bound_is_missed():
    op = {"model": Op(256, 4, 32, "cold").choice, "blocks": ()}
    softmax, of = cell(**op), cell("monarch", **op)
    summary = summarise(fake_run(*good(softmax, 0.8, exact=True), *good(of, 0.1)))
    found = next(one for one in summary.rows if one.cell == of)
    assert found.speedup.value == pytest.approx(8)
    assert (found.bound, found.boundless, found.ceiling, found.doubts) == (None, "", None, ())
    assert summary.notes == ()


def test_mistake_15_a_setting_that_changes_no_picture_is_wired_to_nothing():
    one, other = cell("monarch"), cell("monarch {block_size: 8}")
    pictures = (quality(one, 0.2, knob_digest="same"), quality(other, 0.2, knob_digest="same"))
    records = (*BASE, *good(one, 0.5), *good(other, 0.5), *pictures)
    told = f"pictures bit-identical to monarch: block_size changes nothing {WAY_OUT}"
    assert doubts(other, *records) == (told,)
    assert doubts(one, *records) == (told.replace("monarch", "monarch {block_size: 8}"),)


def test_mistake_15_knobs_are_told_without_pictures_by_the_gates_own_run():
    one, other = cell("monarch"), cell("monarch {block_size: 8}")
    same = {"knob_digest": "same"}
    records = (*BASE, *good(one, 0.5, **same), *good(other, 0.5, **same))
    assert doubts(other, *records) == (
        f"outputs of the gate's run bit-identical to monarch: block_size changes nothing {WAY_OUT}",
    )
    # What shows only in later steps shows in pictures, and they decide.
    pictures = (quality(one, 0.2, knob_digest="a"), quality(other, 0.2, knob_digest="b"))
    assert doubts(other, *records, *pictures) == ()
    assert doubts(other, *records, pictures[0]) != ()


@pytest.mark.parametrize("work", [{"counted_core_macs": 150e6}, {"kernels": ["efficient"]}])
def test_mistake_15_a_setting_that_does_other_work_for_the_same_result_is_wired_to_something(work):
    one, other = cell("monarch"), cell("monarch {block_size: 8}")
    same = {"knob_digest": "same"}
    records = (*BASE, *good(one, 0.5, **same), *good(other, 0.5, **same, **work))
    assert doubts(one, *records) == doubts(other, *records) == ()


def test_mistake_15_a_twin_is_found_beyond_batch_and_compilation():
    one, other = cell("monarch"), cell("monarch {block_size: 8}", 4)
    same = {"knob_digest": "same"}
    base = (*good(cell("softmax", 4), 0.8, exact=True), *good(cell("identity", 4), 0.4))
    records = (*base, *good(one, 0.5, **same), *good(other, 0.5, **same))
    assert doubts(other, *records)[0].endswith(f"block_size changes nothing {WAY_OUT}")


def test_mistake_15_several_settings_at_once_are_all_named():
    one = cell("monarch")
    other = cell(
        attention=Choice("monarch", (("block_size", 4), ("num_steps", 1)), "monarch {...}")
    )
    same = {"knob_digest": "same"}
    records = (*BASE, *good(one, 0.5, **same), *good(other, 0.5, **same))
    assert "monarch {...}: block_size and num_steps change nothing" in doubts(one, *records)[0]


def test_mistake_15_blocks_that_change_no_picture_of_an_approximate_method():
    one, other = cell("monarch"), cell("monarch", **HALF)
    pictures = (quality(one, 0.2, knob_digest="same"), quality(other, 0.2, knob_digest="same"))
    records = (*BASE, *good(one, 0.5), *good(other, 0.5), *pictures)
    assert doubts(one, *records) == (
        f"pictures bit-identical to first-half: blocks change nothing {WAY_OUT}",
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
        "differs from softmax also in: 65.1 M parameters against 2.10 M (31.0x)",
    )


def test_mistake_38_each_arm_of_a_ratio_is_looked_at_and_what_is_known_not_repeated():
    fused, of = cell("sdpa"), cell("monarch")
    records = (*BASE, *good(fused, 0.6, exact=True), *good(of, 0.5, parameters=65_100_000))
    assert doubts(of, *records) == (
        "differs from sdpa also in: 65.1 M parameters against 2.10 M (31.0x)",
    )
    for one in records:
        if one.cell == cell("identity") and one.stage is Stage.TIME:
            one.facts["threads"] = 1
    assert doubts(of, *records) == (
        (
            "differs from sdpa also in: 65.1 M parameters against 2.10 M (31.0x); "
            "differs from identity also in: threads 2 against 1"
        ),
    )


def test_what_only_simulates_integers_has_no_speedup_and_says_why():
    of = replace(cell("sdpa"), accelerator=Choice("ptq4dit"))
    found = row(of, *BASE, *good(of, 0.2, simulated="its times tell nothing"))
    assert (found.speedup, found.versus_softmax, found.bound) == (None, None, None)
    assert "its times tell nothing" in found.doubts
    assert found.estimates["latency"].value == 0.2
    assert row(of, *BASE, *good(of, 0.2)).speedup is not None


def test_what_a_method_says_of_its_settings_stands_beside_the_figures():
    of = cell("sdpa")
    assert "trained on another model" in doubts(
        of, *BASE, *good(of, 0.8, remarks=["trained on another model"])
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
    times[2].facts["warmup"] = {"unmet": "still moving by \N{MINUS SIGN}5.88 %"}
    times[1].facts["warmup"] = {"unmet": ""}
    assert doubts(of, *times) == (
        "the warm-up ended unsteady in 1 of 3 processes: still moving by \N{MINUS SIGN}5.88 %",
    )


def test_mistake_13_a_precision_that_was_not_reached_is_told():
    of = cell()
    times = good(of, 0.1, exact=True)
    unmet = "\N{PLUS-MINUS SIGN}2.10 % where 1.00 % was asked for"
    for one in times[1:]:
        one.facts["stopping"] = {"unmet": unmet}
    assert doubts(of, *times) == (f"the timed calls ended imprecise in 3 of 3 processes: {unmet}",)
