"""PTQ4DiT: what it rounds, what a calibration tells it, and that it leaves no trace."""

from __future__ import annotations

import dataclasses
import gc
import json

import pytest
import torch

from ditbench import sampling
from ditbench.accelerators.base import Host
from ditbench.accelerators.ptq4dit import Ptq4Dit, groups_of
from ditbench.attention.base import Moment, Site
from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import calibration, gates, timing
from ditbench.models.dit import DiT
from ditbench.models.gqa_dit import GqaDiT
from ditbench.models.seam import Denoiser
from ditbench.records import Cell, Choice, Sampling, Stage, Status
from ditbench.reuse.fake_quant import FakeLinear

TINY = DiT(
    hidden=32, depth=2, heads=2, patch=2, size=8, channels=1, out_channels=1, classes=10,
    prediction="v_prediction", betas="squaredcos_cap_v2",
)  # fmt: skip


def built(spec=TINY):
    torch.manual_seed(0)
    network = spec.build().eval().requires_grad_(requires_grad=False)
    spec.open_gates(network)
    return network


def host_of(network, sites=()):
    return Host(network, sites, {}, Moment)


@dataclasses.dataclass
class Trial:
    """Of a tiny network: two rows, so many steps."""

    network: torch.nn.Module
    steps: int = 2
    drawn: int = 0

    def sample(self, layer_of, samples):
        self.drawn = samples
        denoiser = Denoiser(self.network, TINY)
        denoiser.install(layer_of)
        latents = run(denoiser, range(100, 100 + samples), self.steps)
        denoiser.uninstall()
        return latents


def run(denoiser, numbers, steps=2):
    with torch.inference_mode():
        return sampling.sample(
            denoiser, TINY, sampling.noise(TINY, 0, numbers), tuple(TINY.conditions(0, numbers)),
            sampler="ddim", steps=steps, guidance_scale=2.0,
        )  # fmt: skip


@pytest.fixture(scope="module")
def network():
    return built()


@pytest.fixture(scope="module")
def told(network):
    return Ptq4Dit(samples=2).calibrate(Trial(network))


def test_every_block_has_four_groups_and_the_last_is_not_balanced(network):
    groups = groups_of(network)
    assert [one.names for one in groups[:4]] == [
        tuple(f"transformer_blocks.0.attn1.to_{part}" for part in "qkv"),
        ("transformer_blocks.0.attn1.to_out.0",),
        ("transformer_blocks.0.ff.net.0.proj",),
        ("transformer_blocks.0.ff.net.2",),
    ]
    assert [one.balanced for one in groups] == [True, True, True, False] * TINY.depth


def test_blocks_with_shared_keys_and_values_are_known_too():
    with torch.device("meta"):
        network = GqaDiT(hidden=16, depth=3, heads=2).build()
    groups = groups_of(network)
    assert len(groups) == 4 * len(network.blocks)
    assert not Ptq4Dit().unsupported(host_of(network), Moment())


def test_what_it_does_not_know_is_refused_with_the_reason():
    cross = Site(0, 1, 2, 4, (2, 2), name="blocks.0.attn2", kind="cross")
    told = Ptq4Dit().unsupported(host_of(torch.nn.Linear(2, 2), (cross,)), Moment())
    assert told == [
        "rounds self attention, and blocks.0.attn2 is cross attention",
        "finds no blocks with attn1.to_q and ff.net.2 or alike, and would round nothing",
    ]


def test_a_calibration_is_json_of_every_group_and_draws_what_was_asked(network, told):
    trial = Trial(network)
    again = Ptq4Dit(samples=2).calibrate(trial)
    assert trial.drawn == 2
    assert again == told == json.loads(json.dumps(told))
    assert list(told) == [group.name for group in groups_of(network)]
    assert told["transformer_blocks.0.attn1.to_q"]["factors"] != [1.0] * TINY.hidden
    assert told["transformer_blocks.0.ff.net.2"]["factors"] == [1.0] * 4 * TINY.hidden
    plain = Ptq4Dit(samples=2, balance=False).calibrate(trial)
    assert all(set(one["factors"]) == {1.0} for one in plain.values())


def test_every_width_moves_the_output_and_taking_out_is_bit_exact(network, told):
    denoiser, found = Denoiser(network, TINY), []
    before = run(denoiser, range(1))
    for bits in ("w8a8", "w4a8"):
        method = Ptq4Dit(bits=bits)
        known = method.with_calibration(told)
        assert known == method  # what was found is no setting
        handle = known.install(host_of(network))
        rounding = [one for one in network.modules() if isinstance(one, FakeLinear)]
        assert len(rounding) == 6 * TINY.depth
        found.append(run(denoiser, range(1)))
        assert torch.equal(run(denoiser, range(1)), found[-1])
        assert (handle.decisions(), handle.cache_bytes) == ({}, 0)
        handle.uninstall()
        assert torch.equal(run(denoiser, range(1)), before)
    eight, four = (float((one - before).norm() / before.norm()) for one in found)
    assert 0 < eight < four
    assert not any(isinstance(one, FakeLinear) for one in network.modules())


def test_no_row_depends_on_what_else_is_in_the_batch(network, told):
    denoiser = Denoiser(network, TINY)
    handle = Ptq4Dit().with_calibration(told).install(host_of(network))
    both, one = run(denoiser, range(2)), run(denoiser, range(1))
    handle.uninstall()
    torch.testing.assert_close(both[:1], one, rtol=1e-4, atol=1e-5)


CELL = Cell(
    model=Choice("dit", tuple(dataclasses.asdict(TINY).items())),
    attention=Choice("sdpa", (("backend", "auto"),)),
    blocks=(0, 1),
    sampling=Sampling(guidance_scale=2.0),
    steps=3,
    accelerator=Choice("ptq4dit", (("bits", "w8a8"), ("balance", True), ("samples", 2))),
)


def test_a_cell_is_calibrated_once_apart_from_any_latency_and_says_that_it_tells_no_speed(tmp_path):
    few, said = Timing(warmup=1, repeats=2, processes=1, warmup_cap_s=0), []
    job = Job(CELL, Stage.GATE, 0, few, Quality(), ("latency",), "cpu", tmp_path)
    found = gates.run(job, said.append)
    assert (found.status, found.reason) == (Status.OK, "")
    assert found.metrics["calibration_time"] == (calibration.seconds(job),)
    assert found.facts["simulated"] == Ptq4Dit.simulated
    assert found.facts["exact"] is False
    timed = timing.run(job, said.append)
    assert timed.status is Status.OK
    assert "calibration_time" not in timed.metrics
    assert said.count("calibrating") == 1
    kept = json.loads(calibration.path_of(tmp_path, CELL, "accelerator").read_text())
    assert len(kept["found"]) == 4 * TINY.depth


def test_two_hundred_runs_keep_nothing():
    small = built(dataclasses.replace(TINY, hidden=8, depth=1))
    told = {
        group.name: {
            "factors": [1.0] * group.layers(small)[0].in_features,
            "low": -1.0,
            "high": 1.0,
        }
        for group in groups_of(small)
    }
    method = Ptq4Dit().with_calibration(told)
    before = [
        (type(one), len(one._buffers), len(one._forward_pre_hooks)) for one in small.modules()
    ]
    for _ in range(200):
        method.install(host_of(small)).uninstall()
    after = [(type(one), len(one._buffers), len(one._forward_pre_hooks)) for one in small.modules()]
    assert after == before
    assert not any(issubclass(type(one), FakeLinear) for one in gc.get_objects())
