"""Figures of sets of pictures, on features whose distances are known."""

import functools
import math

import numpy as np
import pytest

from ditbench.distances import coverage, frechet, kernel
from ditbench.extractors.base import Features
from ditbench.measure import judging
from ditbench.measure.judging import MOST_REAL, Judged, Sets, Target, drawn, judge

RNG = np.random.default_rng(5)
WIDTH, COUNT = 12, 200
SOFTMAX = RNG.normal(size=(COUNT, WIDTH)).astype(np.float32)
NEAR = (SOFTMAX + 0.05 * RNG.normal(size=SOFTMAX.shape)).astype(np.float32)
FAR = (SOFTMAX + 2).astype(np.float32)
REAL = RNG.normal(0.3, 1, (400, WIDTH)).astype(np.float32)
EVERY = ("frechet", "sfid", "kid", "precision", "recall", "inception_score")


def features(rows, classes=5):
    return Features(rows, rows[:, :6], rows[:, :classes])


OURS = {"softmax": features(SOFTMAX), "near": features(NEAR), "far": features(FAR)}
DATASET = Target("dataset", frechet.moments(REAL), frechet.moments(REAL[:, :6]), REAL)
PAIRED = Target("softmax", frechet.moments(SOFTMAX), frechet.moments(SOFTMAX[:, :6]), SOFTMAX)


@functools.cache
def judged(name, words=EVERY, network="inception"):
    into = Judged()
    several = [Sets(OURS[name], OURS["softmax"], target) for target in (DATASET, PAIRED)]
    judge(words, network, several, into)
    return into


def test_every_figure_has_its_value_its_error_and_its_paired_change():
    found = judged("near")
    expected = {
        f"{stem}_{COUNT}@{against}"
        for stem in ("fid", "sfid", "kid", "precision", "recall")
        for against in ("dataset", "softmax")
    } | {f"inception_score_{COUNT}"}
    assert set(found.metrics) == set(found.errors) == set(found.paired) == expected
    assert found.unmeasured == []
    value = found.metrics[f"fid_{COUNT}@dataset"][0]
    assert value == pytest.approx(frechet.distance(frechet.moments(NEAR), DATASET.moments))
    assert found.metrics[f"precision_{COUNT}@dataset"][0] == pytest.approx(
        coverage.precision_recall(REAL, NEAR)[0]
    )
    assert found.metrics[f"recall_{COUNT}@dataset"][0] == pytest.approx(
        coverage.precision_recall(REAL, NEAR)[1]
    )
    assert found.metrics[f"kid_{COUNT}@dataset"][0] == pytest.approx(kernel.mmd(NEAR, REAL))


def test_softmax_differs_from_itself_by_nothing():
    found = judged("softmax")
    assert all(change == {"change": 0, "error": 0} for change in found.paired.values())
    assert found.metrics[f"fid_{COUNT}@softmax"] == (0.0,)
    assert found.metrics[f"kid_{COUNT}@softmax"][0] == pytest.approx(0, abs=1e-12)
    assert found.metrics[f"precision_{COUNT}@softmax"] == (1.0,)


def test_a_change_is_the_difference_of_both_figures():
    name = f"fid_{COUNT}@dataset"
    mine, softmax = (judged(one).metrics[name][0] for one in ("near", "softmax"))
    assert judged("near").paired[name]["change"] == pytest.approx(mine - softmax)


@pytest.mark.parametrize("word", ["fid", "kid"])
def test_the_same_noise_narrows_the_interval_of_a_small_change(word):
    found = judged("near")
    name = f"{word}_{COUNT}@dataset"
    assert found.paired[name]["error"] < found.errors[name] / 3


def test_what_is_far_is_far_by_every_figure():
    near, far = judged("near"), judged("far")
    for name in (f"fid_{COUNT}@dataset", f"kid_{COUNT}@dataset", f"fid_{COUNT}@softmax"):
        assert far.metrics[name][0] > near.metrics[name][0] + 3 * far.errors[name], name
    for name in (f"precision_{COUNT}@dataset", f"recall_{COUNT}@dataset"):
        assert far.metrics[name][0] < near.metrics[name][0] - 0.3, name


def test_mistake_21_a_distance_is_told_against_the_number_of_pictures():
    curve = judged("softmax").by_count[f"fid_{COUNT}@dataset"]
    assert [count for count, _ in curve] == [25, 50, 100, 200]
    values = [value for _, value in curve]
    assert values == sorted(values, reverse=True)


def test_no_other_network_has_a_fid():
    found = judged("near", network="fashion_cnn")
    assert f"fd_fashion_cnn_{COUNT}@dataset" in found.metrics
    assert f"kd_fashion_cnn_{COUNT}@softmax" in found.metrics
    assert f"class_score_fashion_cnn_{COUNT}" in found.metrics
    assert not any(name.startswith(("fid", "kid", "sfid", "inception")) for name in found.metrics)
    assert [told for told in found.unmeasured if told.startswith("sfid against dataset")]


