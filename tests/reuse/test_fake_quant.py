"""Linear layers that round: the formula by hand, what a calibration finds, and what it does to pictures."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ditbench import sampling
from ditbench.errors import DitbenchError
from ditbench.models import weights
from ditbench.models.base import presets
from ditbench.models.seam import Denoiser
from ditbench.records import Choice
from ditbench.reuse import salience
from ditbench.reuse.fake_quant import (
    FakeLinear,
    Group,
    Widths,
    found,
    install,
    rounded,
    rounded_weight,
    watched,
)

NAMES = ("0", "2")
GROUPS = tuple(Group((name,)) for name in NAMES)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network():
    made = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4))
    with torch.no_grad():
        for number, one in enumerate(made.parameters()):
            one.copy_(normal(*one.shape, seed=number))
    return made.eval()


def calibrated(made, x, groups=GROUPS, *, balance=True):
    with watched(made, groups) as seen:
        for step in x:
            made(step)
    return found(made, groups, seen, balance=balance)


def between(low, high, x, bits=8):
    return rounded(torch.tensor(x), torch.tensor(low), torch.tensor(high), bits).tolist()


def test_the_formula_by_hand():
    """Two bits from -1 to 2 are the codes -1, 0, 1, 2; ties go to the even one, and the rest is clipped."""
    assert between(-1.0, 2.0, [-3.0, -0.6, 0.5, 1.5, 1.4, 9.0], 2) == [-1, -1, 0, 2, 1, 2]


def test_zero_stays_zero_whatever_the_bounds():
    for low, high in [(0.5, 2.0), (-2.0, -0.5), (-0.3, 0.77), (0.0, 0.0)]:
        assert between(low, high, [0.0]) == [0]


@given(
    x=st.lists(st.floats(-(2.0**20), 2.0**20, width=32), min_size=2, max_size=8),
    bits=st.integers(2, 8),
)
@settings(deadline=None)
def test_no_error_between_the_bounds_is_above_a_scale(x, bits):
    """Half a scale, and as much again at the ends, where the rounding of z may have moved the last code."""
    x = torch.tensor(x)
    low, high = x.amin().clamp_max(0), x.amax().clamp_min(0)
    scale = (high - low) / (2**bits - 1)
    assert float((rounded(x, low, high, bits) - x).abs().amax()) <= float(scale) * 1.001 + 1e-30


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_is_not_clipped_in_silence(bad):
    assert math.isnan(between(-1.0, 1.0, [bad])[0])


def test_each_output_channel_of_a_weight_has_a_scale_of_its_own():
    weight = torch.tensor([[1.0, -0.5, 0.0], [1000.0, -500.0, 3.0], [0.0, 0.0, 0.0]])
    kept = rounded_weight(weight, 8)
    assert kept[0].tolist() == pytest.approx([1.0, -0.5, 0.0], abs=1.5 / 255 / 2)
    assert kept[1].tolist() == pytest.approx([1000.0, -500.0, 3.0], abs=1500 / 255)
    assert kept[2].tolist() == [0, 0, 0]
    assert len(rounded_weight(normal(1, 500), 4).unique()) <= 16


def test_a_layer_is_the_product_of_what_was_rounded():
    layer, x = network()[0], normal(3, 8, seed=9)
    b, bounds = torch.linspace(0.5, 2.0, 8), torch.tensor([-1.0, 1.5])
    fake = FakeLinear(layer, Widths(4, 8), b, bounds)
    wanted = rounded(x / b, *bounds, 8) @ rounded_weight(layer.weight * b, 4).T + layer.bias
    torch.testing.assert_close(fake(x), wanted.detach(), rtol=1e-6, atol=1e-6)
    assert fake(x.bfloat16()).dtype == torch.bfloat16


def test_a_calibration_finds_b_by_ssc_and_csb_and_the_bounds_of_what_is_divided_by_it():
    made, x = network(), normal(3, 5, 8, seed=7)
    x[..., 2] *= 40
    told = calibrated(made, x)["0"]
    of_w = salience.of_weights(made[0].weight.detach())
    b = salience.factors(salience.over_time(x.abs().amax(dim=1), of_w), of_w)
    assert told["factors"] == b.tolist()
    assert told["low"] == pytest.approx(float((x / b).amin()), rel=1e-6)
    assert told["high"] == pytest.approx(float((x / b).amax()), rel=1e-6)
    plain = calibrated(made, x, balance=False)["0"]
    assert plain == {"factors": [1.0] * 8, "low": float(x.amin()), "high": float(x.amax())}
    assert json.loads(json.dumps(told)) == told


def test_layers_of_one_input_are_balanced_as_one():
    """q, k and v are one layer in the paper."""
    made = nn.ModuleDict({"q": nn.Linear(8, 4), "k": nn.Linear(8, 4)})
    with watched(made, (Group(("q", "k")),)) as seen:
        made["q"](normal(6, 8))
    told = found(made, (Group(("q", "k")),), seen, balance=True)
    both = torch.cat([made["q"].weight, made["k"].weight]).detach()
    of_w = salience.of_weights(both)
    b = salience.factors(normal(6, 8).abs().amax(dim=0), of_w)
    assert told["q"]["factors"] == pytest.approx(b.tolist(), rel=1e-6)


def test_a_group_that_is_not_to_be_balanced_is_not():
    told = calibrated(network(), normal(2, 5, 8), (Group(("0",), balanced=False),))
    assert told["0"]["factors"] == [1.0] * 8


def test_watching_leaves_nothing_on_the_network_and_changes_no_output():
    made, x = network(), normal(2, 5, 8)
    before = made(x)
    calibrated(made, x)
    assert not any(one._forward_pre_hooks for one in made.modules())
    with contextlib.suppress(RuntimeError), watched(made, GROUPS):
        made(normal(2, 3))
    assert not any(one._forward_pre_hooks for one in made.modules())
    assert torch.equal(made(x), before)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_an_input_that_is_not_finite_ends_the_calibration_with_its_name(bad):
    x = normal(2, 5, 8)
    x[1, 2, 3] = bad
    with pytest.raises(DitbenchError, match="the input of 0 is not finite in the calibration"):
        calibrated(network(), x)


def test_taking_out_gives_back_the_very_layers():
    made, x = network(), normal(2, 5, 8)
    before, own = made(x), [made.get_submodule(name) for name in NAMES]
    with install(made, GROUPS, calibrated(made, x), Widths()):
        assert all(isinstance(made.get_submodule(name), FakeLinear) for name in NAMES)
        assert not torch.equal(made(x), before)
    assert all(made.get_submodule(name) is one for name, one in zip(NAMES, own, strict=True))
    assert torch.equal(made(x), before)


def test_a_calibration_that_lacks_a_layer_changes_nothing():
    made, x = network(), normal(2, 5, 8)
    told = calibrated(made, x)
    del told["2"]
    with pytest.raises(KeyError):
        install(made, GROUPS, told, Widths())
    assert not any(isinstance(one, FakeLinear) for one in made)


def fashion():
    preset = presets()["fashion-dit"].model
    choice = Choice("fashion-dit", tuple(dataclasses.asdict(preset).items()))
    return weights.load(choice, "embedded", torch.float32, torch.device("cpu"))


def groups_of(made):
    found = []
    for number in range(len(made.transformer_blocks)):
        block = f"transformer_blocks.{number}"
        found += [
            Group(tuple(f"{block}.attn1.to_{part}" for part in "qkv")),
            Group((f"{block}.attn1.to_out.0",)),
            Group((f"{block}.ff.net.0.proj",)),
            Group((f"{block}.ff.net.2",), balanced=False),
        ]
    return tuple(found)


@torch.no_grad()
def plant(made, channels=(3, 40, 77), by=50.0):
    """The same network, some of whose channels are large where the weights after them are small."""
    for block in made.transformer_blocks:
        modulation, (shift, scale) = block.norm1.linear, (0, 1)
        width = modulation.out_features // 6
        readers = [[getattr(block.attn1, f"to_{part}") for part in "qkv"], [block.ff.net[0].proj]]
        for layers, first in zip(readers, (0, 3), strict=True):
            for channel in channels:
                for chunk, offset in ((shift, 0.0), (scale, 1.0)):
                    at = (first + chunk) * width + channel
                    modulation.weight[at] *= by
                    modulation.bias[at] = by * (offset + modulation.bias[at]) - offset
                for layer in layers:
                    layer.weight[:, channel] /= by


def drawn(loaded, first, steps):
    """Latents of one sample."""
    spec = loaded.spec
    latents, conditions = (
        sampling.noise(spec, 0, (first,)),
        tuple(spec.conditions(0, (first,))),
    )
    with torch.inference_mode():
        return sampling.sample(
            Denoiser(loaded.network, spec), spec, latents, conditions,
            sampler="ddim", steps=steps, guidance_scale=1.5,
        )  # fmt: skip


def drifts(loaded, widths, *, balance):
    """Of each pair of widths, how far the latents of a sample lie from the unrounded network's."""
    groups, true = groups_of(loaded.network), drawn(loaded, 0, 3)
    with watched(loaded.network, groups) as seen:
        drawn(loaded, 1000, 4)
    told, out = found(loaded.network, groups, seen, balance=balance), []
    for one in widths:
        with install(loaded.network, groups, told, one):
            out.append(float((drawn(loaded, 0, 3) - true).norm() / true.norm()))
    assert torch.equal(drawn(loaded, 0, 3), true)
    return out


def test_drift_grows_from_w8a8_to_w4a8():
    eight, four = drifts(fashion(), [Widths(8, 8), Widths(4, 8)], balance=True)
    assert 0 < eight < four


def test_at_w4a8_balancing_undoes_what_planted_outlier_channels_do():
    loaded = fashion()
    plant(loaded.network)
    (without,) = drifts(loaded, [Widths(4, 8)], balance=False)
    (with_csb,) = drifts(loaded, [Widths(4, 8)], balance=True)
    assert with_csb < without / 2
