"""Weights come from where the suite says, or one clear line says why not."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from ditbench.errors import UsageError
from ditbench.models import weights
from ditbench.models.dit import FASHION, DiT
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


def check(where, spec: DiT = SMALL, name: str = "dit"):
    return weights.check(choice(spec, name), str(where))


def file_of(folder):
    return folder / "transformer" / "diffusion_pytorch_model.safetensors"


def test_good_weights_pass_the_check_of_their_headers(folder):
    assert check(folder) == []
    assert check("random") == []
    assert weights.check(choice(FASHION, "fashion-dit"), "embedded") == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.unlink(), "pickled weights are never opened"),
        (lambda path: path.write_bytes(b""), "not a whole safetensors file"),
        (lambda path: path.write_bytes(b"\xff" * 5000), "not a whole safetensors file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-7]), "not a whole safetensors file"),
        (lambda path: path.write_bytes(path.read_bytes()[:1000]), "copy or download it again"),
        (lambda path: (path.unlink(), path.mkdir()), "pickled weights are never opened"),
        (lambda path: (path.parent / "config.json").unlink(), "no configuration in the hub"),
        (lambda path: (path.parent / "config.json").write_bytes(b"\xff"), "no configuration"),
        (lambda path: (path.parent / "config.json").write_text("[]"), "no configuration"),
    ],
    ids=["no file", "empty", "garbage", "cut at the end", "cut in the header", "a folder", "no config",
         "a config of bytes", "a config that is a list"],
)  # fmt: skip
def test_weights_that_cannot_be_read_are_told_by_their_headers(folder, damage, told):
    damage(file_of(folder))
    with pytest.raises(UsageError, match=told) as caught:
        check(folder)
    assert len(str(caught.value).splitlines()) == 1
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop("proj_out_1.bias"), "lacks proj_out_1.bias"),
        (lambda state: state.update(odd=torch.ones(1)), "has beside odd"),
        (
            lambda state: state.update({"proj_out_1.bias": torch.ones(3)}),
            r"is of another shape in proj_out_1.bias \(3, not 64\)",
        ),
    ],
)
def test_tensors_of_another_network_are_named(folder, change, told):
    state = load_file(file_of(folder))
    change(state)
    save_file(state, file_of(folder), {"format": "pt"})
    with pytest.raises(UsageError, match=told):
        check(folder)


def test_a_hub_that_cannot_be_reached_is_a_reason_and_no_crash(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (reason,) = check("hub", name="dit-xl/2")
    assert reason.startswith("weights: facebook/DiT-XL-2-256 cannot be had from the hub (")
    assert reason.endswith("download it once with network, or give a local folder")
    assert len(reason.splitlines()) == 1


def test_weights_in_the_hubs_cache_are_checked_too(tmp_path, monkeypatch):
    snapshot = tmp_path / "models--someone--small" / "snapshots" / "abc"
    SMALL.build().save_pretrained(snapshot / "transformer")
    (tmp_path / "models--someone--small" / "refs").mkdir()
    (tmp_path / "models--someone--small" / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert check("hub:someone/small") == []
    with pytest.raises(UsageError, match="num_layers is 2, not 3"):
        check("hub:someone/small", dataclasses.replace(SMALL, depth=3))


def test_weights_name_their_classes_as_the_hubs_pipelines_do(folder):
    named = {"id2label": {"0": "tench, Tinca tinca", "9": "ostrich"}}
    (folder / "model_index.json").write_text(json.dumps(named))
    assert weights.class_names("dit", str(folder)) == {0: "tench", 9: "ostrich"}
    assert weights.class_names("fashion-dit", "embedded")[9] == "ankle boot"


def scheduled(folder, **config):
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))


def test_the_schedule_that_a_pipeline_was_trained_on_is_held_against_the_models(folder):
    from diffusers import DDIMScheduler, DDPMScheduler

    for scheduler in (DDIMScheduler(), DDPMScheduler(variance_type="learned_range")):
        scheduler.save_pretrained(folder / "scheduler")
        assert check(folder) == []
    scheduled(folder)
    assert check(folder) == []


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"beta_schedule": "squaredcos_cap_v2"}, "beta_schedule is squaredcos_cap_v2, not linear"),
        ({"prediction_type": "v_prediction"}, "prediction_type is v_prediction, not epsilon"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "prediction_type is flow, not epsil"),
        ({"num_train_timesteps": 4000}, "num_train_timesteps is 4000, not 1000"),
        ({"beta_start": 0.00085, "beta_end": 0.012}, "beta_start is 0.00085, not 0.0001; beta_end"),
        ({"trained_betas": [0.1]}, "trained_betas: the samplers know schedules by name only"),
    ],
)
def test_another_noise_schedule_is_refused_with_both_values(folder, config, told):
    scheduled(folder, **config)
    for refused in (check, load):
        with pytest.raises(UsageError) as caught:
            refused(str(folder))
        assert told in str(caught.value)
        assert str(folder / "scheduler") in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_a_schedule_that_cannot_be_read_is_one_line(folder):
    scheduled(folder)
    (folder / "scheduler" / "scheduler_config.json").write_text("[")
    with pytest.raises(UsageError, match=r"scheduler_config.json: no configuration in the hub"):
        check(folder)


@pytest.mark.parametrize("text", ["", "[]", '{"id2label": 3}', '{"id2label": {"x": "y"}}'])
def test_classes_that_are_not_told_have_no_name(folder, text):
    (folder / "model_index.json").write_text(text)
    assert weights.class_names("dit", str(folder)) == {}
    assert weights.class_names("dit", "random") == {}
