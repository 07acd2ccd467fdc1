"""Verdicts: nothing shows green that was not judged, and nothing red that one evening's noise explains."""

from __future__ import annotations

import json
import math

import pytest
from fakes_runs import (
    FACTS,
    FD,
    METHODS,
    PROVISIONAL,
    cell,
    failures,
    fake_run,
    gate,
    good_records,
    quality,
    record,
    searched,
    timed,
)

from ditbench import errors
from ditbench.compare import Verdict, compare, findings_to_json
from ditbench.environment import Environment
from ditbench.records import Stage, Status
from ditbench.store import baseline_read, baseline_set

SECONDS = (0.10, 0.10, 0.10)


def good(of, *seconds, core=100e6, exact=True, peak=200e6):
    """A cell whose processes have these medians."""
    times = ((value,) * 5 for value in seconds or SECONDS)
    return gate(of, core, exact=exact), *timed(of, *times, peak=peak)


def found(candidate, baseline, **parts):
    """Findings by metric, of runs of these records."""
    result = compare(fake_run(*candidate, **parts), fake_run(*baseline), "main")
    return {one.metric: one for one in result.findings}


def latency(*seconds, before=SECONDS, **parts):
    return found(good(cell(), *seconds), good(cell(), *before), **parts)["latency"]


def test_a_run_against_itself_has_no_change_and_nothing_to_fail():
    run = fake_run(*good_records())
    result = compare(run, run, "main")
    assert {one.verdict for one in result.findings} == {Verdict.UNCHANGED}
    assert result.exit_codes == frozenset()
    assert result.differences == ()
    assert result.baseline == "main"


def test_a_run_with_nothing_to_compare_with_has_no_findings():
    result = compare(fake_run(*good_records()), None, "main")
    assert (result.baseline, result.findings, result.exit_codes) == ("", (), frozenset())


def test_a_time_beyond_its_floor_is_inconclusive_and_says_why():
    one = latency(0.112, 0.112, 0.112)
    assert one.verdict is Verdict.INCONCLUSIVE
    assert one.change == pytest.approx(0.12)
    assert one.floor == 0.02
    assert one.reason == (
        "+12.0 % beyond the floor of 2.00 %; not confirmed: run with --confirm or `ditbench ab`"
    )


def test_a_faster_time_is_inconclusive_too():
    assert latency(0.08, 0.08, 0.08).verdict is Verdict.INCONCLUSIVE


def test_a_time_within_two_per_cent_is_unchanged():
    one = latency(0.1015, 0.1015, 0.1015)
    assert one.verdict is Verdict.UNCHANGED
    assert one.reason == "+1.50 % within the floor of 2.00 %"


def test_mistake_42_the_floor_is_never_below_the_spread_of_the_baselines_processes():
    one = latency(0.106, 0.106, 0.106, before=(0.098, 0.100, 0.102))
    assert one.floor == pytest.approx(3 * 1.4826 * 0.02)
    assert one.verdict is Verdict.UNCHANGED
    assert latency(0.104, 0.106, 0.108).floor == 0.02
    narrow = latency(0.106, 0.106, 0.106, before=(0.098, 0.1, 0.102), gate={"latency": 0.001})
    assert narrow.verdict is Verdict.UNCHANGED


def test_a_suite_may_name_a_wider_gate():
    assert latency(0.112, 0.112, 0.112, gate={"latency": 0.15}).verdict is Verdict.UNCHANGED


def test_a_large_share_of_nearly_nothing_is_unchanged():
    one = latency(0.0014, 0.0014, 0.0014, before=(0.001, 0.001, 0.001))
    assert one.verdict is Verdict.UNCHANGED
    assert one.reason == "a difference of 0.0004, which 0.001 may be by itself"


