"""Latents become pictures by the autoencoder that a repository brings, or a suite names, or not at all."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderDC
from pipelines import SPEC, autoencoder, pipeline, saved
from small_models import SMALL

from ditbench import pictures, sampling
from ditbench.errors import UsageError
from ditbench.measure.catalog import inspect
from ditbench.models import weights
from ditbench.models.decoding import decoder_of, foreseen, undecoded
from ditbench.models.dit import FASHION
from ditbench.models.flux import Flux
from ditbench.records import Cell, Choice

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("hub"))


def cell(weights_in="random", spec=SPEC, name="dit"):
    model = Choice(name, tuple(dataclasses.asdict(spec).items()))
    return Cell(model, Choice("softmax"), str(weights_in))


def latents(count=3, spec=SPEC):
    return sampling.noise(spec, 0, range(count))


def decoder(where, vae="own", spec=SPEC, name="dit", **changed):
    return decoder_of(cell(where, spec, name), str(vae), CPU, **changed)


def test_the_layout_is_the_hubs(hub):
    index = json.loads((hub / "model_index.json").read_text())
    assert index["_class_name"] == "DiTPipeline"
    assert {path.name for path in hub.iterdir()} == {
        "model_index.json", "scheduler", "transformer", "vae",
    }  # fmt: skip
    assert weights.check(cell().model, str(hub)) == []
    assert weights.class_names("dit", str(hub)) == {0: "tench", 999: "toilet tissue"}


def test_pictures_are_the_autoencoders_own_of_unscaled_latents(hub):
    made = decoder(hub).decode(latents())
    with torch.inference_mode():
        wanted = autoencoder().decode(latents() / 0.18215).sample.clamp(-1, 1)
    assert made.shape == (3, 3, 16, 16)
    assert made.dtype == torch.float32
    assert torch.allclose(made, wanted, atol=1e-5)
    assert float(made.std()) > 0.01


def test_a_shift_is_added_after_scaling(tmp_path):
    autoencoder(scaling_factor=1.5305, shift_factor=0.0609).save_pretrained(tmp_path)
    made = decoder("random", tmp_path).decode(latents())
    with torch.inference_mode():
        wanted = autoencoder().decode(latents() / 1.5305 + 0.0609).sample.clamp(-1, 1)
    assert torch.allclose(made, wanted, atol=1e-5)


def test_mistake_26_a_picture_does_not_depend_on_how_many_are_decoded_beside_it(hub):
    ours = decoder(hub)
    together = ours.decode(latents(7))
    assert torch.equal(ours.decode(latents(7)[5:6]), together[5:6])
    assert torch.equal(ours.decode(latents(7)[2:5]), together[2:5])


def test_its_identity_is_its_weights_factors_dtype_and_nothing_of_where_they_lie(hub, tmp_path):
    autoencoder().save_pretrained(tmp_path / "same")
    autoencoder(seed=2).save_pretrained(tmp_path / "other")
    autoencoder(scaling_factor=1.0).save_pretrained(tmp_path / "scaled")
    own = decoder(hub).identity
    assert own.startswith("AutoencoderKL sha256 ")
    assert own.endswith(", scaling 0.18215, shift 0, float32, 4 at once")
    assert decoder("random", tmp_path / "same").identity == own
    assert decoder(hub, tmp_path / "other").identity != own
    assert decoder(hub, tmp_path / "scaled").identity != own
    assert decoder(hub, dtype=torch.bfloat16).identity != own


def test_another_autoencoder_takes_the_place_of_the_weights_own(hub, tmp_path):
    autoencoder(seed=2).save_pretrained(tmp_path / "vae")  # found in a pipeline's folder too
    made = decoder(hub, tmp_path).decode(latents())
    assert not torch.allclose(made, decoder(hub).decode(latents()), atol=1e-2)


@pytest.mark.parametrize(
    ("where", "vae", "why"),
    [
        ("random", "own", "random weights have no autoencoder beside them (quality.vae may name one)"),
        ("hub", "none", "quality.vae is none"),
        ("bare", "own", "bare has no autoencoder: no folder vae"),
        ("hub", "pickled", "no diffusion_pytorch_model.safetensors here (pickled weights are never"),
        ("hub", "wide", "decodes latents of 16 channels, and the model's have 4"),
        ("hub", "video", "AutoencoderKLLTXVideo is none of the autoencoders of pictures"),
    ],
)  # fmt: skip
def test_without_an_autoencoder_there_are_no_pictures_and_one_line_says_why(
    hub, tmp_path, where, vae, why
):
    """Never a crash: latents are still compared."""
    (tmp_path / "bare").mkdir()
    autoencoder().save_pretrained(tmp_path / "pickled", safe_serialization=False)
    autoencoder(channels=16).save_pretrained(tmp_path / "wide")
    (tmp_path / "video").mkdir()
    (tmp_path / "video" / "config.json").write_text('{"_class_name": "AutoencoderKLLTXVideo"}')
    of = {"random": "random", "hub": hub, "bare": tmp_path / "bare"}[where]
    named = vae if vae in {"own", "none"} else tmp_path / vae
    assert decoder(of, named) is None
    told = undecoded(cell(of), str(named))
    assert why in told
    assert len(told.splitlines()) == 1


def test_an_autoencoder_of_the_hub_that_cannot_be_had_is_a_reason(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert decoder(hub, "hub:stabilityai/sd-vae-ft-mse") is None
    told = undecoded(cell(hub), "hub:stabilityai/sd-vae-ft-mse")
    assert told.startswith("weights: stabilityai/sd-vae-ft-mse cannot be had from the hub (")


def test_an_autoencoder_in_the_hubs_cache_is_read_offline(hub, tmp_path, monkeypatch):
    cache = tmp_path / "models--someone--vae"
    autoencoder(seed=2).save_pretrained(cache / "snapshots" / "abc")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert decoder(hub, "hub:someone/vae").identity != decoder(hub).identity


def test_a_plan_says_that_there_will_be_no_pictures_and_downloads_nothing(hub, monkeypatch):
    what = cell(hub)
    (told,) = inspect([what], "cpu", "own")
    assert told.notes == told.reasons == ()
    (told,) = inspect([what], "cpu", "none")
    assert told.notes == ("no pictures: quality.vae is none",)
    (told,) = inspect([what], "cpu")  # of a suite that looks at no pictures
    assert told.notes == ()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(weights, "snapshot_download", only_what_is_here(weights.snapshot_download))
    (told,) = inspect([what], "cpu", "hub:someone/vae")
    assert told.notes[0].startswith("no pictures: weights: someone/vae cannot be had from the hub")
    assert foreseen(cell("hub", name="dit-xl/2"), "own") == ""


def only_what_is_here(download):
    def checked(*arguments, local_files_only=False, **more):
        assert local_files_only, "a plan downloads nothing"
        return download(*arguments, local_files_only=True, **more)

    return checked


def test_latents_that_are_pictures_need_none():
    fashion = cell("embedded", FASHION, "fashion-dit")
    assert decoder_of(fashion, "own", CPU) is None
    assert undecoded(fashion, "own") == ""


def test_a_video_has_no_single_picture(tmp_path):
    autoencoder().save_pretrained(tmp_path)
    told = undecoded(cell("random", SMALL["ltx"], "ltx"), str(tmp_path))
    assert told == "the latents of ltx are no single picture's"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "not the weights of this"),
        (lambda path: path.write_bytes(b""), "not the weights of this"),
        (lambda path: (path.parent / "config.json").write_text("[]"), "no configuration in the"),
        (lambda path: (path.parent / "config.json").unlink(), "no configuration in the hub's"),
    ],
)
def test_a_broken_autoencoder_is_refused_in_one_line(tmp_path, damage, told):
    autoencoder().save_pretrained(tmp_path)
    damage(tmp_path / weights.FILE)
    with pytest.raises(UsageError, match=told) as caught:
        decoder("random", tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_packed_latent_is_unpacked_as_its_pipeline_does():
    """Flux: 16 channels of 8 x 8 travel as 16 tokens of 64 numbers, by channel, row and column."""
    spec = Flux(size=4, channels=64)
    packed = sampling.noise(spec, 0, range(2))
    whole = spec.canvas(packed)
    assert whole.shape == (2, *spec.canvas_sizes) == (2, 16, 8, 8)
    for channel, row, column in itertools.product(range(16), range(8), range(8)):
        token, inside = row // 2 * 4 + column // 2, channel * 4 + row % 2 * 2 + column % 2
        assert torch.equal(whole[:, channel, row, column], packed[:, token, inside])


def test_sixteen_channels_and_a_shift_decode_a_packed_latent(tmp_path):
    spec = Flux(size=2, channels=64)
    autoencoder(channels=16, scaling_factor=0.3611, shift_factor=0.1159).save_pretrained(tmp_path)
    made = decoder("random", tmp_path, spec, "flux").decode(latents(2, spec))
    assert made.shape == (2, 3, 16, 16)


def test_the_class_is_the_one_that_the_configuration_names(tmp_path):
    """Sana's autoencoder is another: AutoencoderDC, without a shift."""
    torch.manual_seed(0)
    deep = AutoencoderDC(
        latent_channels=8, attention_head_dim=4, encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8), encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1), encoder_qkv_multiscales=((), ()),
        decoder_qkv_multiscales=((), ()), scaling_factor=0.41407,
        encoder_block_types="ResBlock", decoder_block_types="ResBlock",
    ).eval()  # fmt: skip
    deep.save_pretrained(tmp_path)
    spec = SMALL["sana"]
    ours = decoder("random", tmp_path, spec, "sana")
    assert ours.identity.startswith("AutoencoderDC sha256 ")
    with torch.inference_mode():
        wanted = deep.decode(latents(2, spec) / 0.41407).sample.clamp(-1, 1)
    assert torch.allclose(ours.decode(latents(2, spec)), wanted, atol=1e-5)


