"""Methods with memory over many generations: nothing grows, nothing comes from an earlier one."""

from __future__ import annotations

import gc
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from generations import GENERATIONS

from ditbench.attention.base import METHODS
from ditbench.measure.bench import set_up
from ditbench.measure.evidence import fingerprint
from ditbench.models.dit import DiT
from ditbench.records import Cell, Choice, Sampling

TINY = DiT(
    hidden=16, depth=2, heads=2, patch=4, size=8, channels=1, out_channels=1, classes=10,
    prediction="v_prediction", betas="squaredcos_cap_v2",
)  # fmt: skip
# So that they reuse something in a few steps.
EAGER = {
    "static-reuse": {"share": 1.0, "warmup": 0.0},
    "dqar": {"warmup": 1, "threshold": 9.0},
}
REMEMBERING = sorted(name for name, one in METHODS.discover().items() if not one.compiles)


def bench(name, steps=4):
    method = METHODS.get(name)(**EAGER.get(name, {}))
    model = Choice("dit", tuple(asdict(TINY).items()))
    return set_up(
        Cell(
            model,
            Choice(name, tuple(asdict(method).items())),
            blocks=(0, 1),
            steps=steps,
            sampling=Sampling(guidance_scale=2.0),
        ),
        "cpu",
    )


def sampled(one, first):
    one.denoiser.install(one.layers)
    return one.sample(one.inputs(range(first, first + 2)))


def held():
    """Bytes of all tensors that are alive, each block of memory once."""
    gc.collect()
    plain = (torch.Tensor, torch.nn.Parameter)  # what compilers trace with holds no memory
    blocks = (x.untyped_storage() for x in gc.get_objects() if type(x) in plain)
    return sum({block._cdata: block.nbytes() for block in blocks}.values())


@pytest.mark.parametrize("generations", GENERATIONS)
@pytest.mark.parametrize("name", REMEMBERING)
def test_many_generations_hold_no_more_than_the_first(name, generations):
    one = bench(name)
    sampled(one, 0)
    after_first = held()
    for number in range(1, generations):
        sampled(one, number)
    assert held() == after_first


@pytest.mark.parametrize("name", REMEMBERING)
def test_what_is_kept_ends_with_its_run(name):
    one = bench(name)
    before = held()
    sampled(one, 0)
    one.denoiser.uninstall()
    assert held() == before


_ALONE = """
import sys; sys.path[:0] = {folders!r}
from test_long_runs import REMEMBERING, bench, sampled
from ditbench.measure.evidence import fingerprint
print(*(fingerprint(sampled(bench(name), 7)) for name in REMEMBERING))
"""


@pytest.mark.slow
def test_mistake_16_the_second_generation_of_a_process_equals_the_first_of_a_fresh_one():
    here = Path(__file__).parent
    code = _ALONE.format(folders=[str(here), str(here.parent)])
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    second = []
    for name in REMEMBERING:
        one = bench(name)
        sampled(one, 0)
        second.append(fingerprint(sampled(one, 7)))
    assert fresh.stdout.split() == second