@pytest.mark.parametrize(
    ("core", "verdict", "code"),
    [
        (101e6, Verdict.REGRESSED, {errors.PERFORMANCE}),
        (99e6, Verdict.IMPROVED, set()),
        (100e6, Verdict.UNCHANGED, set()),
    ],
    ids=["more", "fewer", "equal"],
)
def test_a_change_of_multiply_adds_is_a_verdict_however_small(core, verdict, code):
    result = compare(fake_run(*good(cell(), core=core)), fake_run(*good(cell())), "main")
    verdicts = {one.metric: one.verdict for one in result.findings}
    assert verdicts["core_macs"] is verdicts["macs"] is verdict
    assert result.exit_codes == code


def test_a_count_that_grew_says_from_what_to_what():
    one = found(good(cell(), core=150e6), good(cell()))["core_macs"]
    assert one.reason == "200 MMAC -> 300 MMAC; a count needs no confirmation"
    assert one.change == 0.5


def test_multiply_adds_of_zero_stay_zero_without_a_complaint():
    of = cell("identity")
    assert found(good(of, core=0.0), good(of, core=0.0))["core_macs"].verdict == "unchanged"
    grown = found(good(of, core=1e6), good(of, core=0.0))["core_macs"]
    assert (grown.verdict, grown.change) == (Verdict.REGRESSED, None)


@pytest.mark.parametrize("now", [0.0, 0.1], ids=["zero again", "something"])
def test_mistake_31_a_baseline_of_zero_seconds_is_never_green(now):
    one = latency(now, now, now, before=(0.0, 0.0, 0.0))
    assert one.verdict is Verdict.INCOMPARABLE
    assert one.reason == "the baseline is 0, against which nothing can be judged: set it anew"


def test_mistake_31_a_metric_that_only_one_side_has_is_told():
    with_memory = good(cell())
    bare = (
        with_memory[0],
        *(
            record(
                cell(),
                Stage.TIME,
                replicate=one.replicate,
                metrics={"latency": one.metrics["latency"]},
            )
            for one in with_memory[1:]
        ),
    )
    one = found(with_memory, bare)["peak_resident"]
    assert (one.verdict, one.reason) == (Verdict.NEW, "the baseline has no peak_resident")
    other = found(bare, with_memory)["peak_resident"]
    assert (other.verdict, other.reason) == (Verdict.MISSING, "this run has no peak_resident")


def test_mistake_35_cells_are_matched_by_key_and_not_by_place():
    records = good_records()
    turned = fake_run(*reversed(records))
    result = compare(turned, fake_run(*records), "main")
    assert {one.verdict for one in result.findings} == {Verdict.UNCHANGED}


def whole(candidate, baseline):
    result = compare(fake_run(*candidate), fake_run(*baseline), "main")
    return {
        (one.cell.attention.name, one.verdict, one.reason)
        for one in result.findings
        if not one.metric
    }


def test_cells_that_only_one_side_has_are_new_or_missing():
    assert whole(good(cell()), good(cell("sdpa"))) == {
        ("softmax", Verdict.NEW, "not in the baseline"),
        ("sdpa", Verdict.MISSING, "in the baseline, and not in this run"),
    }


def test_a_cell_that_failed_where_it_was_ok_is_broken_with_the_reason():
    crash = record(cell(), Stage.GATE, status=Status.CRASHED, reason="SIGSEGV")
    assert whole((crash,), good(cell())) == {
        ("softmax", Verdict.BROKEN, "was ok, now crashed: SIGSEGV")
    }
    assert whole(good(cell()), (crash,)) == {("softmax", Verdict.FIXED, "was crashed: SIGSEGV")}
    assert whole((crash,), (crash,)) == set()


def test_a_cell_that_was_taken_out_is_missing_and_one_that_never_ran_is_nothing():
    out = record(cell(), Stage.PLAN, status=Status.EXCLUDED, reason="too slow")
    assert whole((out,), good(cell())) == {
        ("softmax", Verdict.MISSING, "was ok, now excluded: too slow")
    }
    assert whole(good(cell()), (out,)) == {("softmax", Verdict.NEW, "was excluded: too slow")}
    assert whole((out,), good(cell("sdpa"))) == {
        ("sdpa", Verdict.MISSING, "in the baseline, and not in this run")
    }


