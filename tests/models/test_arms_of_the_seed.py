"""The two arms that a seed compares, a DiT with grouped queries and a UNet: sizes, seams, what they see."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from small_models import SMALL

from ditbench import sampling
from ditbench.attention.base import METHODS
from ditbench.errors import UsageError
from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import catalog, cost, gates
from ditbench.models import base, weights
from ditbench.models.gqa_dit import GqaDiT
from ditbench.models.seam import Denoiser, Placed, places
from ditbench.models.unet import UNet
from ditbench.records import Cell, Choice, Sampling, Stage

CPU = torch.device("cpu")


def choice(spec) -> Choice:
    return Choice(spec.name, tuple(dataclasses.asdict(spec).items()))


def random(spec) -> Denoiser:
    loaded = weights.load(choice(spec), "random", torch.float32, CPU)
    return Denoiser(loaded.network, loaded.spec)


def price(spec):
    return cost.cost(
        Cell(
            choice(spec),
            Choice("softmax"),
            blocks=tuple(range(spec.depth)),
            sampling=Sampling(guidance_scale=1.0),
        )
    )


def run(denoiser: Denoiser, time: float = 500.0) -> torch.Tensor:
    spec = denoiser.spec
    with torch.inference_mode():
        return denoiser(
            sampling.noise(spec, 0, range(2)),
            torch.full((2,), time),
            *spec.conditions(0, range(2)),
        )


def everywhere(spec, name: str, **settings):
    method = METHODS.get(name)(**settings)
    return Placed(method, METHODS.get("sdpa")(), places(spec, range(spec.depth)).taken)


# The seed's own network, by heads of keys and values: millions of parameters, and of multiply-adds a picture.
PUBLISHED = {1: ("26.17", "815"), 2: ("26.56", "835"), 4: ("27.35", "873"), 8: ("28.92", "950")}


@pytest.mark.parametrize("kv_heads", PUBLISHED)
def test_the_dit_has_the_seeds_parameters_and_multiply_adds_to_the_digit(kv_heads):
    found = price(GqaDiT(kv_heads=kv_heads))
    assert (f"{found.parameters / 1e6:.2f}", f"{found.total / 1e6:.0f}") == PUBLISHED[kv_heads]
    assert found.core == 6 * 2 * 49**2 * 512


def test_a_null_class_is_one_more_row_of_the_table_and_nothing_else():
    spec = GqaDiT()
    with_null = dataclasses.replace(spec, null_class=True)
    assert price(with_null).parameters - price(spec).parameters == spec.hidden
    assert price(with_null).total == price(spec).total


def test_parameters_of_the_unets_against_those_of_the_dit():
    """The seed's own UNet has 861,953, a thirty-first of its DiT; diffusers' of that size comes near."""
    of = {
        name: price(base.presets()[name].model).parameters
        for name in ("unet-small", "unet-matched")
    }
    dit = price(GqaDiT()).parameters
    assert of["unet-small"] == 855_513
    assert round(dit / of["unet-small"]) == round(26.56e6 / 861_953) == 31
    assert of["unet-matched"] == pytest.approx(dit, rel=0.02)


def test_parameters_that_match_are_not_multiply_adds_that_do():
    """Convolutions use each weight at every place: a fair comparison says both."""
    matched, dit = price(base.presets()["unet-matched"].model), price(GqaDiT())
    assert matched.total / dit.total == pytest.approx(3.91, abs=0.01)


def test_the_unet_attends_where_the_seeds_does():
    """Two heads over 28 x 28 places twice, and over 14 x 14 once."""
    sites = base.presets()["unet-small"].model.sites()
    assert sorted((site.tokens, site.heads) for site in sites) == [(196, 2), (784, 2), (784, 2)]
    assert {site.head_dim for site in sites} == {28}


@pytest.mark.parametrize("spec", [SMALL["unet"], SMALL["gqa-dit"]], ids=lambda spec: spec.name)
def test_mistake_03_fused_softmax_in_its_place_is_the_network_itself_to_the_bit(spec):
    denoiser = random(spec)
    native = run(denoiser)
    denoiser.install(everywhere(spec, "sdpa"))
    assert torch.equal(run(denoiser), native)
    denoiser.install(everywhere(spec, "identity"))
    assert not torch.allclose(run(denoiser), native, rtol=1e-2)
    denoiser.uninstall()
    assert torch.equal(run(denoiser), native)


def test_attention_of_a_unet_keeps_its_norm_its_residual_and_its_scale():
    """Against diffusers' own processor on a module that has all three, with numbers that show."""
    from diffusers.models.attention_processor import Attention

    from ditbench.models.adapters import Clock, Spatial

    torch.manual_seed(0)
    attn = Attention(
        16, heads=2, dim_head=8, norm_num_groups=4, residual_connection=True, rescale_output_factor=3.0,
        bias=True,
    )  # fmt: skip
    torch.nn.init.normal_(attn.group_norm.weight)
    torch.nn.init.normal_(attn.group_norm.bias)
    x = torch.randn(2, 16, 3, 5)
    native = attn(x, temb=torch.ones(2, 4))
    site = dataclasses.replace(SMALL["unet"].sites()[0], grid=(3, 5))
    attn.set_processor(Spatial(METHODS.get("sdpa")().open(site), Clock()))
    assert torch.equal(attn(x, temb=torch.ones(2, 4)), native)
    for lost in ({"attention_mask": torch.ones(2, 15)}, {"encoder_hidden_states": x}):
        with pytest.raises(ValueError, match="would be lost"):
            attn(x, **lost)