def test_what_cannot_be_measured_says_why():
    bare = Target("dataset", DATASET.moments)
    into = Judged()
    ours = Features(NEAR)
    judge(EVERY, "inception", [Sets(ours, None, bare, "no classes in its file")], into)
    assert set(into.metrics) == {f"fid_{COUNT}@dataset"}
    assert into.paired == {}
    told = "; ".join(into.unmeasured)
    for word in ("sfid", "kid", "precision", "recall", "inception_score"):
        assert word in told
    assert "inception_score in inception features: no classes in its file" in into.unmeasured
    assert "hold no features" in told


def test_too_few_pictures_for_neighbours_are_no_crash():
    into = Judged()
    judge(("precision", "recall"), "inception", [Sets(Features(NEAR[:3]), None, DATASET)], into)
    assert list(into.metrics) == ["precision_3@dataset"]
    (told,) = into.unmeasured
    assert told.startswith(
        "recall against dataset in inception features: 3 samples have no nearest"
    )


def test_features_that_are_not_finite_give_no_figure():
    broken = NEAR.copy()
    broken[3] = np.nan
    into = Judged()
    judge(EVERY[:3], "inception", [Sets(Features(broken), None, DATASET)], into)
    assert into.metrics == {}
    assert "features of 1 of 200 pictures are not finite" in into.unmeasured[0]


def test_pairs_of_equal_features_are_at_distance_zero_and_others_are_not():
    assert kernel.of_pairs(SOFTMAX, SOFTMAX) == (0.0, 0.0)
    value, error = kernel.of_pairs(FAR, SOFTMAX)
    assert value > 3 * error > 0
    apart = kernel.of_pairs(SOFTMAX[:100], SOFTMAX[100:])
    assert abs(apart[0]) < 4 * apart[1]


def test_the_pairs_own_terms_are_left_out():
    x, y = SOFTMAX[:30].astype(float), NEAR[:30].astype(float)

    def k(a, b):
        return (a @ b / WIDTH + 1) ** 3

    total = sum(
        k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(x[j], y[i])
        for i in range(30)
        for j in range(30)
        if i != j
    )
    assert kernel.of_pairs(x, y)[0] == pytest.approx(total / (30 * 29))


def test_a_sorted_folder_does_not_lend_its_first_class_alone():
    rows = np.arange(3 * MOST_REAL, dtype=np.float32)[:, None]
    chosen = drawn(rows, MOST_REAL)
    assert len(chosen) == MOST_REAL
    assert chosen.mean() == pytest.approx(rows.mean(), rel=0.02)
    assert math.isclose(chosen[0, 0], drawn(rows, MOST_REAL)[0, 0])


def test_the_error_of_a_mean_over_subsets_is_that_of_the_pictures(monkeypatch):
    """Subsets are drawn from the same few pictures again and again: their number makes nothing surer."""
    monkeypatch.setattr(judging, "_MOST_AT_ONCE", 100)
    monkeypatch.setattr(judging, "_SUBSET", 50)
    name, values, errors, changes = f"kid_{COUNT}@dataset", [], [], []
    for _ in range(12):
        softmax = RNG.normal(size=(COUNT, WIDTH)).astype(np.float32)
        into, moved = Judged(), features(softmax + np.float32(0.01))
        judge(("kid",), "inception", [Sets(moved, features(softmax), DATASET)], into)
        values.append(into.metrics[name][0])
        errors.append(into.errors[name])
        changes.append(into.paired[name]["error"])
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.6)
    assert np.mean(errors) > 2 * np.mean([_alone(n) for n in range(3)])
    assert np.mean(changes) < np.mean(errors) / 3


def _alone(seed):
    """What a hundred subsets tell of themselves."""
    x = np.random.default_rng(seed).normal(size=(COUNT, WIDTH)).astype(np.float32)
    values = [kernel.distance(x, REAL, 1, 50, n)[0] for n in range(100)]
    return np.std(values) / 10


def test_all_of_a_few_pictures_are_no_certainty():
    into = Judged()
    judge(("precision",), "inception", [Sets(Features(REAL[:60]), None, DATASET)], into)
    assert into.metrics["precision_60@dataset"] == (1.0,)
    # The rule of three: of 60 that all fit, the share may be as low as 1 - 3 / 60.
    assert 1.96 * into.errors["precision_60@dataset"] == pytest.approx(3 / 60, rel=0.3)


def test_a_distance_to_softmax_is_as_sure_as_its_pairs():
    """Both sides of a pair come from one noise: with softmax's taken as they are it was ten times less so."""
    found, name = judged("near"), f"fid_{COUNT}@softmax"
    assert (found.metrics[name][0], found.errors[name]) == frechet.of_pairs(NEAR, SOFTMAX)
    assert found.errors[name] < 0.2 * found.metrics[name][0]
