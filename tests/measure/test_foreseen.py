"""What a method with memory will spare, counted from steps and shapes: as a run has it, or not at all."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from forgetful import EveryOther

from ditbench import sampling
from ditbench.attention.memory import OutputKeeper
from ditbench.measure import bench, counting, decisions, foreseen, opened
from ditbench.models.dit import DiT
from ditbench.models.gqa_dit import GqaDiT
from ditbench.records import Cell, Choice, Sampling, Shown

TINY = DiT(hidden=32, depth=4, heads=2, size=8, classes=10)
GQA = GqaDiT(hidden=32, depth=3, heads=4, kv_heads=2, patch=2, size=8, null_class=True)
STEPS = 12
OPEN = {"threshold": 100.0, "warmup": 0, "snr_low": 0.0, "snr_high": 1e9}


def cell(attention="softmax", spec=TINY, sampler="ddim", **settings):
    sizes = tuple((one.name, getattr(spec, one.name)) for one in dataclasses.fields(spec))
    return Cell(
        Choice(spec.name, sizes), Choice(attention, tuple(settings.items())),
        blocks=tuple(range(spec.depth)), steps=STEPS, batch_size=2,
        sampling=Sampling(sampler=sampler, guidance_scale=2.0),
    )  # fmt: skip


def ran(asked):
    """The share of forwards that a real run spares, and the bytes that its layers keep."""
    made = bench.set_up(asked, "cpu")
    made.denoiser.install(made.layers)
    layers, held = made.denoiser.layers(), []
    made.sample(
        made.inputs(range(asked.batch_size)),
        on_step=lambda _step: held.append(opened.size(layers.values())),
    )
    told = decisions.Told({name: one.decisions for name, one in layers.items()}, STEPS)
    return told.ratio, float(max(held))


CELLS = {
    "static": cell("static-reuse", share=1.0, warmup=0.1),
    "static by noise": cell("static-reuse", sampler="ddim-leading", share=1.0, warmup=0.1, snr=0.5),
    "keys and values": cell("dqar", **OPEN),
    "integers": cell("dqar", precision="int8", limit=5, **OPEN),
    "outputs": cell("dqar", mode="output", guidance="apart", **OPEN),
    "another family": cell("static-reuse", GQA, share=1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", CELLS)
def test_it_is_what_a_run_does(name):
    (found,) = counting.count([CELLS[name]], "cpu")
    ratio, held = ran(CELLS[name])
    assert found.metrics["reuse_ratio"] == (ratio,)
    assert found.metrics["cache_bytes"] == (held,)
    assert ratio > 0


def test_a_method_that_looks_at_its_attention_is_not_foreseen():
    (found,) = counting.count([cell("dqar", **OPEN | {"threshold": 1.0})], "cpu")
    assert "macs" in found.metrics
    assert "reuse_ratio" not in found.metrics


def test_prompts_are_not_foreseen_for_their_words_are_counted_when_read():
    shown = Shown("prompts", "a.txt", "0" * 8, 2)
    asked = dataclasses.replace(cell("static-reuse"), shown=shown)
    assert foreseen.reuse(cell("static-reuse"), NAMES)
    assert foreseen.reuse(asked, NAMES) == {}


NAMES = [site.name for site in TINY.sites()]


def test_decisions_that_are_not_all_forwards_foresee_nothing():
    assert foreseen.reuse(cell("forgetful:EveryOther"), NAMES)["reuse_ratio"] == (0.5,)
    assert foreseen.reuse(cell("forgetful:TellsReusesAlone"), NAMES) == {}


@dataclasses.dataclass(frozen=True)
class Mistaken(EveryOther):
    """Has a bug in its rule, which is no number that it lacks."""

    def open(self, site):
        return OutputKeeper(self.spared.open(site), lambda _rows: 0, lambda now, _at: now.nosuch)


def test_a_bug_is_not_taken_for_a_number_that_is_not_there():
    with pytest.raises(AttributeError, match="nosuch"):
        foreseen.reuse(cell("test_foreseen:Mistaken"), NAMES)


@pytest.mark.parametrize("attention", ["softmax", "window", "zero"])
def test_a_method_without_memory_has_nothing_to_foresee(attention):
    (found,) = counting.count([cell(attention)], "cpu")
    assert not {"reuse_ratio", "cache_bytes"} & found.metrics.keys()


@pytest.mark.parametrize("sampler", [name for name in sampling.SAMPLERS if name != sampling.FLOW])
def test_moments_are_told_before_they_come(sampler):
    seen = []
    noises = sampling.step_noise(TINY, 0, [0]) if sampler == sampling.DDPM else None
    sampling.sample(
        lambda latents, *_: torch.cat([latents, latents], dim=1),
        TINY, sampling.noise(TINY, 0, [0]), TINY.conditions(0, [0]), sampler=sampler, steps=5,
        guidance_scale=2.0, noises=noises, on_step=seen.append,
    )  # fmt: skip
    assert sampling.moments(TINY, sampler, 5, guided=True) == seen[:-1]