def test_a_new_cell_that_failed_says_so():
    crash = record(cell(), Stage.GATE, status=Status.CRASHED, reason="SIGSEGV")
    assert ("softmax", Verdict.NEW, "not in the baseline, and failed: crashed, SIGSEGV") in whole(
        (crash,), good(cell("sdpa"))
    )


def test_mistake_29_and_40_another_environment_forbids_a_comparison_and_both_values_are_quoted():
    elsewhere = Environment(FACTS | {"torch": "2.14.0", "python": "3.12.0"})
    result = compare(
        fake_run(*good(cell(), 0.2), environment=elsewhere), fake_run(*good(cell())), "main"
    )
    (one,) = result.findings
    assert (one.verdict, one.reason) == (
        Verdict.INCOMPARABLE,
        "measured elsewhere: torch: 2.13.0 -> 2.14.0",
    )
    assert (one.baseline.value, one.candidate.value) == (0.1, 0.2)
    assert result.incomparable
    assert result.differences == ("torch: 2.13.0 -> 2.14.0", "python: 3.11.2 -> 3.12.0")


def test_mistake_40_where_there_is_no_time_the_values_of_what_both_have_are_quoted():
    elsewhere = Environment(FACTS | {"torch": "2.14.0"})
    of = cell("monarch")

    def run(drift, **parts):
        return fake_run(gate(of), quality(of, drift), **parts)

    (one,) = compare(run(0.3, environment=elsewhere), run(0.2), "main").findings
    assert (one.verdict, one.metric) == (Verdict.INCOMPARABLE, "latent_drift")
    assert (one.baseline.value, one.candidate.value) == pytest.approx((0.2, 0.3), rel=0.1)
    assert f"{FD}@dataset 29.4 -> 33.4" in one.steps[0].numbers
    counted = [fake_run(gate(of), environment=two) for two in (elsewhere, Environment(FACTS))]
    (one,) = compare(*counted, "main").findings
    assert (one.metric, one.baseline.value) == ("macs", one.candidate.value)


def test_a_difference_that_changes_no_number_forbids_nothing():
    elsewhere = Environment(FACTS | {"python": "3.12.0"})
    result = compare(fake_run(*good(cell()), environment=elsewhere), fake_run(*good(cell())), "x")
    assert not result.incomparable
    assert result.differences == ("python: 3.11.2 -> 3.12.0",)


def pictures(drift, before, of=None, **parts):
    of = of or cell("monarch")
    exact = parts.pop("exact", False)
    then = (*good(of, exact=exact), quality(of, before))
    return found((*good(of, exact=exact), quality(of, drift, **parts)), then)


def test_worse_pictures_are_a_regression_and_better_ones_are_not():
    worse, better = pictures(0.3, 0.2), pictures(0.2, 0.3)
    for name in ("latent_drift", "psnr", f"{FD}@dataset", f"{FD}@softmax"):
        assert worse[name].verdict is Verdict.REGRESSED, name
        assert better[name].verdict is Verdict.IMPROVED, name
    assert worse["latent_drift"].change == pytest.approx(0.5)
    assert worse["latent_drift"].reason == (
        "+50.0 %, worse; the same seeds were drawn again, which needs no confirmation"
    )


def test_rounding_of_an_exact_method_is_no_change():
    same = pictures(3e-7, 1e-7, cell("sdpa"), exact=True)
    assert same["latent_drift"].verdict is Verdict.UNCHANGED
    assert same["latent_drift"].reason == "rounding of an exact method"
    assert pictures(3e-7, 1e-7)["latent_drift"].verdict is Verdict.REGRESSED


def test_errors_that_nobody_can_see_are_no_change():
    assert pictures(1e-3, 1e-7)["psnr"].reason == "errors below one grey level"
    seen = pictures(0.2, 1e-7)["psnr"]
    assert (seen.verdict, seen.change) == (Verdict.REGRESSED, None)
    assert seen.reason.startswith("inf dB -> ")


def test_a_suites_threshold_for_frechet_holds_for_every_distance():
    of, name = cell("monarch"), f"{FD}@dataset"
    now, then = (*good(of), quality(of, 0.5)), (*good(of), quality(of, 0.2))
    assert found(now, then)[name].verdict is not Verdict.UNCHANGED
    assert found(now, then, gate={"frechet": 0.99})[name].verdict is Verdict.UNCHANGED


