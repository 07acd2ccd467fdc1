"""What every registered extractor promises. A new one is tested by existing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fakes_extractors import Apart, Means, Thawed

from ditbench.catalog import Setting
from ditbench.errors import UsageError
from ditbench.extractors import base
from ditbench.extractors.fashion_cnn import FashionFeatures
from ditbench.measure.catalog import catalog

every_extractor = pytest.mark.parametrize(
    "plugin", [pytest.param(one, id=name) for name, one in base.EXTRACTORS.discover().items()]
)


# Sides and channels that each takes; what is not here takes any.
SHAPES = {"fashion_cnn": (32, 1)}


def pictures_for(plugin, count, seed=0):
    side, channels = SHAPES.get(plugin.name, (40, 3))
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def opened(plugin):
    if missing := plugin().unavailable():
        pytest.skip("; ".join(missing))
    return plugin().open()


def grey(count=7, side=32, seed=0):
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (count, side, side, 1), dtype=np.uint8)


@every_extractor
def test_it_keeps_the_contract(plugin):
    assert base.problems(plugin) == []


@every_extractor
def test_its_page_says_where_it_comes_from(plugin):
    found = catalog().extractors[plugin.name]
    assert found.broken == ""
    assert found.page.partition("\n")[0]
    assert found.paper
    assert not found.unavailable or found.needs


@every_extractor
def test_mistake_26_a_picture_is_judged_alike_whatever_stands_beside_it(plugin):
    network, shown = opened(plugin), pictures_for(plugin, 3)
    turned, alone = shown[[2, 0, 1]], shown[1:2]
    if plugin.pairs:
        other = pictures_for(plugin, 3, seed=1)
        whole = network.distances(shown, other)
        permuted = network.distances(turned, other[[2, 0, 1]])
        single = network.distances(alone, other[1:2])
    else:
        whole, permuted, single = (network.features(x).pool for x in (shown, turned, alone))
    assert np.allclose(whole[[2, 0, 1]], permuted, rtol=1e-4, atol=1e-5)
    assert np.allclose(whole[1:2], single, rtol=1e-4, atol=1e-5)
    assert not np.allclose(whole[:1], single, rtol=1e-2)


@every_extractor
def test_its_identity_says_its_weights_and_its_width(plugin):
    network = opened(plugin)
    assert len(network.identity.sha256) == 64
    assert network.identity.dim == plugin.dim
    assert plugin().suits(pictures_for(plugin, 1).shape[1:])


@pytest.mark.parametrize(
    ("plugin", "clause"),
    [
        (int, "is no subclass"),
        (Thawed, "is no frozen dataclass"),
        (Thawed, "open() must be open(device)"),
    ],
)
def test_what_is_no_extractor_is_told(plugin, clause):
    assert any(clause in told for told in base.problems(plugin))


def test_those_of_others_stand_in_the_catalogue_with_their_settings_or_why_they_are_broken():
    names = [f"fakes_extractors:{name}" for name in ("Means", "Lacking", "Thawed", "Meens")]
    known = catalog(outside_extractors=names)
    means, lacking, thawed = (known.extractors[name] for name in names[:3])
    assert (means.settings, means.dim) == ((Setting("scale", "float", 1.0),), 3)
    assert lacking.broken.endswith("unavailable raises OSError: no such disk")
    assert "is no frozen dataclass" in thawed.broken
    assert "did you mean 'Means'" in known.nowhere[names[3]]


def test_a_name_that_is_nearly_right_is_corrected():
    with pytest.raises(
        UsageError, match=r"unknown extractor .fashion_cn. .did you mean .fashion_cnn."
    ):
        base.made("fashion_cn")


def test_batches_are_bounded_and_change_nothing():
    pictures = grey(11)
    found = Means(scale=2.0).open().features(pictures).pool
    assert np.allclose(found[:, 0], 2 * pictures.mean(axis=(1, 2, 3)), rtol=1e-6)
    assert found.shape == (11, 3)
    assert [len(part) for part in base.batches(pictures, 4, "cpu")] == [4, 4, 3]


def test_pairs_are_compared_one_by_one():
    one, other = grey(6), grey(6, seed=1)
    opened = Apart().open()
    assert not opened.distances(one, one).any()
    expected = np.abs(one.astype(float) - other).mean(axis=(1, 2, 3))
    assert np.allclose(opened.distances(one, other), expected, rtol=1e-6)


def test_each_kind_refuses_the_other_question_and_other_pairs():
    with pytest.raises(UsageError, match="gives features and compares no pairs"):
        Means().open().distances(grey(), grey())
    with pytest.raises(UsageError, match="compares pairs and gives no features"):
        Apart().open().features(grey())
    with pytest.raises(UsageError, match=r"\(7, 32, 32, 1\) cannot be compared one by one"):
        Apart().open().distances(grey(7), grey(6))


@pytest.mark.parametrize(
    ("images", "cause"),
    [
        (grey().astype(np.float32), r"not float32 \(7, 32, 32, 1\)$"),
        (
            np.full((2, 8, 8, 3), np.nan),
            r"not float64 \(2, 8, 8, 3\) with numbers that are not fin",
        ),
        (grey()[..., 0], r"not of shape \(7, 32, 32\)"),
        (np.zeros((2, 3, 32, 32), np.uint8), r"not of shape \(2, 3, 32, 32\)"),
        (grey(0), r"not of shape \(0, 32, 32, 1\)"),
    ],
)
def test_mistake_24_what_are_no_pictures_is_refused_in_one_line(images, cause):
    with pytest.raises(UsageError, match=cause) as told:
        Means().open().features(images)
    assert "\n" not in str(told.value)


def test_no_setting_of_torch_is_left_changed_and_none_gets_in():
    torch.set_float32_matmul_precision("medium")
    seen = []
    identity = base.Identity("spy", "", 1, "none", 0)

    def look(pictures):
        seen.append(torch.get_float32_matmul_precision())
        weight = torch.ones(1, 1)
        return (pictures[:, :1, 0, 0].float() @ weight).requires_grad_(False), None, None

    try:
        with torch.autocast("cpu"):
            made = base.Seeing(identity, look, "cpu").features(grey())
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == ["highest"]
    assert made.pool.dtype == np.float32


def test_the_shipped_network_is_for_one_kind_of_picture():
    extractor = FashionFeatures()
    assert extractor.suits((32, 32, 1))
    assert not extractor.suits((32, 32, 3))
    with pytest.raises(
        UsageError, match=r"takes pictures of shape \(32, 32, 1\), not \(28, 28, 1\)"
    ):
        extractor.open().features(grey(side=28))


def test_the_shipped_network_has_its_head_and_its_moments():
    opened = FashionFeatures().open()
    found = opened.features(grey(3))
    assert found.pool.shape == (3, 64)
    assert found.logits.shape == (3, 10)
    assert found.spatial is None
    assert opened.shipped().mean.shape == (64,)
    assert len(opened.identity.sha256) == 64


def test_weights_that_are_missing_or_of_another_network_are_told_in_a_line(tmp_path):
    with pytest.raises(UsageError, match=r"weights cannot be read: No such file"):
        FashionFeatures(weights=str(tmp_path)).open()
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(UsageError, match="is no folder with a network of this kind") as told:
        FashionFeatures(weights=str(tmp_path)).open()
    assert "\n" not in str(told.value)
