"""What befell the machine while a cell was timed: doubts with numbers, times not to be used, exit 6."""

from __future__ import annotations

import dataclasses

import pytest
from fakes_runs import PROVISIONAL, cell, fake_run, gate, timed

from ditbench import errors
from ditbench.compare import Verdict, compare
from ditbench.errors import StoreError
from ditbench.machine import crowded, doubts, kept, other_clocks, session_unfit, unfit
from ditbench.metrics import metric
from ditbench.report import view
from ditbench.store import baseline_set
from ditbench.summary import rows_to_json, summarise

GPU = {
    "device": "GPU-1",
    "window_s": 10.0,
    "samples": 100,
    "sm_clock": [1.9e9, 1.95e9, 1.98e9],
    "memory_clock": [2.6e9] * 3,
    "temperature": [54.0, 60.0, 71.0],
    "power": [410.0, 600.0, 690.0],
    "slowed": {},
    "slowed_share": 0.0,
    "power_capped": 0.3,
    "foreign": [],
    "foreign_share": 0.0,
}
CPU = {"device": "cpu", "window_s": 5.0, "samples": 10, "others": 0.02, "throttled": 0}
STRANGER = "process 77 (train.py, of anna)"


def watched(*differences, base=GPU, energy=None, of=None, seconds=0.1):
    """A good cell, one process for each difference from a quiet machine."""
    of = of or cell("sdpa")
    records = timed(of, *((seconds, seconds, seconds),) * len(differences))
    told = [
        dataclasses.replace(
            record,
            facts={**record.facts, "telemetry": base | more}
            | ({"energy": energy} if energy else {}),
            metrics={**record.metrics, **({"energy": (12.5,)} if energy else {})},
        )
        for record, more in zip(records, differences, strict=True)
    ]
    return gate(of, exact=True), *told


def said(*differences, **more):
    _gate, *records = watched(*differences, **more)
    return doubts(records), unfit(records)


def hot(share):
    return {"slowed": {"heat": share, "its hardware": share}, "slowed_share": share}


def test_a_quiet_machine_raises_no_doubt():
    assert said({}, {}, {}) == ((), "")
    assert said({}, base=CPU) == ((), "")
    assert doubts(timed(cell(), (0.1,))) == ()


def test_mistake_29_a_throttled_window_is_told_with_its_share_and_forbids_its_times():
    clause = "the GPU was slowed by heat in 12.0 % of samples"
    assert said(hot(0.36), {}, {}) == ((clause,), clause)


def test_mistake_29_a_moment_of_heat_is_a_doubt_and_no_more():
    assert said(hot(0.01)) == (("the GPU was slowed by heat in 1.00 % of samples",), "")


def test_mistake_29_a_foreign_process_is_named_and_forbids_the_times():
    clause = f"{STRANGER} computed on the GPU in 50.0 % of samples"
    found = said({}, {"foreign": [STRANGER], "foreign_share": 1.0})
    assert found == ((clause,), clause)


def test_mistake_29_memory_of_others_forbids_the_times():
    clause = "others held 3.00 GiB of the GPU's memory"
    assert said({"memory_of_others": 3 * 2**30}) == ((clause,), clause)


def test_a_power_cap_alone_is_normal():
    assert said({"power_capped": 1.0, "sm_clock": [1.2e9, 1.9e9, 1.98e9]}) == ((), "")


def test_mistake_29_a_clock_that_falls_without_a_power_cap_is_doubtful():
    found, _ = said({"power_capped": 0.0, "sm_clock": [1.2e9, 1.9e9, 1.98e9]})
    assert found == ("the GPU's clock fell from 1.90 GHz to 1.20 GHz",)


def test_mistake_29_the_load_of_others_on_a_processor_is_a_doubt_and_not_exit_6():
    found, forbidden = said({"others": 1.3, "throttled": 14}, base=CPU)
    assert found == (
        "other programs kept 1.3 processors busy while it was timed",
        "heat slowed the processors 14 times",
    )
    assert forbidden == ""