def test_a_distance_within_its_paired_error_is_no_change():
    assert pictures(0.22, 0.2)[f"{FD}@dataset"].verdict is Verdict.UNCHANGED  # 0.8 apart, se 0.4


def test_mistake_23_pictures_of_different_number_are_not_compared():
    one = pictures(0.2, 0.2, samples=1000)[f"{FD}@dataset"]
    assert (one.verdict, one.reason) == (Verdict.INCOMPARABLE, "48 pictures then, 1000 now")


def test_what_is_not_a_number_is_incomparable():
    assert latency(math.nan, math.nan, math.nan).verdict is Verdict.INCOMPARABLE


def test_a_metric_of_another_version_of_ditbench_is_incomparable():
    strange = record(cell(), Stage.TIME, metrics={"latency": (0.1,), "joules": (3.0,)})
    one = found((gate(cell()), strange), (gate(cell()), strange))["joules"]
    assert (one.verdict, one.reason) == (
        Verdict.INCOMPARABLE,
        "this ditbench knows no metric joules",
    )


def test_derived_figures_are_not_judged_a_second_time():
    names = {one.metric for one in compare(fake_run(), fake_run(), "x").findings}
    assert names.isdisjoint({"throughput", "flops", "macs_per_image", "psnr_p5"})


def test_mistake_39_findings_are_sorted_by_effect_and_never_by_name():
    slower = {"softmax": 1.05, "nystromformer": 1.5, "monarch": 0.5}
    crash = record(cell("sdpa"), Stage.GATE, status=Status.CRASHED, reason="SIGSEGV")
    now = [
        one
        for one in good_records((1,), **slower)
        if one.cell != cell("sdpa") or one.stage is Stage.QUALITY
    ]
    result = compare(fake_run(*now, crash), fake_run(*good_records((1,))), "main")
    assert result.findings[0].verdict is Verdict.BROKEN
    names = [one.cell.attention.name for one in result.findings if one.metric == "latency"]
    assert names[:4] == ["monarch", "monarch", "nystromformer", "softmax"]
    verdicts = [one.verdict for one in result.findings]
    first = verdicts.index(Verdict.UNCHANGED)
    assert set(verdicts[first:]) == {Verdict.UNCHANGED}


def codes(run, baseline=None, **parts):
    return compare(run, baseline, "x", **parts).exit_codes


def test_mistake_33_failed_cells_have_their_code_with_and_without_a_baseline():
    assert codes(fake_run()) == {errors.CELLS_FAILED}
    assert codes(fake_run(), fake_run()) == {errors.CELLS_FAILED}


def test_cells_that_were_never_to_run_are_no_failure():
    plan = [one for one in failures() if one.stage is Stage.PLAN]
    assert codes(fake_run(*good(cell()), *plan)) == frozenset()


def test_mistake_33_a_required_baseline_that_compares_nothing_has_its_code():
    run = fake_run(*good(cell()))
    assert codes(run, None, required=True) == {errors.NOTHING_COMPARABLE}
    assert codes(run, fake_run(*good(cell("sdpa"))), required=True) == {errors.NOTHING_COMPARABLE}
    elsewhere = fake_run(*good(cell()), environment=Environment(FACTS | {"cpu": "Other CPU"}))
    assert codes(elsewhere, run, required=True) == {errors.NOTHING_COMPARABLE}
    assert codes(run, run, required=True) == frozenset()
    assert codes(run, fake_run(*good(cell("sdpa")))) == frozenset()


def test_mistake_40_a_run_in_an_environment_that_must_not_be_has_its_code():
    spoilt = Environment(FACTS | {"DIFFUSERS_ATTN_BACKEND": "flash"})
    assert codes(fake_run(*good(cell()), environment=spoilt)) == {errors.ENVIRONMENT}


