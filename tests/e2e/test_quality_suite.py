"""The pictures of the model that ships, on the command line: the extremes agree, what lacks is told."""

from __future__ import annotations

import json

import pytest

SUITE = """
name: quality
model: fashion-dit
weights: embedded
attention: [softmax, sdpa, linear, identity]
steps: 2
sampling: {guidance_scale: 2.0}
metrics: [latent_drift, psnr, ssim, frechet, kid, precision, recall]
quality: {samples: 24, micro_batch: 8, shard: 16, extractors: fashion_cnn}
"""
FD = "fd_fashion_cnn_24@"


@pytest.fixture(scope="module")
def rows(shell):
    shell.suite(SUITE)
    ended = shell("run", "suite.yaml")
    assert ended.code == 0, ended.err
    found = json.loads(shell.again("show", "--json").out)
    return {row["axes"]["attention"]: row for row in found}


def value(row, name):
    return float(row["estimates"][name]["value"])


@pytest.mark.parametrize("name", ["latent_drift", f"{FD}dataset", f"{FD}softmax"])
def test_sdpa_is_the_nearest_and_no_attention_among_the_farthest(rows, name):
    order = sorted(rows, key=lambda method: value(rows[method], name))
    assert set(order[:2]) == {"softmax", "sdpa"}
    assert set(order[2:]) == {"linear", "identity"}


def test_sdpa_lies_within_the_paired_interval_of_softmax(shell, rows):
    assert rows["sdpa"]["status"] == "ok"
    (path,) = shell.folder.rglob("records.jsonl")
    records = map(json.loads, path.read_text().splitlines())
    judged = {
        one["cell"]["attention"]["name"]: one["facts"]
        for one in records
        if one["stage"] == "quality"
    }
    for name, change in judged["sdpa"]["paired"].items():
        assert abs(change["change"]) <= max(3 * change["error"], 1e-6), name
    far = judged["identity"]["paired"][f"{FD}dataset"]
    assert far["change"] > 3 * far["error"]


def test_pictures_fewer_than_features_are_doubted_on_every_row(rows):
    for row in rows.values():
        assert any("24 pictures are too few for the 64 features" in one for one in row["doubts"])


def test_a_network_that_is_not_here_ends_the_run_before_it_begins(shell):
    missing = SUITE.replace("extractors: fashion_cnn", "extractors: {inception: {weights: no.pt}}")
    ended = shell.again("plan", shell.suite(missing, "missing.yaml"))
    assert ended.code == 2
    assert "quality.extractors: inception[weights=no.pt] cannot be opened" in ended.err
