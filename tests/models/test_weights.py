"""Weights come from where the suite says, or one clear line says why not."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from ditbench.errors import UsageError
from ditbench.models import weights
from ditbench.models.dit import DiT
from ditbench.models.presets import FASHION
from ditbench.records import Choice

SMALL = DiT(hidden=32, depth=2, heads=2, patch=2, size=8, channels=1, out_channels=1, classes=10)
CPU = torch.device("cpu")


def choice(spec: DiT = SMALL, name: str = "dit") -> Choice:
    return Choice(name, tuple(dataclasses.asdict(spec).items()))


def load(where: str, spec: DiT = SMALL, name: str = "dit"):
    return weights.load(choice(spec, name), where, torch.float32, CPU)


def output(network) -> torch.Tensor:
    ids = torch.zeros(2, dtype=torch.long)
    with torch.inference_mode():
        return network(torch.ones(2, 1, 8, 8), ids, ids, return_dict=False)[0]


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(1)
    SMALL.build().save_pretrained(tmp_path / "transformer")
    return tmp_path


def test_random_weights_are_the_same_in_every_process():
    assert torch.equal(output(load("random").network), output(load("random").network))


def test_a_local_folder_in_the_hubs_layout_is_read_bit_for_bit(folder):
    torch.manual_seed(1)
    loaded = load(str(folder))
    assert torch.equal(output(loaded.network), output(SMALL.build()))
    assert loaded.identity.startswith("sha256 ")
    assert not any(p.requires_grad for p in loaded.network.parameters())


def test_the_transformers_own_folder_does_as_well(folder):
    assert load(str(folder / "transformer")).identity == load(str(folder)).identity


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"^weights: no folder .*nowhere$"):
        load(str(tmp_path / "nowhere"))


def test_pickled_weights_are_never_opened(folder):
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").rename(
        folder / "transformer" / "model.bin"
    )
    with pytest.raises(UsageError, match="pickled weights are never opened"):
        load(str(folder))


def test_another_architecture_is_told_field_by_field(folder):
    with pytest.raises(UsageError, match="num_layers is 2, not 3"):
        load(str(folder), dataclasses.replace(SMALL, depth=3))


def test_a_cut_off_file_is_one_line(folder):
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UsageError, match="not the weights of this architecture"):
        load(str(folder))


def test_mistake_03_weights_with_a_hole_are_refused_and_not_filled_with_random_numbers(folder):
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    state.pop("transformer_blocks.0.attn1.to_v.weight")
    save_file(state, path, {"format": "pt"})
    with pytest.raises(
        UsageError, match=r"missing_keys: transformer_blocks\.0\.attn1\.to_v\.weight"
    ):
        load(str(folder))


def test_a_folder_without_configuration_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="no configuration in the hub's layout"):
        load(str(tmp_path))


def test_the_hub_offline_says_what_to_do(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="facebook/DiT-XL-2-256 cannot be had from the hub"):
        load("hub", name="dit-xl/2")


def test_a_model_without_a_repository_asks_for_one():
    with pytest.raises(UsageError, match="write weights: hub:owner/name@revision"):
        load("hub")


def test_a_repository_in_the_cache_is_read_offline(tmp_path, monkeypatch):
    """The hub's own cache layout, made by hand: no network is touched."""
    cache = tmp_path / "models--someone--small"
    snapshot = cache / "snapshots" / "abc"
    torch.manual_seed(1)
    SMALL.build().save_pretrained(snapshot / "transformer")
    (snapshot / "model_index.json").write_text(json.dumps({}))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert load("hub:someone/small").identity.startswith("sha256 ")


def test_the_shipped_model_is_small_and_has_open_gates():
    loaded = weights.load(choice(FASHION, "fashion-dit"), "embedded", torch.float32, CPU)
    gates = loaded.network.transformer_blocks[0].norm1.linear.weight.chunk(6)[2]
    assert float(gates.abs().mean()) > 1e-3
    assert sum(p.numel() for p in loaded.network.parameters()) == 2_120_068