def records(*differences, base=CPU, arms=""):
    """Timed processes that met these differences from a quiet machine; arms: "abba", a letter for each."""
    _gate, *found = watched(*differences, base=base)
    return [
        dataclasses.replace(one, facts={**one.facts, "arm": arm}) if arm else one
        for one, arm in zip(found, arms or [""] * len(found), strict=True)
    ]


def test_mistake_29_more_than_half_a_processor_taken_by_others_explains_a_changed_time():
    assert crowded(records({"others": 0.5}, {"others": 0.5})) == ""
    told = "other programs kept 0.70 processors busy while it was timed"
    assert crowded(records({"others": 0.9}, {"others": 0.5})) == told


def test_a_moment_of_others_weighs_no_more_than_it_lasted():
    brief = {"others": 2.0, "window_s": 0.5}
    assert crowded(records(brief, {"others": 0.0, "window_s": 9.5})) == ""


def test_a_gpu_tells_nothing_of_other_programs_on_processors():
    assert crowded(records({}, base=GPU)) == ""


def test_a_session_on_a_quiet_machine_is_fit():
    assert session_unfit(records({}, {}, {}, {}, arms="abba")) == ""
    assert session_unfit([]) == ""


def test_mistake_29_a_session_is_unfit_where_one_arm_alone_met_another_program():
    busy = {"others": 0.8}
    told = "other programs kept 0.80 processors busy while it was timed"
    assert session_unfit(records({}, busy, busy, {}, arms="abba")) == told


def test_mistake_29_a_session_on_a_slowed_gpu_is_unfit_and_says_so_once():
    told = "the GPU was slowed by heat in 10.0 % of samples"
    both = records(*[hot(0.1)] * 4, base=GPU, arms="abba")
    assert session_unfit(both) == told


def clocks(then, now, change, gate=0.02, name="sm_clock"):
    sides = (records({name: [hertz] * 3}, base=GPU) for hertz in (then, now))
    return other_clocks(*sides, change, gate)


def test_mistake_29_a_gpu_at_another_clock_explains_another_time():
    told = "the GPU's clock was 1.95 GHz then and is 1.90 GHz now (\N{MINUS SIGN}2.56 %)"
    assert clocks(1.95e9, 1.90e9, 0.03) == told
    assert clocks(1.95e9, 1.92e9, 0.03) == ""
    then, now = records({}, {}, {}, base=GPU), records({}, {}, {}, base=CPU)
    assert other_clocks(then, now, 0.03, 0.02) == ""


@pytest.mark.parametrize(
    ("now", "change", "explains"),
    [
        (1.45e9, 0.50, False),
        (1.45e9, 0.03, False),
        (1.45e9, -0.03, True),
        (1.35e9, -0.03, False),
        (1.35e9, 0.075, True),
        (1.35e9, 0.076, False),
        (0.70e9, 1.51, True),
        (0.70e9, 1.53, False),
        (1.35e9, 0.0, False),
    ],
)
def test_a_clock_explains_the_side_that_it_pushes_to_and_no_more_than_its_own_change(
    now, change, explains
):
    """1.40 GHz then: at 1.35 times are 3.7 % longer, and 1.5 x that and the gate are 7.56 %."""
    assert bool(clocks(1.40e9, now, change)) is explains


def test_processors_may_differ_by_what_their_governors_do():
    told = "the processors' frequency was 3.00 GHz then and is 2.50 GHz now (\N{MINUS SIGN}16.7 %)"
    assert clocks(3e9, 2.75e9, 0.1, name="frequency") == ""
    assert clocks(3e9, 2.5e9, 0.2, name="frequency") == told


HEAT = "the GPU was slowed by heat"


def spoilt(*places, values=(0.1, 0.1, 0.5, 0.1), replicate=0, why=HEAT):
    """A process of four calls, some of which are not to count."""
    (found,) = timed(cell("sdpa"), values)
    facts = {"calls_ns": [0, 1, 2, 3], "excluded": [[place, why] for place in places]}
    return dataclasses.replace(found, replicate=replicate, facts={**found.facts, **facts})


