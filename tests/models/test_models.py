"""Every registered model keeps the contract: what it says of itself is what its network does."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from small_models import SMALL

from ditbench import sampling
from ditbench.attention.base import METHODS
from ditbench.measure import cost, operators
from ditbench.measure.evidence import relative
from ditbench.measure.probe import Probe
from ditbench.models import base, weights
from ditbench.models.labelled import Labelled
from ditbench.models.seam import Denoiser, Placed, places
from ditbench.records import Cell, Choice, Sampling

NAMES = pytest.mark.parametrize("name", SMALL)
CPU = torch.device("cpu")


def choice(name: str) -> Choice:
    spec = SMALL[name]
    settings = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    return Choice(spec.name, tuple(settings.items()))


@pytest.fixture(scope="module")
def denoisers():
    loaded = {name: weights.load(choice(name), "random", torch.float32, CPU) for name in SMALL}
    return {name: Denoiser(one.network, one.spec) for name, one in loaded.items()}


def method(name: str, **settings):
    return METHODS.get(name)(**settings)


def everywhere(spec, name: str, **settings):
    return Placed(method(name, **settings), method("sdpa"), places(spec, range(spec.depth)).taken)


def run(denoiser: Denoiser, rows: int = 2) -> torch.Tensor:
    spec = denoiser.spec
    latents = sampling.noise(spec, 0, range(rows))
    with torch.inference_mode():
        return denoiser(latents, torch.full((rows,), 500.0), *spec.conditions(0, range(rows)))


def test_every_registered_model_is_tried_here():
    assert set(base.MODELS.discover()) == {spec.name for spec in SMALL.values()}
    assert not base.MODELS.broken
    for plugin in base.MODELS.discover().values():
        assert base.problems(plugin) == []


@NAMES
def test_the_sites_a_model_names_are_there_and_cover_its_blocks(name, denoisers):
    spec, network = SMALL[name], denoisers[name].network
    sites = spec.sites()
    assert sorted({site.block for site in sites}) == list(range(spec.depth))
    assert len({site.name for site in sites}) == len(sites)
    for site in sites:
        attn = network.get_submodule(site.name)
        assert attn.to_q.out_features == site.heads * site.head_dim
        assert (getattr(attn, "heads", site.heads), site.depth) == (site.heads, spec.depth)


@NAMES
def test_no_site_attends_that_a_model_does_not_name(name, denoisers):
    """With no attention where methods can stand, what still attends are the sites that were left."""
    denoiser, spec = denoisers[name], SMALL[name]
    softmax = [site for site in spec.sites() if site.native == "softmax"]
    denoiser.uninstall()
    with Probe() as native:
        run(denoiser)
    assert native.calls == len(softmax)
    denoiser.install(everywhere(spec, "identity"))
    with Probe() as left:
        run(denoiser)
    denoiser.uninstall()
    assert left.calls == sum(bool(site.refusal) for site in softmax)


@NAMES
def test_q_k_and_v_arrive_at_the_sizes_that_a_site_says(name, denoisers):
    denoiser, spec, seen = denoisers[name], SMALL[name], {}

    class Looks:
        stateless = False

        def __init__(self, site):
            self.site = site

        def __call__(self, x, project, finish, _now):
            q, k, v = project(x)
            seen[self.site.name] = {tuple(one.shape) for one in (q, k, v)}
            return finish(v)

    denoiser.install(lambda site: None if site.refusal else Looks(site))
    run(denoiser, rows=2)
    calls = denoiser.calls()
    denoiser.uninstall()
    open_to_methods = [site for site in spec.sites() if not site.refusal]
    assert seen == {s.name: {(2, s.heads, s.tokens, s.head_dim)} for s in open_to_methods}
    assert calls == dict.fromkeys(seen, 1)


@NAMES
def test_softmax_in_its_place_restores_the_model_and_identity_does_not(name, denoisers):
    denoiser, spec = denoisers[name], SMALL[name]
    denoiser.uninstall()
    native = run(denoiser)
    outs = {}
    for method_name in ("sdpa", "softmax", "identity"):
        denoiser.install(everywhere(spec, method_name))
        outs[method_name] = run(denoiser)
    denoiser.uninstall()
    assert torch.isfinite(native).all()
    assert native.any()
    assert relative(outs["softmax"], outs["sdpa"]) < 1e-5
    assert relative(outs["identity"], outs["sdpa"]) > 1e-3
    if all(site.native == "softmax" for site in spec.sites()):
        assert relative(outs["sdpa"], native) < 1e-6
    else:
        assert relative(outs["sdpa"], native) > 1e-3
    assert torch.equal(run(denoiser), native)


@NAMES
def test_monarch_and_zero_run_at_every_site_that_is_open_to_them(name, denoisers):
    denoiser, spec = denoisers[name], SMALL[name]
    for layers in (
        everywhere(spec, "monarch", block_size=4, num_steps=1),
        everywhere(spec, "zero"),
    ):
        denoiser.install(layers)
        assert torch.isfinite(run(denoiser)).all()
    denoiser.uninstall()


@NAMES
def test_the_multiply_adds_of_the_whole_are_those_of_its_parts(name):
    """A counter over the model with explicit softmax, against the rest of it and the declared cores."""
    spec = SMALL[name]
    cell = Cell(
        choice(name), Choice("softmax"), blocks=tuple(range(spec.depth)),
        sampling=Sampling(guidance_scale=1.0),
    )  # fmt: skip
    told = cost.cost(cell)
    whole = cost.on_meta(cell.model)
    latents = torch.empty(1, *spec.latent, device="meta")
    times, conditions = torch.zeros(1, device="meta"), spec.conditions(0, [0])
    whole.install(everywhere(spec, "softmax"))
    counted = operators.count(
        lambda: whole(latents, times, *(one.to("meta") for one in conditions))
    )
    whole.uninstall()
    assert told.total == counted
    sizes = [s.shape(1) for s in spec.sites() if not s.refusal]
    assert told.core == sum(2 * s.heads * s.tokens**2 * s.head_dim for s in sizes)
    assert told.disagreement == 0
    assert told.parameters == sum(one.numel() for one in whole.network.parameters())


@NAMES
def test_a_sample_is_conditioned_by_its_index_alone_and_the_null_says_nothing(name):
    spec = SMALL[name]
    together, apart = spec.conditions(3, range(5)), spec.conditions(3, [4, 2])
    assert all(torch.equal(one[[4, 2]], other) for one, other in zip(together, apart, strict=True))
    assert not torch.equal(spec.conditions(4, [2])[0], apart[0][1:]) or isinstance(spec, Labelled)
    null = spec.null(together)
    assert [one.shape for one in null] == [one.shape for one in together]
    assert len(null[0].unique(dim=0)) == 1


def test_noise_and_words_of_a_sample_are_not_the_same_numbers():
    text, whole = (part.flatten() for part in SMALL["sd3"].conditions(0, [1]))
    for part in (text, whole):
        assert not torch.equal(base.drawn(0, [1], part.shape)[0], part)
    assert not torch.equal(text[: len(whole)], whole)


@NAMES
def test_a_model_samples_by_its_own_process_with_guidance(name, denoisers):
    denoiser, spec = denoisers[name], SMALL[name]
    sampler = "flow-euler" if spec.prediction == "flow" else "ddim"
    assert sampling.unsuited(spec, sampler) == []
    denoiser.install(everywhere(spec, "sdpa"))

    def draw(indices):
        with torch.inference_mode():
            return sampling.sample(
                denoiser, spec, sampling.noise(spec, 0, indices), spec.conditions(0, indices),
                sampler=sampler, steps=3, guidance_scale=2.0,
            )  # fmt: skip

    together, alone = draw(range(3)), draw([2])
    denoiser.uninstall()
    assert together.shape == (3, *spec.latent)
    assert torch.allclose(together[2:], alone, atol=1e-4)


def test_a_sampler_that_cannot_follow_a_model_is_refused_with_the_one_that_can():
    (told,) = sampling.unsuited(SMALL["flux"], "ddim")
    assert (
        told == "sampler ddim cannot follow a model that predicts flow: write sampler: flow-euler"
    )
    (told,) = sampling.unsuited(SMALL["dit"], "flow-euler")
    assert told.endswith("write sampler: ddim or ddpm or dpmsolver++ or ddim-leading")


@pytest.mark.parametrize("name", [name for name, spec in SMALL.items() if spec.name != "dit"])
def test_published_sizes_can_be_built_and_named_for_what_they_are(name):
    for preset in type(SMALL[name]).presets().values():
        assert preset.model.problems() == []
        with torch.device("meta"):
            network = preset.model.build()
        names = {n for n, _ in network.named_modules()}
        assert {site.name for site in preset.model.sites()} <= names


PARAMETERS = {"flux.1-schnell": 11.89e9, "flux.1-dev": 11.90e9, "sana-1.6b": 1.6e9, "sana-0.6b": 0.59e9,
              "ltx-video": 1.92e9, "pixart-xl/2-1024": 0.61e9, "pixart-xl/2-512": 0.61e9}  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
def test_published_sizes_have_the_published_number_of_weights(name):
    with torch.device("meta"):
        network = base.presets()[name].model.build()
    count = sum(one.numel() for one in network.parameters())
    assert count == pytest.approx(PARAMETERS[name], rel=0.02)


IMPOSSIBLE = {
    "pixart": ({"hidden": 30, "heads": 4}, "hidden 30 is not a multiple of heads 4"),
    "sana": ({"cross_heads": 5}, "hidden 32 is not a multiple of cross_heads 5"),
    "sd3": ({"size": 32}, "16 tokens on a side are more than the 4 places"),
    "sd3.5": ({"dual": 3}, "dual 3 is more than the 2 blocks"),
    "flux": ({"hidden": 12}, "heads of 6 cannot be rotated: an even number from 8 is needed"),
    "ltx": ({"hidden": 33, "heads": 3}, "hidden 33 is odd"),
    "dit": ({"size": 9}, "size 9 is not a multiple of patch 2"),
    "gqa-dit": ({"kv_heads": 3}, "heads 4 is not a multiple of kv_heads 3"),
    "dqar-dummy": ({"tokens": 7}, "tokens 7 is odd: they lie in two rows"),
    "unet": ({"size": 9}, "size 9 cannot be halved 1 times for 2 levels"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_architecture_says_why(name):
    change, why = IMPOSSIBLE[name]
    assert dataclasses.replace(SMALL[name], **change).problems() == [why]
    assert SMALL[name].problems() == []


def test_more_double_blocks_than_blocks_are_refused():
    (why,) = dataclasses.replace(SMALL["flux"], double=4).problems()
    assert why == "double 4 is more than the 3 blocks"


def test_steps_of_a_flow_crowd_towards_noise_as_diffusers_has_it():
    from diffusers import FlowMatchEulerDiscreteScheduler

    plan = FlowMatchEulerDiscreteScheduler(shift=3.0)
    plan.set_timesteps(sigmas=[1 - step / 7 for step in range(7)])
    ours = sampling.sigmas(3.0, 7)
    assert torch.allclose(torch.tensor(ours), plan.sigmas)
    assert torch.allclose(1000 * torch.tensor(ours[:-1]), plan.timesteps)
    assert math.isclose(ours[0], 1.0)
    assert ours[-1] == 0


def test_a_flow_that_knows_its_data_ends_there_and_steps_as_diffusers_does():
    from diffusers import FlowMatchEulerDiscreteScheduler

    spec = SMALL["sd3"]
    start, data = sampling.noise(spec, 0, range(2)), torch.linspace(-1, 1, 256).view(1, 4, 8, 8)
    plan = FlowMatchEulerDiscreteScheduler(shift=3.0)
    plan.set_timesteps(sigmas=[1 - step / 5 for step in range(5)])
    state, states = start, []
    for time in plan.timesteps:
        states.append(state)
        state = plan.step(start - data, time, state).prev_sample
    seen = []

    def knows(latents, times, *_conditions):
        seen.append((latents, times))
        return start - data

    out = sampling.sample(
        knows,
        spec,
        start,
        spec.conditions(0, range(2)),
        sampler="flow-euler",
        steps=5,
        guidance_scale=1.0,
    )
    assert torch.allclose(out, data.expand(2, -1, -1, -1), atol=1e-5)
    assert torch.allclose(out, state, atol=1e-5)
    for (latents, times), right, time in zip(seen, states, plan.timesteps, strict=True):
        assert torch.allclose(latents, right, atol=1e-5)
        assert torch.allclose(times, time.expand(2))


@pytest.mark.parametrize("name", [name for name in SMALL if name != "dit"])
def test_a_folder_in_the_hubs_layout_is_read_bit_for_bit(name, denoisers, tmp_path):
    """The configuration is held against the model's own, and every tensor is taken over."""
    network = SMALL[name].build()
    network.save_pretrained(tmp_path / "transformer")
    assert weights.check(choice(name), str(tmp_path)) == []
    loaded = weights.load(choice(name), str(tmp_path), torch.float32, CPU)
    saved, read = network.state_dict(), loaded.network.state_dict()
    assert saved.keys() == read.keys()
    assert all(torch.equal(saved[part], read[part]) for part in saved)
    # Not to the bit: kernels may add in another order where memory lies otherwise.
    ours, theirs = (run(Denoiser(one, loaded.spec)) for one in (loaded.network, network))
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-5)
