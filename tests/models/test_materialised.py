"""What written-out attention weights take in training, by autograd's own books, is what the docs say."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from ditbench.models.gqa_dit import GqaDiT
from ditbench.models.unet import UNet

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(ROOT / "benchmarks"))  # a process of its own finds it there too
    yield importlib.import_module("materialised")
    sys.path.remove(str(ROOT / "benchmarks"))


def test_a_layer_of_784_tokens_holds_1_17_gib_of_weights_for_256_pictures(bench):
    middle, first, second = UNet().sites()
    assert first.tokens == second.tokens == 784
    assert 256 * first.heads * first.tokens**2 * 4 / 2**30 == pytest.approx(1.17, abs=0.005)
    patches = GqaDiT().sites()[0]
    assert 256 * patches.heads * patches.tokens**2 * 4 / 2**20 == pytest.approx(19, abs=0.3)
    of_all = sum(256 * site.heads * site.tokens**2 * 4 for site in (middle, first, second))
    assert bench.weights_bytes(UNet(), 256) == of_all


@pytest.mark.parametrize("side", [8, 12, 16])
def test_writing_the_weights_out_holds_exactly_these_and_so_grows_with_the_square_of_tokens(
    bench, side
):
    """Fused attention holds one number a query in their place, which is the 2 per cent."""
    spec = UNet(hidden=16, size=side)
    more = bench.held_bytes(spec, "softmax", 7) - bench.held_bytes(spec, "sdpa", 7)
    weights = bench.weights_bytes(spec, 7)
    assert weights == 7 * 4 * 2 * (2 * side**4 + (side // 2) ** 4)
    assert 0 <= weights - more <= 7 * 4 * 2 * 3 * side**2


@pytest.mark.parametrize("spec", [UNet(hidden=16, size=8), GqaDiT(hidden=32, heads=4, depth=2)])
def test_what_is_held_is_as_much_for_every_picture_of_a_batch(bench, spec):
    assert bench.held_bytes(spec, "softmax", 5) == bench._held(spec, "softmax", 5)


def test_the_page_shows_what_the_command_prints(bench):
    page = (ROOT / "docs" / "gqa-vs-unet.md").read_text()
    for line in bench.counted():
        assert line in page


@pytest.mark.slow
def test_a_measured_step_takes_at_least_what_is_held(bench):
    """Of a fresh process; how much more depends on the machine."""
    spec = UNet(hidden=16, size=16)
    held = bench.held_bytes(spec, "softmax", 16)
    assert bench.peak_of(bench.Step(spec, "softmax", 16)) > held
