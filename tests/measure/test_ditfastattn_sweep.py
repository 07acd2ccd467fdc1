"""Along the threshold, on the model that ships: more is spared, and the latents drift further."""

from __future__ import annotations

import pytest
import torch
from cells import registered
from scipy.stats import spearmanr

from ditbench.attention.ditfastattn import DiTFastAttn
from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import calibration
from ditbench.measure.bench import set_up
from ditbench.measure.evidence import relative
from ditbench.records import Cell, Choice, Sampling, Stage
from ditbench.registry import settings_of

THRESHOLDS = (0.0, 0.05, 0.1, 0.15, 0.2)


def cell(method, **settings) -> Cell:
    return Cell(
        model=registered("fashion-dit"),
        attention=Choice(method, tuple(settings.items())),
        weights="embedded",
        blocks=tuple(range(6)),
        steps=4,
        sampling=Sampling(guidance_scale=2.0),
    )


def played(wanted, folder):
    """Latents of two samples, and the multiply-adds of all cores that ran."""
    job = Job(wanted, Stage.GATE, 0, Timing(), Quality(), ("latency",), "cpu", folder)
    bench = calibration.ready(job, set_up(wanted, "cpu"), lambda _phase: None)
    bench.denoiser.install(bench.layers)
    latents = bench.sample(bench.inputs(range(2)))
    layers = bench.denoiser.layers().values()
    return latents, sum(one.core for layer in layers for one in getattr(layer, "decisions", ()))


@pytest.mark.slow
def test_the_more_is_spared_the_further_the_latents_drift(tmp_path):
    usual = {one.name: one.default for one in settings_of(DiTFastAttn)} | {"samples": 1}
    softmax, _ = played(cell("sdpa"), tmp_path)
    runs = [played(cell("ditfastattn", **usual | {"threshold": t}), tmp_path) for t in THRESHOLDS]
    drift = [relative(latents, softmax) for latents, _ in runs]
    left = [core for _, core in runs]
    assert torch.equal(runs[0][0], softmax)
    assert drift[0] == 0 < drift[-1]
    assert spearmanr(THRESHOLDS, left).statistic <= -0.9
    assert spearmanr(THRESHOLDS, drift).statistic >= 0.9