def test_mistake_29_a_call_during_heat_is_in_no_median_and_stays_on_file():
    raw = spoilt(2)
    found = kept(raw)
    assert found.metrics["latency"] == (0.1, 0.1, 0.1)
    steps = cell("sdpa").steps
    assert found.metrics["step_latency"] == (0.1 / steps,) * 3 * steps
    assert found.metrics["peak_resident"] == raw.metrics["peak_resident"]
    assert raw.metrics["latency"][2] == 0.5
    assert kept(found) == found


def test_mistake_29_nothing_is_left_out_for_being_slow():
    slow = spoilt(values=(0.1, 0.1, 9.0, 0.1))
    assert kept(slow) is slow


def test_mistake_29_calls_left_out_are_counted_with_their_reason():
    told = (
        "3 of 8 calls left out: the GPU was slowed by heat; process 7 (train) computed on the GPU"
    )
    both = [spoilt(0, 1), spoilt(3, replicate=1, why="process 7 (train) computed on the GPU")]
    assert doubts(both) == (told,)


def test_mistake_29_a_process_without_a_call_left_has_no_time_and_says_why():
    run = fake_run(gate(cell("sdpa"), exact=True), spoilt(2), spoilt(0, 1, 2, 3, replicate=1))
    (row,) = summarise(run).rows
    assert row.per_process["latency"] == (0.1,)
    assert row.estimates["latency"].samples == 3
    told = (
        "5 of 8 calls left out: the GPU was slowed by heat; no time of process 2, of which all were"
    )
    assert told in row.doubts


def test_the_page_counts_what_was_left_out():
    hot = spoilt(2)
    hot = dataclasses.replace(hot, facts={**hot.facts, "telemetry": GPU | {}})
    _, told = text(fake_run(gate(cell("sdpa"), exact=True), hot))
    counted = (
        "Of all cells together, 1 of 4 calls left out: the GPU was slowed by heat; their values"
    )
    assert counted in told["The machine meanwhile"]


def test_mistake_29_a_cell_of_which_no_call_counts_has_no_time():
    (row,) = summarise(fake_run(gate(cell("sdpa"), exact=True), spoilt(0, 1, 2, 3))).rows
    assert "latency" not in row.estimates
    assert row.estimates["macs"].value > 0


def test_calls_that_the_record_does_not_hold_change_nothing():
    """A file that somebody edited: the places say nothing then."""
    short = dataclasses.replace(spoilt(2), metrics={"latency": (0.1,)})
    assert kept(short) is short


def test_energies_that_disagree_are_doubtful():
    energy = {"joules": 50.0, "source": "counter", "images": 4, "disagreement": 0.08}
    found, _ = said({}, energy=energy)
    assert found == ("energy by the GPU's counter and by its power differ by 8.00 %",)


class TestARunOnASlowedGpu:
    run = fake_run(*watched(hot(0.3), hot(0.3)), *watched({}, {}, of=cell()))

    def test_mistake_29_is_exit_6_and_names_the_cells(self):
        comparison = compare(self.run, None, "")
        assert comparison.exit_codes == {errors.ENVIRONMENT}
        told = "Cells timed while the machine was not fit for it: 1; the first, the"
        assert [note.startswith(told) for note in summarise(self.run).notes].count(True) == 1

    def test_mistake_29_is_never_a_regression(self):
        before = fake_run(*watched({}, {}, seconds=0.01), *watched({}, {}, of=cell()))
        comparison = compare(self.run, before, "then")
        found = {one.metric: one for one in comparison.findings if one.cell == cell("sdpa")}
        assert found["latency"].verdict is Verdict.INCONCLUSIVE
        assert "the machine was not fit now: the GPU was slowed by heat" in found["latency"].reason
        assert found["macs"].verdict is Verdict.UNCHANGED
        assert errors.PERFORMANCE not in comparison.exit_codes

    def test_mistake_30_enters_no_baseline(self, tmp_path):
        (left,) = baseline_set(self.run, "main", tmp_path, PROVISIONAL)
        assert (left.cell, left.reason) == (
            cell("sdpa"),
            "the GPU was slowed by heat in 30.0 % of samples",
        )
        spoilt = fake_run(*watched(hot(0.3)))
        with pytest.raises(StoreError, match="slowed by heat"):
            baseline_set(spoilt, "other", tmp_path, PROVISIONAL)

    def test_shows_it_to_programs(self):
        rows = rows_to_json(summarise(self.run))
        assert [bool(row["unfit"]) for row in rows] == [True, False]


