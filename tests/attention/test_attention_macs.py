"""The published costs of DiT-XL/2-256, exactly: macs of the core, guidance on, one step, 28 blocks."""

from __future__ import annotations

import pytest

from ditbench.attention.base import METHODS, Shape

# One image is two rows of a forward, because guidance doubles it.
SHAPE = Shape(batch=2, heads=16, tokens=256, head_dim=72)
BLOCKS = 28


@pytest.mark.parametrize(
    ("name", "settings", "everywhere", "half"),
    [
        pytest.param("softmax", {}, 8.456, 8.456, id="softmax"),
        pytest.param("sdpa", {}, 8.456, 8.456, id="sdpa"),
        pytest.param("xformers", {}, 8.456, 8.456, id="xformers"),
        pytest.param("monarch", {}, 3.435, 5.945, id="monarch-16-3-the-default"),
        pytest.param("monarch", {"num_steps": 2}, 2.378, 5.417, id="monarch-16-2"),
        pytest.param("monarch", {"num_steps": 1}, 1.321, 4.888, id="monarch-16-1"),
        pytest.param("nystromformer", {}, 2.951, 5.703, id="nystromformer-32-the-default"),
        pytest.param("nystromformer", {"reuse_az": False}, 3.303, 5.879, id="nystromformer-paper"),
        pytest.param("nystromformer", {"rank": 64, "reuse_az": False}, 13.212, 10.834, id="dearer-64"),
        pytest.param("linformer", {}, 2.114, 5.285, id="linformer-32-the-default"),
        pytest.param("linformer", {"rank": 64}, 4.228, 6.342, id="linformer-64"),
        pytest.param("performer", {}, 2.121, 5.288, id="performer-32-the-default"),
        pytest.param("performer", {"features": 64}, 4.243, 6.349, id="performer-64"),
        pytest.param("cosformer", {}, 4.789, 6.623, id="cosformer"),
        pytest.param("linear", {}, 2.395, 5.425, id="linear"),
        pytest.param("gqa", {}, 8.456, 8.456, id="gqa"),
        pytest.param("window", {}, 0.826, 4.641, id="window-5"),
        pytest.param("sliding-tile", {}, 4.756, 6.606, id="sliding-tile-4-3"),
        pytest.param("agent", {}, 1.057, 4.756, id="agent-4"),
        pytest.param("efficient", {}, 2.378, 5.417, id="efficient"),
        pytest.param("relu-linear", {}, 2.395, 5.425, id="relu-linear"),
        pytest.param("flex", {}, 8.456, 8.456, id="flex"),
        pytest.param("flex", {"window": 5}, 8.456, 8.456, id="flex-too-few-rows-to-skip-a-block"),
        pytest.param("diffusers", {}, 8.456, 8.456, id="diffusers"),
        pytest.param("identity", {}, 0, 4.228, id="identity"),
        pytest.param("zero", {}, 0, 4.228, id="zero"),
    ],
)  # fmt: skip
def test_core_macs_are_the_published_ones(name, settings, everywhere, half):
    here = METHODS.get(name)(**settings).macs(SHAPE)
    softmax = METHODS.get("softmax")().macs(SHAPE)
    assert round(BLOCKS * here / 1e9, 3) == everywhere
    assert round(BLOCKS // 2 * (here + softmax) / 1e9, 3) == half


@pytest.mark.parametrize(
    ("name", "settings", "macs"),
    [
        pytest.param("softmax", {}, 301_989_888, id="softmax"),
        pytest.param("monarch", {}, 122_683_392, id="monarch-16-3"),
        pytest.param("monarch", {"num_steps": 2}, 84_934_656, id="monarch-16-2"),
        pytest.param("monarch", {"num_steps": 1}, 47_185_920, id="monarch-16-1"),
        pytest.param("nystromformer", {"reuse_az": False}, 117_964_800, id="nystromformer-32"),
        pytest.param(
            "nystromformer", {"rank": 64, "reuse_az": False}, 471_859_200, id="nystromformer-64"
        ),
        pytest.param("cosformer", {}, 171_048_960, id="cosformer"),
    ],
)
def test_mistake_06_one_layer_costs_so_many_macs(name, settings, macs):
    """Not flops, which are two a multiply-add, and not one row, which is half."""
    assert METHODS.get(name)(**settings).macs(SHAPE) == macs


def test_nystromformer_with_64_landmarks_costs_more_than_softmax():
    here = METHODS.get("nystromformer")(rank=64, reuse_az=False).macs(SHAPE)
    assert round(here / METHODS.get("softmax")().macs(SHAPE), 2) == 1.56
