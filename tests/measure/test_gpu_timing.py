"""On a GPU: our stopwatch against a loop that anyone could write, and a kernel of known length."""

from __future__ import annotations

import statistics

import pytest
import torch
from cells import cell, model

from ditbench import sampling
from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import gates, timing
from ditbench.measure.bench import set_up
from ditbench.models.base import presets
from ditbench.records import Cell, Choice, Sampling, Stage, Status

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]


def test_mistake_11_the_clock_waits_for_the_device():
    """A kernel that spins for a known number of cycles takes that long, though the CPU is done at once."""
    watch = timing.CudaStopwatch()
    torch.cuda._sleep(1000)
    watch.start()
    watch.mark(0)
    torch.cuda._sleep(200_000_000)
    watch.mark(1)
    assert 0.05 < watch.seconds()[0] < 1.0


def test_our_latency_is_that_of_a_hand_written_loop_within_two_per_cent(tmp_path):
    spec = presets()["dit-xl/2-256"].model
    what = Cell(
        model(spec, "dit-xl/2-256"), Choice("sdpa", (("backend", "auto"),)), blocks=tuple(range(spec.depth)),
        batch_size=8, steps=20, sampling=Sampling(dtype="bfloat16"),
    )  # fmt: skip
    job = Job(what, Stage.TIME, 0, Timing(3, 10, 1), Quality(), ("latency",), "cuda", tmp_path)
    ours = statistics.median(timing.run(job, lambda _phase: None).metrics["latency"])
    assert abs(ours / _by_hand(what) - 1) < 0.02


def test_mistake_14_the_reserve_of_a_greedy_warm_up_does_not_show(tmp_path, monkeypatch):
    """A gibibyte that only the first call needs is given back before the timed calls."""
    sample, made = timing.Bench.sample, []

    def greedy(self, *args, **kwargs):
        if not made:
            made.append(torch.empty(2**30, dtype=torch.uint8, device="cuda").sum())
        return sample(self, *args, **kwargs)

    monkeypatch.setattr(timing.Bench, "sample", greedy)
    what = Timing(1, 2, 1, warmup_cap_s=0)
    job = Job(cell("sdpa"), Stage.TIME, 0, what, Quality(), ("latency",), "cuda", tmp_path)
    found = timing.run(job, lambda _phase: None)
    assert found.metrics["peak_reserved"][0] < 2**29
    assert found.metrics["device_used"][0] >= found.metrics["peak_reserved"][0]
    assert found.facts["device_used_by"] in {"this process", "everyone on the device"}


def test_the_same_run_twice_stays_within_the_rounding_that_was_measured(tmp_path):
    what = cell("sdpa", sampling=Sampling(dtype="bfloat16", guidance_scale=2.0))
    job = Job(what, Stage.GATE, 0, Timing(), Quality(), ("latency",), "cuda", tmp_path)
    found = gates.run(job, lambda _phase: None)
    assert (found.status, found.reason) == (Status.OK, "")


def _by_hand(cell: Cell) -> float:
    """diffusers' own attention, CUDA events around a plain loop, median of ten."""
    bench = set_up(cell, "cuda")
    network, spec = bench.denoiser.network, bench.denoiser.spec
    latents, labels, _ = bench.inputs(range(cell.batch_size))
    labels = torch.cat([labels, torch.full_like(labels, spec.classes)])
    seconds = []
    for _ in range(13):
        plan = sampling.scheduler(spec, "ddim", cell.steps)
        state = latents.float()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        start.record()
        with torch.inference_mode():
            for timestep in plan.timesteps.tolist():
                both = torch.cat([state, state]).to(latents.dtype)
                times = torch.full((len(both),), timestep, dtype=torch.long, device="cuda")
                out = network(both, times, labels, return_dict=False)[0][:, : spec.channels].float()
                with_class, without = out.chunk(2)
                guided = without + 1.5 * (with_class - without)
                state = plan.step(guided, timestep, state).prev_sample
        end.record()
        torch.cuda.synchronize()
        seconds.append(start.elapsed_time(end) / 1e3)
    return statistics.median(seconds[3:])