ENERGY = {"joules": 50.0, "source": "counter", "images": 4, "disagreement": 0.01}


def text(run):
    comparison = compare(run, None, "")
    page = view.page(run, summarise(run), comparison)
    return page, dict(page.conduct)


def test_energy_is_a_metric_in_joules_of_which_less_is_better():
    assert (metric("energy").unit, metric("energy").better) == ("J", "lower")


def test_energy_goes_through_to_the_table_and_the_comparison():
    run = fake_run(*watched({}, {}, energy=ENERGY))
    page, _ = text(run)
    table = page.rankings[0].table
    place = [column.title for column in table.columns].index("energy")
    assert table.rows[0][place].text == "12.5 J"
    findings = compare(run, run, "itself").findings
    assert next(one for one in findings if one.metric == "energy").verdict is Verdict.UNCHANGED


def test_a_baseline_of_zero_joules_is_refused():
    zero = fake_run(*watched({}, {}, energy=ENERGY))
    zero = dataclasses.replace(
        zero,
        records=tuple(
            dataclasses.replace(one, metrics={**one.metrics, "energy": (0.0,)})
            if "energy" in one.metrics
            else one
            for one in zero.records
        ),
    )
    findings = compare(fake_run(*watched({}, {}, energy=ENERGY)), zero, "zero").findings
    energy = next(one for one in findings if one.metric == "energy")
    assert energy.verdict is Verdict.INCOMPARABLE
    assert "the baseline is 0" in energy.reason


def test_the_page_tells_each_device_and_where_energy_came_from():
    _, told = text(fake_run(*watched({}, hot(0.04), energy=ENERGY)))
    machine = told["The machine meanwhile"]
    assert machine.startswith(
        "GPU-1, in 200 samples of the timed calls: clock 1.90 GHz to 1.98 GHz"
    )
    assert "temperature 54 °C to 71 °C" in machine
    assert "power 410 W to 690 W" in machine
    assert "slowed by heat or hardware in 2.00 %" in machine
    assert "held by its power cap in 30.0 %" in machine
    assert "foreign processes: none seen" in machine
    assert "they differ by 1.00 % at most" in told["Energy"]


def test_the_page_of_a_processor_tells_the_others_and_that_energy_was_not_measured():
    _, told = text(fake_run(*watched({"frequency": [2e9, 2.5e9, 3e9]}, base=CPU)))
    assert told["The machine meanwhile"] == (
        "Processors, in 10 samples of the timed calls: frequency 2.00 GHz to 3.00 GHz; other programs "
        "kept 0.020 of them busy at most; slowed by heat 0 times."
    )
    assert told["Energy"] == "Energy was not measured: only NVIDIA GPUs tell it."


def test_energy_by_power_alone_and_missing_energy_are_said():
    by_power = watched({}, energy={"joules": 5.0, "source": "power", "images": 4})
    missing = watched({}, base=GPU, of=cell())
    missing = (
        missing[0],
        dataclasses.replace(
            missing[1], facts={**missing[1].facts, "energy": {"missing": "too short"}}
        ),
    )
    _, told = text(fake_run(*by_power, *missing))
    assert "In 1 process from the power alone" in told["Energy"]
    assert told["Energy"].endswith("In 1 process not measured: too short.")


def test_a_run_without_telemetry_says_so():
    _, told = text(fake_run(gate(cell()), *timed(cell(), (0.1,))))
    assert told["The machine meanwhile"] == (
        "What the machine did while cells were timed was not measured."
    )
