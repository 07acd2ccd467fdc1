"""Each switch does what it says, and changes what is learned by no more than rounding."""

from __future__ import annotations

import csv
import dataclasses
import sys

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from fakes_training import DIT, GQA, choice, training, write_data

from ditbench.errors import UsageError
from ditbench.models.seam import Denoiser
from ditbench.train import data as pictures
from ditbench.train import latents, loop, network, team
from ditbench.train.spec import Arm

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("idx"))


def losses(made, out):
    loop.train(made, made.arms[0], out)
    lines = csv.DictReader((out / "steps.csv").read_text().splitlines())
    return [float(line["loss"]) for line in lines]


def held(model, *, saves):
    """Bytes that a forward keeps for the way back."""
    spec = Arm("", model).spec
    torch.manual_seed(0)
    denoiser = Denoiser(spec.build().train(), spec)
    if saves:
        network.save_activations(denoiser)
    kept = []

    def pack(tensor):
        kept.append(tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        denoiser(torch.randn(8, *spec.latent), torch.full((8,), 500), *spec.conditions(0, range(8)))
    return sum(kept)


DEEP_DIT = choice(
    "dit", hidden=32, depth=6, heads=2, patch=4, size=32, channels=1, out_channels=1, classes=10
)
DEEP_GQA = choice("gqa-dit", hidden=32, depth=6, heads=2, kv_heads=1)


@pytest.mark.parametrize("model", [DEEP_DIT, DEEP_GQA], ids=["diffusers", "ours"])
def test_checkpointing_keeps_fewer_activations(model):
    assert held(model, saves=True) < 0.4 * held(model, saves=False)


def test_blocks_without_a_switch_of_their_own_are_wrapped(monkeypatch):
    spec = Arm("", DEEP_GQA).spec
    monkeypatch.setattr(spec.network, "_supports_gradient_checkpointing", False)
    assert held(DEEP_GQA, saves=True) < 0.4 * held(DEEP_GQA, saves=False)


@pytest.mark.parametrize("model", [DIT, GQA], ids=["dit", "gqa-dit"])
def test_checkpointing_changes_no_loss(model, data, tmp_path):
    plain = training(data, model, label_dropout=0.0)
    saving = dataclasses.replace(plain, checkpointing=True)
    assert losses(saving, tmp_path / "on") == pytest.approx(
        losses(plain, tmp_path / "off"), rel=1e-5
    )


def test_bfloat16_is_computed_in_bfloat16_and_learns_nearly_the_same(data, tmp_path):
    plain = training(data)
    low = losses(dataclasses.replace(plain, precision="bfloat16"), tmp_path / "low")
    full = losses(plain, tmp_path / "full")
    assert low != full
    assert low == pytest.approx(full, rel=0.05)


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    """A tiny autoencoder: 28 pixels to 14, four channels."""
    torch.manual_seed(0)
    network = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(8, 8),
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        norm_num_groups=4, layers_per_block=1, scaling_factor=0.18215,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("pipeline")
    network.save_pretrained(folder / "vae")
    return str(folder)


OF_LATENTS = choice("gqa-dit", hidden=16, depth=2, heads=2, patch=7, size=14, channels=4)


def test_latents_made_once_teach_what_latents_made_anew_teach(data, vae, tmp_path):
    anew = training(data, OF_LATENTS, label_dropout=0.0, vae=vae)
    once = dataclasses.replace(anew, features=True)
    assert losses(once, tmp_path / "on") == pytest.approx(losses(anew, tmp_path / "off"), rel=1e-5)
    assert [path.suffix for path in (tmp_path / "on").glob("latents-*/*")] == [".npy"]
    assert not list((tmp_path / "off").glob("latents-*"))


def test_latents_made_once_are_not_made_again(data, vae, tmp_path, monkeypatch):
    made = training(data, OF_LATENTS, label_dropout=0.0, vae=vae, features=True)
    losses(made, tmp_path)
    (shard,) = tmp_path.glob("latents-*/*.npy")
    before = shard.stat().st_mtime_ns
    (tmp_path / "checkpoint.safetensors").unlink()
    monkeypatch.setattr(latents.Autoencoder, "encode", None)
    losses(made, tmp_path)
    assert shard.stat().st_mtime_ns == before


def test_a_latent_follows_from_its_picture_whatever_is_encoded_beside_it(data, vae):
    made = training(data, OF_LATENTS, vae=vae)
    anew = latents.Anew(pictures.load(made).images, latents.opened(vae, CPU))
    together = anew.clean(np.arange(4), CPU)
    alone = anew.clean(np.array([2]), CPU)
    assert torch.allclose(together[2:3], alone, atol=1e-5)
    assert not torch.allclose(together[1:2], alone, atol=1e-2)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"vae": "nowhere"}, "vae: nowhere: no diffusion_pytorch_model.safetensors here"),
        (
            {"model": GQA},
            "makes latents of 4x14x14 from pictures of 28x28x1, and the models learn 1x28x28",
        ),
    ],
    ids=["no folder", "another size"],
)
def test_an_autoencoder_that_does_not_fit_is_one_line(change, cause, data, vae, tmp_path):
    made = training(data, **{"model": OF_LATENTS, "vae": vae, "label_dropout": 0.0, **change})
    with pytest.raises(UsageError, match=cause):
        losses(made, tmp_path)


def test_several_processes_without_accelerate_are_one_line_with_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(UsageError, match=r"pip install 'ditbench\[train\]'"):
        team.start(2, ["train", "any.yaml"])


def test_a_share_of_a_batch_is_a_part_of_it_and_together_they_are_all():
    rows = np.arange(12)
    shares = [rows[team.Team(CPU, rank, 3).share(12)] for rank in range(3)]
    assert [len(share) for share in shares] == [4, 4, 4]
    assert np.array_equal(np.concatenate(shares), rows)
