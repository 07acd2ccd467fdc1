"""The audit: what a method with memory says of itself is held against what ran."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from math import prod

import foreign
import forgetful
import pytest
import torch
from cells import TINY, cell

from ditbench.attention import dqar
from ditbench.jobs import Findings, Job, Quality, Timing
from ditbench.measure import bench, decisions, fit, gates, opened, reuse
from ditbench.measure.bench import set_up
from ditbench.measure.catalog import inspect
from ditbench.records import Choice, Sampling, Stage, Status
from ditbench.shape import FACTS

STEPS = 6
# Rows x tokens x width x bytes, of every block.
OUTPUTS = 2 * 2 * 16 * 32 * 4 * TINY.depth


def run(name: str, tmp_path, core="sdpa", **fields) -> Findings:
    what = cell(
        f"forgetful:{name}",
        settings=(("core", core),),
        **({"steps": STEPS, "batch_size": 2} | fields),
    )
    job = Job(what, Stage.GATE, 0, Timing(), Quality(), ("latency",), "cpu", tmp_path)
    return gates.run(job, lambda _phase: None)


def test_a_right_method_with_memory_passes_and_tells_everything(tmp_path):
    found = run("EveryOther", tmp_path)
    assert (found.status, found.reason) == (Status.OK, "")
    told = found.facts["reuse"]
    assert (told["forwards"], told["reused"]) == (STEPS * 2, STEPS)
    assert told["reasons"] == [["even", False, 6], ["odd", True, 6]]
    assert set(told["map"].values()) == {"ababab"}
    assert found.metrics["reuse_ratio"] == (0.5,)
    assert found.metrics["cache_bytes"] == (OUTPUTS,)
    attention = found.metrics["attention_macs"][0]
    whole = STEPS * found.metrics["macs"][0]
    assert found.metrics["trajectory_macs"] == (whole - STEPS / 2 * attention,)


def test_drift_by_step_begins_at_nothing_and_ends_with_the_final_latents(tmp_path):
    drift = run("EveryOther", tmp_path).facts["reuse"]["drift"]
    assert len(drift) == STEPS + 1
    assert drift[:2] == [0.0, 0.0]  # step 1 is the first that reuses
    assert drift[-1] > drift[2] > 0


def test_parts_of_the_rows_may_be_decided_apart(tmp_path):
    apart, whole = (run(name, tmp_path) for name in ("DecidesApart", "EveryOther"))
    assert apart.status is Status.OK
    assert apart.metrics["reuse_ratio"] == whole.metrics["reuse_ratio"]
    assert apart.metrics["trajectory_macs"] == whole.metrics["trajectory_macs"]


def test_a_method_that_says_it_reused_and_computed_is_refused(tmp_path):
    found = run("ClaimsToSkip", tmp_path)
    assert found.status is Status.FAILED_GATE
    assert "tells of 0 multiply-adds in step 1, where a counter finds" in found.reason
    assert found.reason.endswith("it did not skip what it says")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Boasts", "step 1 reused, and by its own decision nothing was spared"),
        ("Modest", "step 1 computed, and by its own decision something was spared"),
    ],
)
def test_what_is_called_reused_is_what_spared_something(tmp_path, name, said):
    found = run(name, tmp_path)
    assert found.status is Status.FAILED_GATE
    assert found.reason.endswith(said)


@pytest.mark.parametrize("known", [True, False], ids=["counted", "uncounted"])
def test_work_is_held_against_what_is_told_also_with_operators_of_its_own(
    tmp_path, monkeypatch, known
):
    """Of a core that no counter knows the projections are left, and one that lies computes those too."""
    own = {"testing.core": lambda q, *_: 2 * prod(q) * q[2]} if known else {}
    monkeypatch.setattr(foreign.Foreign, "operator_macs", own)
    right, lying = (
        run(n, tmp_path, core="foreign:Foreign") for n in ("EveryOther", "ClaimsToSkip")
    )
    assert (right.status, right.reason) == (Status.OK, "")
    assert bool(right.facts.get("uncounted")) is not known
    assert lying.status is Status.FAILED_GATE
    assert lying.reason.endswith("it did not skip what it says")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Loud", "spared forwards, where a counter finds all"),
        ("Quiet", "tells of no spared forward, where a counter finds"),
    ],
)
def test_an_accelerator_that_lies_about_what_it_skipped_is_refused(tmp_path, name, said):
    what = replace(cell("sdpa", steps=STEPS), accelerator=Choice(f"liars:{name}"))
    job = Job(what, Stage.GATE, 0, Timing(), Quality(), ("latency",), "cpu", tmp_path)
    found = gates.run(job, lambda _phase: None)
    assert found.status is Status.FAILED_GATE
    assert said in found.reason


def test_what_counters_cannot_watch_is_refused_beside_what_must_be_watched():
    core = cell("static-reuse", settings=(("core", "flex"),), steps=STEPS)
    around = replace(cell("flex", steps=STEPS), accelerator=Choice("pab"))
    for what in (core, around):
        (found,) = inspect([what], "cpu")
        assert any("cannot be counted at work" in reason for reason in found.reasons)


@pytest.mark.parametrize(("method", "steps"), [("sdpa", 3), ("static-reuse", STEPS)])
def test_a_trial_of_a_largest_batch_goes_on_until_memories_are_full(
    tmp_path, monkeypatch, method, steps
):
    run = []
    sample = bench.Bench.sample

    def watched(made, inputs, steps=None, **more):
        run.append(steps)
        return sample(made, inputs, steps, **more)

    monkeypatch.setattr(bench.Bench, "sample", watched)
    what = cell(method, steps=STEPS)
    fit.run(Job(what, Stage.FIT, 0, Timing(), Quality(), (), "cpu", tmp_path), lambda _phase: None)
    assert run == [steps]


def test_what_storing_lost_stands_in_the_record_and_not_in_the_share_of_decisions(
    tmp_path, monkeypatch
):
    """By a clock that nothing moves but deciding, sampling and telling."""
    clock = [0.0]

    def moved(name, seconds, gives=None):
        real = getattr(dqar, name)

        def work(*told, **more):
            clock[0] += seconds
            return gives or real(*told, **more)

        monkeypatch.setattr(dqar, name, work)

    moved("halves", 1.0)
    moved("restored", 1.0)
    moved("loss", 100.0, gives={"sqnr_k": 40.0, "sqnr_v": math.inf})
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    settings = {"threshold": 100.0, "warmup": 0, "snr_low": 0.0, "snr_high": 1e9, "core": "sdpa"}
    what = cell("dqar", settings=tuple((settings | {"precision": "int8"}).items()), steps=STEPS)
    job = Job(what, Stage.GATE, 0, Timing(), Quality(), ("latency",), "cpu", tmp_path)
    told = gates.run(job, lambda _phase: None).facts["reuse"]
    assert told["sqnr"] == {"k": 40.0}  # what is infinite was lost nowhere
    reused = told["reused"]
    assert told["gate_share"] == pytest.approx(12 / (12 + reused))


def test_decisions_that_are_not_all_forwards_are_refused(tmp_path):
    found = run("TellsReusesAlone", tmp_path)
    assert found.status is Status.FAILED_GATE
    assert "computed and reused are not all forwards" in found.reason


def test_a_layer_with_memory_that_tells_nothing_is_refused(tmp_path):
    found = run("TellsNothing", tmp_path)
    assert found.status is Status.FAILED_GATE
    assert "keeps state between calls and tells no decisions" in found.reason


def test_mistake_16_state_that_shows_only_after_another_batch_is_refused(tmp_path):
    forgetful._Leaks.first.clear()
    forgetful._Leaks.calls.clear()
    found = run("Leaks", tmp_path)
    assert found.status is Status.FAILED_GATE
    assert "a batch sampled again after another one ends" in found.reason


def test_mistake_41_a_cache_counts_with_all_the_memory_that_it_keeps_alive(tmp_path):
    """A view of a large block keeps the block."""
    row = 2 * 2 * 16 * 32 * 4
    assert run("Hoards", tmp_path).metrics["cache_bytes"] == (OUTPUTS + 2 * 100 * row,)


@pytest.mark.parametrize("method", ["softmax", "sdpa", "identity"])
def test_mistake_41_the_baseline_allocates_no_cache(method):
    bench = set_up(cell(method), "cpu")
    bench.denoiser.install(bench.layers)
    bench.sample(bench.inputs(range(2)))
    assert opened.size(bench.denoiser.layers().values()) == 0
    assert not reuse.remembers(bench)


def test_a_method_without_memory_is_not_audited(tmp_path):
    job = Job(cell(), Stage.GATE, 0, Timing(), Quality(), ("latency",), "cpu", tmp_path)
    found = gates.run(job, lambda _phase: None)
    assert "reuse" not in found.facts
    assert not {"reuse_ratio", "cache_bytes", "trajectory_macs"} & found.metrics.keys()


def test_without_guidance_and_in_half_of_the_blocks_only_those_are_told(tmp_path):
    found = run("EveryOther", tmp_path, blocks=(1,), sampling=Sampling(guidance_scale=1.0))
    assert found.status is Status.OK
    assert list(found.facts["reuse"]["map"]) == ["transformer_blocks.1.attn1"]
    assert found.metrics["cache_bytes"] == (OUTPUTS / 2 / TINY.depth,)


def test_with_reuse_off_every_step_is_bit_identical_to_the_core(tmp_path):
    plain = cell("sdpa", settings=(("backend", "auto"),), steps=STEPS)
    off = cell("static-reuse", settings=(("share", 0.0),), steps=STEPS)
    ends = []
    for what in (plain, off):
        bench = set_up(what, "cpu")
        bench.denoiser.install(bench.layers)
        ends.append(bench.sample(bench.inputs(range(2))))
    assert torch.equal(*ends)


def test_an_interrupted_run_leaves_nothing_behind():
    bench = set_up(
        cell("static-reuse", settings=(("share", 1.0), ("warmup", 0.0)), steps=STEPS), "cpu"
    )
    inputs = bench.inputs(range(2))

    def whole():
        bench.denoiser.install(bench.layers)
        return bench.sample(inputs)

    def interrupted(step):
        if step == 3:
            raise KeyboardInterrupt

    first = whole()
    bench.denoiser.install(bench.layers)
    with pytest.raises(KeyboardInterrupt):
        bench.sample(bench.inputs(range(2, 4)), on_step=interrupted)
    assert torch.equal(whole(), first)


def test_the_map_names_every_reason_with_a_letter():
    told = decisions.Told(
        {"a": [forgetful.Decision(step, bool(step), f"because {step}") for step in range(3)]}, 3
    )
    assert told.facts == {
        "forwards": 3,
        "reused": 2,
        "reasons": [["because 0", False, 1], ["because 1", True, 1], ["because 2", True, 1]],
        "map": {"a": "abc"},
    }
    assert told.ratio == pytest.approx(2 / 3)


def test_more_reasons_than_letters_share_one_sign_that_a_record_may_hold():
    many = [forgetful.Decision(step, bool(step), f"because {step:02}") for step in range(60)]
    facts = decisions.Told({"a": many}, len(many)).facts
    assert facts["map"]["a"].endswith("YZ????????")
    assert FACTS["reuse"].fits(facts)
