"""On a GPU: methods with memory pass their audit, and their caches are as large as arithmetic says."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from cells import cell, model

from ditbench.accelerators.base import ACCELERATORS
from ditbench.attention.base import METHODS
from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import gates, timing
from ditbench.models.base import presets
from ditbench.records import Cell, Choice, Sampling, Stage, Status

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
REMEMBERING = sorted(name for name, one in METHODS.discover().items() if not one.compiles)


def job(what, stage, tmp_path):
    few = Timing(2, 5, 1, warmup_cap_s=0)
    return Job(what, stage, 0, few, Quality(), ("latency",), "cuda", tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", REMEMBERING)
def test_every_method_with_memory_passes_its_audit(name, dtype, tmp_path):
    settings = tuple(dataclasses.asdict(METHODS.get(name)()).items())
    sampling = Sampling(guidance_scale=2.0, dtype=dtype)
    what = cell(name, settings=settings, steps=12, sampling=sampling)
    found = gates.run(job(what, Stage.GATE, tmp_path), lambda _phase: None)
    assert (found.status, found.reason) == (Status.OK, "")
    assert found.facts["reuse"]["forwards"] == 12 * 2


def test_an_accelerator_passes_its_audit_beside_fused_attention(tmp_path):
    told = dataclasses.asdict(ACCELERATORS.get("first-block-cache")(threshold=0.3))
    around = Choice("first-block-cache", tuple(told.items()))
    sampling = Sampling(guidance_scale=2.0, dtype="bfloat16")
    what = dataclasses.replace(cell("sdpa", steps=12, sampling=sampling), accelerator=around)
    found = gates.run(job(what, Stage.GATE, tmp_path), lambda _phase: None)
    assert (found.status, found.reason) == (Status.OK, "")


def test_reuse_of_every_output_is_faster_than_computing_and_within_its_bound(tmp_path):
    """DiT-XL/2-256, where a module of attention is a third of the work."""
    spec = presets()["dit-xl/2-256"].model
    sampling = Sampling(guidance_scale=4.0, dtype="bfloat16")

    def timed(name, **settings):
        told = dataclasses.asdict(METHODS.get(name)(**settings))
        what = Cell(
            model(spec, "dit-xl/2-256"), Choice(name, tuple(told.items())), blocks=tuple(range(spec.depth)),
            batch_size=8, steps=20, sampling=sampling,
        )  # fmt: skip
        return timing.run(job(what, Stage.TIME, tmp_path), lambda _phase: None).metrics

    exact = min(timed("sdpa")["latency"])
    ours = timed("static-reuse", share=1.0, warmup=0.0, schedule="steps")
    assert min(ours["replay_latency"]) <= 1.02 * min(ours["latency"]) < exact


def test_the_bytes_of_a_cache_are_those_of_the_outputs(tmp_path):
    """28 blocks x 2 rows x 256 tokens x 1152 x 2 bytes."""
    spec = presets()["dit-xl/2-256"].model
    told = dataclasses.asdict(
        METHODS.get("static-reuse")(share=1.0, warmup=0.0, schedule="reverse")
    )
    what = Cell(
        model(spec, "dit-xl/2-256"), Choice("static-reuse", tuple(told.items())),
        blocks=tuple(range(spec.depth)), batch_size=1, steps=8,
        sampling=Sampling(guidance_scale=4.0, dtype="bfloat16"),
    )  # fmt: skip
    found = gates.run(job(what, Stage.GATE, tmp_path), lambda _phase: None)
    assert found.metrics["cache_bytes"] == (28 * 2 * 256 * 1152 * 2,)
