"""A tiny pipeline in the hub's own layout: diffusers makes it and saves it; nothing of it is ours."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiTPipeline

from ditbench.models.dit import DiT

# The null class of diffusers' pipeline is number 1000, whatever the model.
SPEC = DiT(hidden=32, depth=2, heads=2, patch=2, size=4, channels=4, out_channels=8, classes=1000)
NAMES = {"0": "tench, Tinca tinca", "999": "toilet tissue"}


def autoencoder(seed: int = 1, channels: int = 4, **config) -> AutoencoderKL:
    """Four times as wide and high as its latents, three channels."""
    torch.manual_seed(seed)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8),
        norm_num_groups=4,
        latent_channels=channels,
        sample_size=16,
        **{"scaling_factor": 0.18215} | config,
    ).eval()


def pipeline(spec: DiT = SPEC) -> DiTPipeline:
    """With gates open, as a trained network's are."""
    torch.manual_seed(0)
    transformer = spec.build()
    spec.open_gates(transformer)
    made = DiTPipeline(transformer, autoencoder(), DDIMScheduler(clip_sample=False))
    made.set_progress_bar_config(disable=True)
    return made


def saved(folder: Path, spec: DiT = SPEC) -> Path:
    """The folder, as `save_pretrained` leaves it, and the names of classes as the hub has them."""
    pipeline(spec).save_pretrained(folder)
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"id2label": NAMES}))
    return folder
