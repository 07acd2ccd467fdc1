"""A pipeline in the hub's own layout, from folder to report, offline: denoised, decoded, kept and judged."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, DiTTransformer2DModel

from ditbench import pictures, sampling
from ditbench.posterior import spaced

sys.path.append(str(Path(__file__).parents[1] / "models"))
from pipelines import SPEC, saved

SUITE = """
name: tiny-hub
model: {name: dit, hidden: 32, depth: 2, heads: 2, size: 4, channels: 4, out_channels: 8, classes: 1000}
weights: ./pipe
attention: [softmax, sdpa, identity]
steps: 5
sampling: {sampler: ddpm, guidance_scale: 1.5, guidance_channels: 3}
metrics: [macs, latent_drift, psnr, ssim]
quality: {samples: 6, micro_batch: 4, shard: 4}
"""
COUNT, STEPS = 6, 5


@pytest.fixture(scope="module")
def ran(shell):
    saved(shell.folder / "pipe")
    shell.suite(SUITE)
    return shell("run", "suite.yaml", HF_HUB_OFFLINE="1")


@pytest.fixture(scope="module")
def rows(shell, ran):
    told = json.loads(shell.again("show", "--json").out)
    return {row["axes"]["attention"]: row for row in told}


def kept(shell, method, run=-1):
    """The shards of a method's pictures in a run, in order."""
    folder = sorted(shell.folder.glob("results/*/*/run.json"))[run].parent
    lines = (folder / "records.jsonl").read_text().splitlines()
    named = {
        record["facts"]["pictures"]
        for record in map(json.loads, lines)
        if record["stage"] == "sample" and record["cell"]["attention"]["name"] == method
    }
    return [np.load(folder / name) for name in sorted(named)]


def test_it_ends_well_with_pictures_and_figures_of_every_method(ran, rows):
    assert ran.code == 0, ran.err
    assert {row["status"] for row in rows.values()} == {"ok"}
    for row in rows.values():
        assert {"latent_drift", "psnr", "ssim"} <= row["estimates"].keys()
    assert rows["softmax"]["estimates"]["latent_drift"]["value"] == 0
    assert rows["sdpa"]["estimates"]["latent_drift"]["value"] < 1e-4
    assert rows["identity"]["estimates"]["latent_drift"]["value"] > 1e-2
    assert rows["sdpa"]["axes"]["guidance_channels"] == "3"


def test_pictures_are_decoded_and_say_what_decoded_them(shell, ran):
    shards = kept(shell, "softmax")
    assert [len(one["arr_0"]) for one in shards] == [4, 2]
    assert shards[0]["arr_0"].shape == (4, 16, 16, 3)
    assert shards[0]["arr_0"].dtype == np.uint8
    assert shards[0]["latents"].shape == (4, 4, 4, 4)
    assert "AutoencoderKL sha256 " in str(shards[0]["identity"])


def by_diffusers(folder):
    """The same protocol by diffusers' own scheduler, network and autoencoder: three guided channels, DDPM."""
    network = DiTTransformer2DModel.from_pretrained(folder / "transformer").eval()
    decoder = AutoencoderKL.from_pretrained(folder / "vae").eval()
    plan = DDPMScheduler.from_pretrained(
        folder / "scheduler", variance_type="learned_range", clip_sample=False
    )
    plan.set_timesteps(timesteps=spaced(STEPS))
    (labels,) = SPEC.conditions(0, range(COUNT))
    own = sampling.generators(0, range(COUNT), sampling.STEP_STREAM)
    state = sampling.noise(SPEC, 0, range(COUNT))
    both = torch.cat([labels, torch.full_like(labels, 1000)])
    for time in plan.timesteps:
        out = network(torch.cat([state, state]), time.expand(2 * COUNT), both).sample
        given, null = out.chunk(2)
        given[:, :3] = null[:, :3] + 1.5 * (given[:, :3] - null[:, :3])
        state = plan.step(given, time, state, generator=own).prev_sample
    return state, decoder.decode(state / decoder.config.scaling_factor).sample


def test_latents_and_pictures_are_those_of_diffusers_own_parts(shell, ran):
    with torch.inference_mode():
        latents, images = by_diffusers(shell.folder / "pipe")
    ours = np.concatenate([one["latents"] for one in kept(shell, "softmax")])
    assert np.abs(ours - latents.numpy()).max() < 2e-3 * np.abs(ours).max()
    shown = np.concatenate([one["arr_0"] for one in kept(shell, "softmax")]).astype(int)
    assert np.abs(shown - pictures.quantise(images.numpy()).astype(int)).max() <= 1


def test_another_noise_schedule_than_the_folders_is_refused_before_anything_runs(shell, ran):
    path = shell.folder / "pipe" / "scheduler" / "scheduler_config.json"
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | {"beta_schedule": "squaredcos_cap_v2"}))
    try:
        refused = shell.again("plan", "suite.yaml")
    finally:
        path.write_text(before)
    assert refused.code == 2
    assert "beta_schedule is squaredcos_cap_v2, not linear" in refused.err
    assert "Traceback" not in refused.err


def test_more_guided_channels_than_there_are_are_told_in_the_plan(shell, ran):
    told = shell.again("plan", "suite.yaml", "--set", "sampling.guidance_channels=5")
    assert told.code == 2
    assert "guidance_channels 5: its latents have 4 channels" in told.err


def test_without_its_autoencoder_latents_are_compared_and_the_rest_says_why(shell, ran):
    done = shell.again("run", "suite.yaml", "-k", "softmax", "--set", "quality.vae=none")
    assert done.code == 0, done.err
    lines = (shell.run_folder() / "records.jsonl").read_text().splitlines()
    (judged,) = (one for one in map(json.loads, lines) if one["stage"] == "quality")
    assert judged["metrics"]["latent_drift"] == [0.0] * COUNT
    assert "psnr" not in judged["metrics"]
    assert judged["facts"]["unpictured"].endswith("are no pictures: quality.vae is none")


def test_its_pictures_are_made_alone_exported_and_judged_later(shell, ran):
    """One array of bytes, as ADM's evaluator reads it; the same bytes as those of the whole run."""
    wanted = np.concatenate([one["arr_0"] for one in kept(shell, "softmax", 0)])
    made = shell.again("sample", "suite.yaml", "-k", "softmax", "--npz", "adm")
    assert made.code == 0, made.err
    (exported,) = (shell.folder / "adm").glob("*.npz")
    with np.load(exported) as file:
        assert file.files == ["arr_0"]
        assert np.array_equal(file["arr_0"], wanted)
    judged = shell.again("run", "suite.yaml", "-k", "softmax", "--resume", shell.run_folder().name)
    assert judged.code == 0, judged.err
    (row,) = json.loads(shell.again("show", "--json").out)
    assert row["estimates"]["latent_drift"]["value"] == 0