def test_mistake_33_more_work_has_its_code():
    now, then = (fake_run(*good(cell(), core=core)) for core in (101e6, 100e6))
    assert codes(now, then) == {errors.PERFORMANCE}


def test_mistake_33_an_inconclusive_time_fails_nothing_and_is_counted():
    slow, fast = fake_run(*good(cell(), 5)), fake_run(*good(cell(), 0.1))
    assert codes(slow, fast, required=True) == frozenset()
    times = sum(one.verdict is Verdict.INCONCLUSIVE for one in compare(slow, fast, "x").findings)
    assert times > 1
    assert compare(slow, fast, "x").unconfirmed == f"{times} figures moved, unconfirmed"
    assert compare(fast, fast, "x").unconfirmed == ""


def test_a_stored_baseline_compares_like_the_run_it_came_from(tmp_path):
    run = fake_run()
    baseline_set(run, "main", tmp_path, PROVISIONAL)
    stored = compare(run, baseline_read("main", tmp_path), "main")
    assert {one.verdict for one in stored.findings if one.metric} == {Verdict.UNCHANGED}
    assert len({one.cell.key for one in stored.findings if one.metric}) == 2 * len(METHODS)


def test_findings_are_plain_json():
    result = compare(fake_run(), fake_run(*good_records((1,), softmax=1.5)), "main")
    plain = json.loads(json.dumps(findings_to_json(result), allow_nan=False))
    assert len(plain) == len(result.findings)
    first = next(one for one in plain if one["metric"] == "latency")
    assert first["verdict"] == "inconclusive"
    assert first["change"] == pytest.approx(1 / 1.5 - 1, abs=0.02)
    assert set(first["baseline"]) == {"value", "low", "high", "processes", "samples"}


def test_a_run_that_was_cut_off_is_never_fine():
    cut = fake_run(*good_records(), finished=False)
    assert errors.CELLS_FAILED in compare(cut, None, "").exit_codes


def with_weights(digest):
    of = cell()
    return gate(of, weights=digest), *timed(of, (0.1,) * 5)


def test_other_weights_under_the_same_name_are_incomparable_and_both_are_quoted():
    then, now = with_weights("sha256 aa"), with_weights("sha256 bb")
    result = compare(fake_run(*now), fake_run(*then), "main", required=True)
    (one,) = result.findings
    assert one.verdict is Verdict.INCOMPARABLE
    assert one.reason == "other weights of that name: sha256 aa -> sha256 bb"
    assert (one.baseline.value, one.candidate.value) == (0.1, 0.1)
    assert result.exit_codes == {errors.NOTHING_COMPARABLE}
    assert {v.verdict for v in compare(fake_run(*now), fake_run(*now), "x").findings} == {
        Verdict.UNCHANGED
    }


def test_mistake_22_distances_in_features_of_other_networks_are_not_compared():
    def pictured(digest):
        extractor = {"name": "fashion_cnn", "sha256": digest}
        return *good(cell()), quality(cell(), 0.1, extractor=extractor)

    one = found(pictured("bb"), pictured("aa"))
    assert one[f"{FD}@dataset"].verdict is Verdict.INCOMPARABLE
    assert one[f"{FD}@dataset"].reason == (
        "features of another network, fashion_cnn: sha256 aa then, bb now"
    )
    assert one["latent_drift"].verdict is Verdict.UNCHANGED


def test_a_cell_of_which_no_record_is_left_is_neither_broken_nor_fixed():
    of, other = cell(), cell("sdpa")
    whole = fake_run(*good(of), *good(other))
    lost = fake_run(*good(of), planned=(of, other), problems=("records.jsonl:9: is not JSON",))
    now = {one.cell: one for one in compare(lost, whole, "main").findings if not one.metric}
    then = {one.cell: one for one in compare(whole, lost, "main").findings if not one.metric}
    assert now[other].verdict is Verdict.MISSING
    assert then[other].verdict is Verdict.NEW


def facts(batch, **more):
    """Records of a search with these facts."""
    return searched("sdpa", batch, **more)


