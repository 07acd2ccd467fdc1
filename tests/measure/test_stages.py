"""Timing, memory, quality and cost on tiny cells on the CPU."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import faulty
import numpy as np
import pytest
import torch
from cells import TINY, cell, model

from ditbench import stopping
from ditbench.errors import UnfitError
from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import canary, kernels, measure, quality, shots, timing
from ditbench.measure.bench import Bench, set_up
from ditbench.measure.catalog import catalog, inspect, macs_per_second
from ditbench.measure.cost import cost
from ditbench.models.dit import DiT
from ditbench.records import CANARY, LARGEST, Choice, Sampling, Stage, Status
from ditbench.store.pictures import Shards
from ditbench.store.shelf import folder_of


def job(what, stage, tmp_path, **fields):
    base = {
        "timing": Timing(2, 3, 1, warmup_cap_s=0),
        "quality": Quality(samples=5, micro_batch=4),
        "metrics": ("latency", "frechet"),
    } | fields
    return Job(what, stage, 0, device="cpu", pictures=tmp_path, **base)


def quiet(_phase):
    """Nobody listens."""


def test_mistake_12_the_first_call_is_apart_and_raw_values_are_kept_in_order(tmp_path):
    found = measure(job(cell("softmax", batch_size=2), Stage.TIME, tmp_path), quiet)
    assert found.status is Status.OK
    assert [len(found.metrics[name]) for name in ("first_call", "latency", "step_latency")] == [
        1,
        3,
        12,
    ]
    assert len(found.warmups["latency"]) == 2
    steps = np.array(found.metrics["step_latency"]).reshape(3, 4)
    assert steps.sum(axis=1).tolist() == pytest.approx(list(found.metrics["latency"]))


def test_mistake_14_memory_is_reset_after_the_warm_up(tmp_path, monkeypatch):
    """A large block that only the first call needs does not show in the peak."""
    first = []

    def hungry(_self, inputs, _steps=None, on_step=lambda _step: None):
        if not first:
            first.append(torch.ones(60_000_000).sum())
        on_step(0)
        on_step(1)
        return inputs[0]

    monkeypatch.setattr(timing.Bench, "sample", hungry)
    found = timing.run(job(cell("softmax"), Stage.TIME, tmp_path), quiet)
    assert found.facts["peak_without_warmup"]
    assert found.metrics["peak_resident"][0] < 200e6


def test_the_timed_calls_lie_between_their_time_stamps(tmp_path):
    """Of the clock that other processes of this machine read too."""
    before = time.monotonic_ns()
    found = timing.run(job(cell("softmax"), Stage.TIME, tmp_path), quiet)
    begin, end = found.facts["timed_ns"]
    assert before < begin < end < time.monotonic_ns()
    assert sum(found.metrics["latency"]) <= (end - begin) / 1e9


def steps_of(*seconds):
    """A stopwatch of which each run takes so long, and the last for ever."""
    left = list(seconds)

    class Watch(timing.CpuStopwatch):
        def seconds(self):
            return [left.pop(0) if len(left) > 1 else left[0]]

    return Watch


def test_mistake_10_a_cold_cell_is_not_timed_before_it_is_warm(tmp_path, monkeypatch):
    cold = (0.9, 0.6, 0.5, 0.45, 0.42, 0.41)
    monkeypatch.setattr(timing, "CpuStopwatch", steps_of(*cold, 0.4))
    monkeypatch.setattr(stopping, "_SUSTAINED_S", 0.0)
    what = Timing(warmup=1, repeats=3, processes=1, warmup_cap_s=1e6)
    found = timing.run(job(cell("softmax"), Stage.TIME, tmp_path, timing=what), quiet)
    assert found.metrics["first_call"] == (0.9,)
    assert found.warmups["latency"][:5] == cold[1:]
    assert found.metrics["latency"] == (0.4,) * 3
    assert found.facts["warmup"]["stable"]
    assert found.facts["warmup"]["calls"] == len(found.warmups["latency"]) == 10


def test_a_precision_makes_as_many_calls_as_it_takes(tmp_path, monkeypatch):
    noisy = (0.5, 0.5, 0.5, 0.4, 0.6, 0.5, 0.4, 0.6)
    monkeypatch.setattr(timing, "CpuStopwatch", steps_of(*noisy, 0.5))
    what = Timing(1, 4, 1, warmup_cap_s=0, precision=0.01, most_repeats=30)
    found = timing.run(job(cell("softmax"), Stage.TIME, tmp_path, timing=what), quiet)
    assert found.facts["stopping"]["by"] == "precision"
    assert 6 < len(found.metrics["latency"]) == found.facts["stopping"]["calls"] < 30


def test_a_method_that_keeps_what_it_computed_for_a_batch_gains_nothing(tmp_path):
    """Every sampling run has noise of its own, so that no content is seen twice."""
    faulty.KeepsByContent.seen.clear()
    faulty.KeepsByContent.hits.clear()
    found = timing.run(job(cell("faulty:KeepsByContent"), Stage.TIME, tmp_path), quiet)
    assert found.status is Status.OK
    assert len(faulty.KeepsByContent.seen) == (1 + 2 + 3) * 4 * 2  # runs, steps, blocks
    assert faulty.KeepsByContent.hits == []


def test_mistake_27_a_timed_run_that_ends_in_nan_has_no_speed(tmp_path, monkeypatch):
    sample, made = timing.Bench.sample, []

    def last_is_nan(self, *args, **kwargs):
        made.append(1)
        return sample(self, *args, **kwargs) * (torch.nan if len(made) == 6 else 1)

    monkeypatch.setattr(timing.Bench, "sample", last_is_nan)
    found = timing.run(job(cell("softmax"), Stage.TIME, tmp_path), quiet)
    assert found.status is Status.NOT_FINITE
    assert len(made) == 6


def test_phases_are_told_in_order(tmp_path):
    said = []
    measure(job(cell("softmax"), Stage.TIME, tmp_path), said.append)
    assert said[:3] == ["loading", "first call", "warm-up 1"]
    assert said[-1] == "timing 3"


def pictured(what, tmp_path, reference=None, **fields):
    """Pictures made in one shard, and then judged."""
    made = shots.run(job(what, Stage.SAMPLE, tmp_path, **fields), quiet)
    assert made.status is Status.OK
    return quality.run(job(what, Stage.QUALITY, tmp_path, reference=reference, **fields), quiet)


def softmax_and(other, tmp_path):
    reference = cell("softmax")
    pictured(reference, tmp_path)
    return pictured(other, tmp_path, reference)


def test_an_exact_method_drifts_by_rounding_and_identity_by_a_lot(tmp_path):
    exact = softmax_and(cell("sdpa"), tmp_path).metrics["latent_drift"]
    worst = softmax_and(cell("identity"), tmp_path).metrics["latent_drift"]
    assert len(exact) == len(worst) == 5
    assert max(exact) < 1e-5
    assert min(worst) > 0.01


def test_pictures_do_not_depend_on_the_batch_that_is_timed(tmp_path):
    one, many = (softmax_and(cell("identity", batch_size=size), tmp_path) for size in (1, 4))
    assert one.facts["knob_digest"] == many.facts["knob_digest"]
    assert cell("identity", batch_size=4).quality_key == cell("identity").quality_key


def test_without_a_reference_nothing_is_compared_with_softmax(tmp_path):
    found = pictured(cell("identity"), tmp_path)
    assert "latent_drift" not in found.metrics
    assert "psnr" not in found.metrics


def test_pictures_are_kept_and_read_back(tmp_path):
    what = cell("softmax")
    found = shots.run(job(what, Stage.SAMPLE, tmp_path), quiet)
    kept = Shards.open(folder_of(tmp_path, what))
    assert kept.images().shape == (5, 8, 8, 1)
    assert kept.images().dtype == np.uint8
    assert found.facts["image_key"] == kept.key
    assert found.facts["pictures"] == f"images/{what.quality_key}/000000-000005.npz"
    assert len(set(kept.labels.tolist())) == 5  # of ten classes, none twice before each came once
    assert kept.classes.tolist() == [f"class {label}" for label in kept.labels.tolist()]
    assert not list(tmp_path.rglob("*.tmp"))


def test_latents_that_are_no_pictures_have_drift_but_no_psnr(tmp_path):
    spec = dataclasses.replace(TINY, channels=4, out_channels=4)
    found = pictured(cell("softmax", spec=spec), tmp_path)
    assert set(found.metrics) == {"latent_drift"}
    assert found.facts["pictures"] == ""


def test_pictures_of_the_right_kind_get_a_frechet_distance_under_its_own_name(tmp_path):
    spec = DiT(
        hidden=16, depth=1, heads=1, patch=8, size=32, channels=1, out_channels=1, classes=10
    )
    reference, other = cell("softmax", spec=spec), cell("identity", spec=spec)
    pictured(reference, tmp_path)
    found = pictured(other, tmp_path, reference)
    names = {"fd_fashion_cnn_5@dataset", "fd_fashion_cnn_5@softmax"}
    assert names <= set(found.metrics)
    assert not any("fid" in name for name in found.metrics)
    assert found.facts["paired"].keys() == names


def test_mistake_27_a_run_that_ends_in_nan_is_its_own_kind(tmp_path, monkeypatch):
    monkeypatch.setattr(shots.Bench, "sample", lambda _s, inputs, *_a, **_k: inputs[0] * torch.nan)
    found = shots.run(job(cell("softmax"), Stage.SAMPLE, tmp_path), quiet)
    told = "the latents are not finite: of pictures 0, 1, 2 and 1 more"
    assert (found.status, found.reason) == (Status.NOT_FINITE, told)
    assert not list(tmp_path.rglob("*.npz"))


def test_half_of_the_blocks_costs_half_of_the_difference():
    settings = (("block_size", 4), ("num_steps", 1), ("pad", "pre"))
    whole, half, none = (
        cost(cell("monarch", settings=settings, blocks=blocks)).core
        for blocks in ((0, 1), (1,), ())
    )
    assert half == (whole + none) / 2
    assert none == cost(cell("softmax")).core


def test_zero_skips_the_projections_and_identity_does_not():
    assert cost(cell("zero")).total < cost(cell("identity")).total < cost(cell("softmax")).total
    assert cost(cell("identity")).core == 0


def test_a_layer_of_its_own_pays_for_its_core_once():
    plain = cost(cell("softmax"))
    for calls in (True, False):
        own = cost(cell("faulty:OwnLayer", settings=[("calls", calls)]))
        assert (own.total, own.core) == (plain.total, plain.core)


def test_a_plan_prices_what_its_gate_will_refuse():
    told = inspect([cell("faulty:RefusesOddHeads")], "cpu")[0]
    assert told.macs == cost(cell("softmax")).total


def test_the_catalog_describes_every_method_and_model():
    found = catalog()
    assert {"softmax", "sdpa", "xformers", "monarch", "nystromformer", "identity", "zero"} <= set(
        found.methods
    )
    assert found.methods["monarch"].settings[0].default == 16
    assert found.models["dit-xl/2"].hub == "facebook/DiT-XL-2-256"
    assert dict(found.models["dit-xl/2-512"].architecture)["size"] == 64
    assert found.models["fashion-dit"].embedded
    assert all(method.paper and method.cost and method.summary for method in found.methods.values())


def test_methods_of_other_packages_are_described_when_asked_for():
    assert "faulty:Remembers" in catalog(["faulty:Remembers"]).methods


def test_inspection_gives_every_reason_and_the_price():
    flash = cell("sdpa", settings=(("backend", "cudnn"),))
    refused, priced = inspect([flash, cell("softmax")], "cpu")
    assert refused.reasons
    assert (priced.reasons, priced.core_macs) == ((), cost(cell("softmax")).core)
    broken = dataclasses.replace(cell("softmax"), model=model(dataclasses.replace(TINY, heads=3)))
    assert inspect([broken], "cpu")[0].reasons == ("hidden 32 is not a multiple of heads 3",)


def test_the_yardstick_of_the_plan_is_a_rate_that_a_cpu_can_have():
    assert 1e8 < macs_per_second("cpu") < 1e13


def test_a_gpu_with_a_torch_for_cpus_is_a_reason_and_not_a_crash(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    assert (
        inspect([cell("softmax")], "cuda")[0]
        .reasons[0]
        .startswith("this torch is a build for CPUs")
    )


def test_a_worker_on_another_gpu_than_the_chosen_one_refuses(monkeypatch):
    other = type("Properties", (), {"uuid": "1111"})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _index: other)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UnfitError, match="was to run on GPU-2222 alone and sees GPU-1111"):
        set_up(cell("softmax"), "GPU-2222")


def test_a_kernel_is_refused_only_where_another_ran():
    assert kernels.refusal(frozenset({"flash"}), ("flash",)) == ""
    assert kernels.refusal(frozenset(), ("math",)) == ""
    assert (
        kernels.refusal(frozenset({"flash"}), ())
        == "asked for a flash kernel, ran none that is known"
    )


def test_guidance_and_dtype_are_part_of_the_pictures_key():
    base = cell("softmax")
    other = dataclasses.replace(base, sampling=Sampling(guidance_scale=2.0, dtype="bfloat16"))
    assert base.quality_key != other.quality_key
    assert base.attention == Choice("softmax")


def test_a_trial_samples_its_batch_for_three_steps_with_the_cells_method_and_tells_its_peak(
    tmp_path, monkeypatch
):
    seen = []
    sample = Bench.sample

    def watched(self, inputs, steps=None, **more):
        out = sample(self, inputs, steps, **more)
        seen.append(
            (len(inputs[0]), steps, list(self.denoiser.calls().values()), torch.is_inference(out))
        )
        return out

    monkeypatch.setattr(Bench, "sample", watched)
    found = measure(job(cell("softmax", batch_size=5, steps=20), Stage.FIT, tmp_path), quiet)
    assert found.status is Status.OK
    assert seen == [(5, 3, [3, 3], True)]
    assert (found.facts["peak"], found.facts["rows"]) == ("peak_resident", 10)
    assert found.facts["peak_bytes"] > 0
    assert found.metrics == {}


def test_a_trial_of_a_short_protocol_makes_no_more_steps_than_that_has(tmp_path):
    said = []
    measure(job(cell("softmax", batch_size=2, steps=1), Stage.FIT, tmp_path), said.append)
    assert said == ["loading", "batch 2"]


def test_a_trial_that_is_not_finite_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(Bench, "sample", lambda _self, inputs, _steps: inputs[0] / 0)
    found = measure(job(cell("softmax"), Stage.FIT, tmp_path), quiet)
    assert found.status is Status.NOT_FINITE


def test_a_plan_prices_a_cell_that_asks_for_its_batch_by_the_picture():
    asked, given = inspect([cell(batch_size=LARGEST), cell(batch_size=1)], "cpu")
    assert asked.key == cell(batch_size=LARGEST).key
    assert (asked.macs, asked.parameters) == (given.macs, given.parameters)
    refused = cell("xformers", batch_size=LARGEST)
    assert inspect([refused], "cpu")[0].reasons == inspect([refused.of_batch(4)], "cpu")[0].reasons


def test_what_a_trial_frees_is_given_back_at_once_and_leaves_no_frayed_heap(tmp_path):
    """By itself glibc would keep the gaps between the blocks that are left.

    Some blocks may lie in holes that earlier tests left in this process's heap: a trial's own has none.
    """
    found = measure(job(cell("softmax"), Stage.FIT, tmp_path), quiet)
    assert found.facts["given_back"]
    blocks = [torch.zeros(5 * 2**20) for _ in range(16)]  # of 20 MiB each
    held = data_bytes()
    del blocks[::2]
    assert held - data_bytes() > 4 * 20 * 2**20


def data_bytes():
    """What this process may write to, which is what its memory limit counts."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if "VmData" in x)
    return int(line.split()[1]) * 1024


def test_the_canary_keeps_the_seconds_of_every_product_and_copy_in_order(tmp_path):
    told = []
    before = torch.get_num_threads()
    found = measure(job(CANARY, Stage.CANARY, tmp_path), told.append)
    assert (told, found.status) == (["canary"], Status.OK)
    products, copies = found.metrics["canary_matrix"], found.metrics["canary_copy"]
    assert len(products) == len(copies) == 1500
    assert min(*products, *copies) > 0
    begin, end = found.facts["timed_ns"]
    assert sum(products) + sum(copies) <= (end - begin) / 1e9
    assert (found.facts["side"], found.facts["copied"]) == (128, 4 * 2**20)
    assert torch.get_num_threads() == before


def test_the_canary_does_the_same_work_in_every_process():
    load = canary.Load(8, torch.float32, 64, 1, 0.0)
    results = []
    for _ in range(2):
        product, copy = canary._works(torch.device("cpu"), load)
        results.append((product().clone(), copy().clone()))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
