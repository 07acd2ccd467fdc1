"""Statistics of real pictures: one pass, any batch, evenly chosen; of what is refused, one line."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from ditbench.datasets.base import Held
from ditbench.distances import frechet
from ditbench.errors import UsageError
from ditbench.extractors.base import Features, made
from ditbench.measure import statistics
from ditbench.store.parts import together
from ditbench.store.statistics import Wanted, completed, read

RNG = np.random.default_rng(6)


def pictures(count=50, size=32, channels=1):
    return RNG.integers(0, 256, (count, size, size, channels), np.uint8)


def wanted(source, **others):
    return Wanted(str(source), "fashion_cnn", **others)


@pytest.fixture(scope="module")
def opened():
    return made("fashion_cnn").open()


def test_they_are_those_of_all_features_in_two_passes(opened, monkeypatch):
    monkeypatch.setattr(statistics, "_BATCH", 7)
    images = pictures()
    found = statistics.reference_of(Held("random", images), opened)
    features = opened.features(images).pool
    true = frechet.moments(features)
    np.testing.assert_allclose(found.moments.mean, true.mean, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        found.moments.covariance, true.covariance, atol=1e-6 * np.abs(true.covariance).max()
    )
    np.testing.assert_allclose(found.features, features, rtol=1e-5, atol=1e-5)
    assert found.identity == {
        "name": "random",
        "extractor": "fashion_cnn",
        "extractor_sha256": opened.identity.sha256,
        "resize": "none",
        "sha256": Held("other name", images).sha256,
        "count": 50,
        "input": 32,
    }


def test_some_of_them_are_spread_evenly_and_are_another_set(opened):
    images = pictures()
    whole = Held("random", images)
    found = statistics.reference_of(whole, opened, limit=10)
    assert (found.name, found.count) == ("10 of random", 10)
    assert found.sha256 != whole.sha256
    np.testing.assert_allclose(
        found.features, opened.features(images[::5]).pool, rtol=1e-5, atol=1e-5
    )
    assert statistics.spread(10, 0) == statistics.spread(10, 99) == list(range(10))


def test_the_features_that_are_kept_are_spread_evenly_too(opened, monkeypatch):
    monkeypatch.setattr(statistics.statistics, "KEPT", 5)
    monkeypatch.setattr(statistics, "_BATCH", 8)
    images = pictures()
    found = statistics.reference_of(Held("random", images), opened)
    assert found.moments.count == 50
    np.testing.assert_allclose(
        found.features, opened.features(images[::10]).pool, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("parts", [2, 4, 7])
@pytest.mark.parametrize("limit", [0, 30])
def test_mistake_26_parts_of_several_processes_amount_to_the_whole(
    opened, monkeypatch, parts, limit
):
    """Also where the bounds of parts and of batches have nothing to do with each other."""
    monkeypatch.setattr(statistics.statistics, "KEPT", 20)
    monkeypatch.setattr(statistics, "_BATCH", 8)
    images = pictures()
    dataset = Held("random", images, np.arange(50))
    whole = statistics.reference_of(dataset, opened, limit)
    shared = together(
        [
            statistics.part_of(statistics.Look(dataset, limit, number, parts), opened, print)
            for number in range(parts)
        ]
    )
    assert shared.identity == whole.identity
    assert shared.moments.count == (limit or 50)
    scale = np.abs(whole.moments.covariance).max()
    # Sums agree to 1e-12 where the features are the same; a network sees another batch within 1e-6.
    np.testing.assert_allclose(
        shared.moments.covariance, whole.moments.covariance, atol=1e-5 * scale
    )
    np.testing.assert_allclose(shared.features, whole.features, rtol=1e-4, atol=1e-4)


def test_more_parts_than_pictures_leave_some_with_none(opened):
    dataset = Held("random", pictures(3))
    parts = [
        statistics.part_of(statistics.Look(dataset, 0, number, 5), opened, print)
        for number in range(5)
    ]
    assert sorted(part.seen for part in parts) == [0, 0, 1, 1, 1]
    assert together(parts).moments.count == 3


def test_one_picture_is_too_few(opened):
    with pytest.raises(UsageError, match="1 pictures have no covariance: give at least 2"):
        statistics.reference_of(Held("one", pictures(1)), opened)


def test_features_that_keep_their_places_have_statistics_of_their_own():
    identity = SimpleNamespace(name="net", sha256="", resize="none", input=0, dim=3)

    def features(images):
        flat = images.reshape(len(images), -1).astype(np.float32)
        return Features(flat[:, :3], flat[:, :8])

    seeing = SimpleNamespace(identity=identity, features=features)
    images = pictures(20, 4)
    found = statistics.reference_of(Held("random", images), seeing)
    true = frechet.moments(images.reshape(20, -1)[:, :8].astype(float))
    np.testing.assert_allclose(found.spatial.covariance, true.covariance)
    assert len(found.moments.mean) == 3


def test_mistake_27_pictures_of_one_colour_have_no_statistics(opened):
    black = np.zeros((20, 32, 32, 1), np.uint8)
    with pytest.raises(UsageError, match="each of 20 pictures is of one colour"):
        statistics.reference_of(Held("black", black), opened)
    black[3] = pictures(1)
    heard = []
    statistics.reference_of(Held("black", black), opened, say=heard.append)
    assert heard == ["20 of 20 pictures", "black: 19 of 20 pictures are of one colour"]


def test_a_file_of_pictures_by_the_extractors_name(tmp_path, opened):
    images = pictures(12)
    np.savez(tmp_path / "x.npz", images)
    found = together([statistics.make(wanted(tmp_path / "x.npz"), "cpu")])
    assert (found.name, found.count, found.extractor) == ("x", 12, "fashion_cnn")
    np.testing.assert_allclose(found.features, opened.features(images).pool, rtol=1e-5, atol=1e-5)


def test_what_a_person_can_get_wrong_is_one_line(tmp_path):
    np.savez(tmp_path / "x.npz", pictures(4, 28))
    good = wanted(tmp_path / "x.npz", pad=32)
    assert statistics.make(good, "cpu").whose["name"] == "x at 32"
    for changed, text in (
        ({"pad": 0}, "pictures of 28x28x1 do not suit extractor fashion_cnn: give --pad 32"),
        ({"extractor": "fashion_cn"}, "did you mean 'fashion_cnn'"),
        (
            {"settings": (("resize", "clean"),)},
            "extractor fashion_cnn has no setting resize: it has weights",
        ),
        (
            {"extractor": "inception", "settings": (("resize", "cleam"),)},
            "resize 'cleam': it takes legacy or clean (did you mean 'clean'?)",
        ),
        ({"settings": (("weights", str(tmp_path)),)}, "weights cannot be read"),
        ({"source": str(tmp_path / "none")}, "is not there"),
    ):
        with pytest.raises(UsageError) as caught:
            statistics.make(dataclasses.replace(good, **changed), "cpu")
        assert text in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_adm_batch_keeps_its_statistics_and_gains_features_of_its_pictures(
    tmp_path, monkeypatch
):
    """With a network that stands for Inception: 2048 numbers of each picture."""
    path = tmp_path / "VIRTUAL_small.npz"
    images = pictures(6, 8, 3)
    mu, sigma = RNG.normal(size=2048), np.diag(np.linspace(1, 2, 2048))
    np.savez(path, images, mu=mu, sigma=sigma, mu_s=np.zeros(3), sigma_s=np.eye(3))

    class Network:
        name, pairs, dim = "inception", False, 2048
        identity = SimpleNamespace(
            name="inception", sha256="ab", resize="legacy", input=299, dim=2048
        )

        def suits(self, _shape):
            return True

        def unavailable(self):
            return []

        def open(self, _device):
            return self

        def features(self, images):
            return Features(np.resize(images, (len(images), 2048)).astype(np.float32))

    monkeypatch.setattr(statistics, "_extractor", lambda _wanted: Network())
    found = completed(read(path), together([statistics.make(wanted(path), "cpu")]))
    np.testing.assert_array_equal(found.moments.mean, mu)
    np.testing.assert_array_equal(found.moments.covariance, sigma)
    assert found.features.shape == (6, 2048)
    assert (found.name, found.extractor_sha256, found.count) == ("VIRTUAL_small", "ab", 0)
    Network.identity.resize = "clean"
    with pytest.raises(UsageError, match="resized by legacy, and clean is asked for"):
        statistics.make(wanted(path), "cpu")