def largest(before, after, **parts):
    return found(facts(after), facts(before), **parts)["largest_batch"]


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (40, 40, Verdict.UNCHANGED),
        (40, 41, Verdict.IMPROVED),
        (40, 39, Verdict.REGRESSED),
        (1000, 1001, Verdict.IMPROVED),
    ],
)
def test_any_change_of_a_largest_batch_is_a_change(before, after, verdict):
    assert largest(before, after).verdict is verdict


def test_a_smaller_largest_batch_is_a_performance_regression():
    result = compare(fake_run(*facts(39)), fake_run(*facts(40)), "main")
    assert result.exit_codes == frozenset({errors.PERFORMANCE})
    assert result.findings[0].reason == "40 -> 39, both sides of it tried twice"


def test_what_two_searches_left_open_is_no_change():
    one = found(facts(516, fails=524), facts(512, fails=520))["largest_batch"]
    assert one.verdict is Verdict.UNCHANGED
    assert one.reason == "512 -> 516, within a step of the search"
    assert found(facts(520, fails=528), facts(512, fails=520))["largest_batch"].verdict is (
        Verdict.IMPROVED
    )


def test_a_suite_may_say_how_much_less_is_nothing():
    assert largest(40, 39, gate={"largest_batch": 0.05}).verdict is Verdict.UNCHANGED
    assert largest(40, 37, gate={"largest_batch": 0.05}).verdict is Verdict.REGRESSED


def test_largest_batches_of_other_memory_do_not_compare_and_both_are_quoted():
    one = found(facts(80, memory_limit=2**31), facts(40))["largest_batch"]
    assert one.verdict is Verdict.INCOMPARABLE
    assert one.reason == (
        "found in memory of 1.00 GiB (1073741824 bytes) then, 2.00 GiB (2147483648 bytes) now: "
        "set timing.memory_limit"
    )


def test_a_search_that_contradicted_itself_confirms_nothing():
    one = found(facts(30, wavering=[31]), facts(40))["largest_batch"]
    assert one.verdict is Verdict.INCONCLUSIVE
    assert one.reason == "40 -> 30, but a search contradicted itself"


def test_at_least_so_many_is_unchanged_against_at_least_so_many():
    one = found(facts(65536, fails=None), facts(65536, fails=None))["largest_batch"]
    assert one.verdict is Verdict.UNCHANGED


def test_a_baseline_takes_what_was_searched(tmp_path):
    run = fake_run(*facts(40), *good(cell()))
    assert baseline_set(run, "main", tmp_path, PROVISIONAL) == ()
    stored = baseline_read("main", tmp_path)
    result = compare(run, stored, "main")
    assert {one.verdict for one in result.findings} == {Verdict.UNCHANGED}
    assert "largest_batch" in {one.metric for one in result.findings}


def test_what_k_left_out_is_counted_and_no_finding():
    everything = fake_run(*good_records((1,)))
    softmax = [one for one in good_records((1,)) if one.cell.attention.name == "softmax"]
    narrowed = compare(fake_run(*softmax, selected="attention=softmax"), everything, "main")
    assert {one.verdict for one in narrowed.findings} == {Verdict.UNCHANGED}
    assert narrowed.unselected == len(METHODS) - 1
    whole = compare(fake_run(*softmax), everything, "main")
    assert [one.verdict for one in whole.findings].count(Verdict.MISSING) == len(METHODS) - 1
    assert whole.unselected == 0


def test_a_selected_cell_that_is_gone_is_missing_all_the_same():
    everything = fake_run(*good_records((1,)))
    softmax = [one for one in good_records((1,)) if one.cell.attention.name == "softmax"]
    result = compare(fake_run(*softmax, selected="softmax|sdpa"), everything, "main")
    missing = [one for one in result.findings if one.verdict is Verdict.MISSING]
    assert [one.cell.attention.name for one in missing] == ["sdpa"]
    assert result.unselected == len(METHODS) - 2


def test_a_run_with_lines_that_cannot_be_read_is_never_fine():
    run = fake_run(*good_records(), problems=("records.jsonl:4: its checksum is another",))
    assert compare(run, None, "").exit_codes == {errors.CELLS_FAILED}