@pytest.mark.parametrize("steps", [4, 10])
def test_our_loop_and_decoder_make_the_pictures_of_diffusers_own_pipeline(hub, steps):
    """Same noise, same labels, guidance on all channels, DDIM at the same timesteps: the same picture.

    diffusers' spacing is set to ours. Its loop discards the learned variance, as DDIM does.
    """
    theirs = pipeline()
    theirs.scheduler = type(theirs.scheduler).from_config(
        theirs.scheduler.config, timestep_spacing="trailing"
    )
    (labels,) = SPEC.conditions(0, range(2))
    generators = [torch.Generator().manual_seed(index) for index in range(2)]
    wanted = theirs(
        labels.tolist(), guidance_scale=1.5, generator=generators, num_inference_steps=steps,
        output_type="np",
    ).images  # fmt: skip
    loaded = weights.load(cell().model, str(hub), torch.float32, CPU)
    with torch.inference_mode():
        made = sampling.sample(
            lambda x, t, y: loaded.network(x, t, y, return_dict=False)[0],
            SPEC, latents(2), (labels,), sampler="ddim", steps=steps, guidance_scale=1.5,
        )  # fmt: skip
    images = decoder(hub).decode(made).permute(0, 2, 3, 1).numpy()
    assert np.abs((images + 1) / 2 - wanted).max() < 1e-3
    assert pictures.quantise(decoder(hub).decode(made).numpy()).shape == (2, 16, 16, 3)
