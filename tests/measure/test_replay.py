"""The bound of a method with memory runs what the method ran, and nothing in the place of what it spared."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from cells import TINY, cell
from torch.utils.flop_counter import FlopCounterMode

from ditbench.accelerators.base import ACCELERATORS
from ditbench.attention.memory import Decision
from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import decisions, gates, timing
from ditbench.measure import replay as replaying
from ditbench.measure.bench import set_up
from ditbench.measure.operators import formulas
from ditbench.records import Choice, Stage, Status

STEPS = 6


def benched(name="forgetful:EveryOther", settings=(("core", "sdpa"),)):
    return set_up(cell(name, settings=settings, steps=STEPS), "cpu")


def sampled(bench, layers):
    bench.denoiser.install(layers)
    return bench.sample(bench.inputs(range(2)))


def macs(bench, layers):
    """With fused attention counted, which torch's counter leaves out on the CPU."""
    with FlopCounterMode(display=False, custom_mapping=formulas({})) as counter:
        sampled(bench, layers)
    return counter.get_total_flops() / 2


def test_a_replay_spends_the_multiply_adds_that_the_method_spent():
    bench = benched()
    spent = macs(bench, bench.layers)
    told = decisions.of(bench.denoiser)
    assert macs(bench, replaying.placement(bench, told)) == spent


def test_where_nothing_was_spared_a_replay_is_fused_softmax_bit_for_bit():
    bench = benched()
    exact = sampled(bench, bench.everywhere("sdpa"))
    assert torch.equal(sampled(bench, replaying.placement(bench, {})), exact)


@pytest.mark.parametrize("accelerated_too", [False, True])
def test_the_core_that_computes_is_the_methods_own(accelerated_too):
    """By sdpa a cheaper core would be faster than its bound, and an honest cell called implausible."""
    if accelerated_too:
        bench = set_up(replace(accelerated("pab"), attention=cell("linear").attention), "cpu")
    else:
        bench = benched(settings=(("core", "linear"),))
    exact = sampled(bench, bench.everywhere("linear"))
    assert torch.equal(sampled(bench, replaying.placement(bench, {})), exact)


def test_where_something_was_spared_a_replay_gives_nothing():
    bench = benched()
    exact = sampled(bench, bench.everywhere("sdpa"))
    sampled(bench, bench.layers)
    told = decisions.of(bench.denoiser)
    assert not torch.equal(sampled(bench, replaying.placement(bench, told)), exact)


@pytest.mark.parametrize(
    ("ran", "rows", "core", "cheaper_by"),
    [
        ("", 0.0, False, "qkvo and core"),
        ("qo", 1.0, True, "kv"),
        ("qkvo", 0.5, False, "half of qkvo and core"),
        ("qkvo", 1.0, False, "core"),
    ],
)
def test_each_part_that_was_spared_is_spared_again(ran, rows, core, cheaper_by):
    """Of one site in one step; a projection of all rows has 4 x 16 x 32 x 32 multiply-adds."""
    bench = benched()
    site = bench.sites[0]
    full = bench.method.macs(site.shape(bench.cell.rows * 2))
    one, whole = 4 * 16 * 32 * 32, replaying.placement(bench, {})
    told = {site.name: [Decision(2, True, "planted", ran, rows, full if core else 0)]}
    saved = macs(bench, whole) - macs(bench, replaying.placement(bench, told))
    price = {
        "qkvo and core": 4 * one + full,
        "kv": 2 * one,
        "half of qkvo and core": 2 * one + full,
        "core": full,
    }
    assert saved == price[cheaper_by]


def job(name, tmp_path, settings=()):
    few = Timing(warmup=1, repeats=2, processes=1, warmup_cap_s=0)
    what = cell(name, settings=settings, steps=STEPS)
    return Job(what, Stage.TIME, 0, few, Quality(), ("latency",), "cpu", tmp_path)


def test_the_bound_is_measured_beside_the_method_and_never_a_part_of_its_latency(tmp_path):
    found = timing.run(job("forgetful:EveryOther", tmp_path, (("core", "sdpa"),)), lambda _: None)
    assert found.status is Status.OK
    assert len(found.metrics["replay_latency"]) == len(found.metrics["latency"]) == 2
    assert len(found.facts["replay_beside"]) == 2
    assert len(found.metrics["step_latency"]) == 2 * STEPS


