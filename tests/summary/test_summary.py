"""What a summary makes of records: rows, figures, speed-ups."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace

import pytest
from fakes_runs import (
    FD,
    METHODS,
    STEPS,
    cell,
    failures,
    fake_run,
    gate,
    good_records,
    measured,
    quality,
    record,
    searched,
    timed,
)
from patient import holds_once

from ditbench.compare import compare
from ditbench.errors import CELLS_FAILED
from ditbench.records import LARGEST, Choice, Sampling, Stage, Status
from ditbench.summary import Estimate, Fit, Summary, claims_to_json, rows_to_json, summarise

SUMMARY = summarise(fake_run())


def row(of, *records, **parts):
    """The row of one cell."""
    return next(r for r in summarise(fake_run(*records, **parts)).rows if r.cell == of)


def good(of, *seconds, core=100e6, **facts):
    """A gate and processes whose latencies are all the same."""
    return gate(of, core, **facts), *timed(of, *((value,) * 5 for value in seconds))


def test_rows_stand_in_the_order_of_the_plan_whatever_the_order_of_the_records():
    run = fake_run()
    turned = fake_run(*reversed(run.records), planned=run.planned)
    assert [r.cell for r in summarise(turned).rows] == list(run.planned)
    assert summarise(turned).rows == SUMMARY.rows


def test_a_latency_is_the_median_of_process_medians_with_what_it_rests_on():
    of = cell()
    found = row(of, gate(of), *timed(of, (0.1, 0.2, 0.9), (0.3,) * 3, (0.7,) * 3))
    assert found.estimates["latency"].value == 0.3
    assert found.per_process["latency"] == (0.2, 0.3, 0.7)
    assert (found.estimates["latency"].processes, found.estimates["latency"].samples) == (3, 9)
    assert found.estimates["first_call"].value == 0.6
    assert found.estimates["step_latency"].samples == 9 * of.steps


def test_derived_figures_follow_from_stored_ones():
    of = cell("softmax", 4)
    found = row(of, *good(of, 0.5)).estimates
    assert found["throughput"] == Estimate(8, 8, 8, 1, 5)
    assert found["macs"].value == 8 * 400e6
    assert found["flops"].value == 2 * 8 * 400e6


def test_mistake_36_guidance_doubles_the_rows_of_a_step_and_of_an_image():
    guided, plain = cell(), cell(sampling=Sampling(guidance_scale=1.0))
    both = [row(of, *good(of, 0.5)).estimates for of in (guided, plain)]
    assert both[0]["macs"].value == 2 * both[1]["macs"].value
    assert both[0]["macs_per_image"].value == 2 * both[1]["macs_per_image"].value
    assert both[1]["macs_per_image"].value == 400e6 * guided.steps


def test_the_interval_of_a_throughput_is_that_of_the_latency_turned_over():
    of = cell()
    found = row(of, gate(of), *timed(of, (0.1,) * 3, (0.2,) * 3, (0.4,) * 3)).estimates
    assert found["throughput"].value == pytest.approx(5)
    assert found["throughput"].low == pytest.approx(1 / found["latency"].high)
    assert found["throughput"].high == pytest.approx(1 / found["latency"].low)


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        (
            "wrong-axis",
            Status.FAILED_GATE,
            "is declared exact, but lies 1.02 from softmax in float64",
        ),
        ("overflow", Status.NOT_FINITE, "3.1% of the core's output is not finite"),
        ("oom", Status.OUT_OF_MEMORY, "process 1: CUDA out of memory (2 more not started)"),
        ("hang", Status.TIMEOUT, "no answer within 1800 seconds"),
        ("crash", Status.CRASHED, "process 2: segmentation fault (SIGSEGV)"),
        ("xformers", Status.UNSUPPORTED, "needs an NVIDIA GPU"),
    ],
)
def test_a_failure_is_told_with_its_reason_and_has_no_speed(name, status, reason):
    found = row(cell(name), *fake_run().records)
    assert (found.status, found.reason) == (status, reason)
    assert "latency" not in found.estimates
    assert found.speedup is found.versus_softmax is found.bound is None


def test_the_worst_stage_decides():
    of = cell()
    oom = record(of, Stage.TIME, status=Status.OUT_OF_MEMORY, reason="no memory")
    crash = record(of, Stage.QUALITY, status=Status.CRASHED, reason="SIGSEGV")
    found = row(of, gate(of), oom, crash)
    assert (found.status, found.reason) == (Status.CRASHED, "pictures: SIGSEGV")


def test_a_shard_that_failed_decides_though_its_judge_was_refused_after_it():
    of = cell()
    shards = [
        record(of, Stage.SAMPLE),
        record(of, Stage.SAMPLE, status=Status.CRASHED, replicate=1, reason="SIGSEGV"),
    ]
    told = "its pictures were not all made: shard 1: SIGSEGV"
    refused = record(of, Stage.QUALITY, status=Status.CRASHED, reason=told)
    found = row(of, gate(of), *shards, refused)
    assert (found.status, found.reason) == (Status.CRASHED, "pictures: SIGSEGV")


def test_pictures_that_were_made_and_not_judged_are_told():
    asked = {"timing": {"processes": 1}, "quality": {"samples": 9}, "metrics": ["latent_drift"]}
    of = cell()
    made = (record(of, Stage.SAMPLE),)
    for shards, told in ((made, "pictures made and not judged"), ((), "no pictures made")):
        assert row(of, gate(of), *shards, effort=asked).lacks == told


def unjudged(of, judge):
    return record(
        of,
        Stage.QUALITY,
        status=Status.CRASHED,
        reason="no softmax pictures to judge by: SIGSEGV",
        facts={"unjudged": judge.quality_key},
    )


def test_a_cell_whose_pictures_nobody_could_judge_keeps_its_time_and_says_why():
    of, judge = cell("monarch"), cell("softmax")
    crash = record(judge, Stage.QUALITY, status=Status.CRASHED, reason="SIGSEGV")
    records = (*good(judge, 0.4, exact=True), crash, *good(of, 0.5), unjudged(of, judge))
    found = row(of, *records)
    assert (found.status, found.reason) == (Status.OK, "")
    assert found.estimates["latency"].value == 0.5
    assert "latent_drift" not in found.estimates
    assert "pictures not judged: no softmax pictures to judge by: SIGSEGV" in found.doubts
    assert row(judge, *records).status is Status.CRASHED


def test_a_run_with_pictures_that_nobody_could_judge_is_not_called_fine():
    """Softmax may be in a run for its pictures alone: then no cell of its own tells of the failure."""
    of = cell("monarch")
    run = fake_run(*good(of, 0.5), unjudged(of, cell("softmax")), planned=(of,))
    assert compare(run, None, "").exit_codes == {CELLS_FAILED}


def test_a_planned_cell_without_a_record_is_not_ok():
    found = row(cell("sdpa"), gate(cell()), planned=(cell(), cell("sdpa")), finished=False)
    assert found.status is Status.NOT_RUN
    assert found.reason == "no record: the run ended before its turn, or its lines are lost"


def halfway(*records, **parts):
    """A run that was to time in two processes and to make pictures, and was stopped."""
    effort = {
        "timing": {"processes": 2},
        "quality": {"samples": 48},
        "metrics": ["latency", "latent_drift"],
    }
    return summarise(fake_run(*records, **({"effort": effort, "finished": False} | parts)))


@pytest.mark.parametrize(
    ("records", "lacks"),
    [
        ((), "not timed, no pictures made"),
        (timed(cell(), (0.1,)), "1 of 2 processes timed, no pictures made"),
        (timed(cell(), (0.1,), (0.1,)), "no pictures made"),
        ((quality(cell(), 0.1),), "not timed"),
        ((*timed(cell(), (0.1,), (0.1,)), quality(cell(), 0.1)), ""),
    ],
)
def test_what_a_run_asked_of_a_cell_and_did_not_come_to_is_doubted(records, lacks):
    (found,) = halfway(gate(cell(), exact=True), *records).rows
    assert found.status is Status.OK
    assert found.lacks == lacks
    assert (lacks in found.doubts) == bool(lacks)


def test_a_failed_cell_lacks_nothing_but_what_it_says():
    crash = record(cell(), Stage.TIME, status=Status.CRASHED, reason="SIGSEGV")
    (found,) = halfway(gate(cell()), crash).rows
    assert (found.status, found.lacks) == (Status.CRASHED, "")


def test_a_search_that_a_run_did_not_come_to_is_doubted():
    gated = [one for one in searched("sdpa", 40) if one.stage is Stage.GATE]
    (found,) = halfway(*gated).rows
    assert found.doubts == ("its largest batch was not searched",)


def test_a_run_counts_what_it_measured_in_part():
    of, other = cell(), cell("sdpa")
    assert halfway(gate(of), planned=(of, other)).notes[0] == (
        "The run did not come to its end: 1 of 2 cells have no result, and 1 only a part of it."
    )


def test_pictures_are_shared_by_all_batch_sizes_and_by_compiled_cells():
    of, large, compiled = cell(), cell("softmax", 4), cell(compile=True)
    records = (gate(of), gate(large), gate(compiled), quality(of, 0.3))
    drifts = {row(one, *records).estimates["latent_drift"].value for one in (of, large, compiled)}
    assert len(drifts) == 1
    assert row(large, *records).pictures == f"images/{of.quality_key}"


def test_mistake_13_every_figure_of_pictures_has_its_count_and_its_interval():
    found = row(cell("monarch"), *fake_run().records).estimates
    drift = found["latent_drift"]
    assert drift.low < drift.value < drift.high
    assert drift.samples == 48
    distance = found[f"{FD}@dataset"]
    assert (distance.value, distance.low, distance.high) == pytest.approx((26.2, 25.416, 26.984))
    assert (distance.processes, distance.samples) == (1, 48)
    assert found["psnr_p5"].value < found["psnr"].value


def test_a_distance_never_reaches_below_zero():
    of = cell()
    found = row(of, gate(of), quality(of, 0.001)).estimates[f"{FD}@softmax"]
    assert found.low == 0


def test_identical_pictures_have_an_infinite_psnr():
    found = row(cell(), *fake_run().records)
    assert found.estimates["psnr"].value == math.inf
    assert found.estimates["psnr_p5"].value == math.inf


def test_speedups_are_against_the_fastest_exact_method_and_against_softmax():
    softmax, sdpa, monarch = cell(), cell("sdpa"), cell("monarch")
    records = (
        *good(softmax, 0.8, exact=True),
        *good(sdpa, 0.4, exact=True),
        *good(monarch, 0.2, core=20e6),
    )
    found = row(monarch, *records)
    assert found.speedup == Estimate(2, 2, 2, 1, 5)
    assert found.against == "sdpa"
    assert found.versus_softmax.value == 4
    assert row(softmax, *records).speedup.value == 0.5
    assert row(sdpa, *records).speedup == Estimate(1, 1, 1, 1, 5)


def test_a_fast_inexact_method_is_no_reference():
    found = row(cell(), *good(cell(), 0.8, exact=True), *good(cell("monarch"), 0.2))
    assert (found.against, found.speedup.value) == ("softmax", 1)


def slowed(of, *seconds, **facts):
    """A cell timed while the GPU was throttled."""
    telemetry = {"samples": 100, "slowed_share": 0.5, "slowed": {"heat": 0.5}}
    of_gate, *times = good(of, *seconds, **facts)
    return of_gate, *(replace(one, facts={**one.facts, "telemetry": telemetry}) for one in times)


def test_an_exact_method_whose_times_must_not_be_used_is_no_reference_where_there_is_another():
    softmax, sdpa, monarch = cell(), cell("sdpa"), cell("monarch")
    records = (
        *good(softmax, 0.8, exact=True),
        *slowed(sdpa, 0.4, exact=True),
        *good(monarch, 0.2),
    )
    found = row(monarch, *records)
    assert (found.against, found.speedup.value) == ("softmax", 4)
    assert not any("must not be used" in clause for clause in found.doubts)


@pytest.mark.parametrize("unfit", ["softmax", "identity"])
def test_a_ratio_to_times_that_must_not_be_used_is_doubted(unfit):
    made = {name: slowed if name == unfit else good for name in ("softmax", "identity")}
    records = (
        *made["softmax"](cell(), 0.8, exact=True),
        *made["identity"](cell("identity"), 0.2),
        *good(cell("monarch"), 0.4),
    )
    assert (
        f"its ratios rest on {unfit}, whose times must not be used: "
        "the GPU was slowed by heat in 50.0 % of samples"
    ) in row(cell("monarch"), *records).doubts
    own = row(cell(unfit), *records).doubts
    assert not any(clause.startswith("its ratios") for clause in own)


@pytest.mark.parametrize(
    "axes",
    [
        pytest.param({"batch_size": 4}, id="batch size"),
        pytest.param({"steps": 50}, id="steps"),
        pytest.param({"compile": True}, id="compile"),
        pytest.param({"weights": "random"}, id="weights"),
        pytest.param({"sampling": Sampling(dtype="bfloat16")}, id="dtype"),
        pytest.param({"model": Choice("fashion-dit", (("depth", 12),))}, id="model"),
    ],
)
def test_cells_that_differ_in_more_than_the_method_are_never_in_one_ratio(axes):
    other = cell("monarch", **axes)
    found = row(other, *good(cell(), 0.8, exact=True), *good(other, 0.2))
    assert found.speedup is None
    assert found.versus_softmax is None


def test_the_bound_is_identity_in_the_same_blocks():
    half = {"blocks": (0, 1, 2), "blocks_label": "first-half"}
    records = (
        *good(cell(), 0.8, exact=True),
        *good(cell("identity"), 0.2),
        *good(cell("identity", **half), 0.4),
        *good(cell("monarch", **half), 0.5),
        *good(cell("nystromformer", blocks=(5,)), 0.5),
    )
    assert row(cell(), *records).bound.value == 4
    assert row(cell("monarch", **half), *records).bound.value == 2
    assert row(cell("nystromformer", blocks=(5,)), *records).bound is None


def test_the_ceiling_is_what_multiply_adds_alone_would_allow():
    whole, half = cell("monarch"), cell("monarch", blocks=(0, 1, 2))
    records = (gate(cell(), 100e6), gate(whole, 20e6), gate(half, 60e6))
    assert row(whole, *records).ceiling == pytest.approx(400 / 300)
    assert row(half, *records).ceiling == pytest.approx(400 / 350)
    assert row(whole, gate(whole, 20e6)).ceiling is None


def test_a_run_that_counts_only_needs_no_clock():
    found = row(cell(), gate(cell()))
    assert found.status is Status.OK
    assert found.estimates["macs"].value == 800e6
    assert found.doubts == ()


def claim(**parts):
    plain = {"metric": "core_macs", "value": 40e6, "tolerance": 0.005, "source": "a paper"}
    return plain | {"per": "step", "where": {"attention": "monarch"}} | parts


def answers(*claims, records=None):
    of = cell("monarch", 4)
    return summarise(fake_run(*(records or good(of, 0.4, core=20e6)), claims=claims)).claims


@pytest.mark.parametrize(
    ("asked", "measured", "verdict"),
    [
        pytest.param(claim(value=160e6), 160e6, "reproduced", id="per step, all rows"),
        pytest.param(claim(value=160.7e6), 160e6, "reproduced", id="within the tolerance"),
        pytest.param(claim(value=161e6), 160e6, "contradicted", id="outside the tolerance"),
        pytest.param(
            claim(per="image", value=8e8), 8e8, "reproduced", id="per image, over all steps"
        ),
        pytest.param(
            claim(metric="latency", per="image", value=0.1), 0.1, "reproduced", id="seconds"
        ),
        pytest.param(
            claim(metric="latency", value=0.02), 0.02, "reproduced", id="seconds of a step"
        ),
        pytest.param(
            claim(metric="step_latency", per="image", value=0.1),
            0.1,
            "reproduced",
            id="of an image",
        ),
        pytest.param(
            claim(metric="latency", on="A40", value=0.02), 0.02, "not comparable", id="elsewhere"
        ),
        pytest.param(
            claim(metric="latency", on="Some CPU", value=0.02), 0.02, "reproduced", id="here"
        ),
        pytest.param(claim(on="A40", value=160e6), 160e6, "reproduced", id="counted anywhere"),
        pytest.param(claim(metric="flops", value=1), 2 * 8 * 320e6, "contradicted", id="derived"),
        pytest.param(
            claim(where={"batch_size": 4, "guidance": True}), 160e6, "contradicted", id="guided"
        ),
        pytest.param(claim(metric="psnr"), None, "not measured", id="not measured"),
        pytest.param(claim(value=0, where={}), 160e6, "contradicted", id="published as zero"),
    ],
)
def test_a_claim_is_answered_in_its_own_unit(asked, measured, verdict):
    (found,) = answers(asked)
    assert found.cell == cell("monarch", 4)
    assert found.measured == (measured and pytest.approx(measured))
    assert found.verdict == verdict


def test_a_claim_that_no_cell_is_about_stays_open():
    (found,) = answers(claim(where={"guidance": False}))
    assert (found.cell, found.measured, found.verdict) == (None, None, "not measured")
    assert found.why == "no cell of this run is of that kind"


def test_energy_is_of_one_picture_and_a_step_is_of_a_whole_batch():
    of = cell("monarch", 4)
    one = replace(timed(of, (0.4,) * 5)[0], metrics={"latency": (0.4,), "energy": (5.0,)})
    asked = [claim(metric="energy", per=per, value=1) for per in ("image", "step")]
    found = answers(*asked, records=(gate(of), one))
    assert [claim.measured for claim in found] == [5.0, 5.0 * 4 / STEPS]
    assert found[0].title == "energy per image"


def test_a_claim_that_is_not_measured_says_why():
    failed = replace(
        gate(cell("monarch", 4)), status=Status.FAILED_GATE, reason="vacuous", metrics={}
    )
    (found,) = answers(claim(), records=(failed,))
    assert (found.verdict, found.why) == ("not measured", "failed gate: vacuous")
    (found,) = answers(claim(metric="psnr"))
    assert found.why == "the run did not measure psnr"
    (found,) = answers(claim(metric="psnr", needs="the weights of the hub"))
    assert found.why == "needs the weights of the hub"


def test_times_that_must_not_be_used_refute_no_claim_and_confirm_none():
    of = cell("monarch", 4)
    asked = (claim(metric="latency", value=0.02), claim(metric="latency", value=1), claim(value=1))
    time, other, counted = answers(*asked, records=slowed(of, 0.4, core=20e6))
    for found in (time, other):
        assert (found.verdict, found.why) == (
            "not comparable",
            "the machine was not fit: the GPU was slowed by heat in 50.0 % of samples",
        )
    assert counted.verdict == "contradicted"


def test_a_claim_about_two_cells_must_hold_in_both():
    records = (gate(cell("monarch"), 20e6), gate(cell("monarch", 4), 20e6))
    assert [found.verdict for found in answers(claim(), records=records)] == [
        "reproduced",
        "contradicted",
    ]


def test_notes_tell_what_was_lost():
    told = summarise(
        fake_run(
            *good(cell("monarch"), 0.2),
            planned=(cell("monarch"), cell("sdpa")),
            finished=False,
            problems=("records.jsonl:3: is not JSON",),
        )
    ).notes
    assert told == (
        "The run did not come to its end: 1 of 2 cells have no result.",
        "Lines of the results that could not be read: 1.",
        "Groups of cells without a speed-up, for want of a timed exact method: 1.",
    )
    assert summarise(fake_run(*failures())).notes[0] == "No cell has a result."
    assert SUMMARY.notes == ()


def test_a_summary_is_plain_json():
    plain = json.loads(json.dumps(rows_to_json(SUMMARY), allow_nan=False))
    assert len(plain) == 2 * len(METHODS) + len({one.key for one in failures()})
    assert plain[0]["estimates"]["psnr"]["value"] == "inf"
    assert plain[0]["axes"]["attention"] == "softmax"
    assert plain[1]["speedup"]["value"] == 1
    assert [one["verdict"] for one in claims_to_json(SUMMARY)] == [
        "reproduced",
        "contradicted",
        "not measured",
    ]
    json.dumps(claims_to_json(SUMMARY), allow_nan=False)


def test_a_group_of_many_settings_is_summarised_without_work_per_pair():
    """A thousand settings of one method stand in one group: nothing may be looked up anew for each."""

    def seconds(number):
        cells = [
            replace(cell("monarch"), attention=Choice("monarch", (("block_size", n),), f"m{n}"))
            for n in range(number)
        ]
        run = fake_run(*(part for of in (cell(), *cells) for part in good(of, 0.1)))
        begin = time.process_time()
        summarise(run)
        return time.process_time() - begin

    seconds(50)
    # Four times the cells; sixteen times the pairs.
    assert holds_once(lambda: seconds(1600) < 8 * seconds(400))


def test_a_large_run_is_summarised_without_work_per_pair_of_cells():
    records = tuple(
        part for batch in range(1, 18) for label in METHODS for part in measured(label, batch)
    )
    rows = summarise(fake_run(*records, *good_records()[-6:])).rows
    assert len(rows) == 17 * len(METHODS)
    assert all(r.speedup and r.bound for r in rows)


def searches(*records):
    return [row for row in summarise(fake_run(*records)).rows if row.cell.finds_batch]


def test_a_largest_batch_lies_between_what_fitted_and_what_did_not():
    (row,) = searches(*searched("sdpa", 512, fails=520))
    found = row.estimates["largest_batch"]
    assert (found.value, found.low, found.high) == (512, 512, 519)
    assert row.fit == Fit(512, 520, "peak_resident", 5 * 2**20, 2**30, 2)
    assert row.status is Status.OK


def test_a_search_that_met_no_failure_has_no_upper_end():
    (row,) = searches(*searched("sdpa", 65536, fails=None))
    assert row.estimates["largest_batch"].high == math.inf
    assert rows_to_json(Summary((row,)))[0]["estimates"]["largest_batch"]["high"] == "inf"
    assert rows_to_json(Summary((row,)))[0]["fit"]["fails"] is None


def test_a_cell_of_max_has_neither_speed_nor_work_nor_a_doubt_about_them():
    timed_too = (*measured("softmax"), *searched("softmax"), *searched("monarch"))
    for row in searches(*timed_too):
        assert row.estimates.keys() == {"largest_batch"}
        assert (row.speedup, row.bound, row.doubts) == (None, None, ())


def test_a_search_that_contradicted_itself_is_doubted():
    (row,) = searches(*searched("sdpa", 20, wavering=[21, 24]))
    assert row.doubts == ("batch 21, 24 fitted once and another time not",)


def test_a_search_that_failed_is_its_cells_failure_and_has_no_figure():
    gate_record, _ = searched("sdpa")
    out = record(
        gate_record.cell,
        Stage.FIT,
        status=Status.OUT_OF_MEMORY,
        reason="not even a batch of 1 fits",
    )
    (row,) = searches(gate_record, out)
    assert (row.status, row.reason, row.fit) == (Status.OUT_OF_MEMORY, out.reason, None)


def test_a_cell_of_max_shares_the_pictures_of_its_siblings():
    (row,) = searches(*measured("monarch"), *searched("monarch"), quality(cell("monarch"), 0.2))
    assert "latent_drift" in row.estimates


def test_a_claim_about_the_largest_batch_is_answered_by_the_search():
    claim = {
        "metric": "largest_batch", "value": 44.0, "tolerance": 0.1, "source": "x", "per": "step",
        "where": {"attention": "sdpa"},
    }  # fmt: skip
    run = fake_run(*measured("sdpa"), *searched("sdpa", 40), claims=(claim,))
    (result,) = summarise(run).claims
    assert (result.measured, result.verdict) == (40.0, "reproduced")
    assert result.cell == cell("sdpa", LARGEST)


def test_an_approximation_that_costs_more_than_softmax_is_a_finding_in_words():
    dear, half = cell("nystromformer"), cell("monarch", blocks=(0, 1, 2), blocks_label="first-half")
    softmax = gate(cell(), 100e6, exact=True)
    # Half of softmax's core stays as it was; the other half became 1.2 times as much.
    run = fake_run(softmax, gate(dear, 156e6), gate(half, 50e6 + 60e6), gate(cell("identity"), 0))
    assert [note for note in summarise(run).notes if "multiply-adds" in note] == [
        f"{label} costs more multiply-adds than the softmax that it approximates: its core {ratio} times "
        "as many, on fashion-dit."
        for label, ratio in (("nystromformer", "1.56"), ("monarch", "1.20"))
    ]


def test_a_ceiling_needs_any_exact_method_counted_and_no_softmax():
    fused, of = cell("sdpa"), cell("monarch")
    alone = row(of, *good(of, 0.5), *good(fused, 0.5, exact=True))
    assert alone.ceiling == pytest.approx(400 / 300)
    assert row(of, *good(of, 0.5)).ceiling is None
