"""The toy of the DQAR project: what its sweep takes for granted."""

from __future__ import annotations

import math

import pytest
import torch

from ditbench.attention.base import METHODS, AttentionMethod, CoreLayer
from ditbench.measure import bench
from ditbench.models.dummy import Dummy
from ditbench.records import Cell, Choice, Sampling

STEPS, BLOCKS = 12, 6


class Looks(AttentionMethod):
    """Softmax that notes the moments and the entropies of its rows."""

    name, paper, formula, cost = "looks", "", "", ""

    def __init__(self) -> None:
        self.entropies, self.moments = [], []

    def attend(self, q, k, v):
        p = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=-1)
        self.entropies.append(float(-(p * p.log()).sum(-1).mean()))
        return p @ v

    def macs(self, shape):
        return METHODS.get("softmax")().macs(shape)

    def open(self, _site):
        inner = CoreLayer(self)

        class Layer:
            stateless = False

            def __call__(layer, x, project, finish, now):  # noqa: N805 (self is the method)
                self.moments.append(now)
                return inner(x, project, finish, now)

        return Layer()


@pytest.fixture(scope="module")
def made():
    cell = Cell(
        Choice("dqar-dummy"), Choice("softmax"), blocks=tuple(range(BLOCKS)), steps=STEPS,
        sampling=Sampling(guidance_scale=1.0),
    )  # fmt: skip
    return bench.set_up(cell, "cpu")


def test_it_is_as_large_as_the_seed_s():
    sites = Dummy().sites()
    assert len(sites) == BLOCKS
    assert {(site.tokens, site.heads) for site in sites} == {(8, 2)}


def test_entropies_lie_between_the_seed_s_thresholds_at_every_block_and_step(made):
    """Times the square root of 12 / 16 that are 1.3 and 2.6: one refuses all, the other none."""
    looks = Looks()
    made.denoiser.install(looks.open)
    made.sample(made.inputs([7]))
    made.denoiser.uninstall()
    assert len(looks.entropies) == STEPS * BLOCKS
    assert min(looks.entropies) > 1.5
    assert max(looks.entropies) <= math.log(8)
    assert {now.prompt for now in looks.moments} == {12.0}


def test_attention_shows_in_its_output(made):
    ends = {}
    for name in ("softmax", "identity"):
        made.denoiser.install(made.everywhere(name))
        ends[name] = made.sample(made.inputs([0]))
    assert torch.isfinite(ends["softmax"]).all()
    assert (ends["identity"] - ends["softmax"]).norm() > 0.01 * ends["softmax"].norm()


def test_its_weights_are_random_and_their_seed_is_told(made):
    assert made.weights == "random, seed 0"
