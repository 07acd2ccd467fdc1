"""Training: what is killed goes on to the same weights; labels are dropped by us; what ships is described."""

from __future__ import annotations

import csv
import dataclasses
import gzip

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ditbench.datasets import idx
from ditbench.errors import UsageError
from ditbench.extractors import fashion_cnn
from ditbench.models.dit import DiT
from ditbench.models.weights import class_names
from ditbench.train import dit, export, features

RNG = np.random.default_rng(0)


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("idx")
    for split, count in (("train", 60), ("t10k", 20)):
        write_idx(
            folder / f"{split}-images-idx3-ubyte.gz",
            RNG.integers(0, 256, (count, 28, 28), np.uint8),
        )
        write_idx(
            folder / f"{split}-labels-idx1-ubyte.gz", RNG.integers(0, 10, count).astype(np.uint8)
        )
    return folder


@pytest.fixture
def training(data):
    model = DiT(
        hidden=16, depth=1, heads=1, patch=8, size=32, channels=1, out_channels=1, classes=10,
        prediction="v_prediction", betas="squaredcos_cap_v2",
    )  # fmt: skip
    return dit.Training(
        "small",
        model,
        str(data),
        steps=6,
        batch_size=8,
        log_every=2,
        save_every=2,
        sample_every=6,
        warmup=2,
    )


def weights(folder):
    return load_file(folder / "ema" / "diffusion_pytorch_model.safetensors")


class KilledError(Exception):
    pass


def test_a_run_that_was_killed_ends_with_the_same_weights(training, tmp_path):
    dit.train(training, tmp_path / "whole")

    def kill(line):
        if line.step == 4:
            raise KilledError

    with pytest.raises(KilledError):
        dit.train(training, tmp_path / "killed", kill)
    dit.train(training, tmp_path / "killed")
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    steps = [
        line["step"]
        for line in csv.DictReader((tmp_path / "killed" / "metrics.csv").read_text().splitlines())
    ]
    assert steps == ["2", "4", "6"]


def test_training_learns_and_leaves_a_grid(training, tmp_path):
    longer = dataclasses.replace(training, steps=60, sample_every=60, learning_rate=3e-3)
    lines = []
    dit.train(longer, tmp_path, lines.append)
    assert lines[-1].loss < lines[0].loss
    assert (tmp_path / "samples-000060.png").exists()


def test_the_null_class_is_trained_because_labels_are_dropped_in_the_loop(training, tmp_path):
    dit.train(training, tmp_path / "kept")
    dropping = dataclasses.replace(training, label_dropout=1.0)
    dit.train(dropping, tmp_path / "dropped")
    table = "transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight"
    moved = (
        (weights(tmp_path / "dropped")[table] - weights(tmp_path / "kept")[table]).abs().sum(dim=1)
    )
    assert moved[10] > 0
    network = training.model.build().train()
    assert network.transformer_blocks[0].norm1.emb.class_embedder.dropout_prob == 0.0


def test_what_ships_is_half_the_size_and_says_what_it_is(training, tmp_path):
    training = dataclasses.replace(training, class_names="bag, ankle boot")
    dit.train(training, tmp_path / "run")
    export.export(training, tmp_path / "run", tmp_path / "ship", "suites/train/small.yaml")
    card = (tmp_path / "ship" / "README.md").read_text()
    assert "6 of 6 planned, batch 8: 48 pictures seen" in card
    assert "ditbench train suites/train/small.yaml" in card
    assert (
        load_file(tmp_path / "ship" / "diffusion_pytorch_model.safetensors")[
            "proj_out_1.weight"
        ].dtype
        is torch.float16
    )
    assert class_names("any", str(tmp_path / "ship")) == {0: "bag", 1: "ankle boot"}


def test_the_feature_network_learns_writes_moments_and_is_read_back(data, tmp_path):
    training = features.Features("cnn", str(data), epochs=2, batch_size=20)
    said = []
    features.train(training, tmp_path, said.append)
    found = fashion_cnn.FashionFeatures(weights=str(tmp_path)).open()
    pictures, _ = idx.load(data, "train")
    made = found.features(pictures[..., None]).pool
    assert made.shape == (60, fashion_cnn.FEATURES)
    assert np.allclose(made.mean(axis=0), found.shipped().mean, atol=1e-5)
    assert said[-1].startswith("test accuracy")


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (
            lambda folder: (folder / "train-labels-idx1-ubyte.gz").unlink(),
            "no train-labels-idx1-ubyte",
        ),
        (
            lambda folder: (folder / "train-images-idx3-ubyte.gz").write_bytes(
                gzip.compress(b"no")
            ),
            "not an IDX file",
        ),
        (
            lambda folder: (folder / "train-images-idx3-ubyte.gz").write_bytes(
                gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 9, 1]))
            ),
            "cut off, 1 bytes",
        ),
    ],
    ids=["a file is missing", "not IDX", "cut off"],
)
def test_a_bad_data_folder_is_one_line(spoil, cause, data, training, tmp_path):
    for path in data.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    spoil(tmp_path)
    with pytest.raises(UsageError, match=cause):
        dit.train(dataclasses.replace(training, data=str(tmp_path)), tmp_path / "out")