def test_each_batch_is_bound_by_its_own_pattern(tmp_path, monkeypatch):
    """What hangs on the noise is reused elsewhere in the next batch: the bound is of the same run."""
    ran, replayed = [], []
    usual, placed = timing.Samplings.on, replaying.placement

    def on(runs, number):
        seconds = usual(runs, number)
        if runs.layers is None:
            ran.append((number, decisions.of(runs.bench.denoiser)))
        else:
            replayed.append((number, pattern[id(runs.layers)]))
        return seconds

    pattern, kept = {}, []

    def placement(bench, told):
        kept.append(placed(bench, told))
        pattern[id(kept[-1])] = told
        return kept[-1]

    monkeypatch.setattr(timing.Samplings, "on", on)
    monkeypatch.setattr(timing.replay, "placement", placement)
    timing.run(job("forgetful:Fickle", tmp_path, (("core", "sdpa"),)), lambda _: None)
    own = dict(ran)
    assert len({str(told) for told in own.values()}) > 1
    assert len(replayed) == 3  # one to warm up, a pair that is timed
    assert all(told == own[number] for number, told in replayed)


@pytest.mark.parametrize("told", [("sdpa", ()), ("static-reuse", (("share", 0.0),))])
def test_what_reuses_nothing_has_no_bound_of_its_own(told, tmp_path):
    found = timing.run(job(told[0], tmp_path, told[1]), lambda _: None)
    assert found.status is Status.OK
    assert "replay_latency" not in found.metrics


@pytest.mark.parametrize("name", ["pab", "first-block-cache"])
def test_an_accelerators_pattern_is_replayed_with_as_many_multiply_adds(name):
    bench = set_up(accelerated(name), "cpu")
    spent = macs(bench, bench.layers)
    told = decisions.of(bench.denoiser)
    assert any(one.reused for every in told.values() for one in every)
    assert macs(bench, replaying.placement(bench, told)) == spent
    exact = sampled(bench, bench.everywhere("sdpa"))
    bench.denoiser.uninstall()
    assert torch.equal(sampled(bench, bench.everywhere("sdpa")), exact)


def accelerated(name):
    """Of three blocks, and thresholds so wide that something is skipped."""
    wide = {"first-block-cache": {"threshold": 1.0}}
    choice = Choice(name, tuple(asdict(ACCELERATORS.get(name)(**wide.get(name, {}))).items()))
    return replace(cell("sdpa", spec=replace(TINY, depth=3), steps=STEPS), accelerator=choice)


def test_an_accelerator_is_audited_as_a_method_with_memory_is(tmp_path):
    what = accelerated("first-block-cache")
    few = Timing(warmup=1, repeats=2, processes=1, warmup_cap_s=0)
    job = Job(what, Stage.GATE, 0, few, Quality(), ("latency",), "cpu", tmp_path)
    gated = gates.run(job, lambda _: None)
    assert (gated.status, gated.reason) == (Status.OK, "")
    told = gated.facts["reuse"]
    assert told["forwards"] == STEPS * len(told["map"])
    assert "gate_share" not in told  # nobody watches what it decides: not measured, and not nothing
    assert 0 < gated.metrics["reuse_ratio"][0] < 1
    assert gated.metrics["cache_bytes"][0] > 0
    assert gated.metrics["trajectory_macs"][0] < STEPS * gated.metrics["macs"][0]
    timed = timing.run(replace(job, stage=Stage.TIME), lambda _: None)
    assert len(timed.metrics["replay_latency"]) == 2


def test_an_accelerator_that_skips_nothing_by_nature_has_no_reuse_to_tell(tmp_path):
    job = Job(accelerated("ptq4dit"), Stage.GATE, 0, Timing(), Quality(), (), "cpu", tmp_path)
    gated = gates.run(job, lambda _: None)
    assert (gated.status, gated.reason) == (Status.OK, "")
    assert "reuse" not in gated.facts
    assert "reuse_ratio" not in gated.metrics
    assert gated.metrics["calibration_time"][0] > 0
