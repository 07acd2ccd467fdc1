"""What a baseline takes and on what terms, and how small it stays."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from fakes_baselines import full
from fakes_runs import FACTS, cell, fake_run, gate, quality, record, timed

from ditbench import stats
from ditbench.compare import Given, compare
from ditbench.compare.floors import apart
from ditbench.environment import Environment
from ditbench.errors import StoreError, UsageError
from ditbench.records import CANARY, Stage
from ditbench.store import (
    Admission,
    Floor,
    Noise,
    Terms,
    baseline_expire,
    baseline_read,
    baseline_set,
    lasting,
    noise_path,
    noise_write,
)
from ditbench.store.admitting import FLOORS
from ditbench.summary import canary, summarise

NOW = datetime(2026, 11, 22, 6, tzinfo=UTC)
TERMS = Terms(now=NOW)
OF, GOOD = cell("sdpa"), cell("softmax")
FIVE = {"timing": {"processes": 5}, "quality": {"samples": 0}, "metrics": ["latency"]}
PICTURES = frozenset({"latent_drift", "psnr", "ssim", "lpips"})
STEADY = ((0.1,) * 3,) * 5


def run_of(*records, **parts):
    """Those records beside a good cell of five steady processes."""
    return fake_run(gate(GOOD), *timed(GOOD, *STEADY), *records, **({"effort": FIVE} | parts))


def left_out(tmp_path, *records, **parts):
    found = baseline_set(run_of(*records, **parts), "main", tmp_path, TERMS)
    return {one.cell.attention.name: one.reason for one in found}


def test_ten_cells_of_five_processes_with_pictures_take_less_than_thirty_kilobytes(tmp_path):
    assert baseline_set(full(), "main", tmp_path, TERMS) == ()
    assert (tmp_path / "main.jsonl").stat().st_size < 30_000
    assert len(baseline_read("main", tmp_path).planned) == 10


def test_saved_again_it_is_the_same_byte_for_byte(tmp_path):
    run = full()
    baseline_set(run, "one", tmp_path, TERMS)
    first = (tmp_path / "one.jsonl").read_bytes()
    baseline_set(run, "one", tmp_path, TERMS)
    assert (tmp_path / "one.jsonl").read_bytes() == first
    again = replace(baseline_read("one", tmp_path), records=tuple(reversed(run.records)))
    baseline_set(again, "two", tmp_path, TERMS)
    assert (tmp_path / "two.jsonl").read_bytes() == first
    baseline_set(baseline_read("one", tmp_path), "three", tmp_path, TERMS)
    assert (tmp_path / "three.jsonl").read_bytes() == first


def test_what_is_read_of_it_are_the_figures_of_the_run(tmp_path):
    run = full()
    baseline_set(run, "main", tmp_path, TERMS)
    back = baseline_read("main", tmp_path)
    rows = {row.cell.key: row for row in summarise(run).rows}
    for row in summarise(back).rows:
        then = rows[row.cell.key]
        assert row.estimates.keys() == then.estimates.keys()
        for name, found in row.estimates.items():
            rel = 1e-3 if name.partition("_p")[0] in PICTURES else 1e-5
            was = then.estimates[name]
            assert found.value == pytest.approx(was.value, rel=rel), name
            if name != "step_latency":
                assert (found.low, found.high) == pytest.approx((was.low, was.high), rel=rel), name
                assert (found.processes, found.samples) == (was.processes, was.samples) or (
                    name in {"energy", "device_used"}
                )
        assert (row.exact, row.kernels, row.unfit, row.status) == (
            then.exact,
            then.kernels,
            then.unfit,
            then.status,
        )
    verdicts = compare(run, back, "main", given=Given(now=NOW)).findings
    assert {one.verdict for one in verdicts} == {"unchanged"}


def test_counts_are_kept_to_the_last_digit(tmp_path):
    of = gate(OF, 123456789.0)
    odd = replace(of, metrics={**of.metrics, "core_macs": (123456789012.25,)})
    baseline_set(run_of(odd, *timed(OF, *STEADY)), "main", tmp_path, TERMS)
    kept = next(
        one for one in baseline_read("main", tmp_path).records if one.key == OF.key and one.facts
    )
    assert kept.metrics == odd.metrics


@pytest.mark.parametrize("values", [(0.0, 0.0), (math.inf, 30.0), (1e-300, 5e-324), (1e300, 1.0)])
def test_pictures_of_odd_values_are_kept(tmp_path, values):
    of = replace(quality(OF, 0.1), metrics={"latent_drift": values})
    baseline_set(run_of(gate(OF), *timed(OF, *STEADY), of), "main", tmp_path, TERMS)
    found = next(one for one in baseline_read("main", tmp_path).records if one.stage == "quality")
    largest = max(value for value in values if value < math.inf)
    wanted = pytest.approx(values, rel=1e-3, abs=max(1e-3 * largest, 1e-290))
    assert found.metrics["latent_drift"] == wanted


def test_mistake_30_a_run_of_three_processes_is_refused_with_the_way_out(tmp_path):
    three = FIVE | {"timing": {"processes": 3}}
    records = (gate(GOOD), *timed(GOOD, *STEADY[:3]))
    with pytest.raises(StoreError) as told:
        baseline_set(fake_run(*records, effort=three), "main", tmp_path, TERMS)
    assert "timed in 3 processes; a baseline needs 5: set timing.processes: 5" in str(told.value)
    assert list(tmp_path.iterdir()) == []
    baseline_set(
        fake_run(*records, effort=three), "main", tmp_path, replace(TERMS, provisional=True)
    )
    assert baseline_read("main", tmp_path).admission.provisional


@pytest.mark.parametrize("terms", [TERMS, replace(TERMS, provisional=True)])
def test_a_cell_that_other_programs_crowded_stays_out_and_one_that_they_touched_does_not(
    tmp_path, terms
):
    told = {}
    for others in (0.6, 0.4):
        facts = {"telemetry": {"samples": 10, "others": others}}
        busy = [replace(one, facts=one.facts | facts) for one in timed(OF, *STEADY)]
        left = baseline_set(run_of(gate(OF), *busy), "main", tmp_path, terms)
        told[others] = [one.reason for one in left]
    assert told == {
        0.6: ["other programs kept 0.60 processors busy while it was timed"],
        0.4: [],
    }


def test_a_run_of_five_processes_is_not_provisional_because_it_was_allowed_to_be(tmp_path):
    baseline_set(run_of(), "main", tmp_path, replace(TERMS, provisional=True))
    assert not baseline_read("main", tmp_path).admission.provisional


@pytest.mark.parametrize(
    "parts",
    [{"command": "ditbench run s.yaml --quick"}, {"effort": FIVE | {"quick": ["batch_size"]}}],
    ids=["by its command", "by its suite's short form"],
)
def test_mistake_30_a_quick_run_is_no_baseline_not_even_a_provisional_one(tmp_path, parts):
    with pytest.raises(StoreError, match="it was measured with --quick; measure without"):
        baseline_set(run_of(**parts), "main", tmp_path, replace(TERMS, provisional=True))
    assert list(tmp_path.iterdir()) == []


def test_mistake_30_a_run_with_a_variable_that_must_not_be_set_is_no_baseline(tmp_path):
    where = Environment(FACTS | {"TORCH_COMPILE_DISABLE": "1"})
    with pytest.raises(StoreError, match="TORCH_COMPILE_DISABLE=1 makes compiled cells eager"):
        baseline_set(run_of(environment=where), "main", tmp_path, TERMS)


def canaries(*seconds):
    facts = {"side": 512, "copied": 2**24}
    return tuple(
        record(CANARY, Stage.CANARY, replicate=n, metrics={"canary_matrix": (s,) * 25}, facts=facts)
        for n, s in enumerate(seconds)
    )


def test_mistake_30_a_run_during_which_the_machine_changed_is_no_baseline(tmp_path):
    good = run_of()
    run = replace(good, records=(*good.records, *canaries(0.01, 0.01, 0.02)))
    told = canary.drift(run)
    assert told
    with pytest.raises(StoreError, match="the machine changed while it measured"):
        baseline_set(run, "main", tmp_path, replace(TERMS, unfit=told))
    assert list(tmp_path.iterdir()) == []
    baseline_set(run, "main", tmp_path, replace(TERMS, unfit=told, provisional=True))
    assert baseline_read("main", tmp_path).admission.provisional


def test_the_canary_of_a_run_is_kept_and_compares(tmp_path):
    good = run_of()
    run = replace(good, records=(*good.records, *canaries(0.01, 0.0101, 0.01)))
    baseline_set(run, "main", tmp_path, TERMS)
    back = baseline_read("main", tmp_path)
    assert [one.cell for one in back.records].count(CANARY) == 3
    assert CANARY not in back.planned
    assert canary.moved(back, run) == ""
    slow = replace(good, records=(*good.records, *canaries(0.02, 0.02, 0.02)))
    assert canary.moved(back, slow) == canary.moved(run, slow) != ""


@pytest.mark.parametrize(
    ("pictures", "told"),
    [
        ({"facts": {"constant_share": 0.25}}, "25.0 % of its pictures are constant"),
        ({"metrics": {"latent_drift": (0.1, math.nan)}}, "latent_drift is not a number"),
    ],
)
def test_mistake_30_broken_pictures_keep_their_cell_out(tmp_path, pictures, told):
    of = replace(quality(OF, 0.1), **pictures)
    assert left_out(tmp_path, gate(OF), *timed(OF, *STEADY), of) == {"sdpa": told}


def test_mistake_31_a_time_of_zero_never_becomes_a_baseline(tmp_path):
    zero = timed(OF, *((0.0,) * 3,) * 5)
    assert left_out(tmp_path, gate(OF), *zero) == {"sdpa": "its latency is 0"}


HOT = "heat slowed the processors"


def without(number, *processes):
    """Processes of which the first `number` had every call left out."""
    hot = {"calls_ns": [0, 1, 2], "excluded": [[place, HOT] for place in range(3)]}
    return [
        replace(one, facts={**one.facts, **hot}) if one.replicate < number else one
        for one in timed(OF, *processes)
    ]


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (5, f"it has no time; 15 of 15 calls left out: {HOT}; no time of process 1, 2, 3, 4, 5"),
        (1, f"4 of 5 processes were timed; 3 of 3 calls left out: {HOT}; no time of process 1"),
    ],
)
def test_mistake_30_processes_whose_calls_were_all_left_out_are_not_timed(tmp_path, number, told):
    found = left_out(tmp_path, gate(OF), *without(number, *STEADY))
    assert found["sdpa"].startswith(told)


def test_mistake_30_a_cell_whose_calls_were_all_left_out_is_unfit_and_not_green(tmp_path):
    baseline_set(run_of(gate(OF), *timed(OF, *STEADY)), "main", tmp_path, TERMS)
    run = run_of(gate(OF), *without(5, *((0.15,) * 3,) * 5))
    found = compare(
        run, baseline_read("main", tmp_path), "main", required=True, given=Given(now=NOW)
    )
    assert found.exit_codes == {6}
    row = next(one for one in summarise(run).rows if one.cell.key == OF.key)
    assert row.unfit.startswith(f"15 of 15 calls left out: {HOT}")
    assert row.lacks == "not timed"


def test_mistake_30_processes_that_lie_further_apart_than_the_measured_noise_are_left_out(tmp_path):
    wild = timed(OF, *((value,) * 3 for value in (0.1, 0.14, 0.1, 0.14, 0.12)))
    assert left_out(tmp_path, gate(OF), *wild) == {}
    floors = {
        of.key: {"latency": Floor(of.id, inside=0.001, apart=0.01, processes=5)}
        for of in (OF, GOOD)
    }
    noise = Noise("fashion", "", Environment(FACTS), {"version": "0.1.0"}, floors)
    noise_write(noise_path("main", tmp_path), noise)
    told = left_out(tmp_path, gate(OF), *wild)
    assert told == {
        "sdpa": "its processes spread 24.7 %, more than 3 x the measured floor of 1.00 %"
    }
    assert baseline_read("main", tmp_path).admission.floors == "main.noise.json"


def test_floors_of_another_machine_keep_nothing_out(tmp_path):
    wild = timed(OF, *((value,) * 3 for value in (0.1, 0.14, 0.1, 0.14, 0.12)))
    floors = {OF.key: {"latency": Floor(OF.id, inside=0.001, apart=0.01, processes=5)}}
    away = Noise("fashion", "", Environment(FACTS | {"cpus": 64}), {"version": "0.1.0"}, floors)
    noise_write(noise_path("main", tmp_path), away)
    assert left_out(tmp_path, gate(OF), *wild) == {}
    assert baseline_read("main", tmp_path).admission.floors == ""


def test_mistake_30_three_floors_refuse_a_noisy_night_and_hardly_ever_an_equal_one():
    """Process medians of half a per cent, as the floor saw them; one floor would refuse one cell in nine."""
    rng = np.random.default_rng(0)

    def spreads(times):
        nights = rng.normal(1, times * 0.005, (500, 5)).tolist()
        return np.array([stats.spread(one) for one in nights])

    floors = [apart(*rng.normal(1, 0.005, (2, 10))) for _ in range(20)]
    refused = {
        (times, many): np.mean([spreads(times) > many * floor for floor in floors])
        for times, many in ((1, FLOORS), (1, 1), (5, FLOORS))
    }
    assert refused[1, FLOORS] < 0.002
    assert refused[1, 1] > 0.05
    assert refused[5, FLOORS] > 0.25


def test_a_baseline_stands_for_thirty_days_or_as_long_as_it_is_told(tmp_path):
    for name, days in (("usual", 30), ("short", 1), ("never", None)):
        baseline_set(run_of(), name, tmp_path, replace(TERMS, days=days))
    terms = {name: baseline_read(name, tmp_path).admission for name in ("usual", "short", "never")}
    assert terms["usual"] == Admission(admitted="2026-11-22", expires="2026-12-22")
    assert terms["usual"].expired(NOW + timedelta(days=29)) == ""
    told = "the baseline expired on 2026-12-22"
    assert terms["usual"].expired(NOW + timedelta(days=30)) == told
    assert terms["short"].expires == "2026-11-23"
    assert terms["never"].expired(NOW + timedelta(days=9999)) == ""
    assert terms["never"].age(NOW + timedelta(days=3)) == 3


def test_a_baseline_that_is_expired_keeps_all_but_its_day(tmp_path):
    baseline_set(run_of(), "main", tmp_path, TERMS)
    before = (tmp_path / "main.jsonl").read_text().splitlines()
    baseline_expire("main", tmp_path, NOW)
    after = (tmp_path / "main.jsonl").read_text().splitlines()
    assert after[1:] == before[1:]
    assert baseline_read("main", tmp_path).admission.expired(NOW)


@pytest.mark.parametrize("text", ["", "60", "0d", "-1d", "1.5d", "99999d", "Never"])
def test_a_time_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="write a number of days as 60d, or never"):
        lasting(text)