def test_a_head_reads_the_keys_and_values_of_its_group():
    """A network with the same key and value projection for every head of a group is the same network."""
    grouped = SMALL["gqa-dit"]
    shared, full = random(grouped), random(dataclasses.replace(grouped, kv_heads=grouped.heads))
    taken = shared.network.state_dict()
    for name, weight in taken.items():
        if name.endswith(("to_k.weight", "to_v.weight")):
            heads = weight.unflatten(0, (grouped.kv_heads, -1))
            group = grouped.heads // grouped.kv_heads
            taken[name] = torch.stack([heads[h // group] for h in range(grouped.heads)]).flatten(
                0, 1
            )
    full.network.load_state_dict(taken)
    assert torch.allclose(run(full), run(shared), atol=1e-6)


def test_pooling_heads_that_share_their_keys_already_changes_nothing():
    """The method `gqa` and a network of grouped queries are two things, and meet where both group alike."""
    spec = SMALL["gqa-dit"]
    denoiser = random(spec)
    native = run(denoiser)
    outs = {}
    for kv_heads in (spec.kv_heads, 1):
        denoiser.install(everywhere(spec, "gqa", kv_heads=kv_heads))
        outs[kv_heads] = run(denoiser)
    assert torch.allclose(outs[spec.kv_heads], native, atol=1e-5)
    assert not torch.allclose(outs[1], native, atol=1e-3)


def test_under_closed_gates_a_patch_knows_no_other_and_comes_back_to_its_place():
    """As initialised, adaLN-Zero makes every block the identity: one patch in, the same patch out."""
    spec = SMALL["gqa-dit"]
    torch.manual_seed(0)
    denoiser = Denoiser(spec.build(), spec)
    latents = torch.zeros(1, *spec.latent)
    touched = latents.clone()
    touched[0, 0, 2:4, 6:8] = 1.0
    labels, times = torch.zeros(1, dtype=torch.long), torch.zeros(1)
    with torch.inference_mode():
        moved = denoiser(touched, times, labels) != denoiser(latents, times, labels)
    expected = torch.zeros_like(moved)
    expected[0, 0, 2:4, 6:8] = True
    assert torch.equal(moved, expected)


def test_time_and_class_reach_both_networks():
    for name in ("gqa-dit", "unet"):
        spec = SMALL[name]
        denoiser = random(spec)
        latents, times = sampling.noise(spec, 0, [0]), torch.full((1,), 500.0)
        with torch.inference_mode():
            outs = [
                denoiser(latents, times, torch.tensor([label])) for label in (0, 1, spec.classes)
            ]
        assert not torch.allclose(outs[0], outs[1], atol=1e-4)
        assert not torch.allclose(outs[0], outs[2], atol=1e-4)
        assert not torch.allclose(run(denoiser, 10.0), run(denoiser, 900.0), atol=1e-4)


def test_mistake_38_a_network_that_is_not_told_the_time_says_so_in_its_record(tmp_path):
    """The planted arm: at every step of the sampler it computes the same function."""
    untold = dataclasses.replace(SMALL["unet"], sees_time=False)
    denoiser = random(untold)
    assert torch.equal(run(denoiser, 10.0), run(denoiser, 900.0))
    assert dict(choice(untold).settings)["sees_time"] is False
    what = Cell(
        choice(untold),
        Choice("sdpa"),
        blocks=tuple(range(untold.depth)),
        steps=2,
        sampling=Sampling(guidance_scale=1.0),
    )
    (planned,) = catalog.inspect([what], "cpu")
    assert planned.notes == ("the network is not told the time",)
    timing = Timing(warmup=1, repeats=2, processes=1, warmup_cap_s=0.0)
    job = Job(what, Stage.GATE, 0, timing, Quality(2), ("latency",), "cpu", tmp_path)
    found = gates.run(job, lambda _phase: None)
    assert found.facts["sites"] == list(planned.notes)
    assert price(untold).parameters == price(SMALL["unet"]).parameters


@pytest.mark.parametrize("spec", [GqaDiT(), UNet()], ids=lambda spec: spec.name)
def test_guidance_without_a_null_class_is_refused_with_the_way_out(spec):
    what = Cell(choice(spec), Choice("sdpa"), blocks=tuple(range(spec.depth)), steps=2)
    (planned,) = catalog.inspect([what], "cpu")
    (told,) = planned.reasons
    assert told == (
        f"{spec.name} has no null class to be guided away from: write "
        f"model: {{name: {spec.name}, null_class: true}}, or guidance_scale: 1 under sampling"
    )
    with pytest.raises(UsageError, match="no null class"):
        spec.null(spec.conditions(0, [0]))
    unguided = dataclasses.replace(what, sampling=Sampling(guidance_scale=1.0))
    assert catalog.inspect([unguided], "cpu")[0].reasons == ()


@pytest.mark.parametrize("name", ["gqa-dit", "unet"])
def test_gradients_under_checkpointing_are_the_same_numbers(name):
    spec = SMALL[name]
    latents, times = sampling.noise(spec, 0, range(2)), torch.full((2,), 500.0)
    found = []
    for checkpointed in (False, True):
        network = random(spec).network.train().requires_grad_()
        if checkpointed:
            network.enable_gradient_checkpointing()
        out = Denoiser(network, spec)(latents, times, *spec.conditions(0, range(2)))
        out.square().mean().backward()
        found.append([one.grad for one in network.parameters() if one.grad is not None])
    assert len(found[0]) == len(list(network.parameters()))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found, strict=True))


def test_a_block_of_a_unet_is_a_module_that_is_called():
    denoiser = random(SMALL["unet"])
    called = []
    for number, block in denoiser.blocks().items():
        block.register_forward_hook(lambda *_, number=number: called.append(number))
    run(denoiser)
    assert called == list(range(SMALL["unet"].depth))
