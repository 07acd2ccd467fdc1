"""Statistics come back as they were kept, an ADM batch is read as it is, another network's are refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pytest

from ditbench.distances import frechet
from ditbench.errors import USAGE, StoreError, UsageError
from ditbench.store import statistics
from ditbench.store.statistics import Reference, check, holds, read, save

RNG = np.random.default_rng(5)


def reference(count=40, width=6):
    features = RNG.normal(size=(count, width)).astype(np.float32)
    return Reference(
        name="animals/train",
        extractor="net",
        extractor_sha256="ab" * 32,
        resize="clean",
        sha256="cd" * 32,
        count=count,
        moments=frechet.moments(features),
        spatial=frechet.moments(RNG.normal(size=(count, 9))),
        features=features,
        input=224,
    )


def adm(path, width=2048, **others):
    """A small file of the kind of VIRTUAL_imagenet256_labeled.npz: few features vary."""
    mu = RNG.normal(size=width)
    sigma = np.diag(np.linspace(1, 2, width))
    arrays = {
        "mu": mu,
        "sigma": sigma,
        "mu_s": RNG.normal(size=2023),
        "sigma_s": np.diag(np.ones(2023)),
        "arr_0": np.zeros((4, 8, 8, 3), np.uint8)
        + np.arange(4, dtype=np.uint8)[:, None, None, None],
        "arr_1": np.arange(4),
    } | others
    np.savez(path, **arrays)
    return arrays


def told(path):
    with pytest.raises(StoreError) as caught:
        read(path)
    assert caught.value.exit_code == USAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_kept_comes_back_whole(tmp_path):
    kept = reference()
    save(tmp_path / "x.npz", kept)
    found = read(tmp_path / "x.npz")
    assert found.identity == kept.identity
    assert found.identity["count"] == found.moments.count == 40
    for one, other in (
        (found.moments.mean, kept.moments.mean),
        (found.moments.covariance, kept.moments.covariance),
        (found.spatial.covariance, kept.spatial.covariance),
        (found.features, kept.features),
    ):
        np.testing.assert_array_equal(one, other)
    assert holds(tmp_path / "x.npz")


def test_without_places_and_features_too(tmp_path):
    kept = dataclasses.replace(reference(), spatial=None, features=None)
    save(tmp_path / "x.npz", kept)
    found = read(tmp_path / "x.npz")
    assert (found.spatial, found.features) == (None, None)


def test_the_same_statistics_are_the_same_bytes(tmp_path):
    kept = reference()
    for name in "ab":
        save(tmp_path / f"{name}.npz", kept)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_an_adm_batch_is_read_as_it_is_and_known_by_its_bytes(tmp_path):
    path = tmp_path / "VIRTUAL_small256_labeled.npz"
    arrays = adm(path)
    found = read(path)
    assert found.identity == {
        "name": "VIRTUAL_small256_labeled",
        "extractor": "inception",
        "extractor_sha256": "",
        "resize": "legacy",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "count": 0,
        "input": 299,
    }
    np.testing.assert_array_equal(found.moments.mean, arrays["mu"])
    np.testing.assert_array_equal(found.moments.covariance, arrays["sigma"])
    np.testing.assert_array_equal(found.spatial.mean, arrays["mu_s"])
    assert holds(path)


def test_an_adm_batch_is_of_inception_and_of_nothing_else(tmp_path):
    adm(tmp_path / "x.npz")
    found = read(tmp_path / "x.npz")
    check(found, SimpleNamespace(name="inception", sha256="12", resize="legacy", input=299))
    with pytest.raises(UsageError, match="x are resized by legacy, and clean is asked for"):
        check(found, SimpleNamespace(name="inception", sha256="12", resize="clean", input=299))
    with pytest.raises(UsageError, match="x are of extractor inception, and fashion_cnn is asked"):
        check(found, SimpleNamespace(name="fashion_cnn", sha256="12", resize="none", input=32))


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"name": "other"}, "of extractor net, and other is asked for"),
        ({"sha256": "ff" * 32}, f"of weights {'ab' * 32}, and {'ff' * 32} is asked for"),
        ({"resize": "legacy"}, "resized by clean, and legacy is asked for"),
        ({"input": 128}, "of pictures with a side of 224, and 128 is asked for"),
    ],
)
def test_mistake_22_statistics_of_another_extractor_are_refused(changed, text):
    kept = reference()
    same = {"name": "net", "sha256": "ab" * 32, "resize": "clean", "input": 224}
    check(kept, SimpleNamespace(**same))
    with pytest.raises(UsageError) as caught:
        check(kept, SimpleNamespace(**same | changed))
    assert text in str(caught.value)
    assert "statistics of animals/train are" in str(caught.value)
    assert "ditbench stats make --extractor" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_from_before_the_side_was_written_down_is_read_and_does_not_say_it(tmp_path):
    save(tmp_path / "x.npz", reference())
    with np.load(tmp_path / "x.npz") as file:
        held = dict(file)
    told = json.loads(held["identity"].tobytes())
    del told["input"]
    held["identity"] = np.frombuffer(json.dumps(told).encode(), np.uint8)
    np.savez(tmp_path / "old.npz", **held)
    found = read(tmp_path / "old.npz")
    assert found.input < 0
    check(found, SimpleNamespace(name="net", sha256="ab" * 32, resize="clean", input=128))


def test_pictures_alone_are_no_statistics(tmp_path):
    np.savez(tmp_path / "x.npz", np.zeros((2, 8, 8, 3), np.uint8))
    assert not holds(tmp_path / "x.npz")
    assert "holds arr_0: neither statistics of ditbench" in told(tmp_path / "x.npz")


def test_mean_and_covariance_of_nobody_knows_which_network_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", mu=np.zeros(3), sigma=np.eye(3))
    assert "(arr_0, mu_s, sigma_s missing): make some with ditbench stats make" in told(
        tmp_path / "x.npz"
    )


@pytest.mark.parametrize(
    ("others", "text"),
    [
        ({"sigma": np.eye(5)}, "sigma (5, 5) does not belong to mu (2048,)"),
        ({"mu": np.full(2048, np.nan)}, "mu is not of finite floating-point numbers"),
        ({"mu_s": np.zeros(2023, int)}, "mu_s is not of finite"),
        ({"mu": np.zeros(64), "sigma": np.eye(64)}, "mu is 64 wide: ADM's evaluator takes 2048"),
    ],
)
def test_an_adm_batch_with_something_wrong_in_it(tmp_path, others, text):
    adm(tmp_path / "x.npz", **others)
    assert text in told(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("identity", "{", "its identity cannot be read"),
        ("identity", "[]", "its identity does not say name, extractor"),
        ("identity", {"count": "40"}, "its identity says count '40'"),
        ("identity", {"more": 1}, "and nothing else"),
        ("features", np.zeros((3, 5), np.float32), "features (3, 5) do not belong to mu (6,)"),
        ("features", np.zeros((3, 6)), "features are not finite float32"),
        ("mu", np.array([None] * 6), "mu cannot be read: it holds Python objects"),
    ],
)
def test_a_file_of_ours_that_somebody_changed(tmp_path, key, value, text):
    path = tmp_path / "x.npz"
    save(path, reference())
    with np.load(path) as file:
        arrays = dict(file)
    if isinstance(value, dict):
        value = json.dumps(json.loads(arrays["identity"].tobytes()) | value)
    if isinstance(value, str):
        value = np.frombuffer(value.encode(), np.uint8)
    arrays[key] = np.array(value)
    np.savez(path, **arrays)
    assert text in told(path)


def test_a_file_that_is_cut_off_or_not_there(tmp_path):
    path = tmp_path / "x.npz"
    assert told(path) == f"{path}: is no whole .npz: No such file or directory"
    save(path, reference())
    path.write_bytes(path.read_bytes()[:900])
    assert told(path).startswith(f"{path}: is no whole .npz: ")


def test_writing_that_is_broken_off_leaves_nothing(tmp_path, monkeypatch):
    def broken_off(file, **_):
        file.write(b"PK half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(statistics.np, "savez", broken_off)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "x.npz", reference())
    assert list(tmp_path.iterdir()) == []
