"""Training: what is killed goes on to the same weights; labels are dropped by us; what ships is described."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from fakes_training import BLIND, DIT, GQA, UNET, choice, seed_protocol, training, write_data
from safetensors.torch import load_file

from ditbench.datasets import idx
from ditbench.errors import CELLS_FAILED, StoreError, UsageError
from ditbench.extractors import fashion_cnn
from ditbench.models.weights import class_names
from ditbench.records import Choice
from ditbench.train import export, features, keeping, loop
from ditbench.train.spec import Quality
from ditbench.train.state import Epoch


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("idx"))


def run(made, out, on_step=lambda _line, _total: None):
    return loop.train(made, made.arms[0], out, on_step=on_step)


def weights(folder, name="last"):
    return load_file(folder / name / keeping.WEIGHTS)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def lines(path):
    return list(csv.DictReader(path.read_text().splitlines()))


class KilledError(Exception):
    pass


def kill_at(step):
    def kill(line, _total):
        if line.step == step:
            raise KilledError

    return kill


def by_hand(made, steps):
    """What the first trainer of this project did, step by step: no seam, no arms, no switches."""
    spec = made.process
    images, labels = idx.load(Path(made.data), "train")
    torch.manual_seed(made.seed)
    network = spec.build()
    spec.close_gates(network)
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=made.learning_rate,
        weight_decay=made.weight_decay,
        betas=(0.9, 0.99),
    )
    ema = {name: value.clone() for name, value in network.train().state_dict().items()}
    noising = DDIMScheduler(
        beta_schedule=spec.betas, beta_start=1e-4, beta_end=0.02, prediction_type=spec.prediction
    )
    for step in range(steps):
        generator = torch.Generator().manual_seed((made.seed * 0x9E3779B1 + step) % 2**32)
        epoch, place = divmod(step, len(images) // made.batch_size)
        order = np.random.default_rng((made.seed, epoch)).permutation(len(images))
        chosen = order[place * made.batch_size : (place + 1) * made.batch_size]
        clean = torch.from_numpy(images[chosen]).float()[:, None] / 127.5 - 1
        told = torch.from_numpy(labels[chosen]).long()
        told[torch.rand(len(told), generator=generator) < made.label_dropout] = spec.classes
        times = torch.randint(1000, (len(told),), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        for group in optimizer.param_groups:
            group["lr"] = made.rate(step, steps)
        optimizer.zero_grad(set_to_none=True)
        seen = network(noising.add_noise(clean, noise, times), times, told, return_dict=False)[0]
        wanted = noising.get_velocity(clean, noise, times)
        torch.nn.functional.mse_loss(seen, wanted).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), made.clip)
        optimizer.step()
        decay = min(made.ema, (1 + step) / (10 + step))
        for name, value in network.named_parameters():
            ema[name].lerp_(value.detach(), 1 - decay)
    return ema


def test_a_file_of_one_model_ends_with_the_weights_that_it_always_ended_with(data, tmp_path):
    made = training(data)
    run(made, tmp_path)
    wanted = by_hand(made, 6)
    found = weights(tmp_path)
    assert all(torch.equal(found[name], wanted[name]) for name in found)


def test_a_run_that_was_killed_ends_with_the_same_weights_and_tables(data, tmp_path):
    made = training(data, steps=9)  # an epoch has seven
    run(made, tmp_path / "whole")
    with pytest.raises(KilledError):
        run(made, tmp_path / "killed", kill_at(6))
    run(made, tmp_path / "killed")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    whole, killed = (lines(tmp_path / name / "steps.csv") for name in ("whole", "killed"))
    assert [line["step"] for line in killed] == ["2", "4", "6", "8", "9"]
    assert [line["loss"] for line in killed] == [line["loss"] for line in whole]
    whole, killed = (lines(tmp_path / name / "metrics.csv") for name in ("whole", "killed"))
    assert [line["loss"] for line in killed] == [line["loss"] for line in whole]


def test_trainings_of_two_seeds_see_other_times(data, tmp_path, monkeypatch):
    """torch's generator takes 32 bits: a seed that is shifted by 31 is one bit of them."""
    seen = []
    monkeypatch.setattr(loop, "_learn", lambda _course, batch: seen.append(batch[1]) or 1.0)
    for seed in (0, 1, 2):
        run(training(data, seed=seed, steps=1), tmp_path / str(seed))
    assert len({tuple(times.tolist()) for times in seen}) == 3


def test_training_learns_and_leaves_a_grid_and_a_table_by_epoch(data, tmp_path):
    made = training(data, steps=0, epochs=8, learning_rate=3e-3)
    run(made, tmp_path)
    header = (tmp_path / "metrics.csv").read_text().splitlines()[0]
    assert header == "epoch,loss,epoch_time_s,step_time_ms,peak_vram_mb,imgs_per_sec,fid"
    table = lines(tmp_path / "metrics.csv")
    assert [line["epoch"] for line in table] == [str(number) for number in range(1, 9)]
    assert float(table[-1]["loss"]) < 0.9 * float(table[0]["loss"])
    assert all(float(line["imgs_per_sec"]) > 0 for line in table)
    assert (tmp_path / "samples-e008.png").exists()


@pytest.mark.parametrize(
    ("model", "attention"),
    [
        (GQA, Choice("softmax")),
        (GQA, Choice("linformer", (("rank", 4), ("seed", 0)))),
        (GQA, Choice("monarch")),
        (DIT, Choice("gqa", (("kv_heads", 1),))),
        pytest.param(UNET, Choice("sdpa", (("backend", "auto"),)), marks=pytest.mark.slow),
        pytest.param(UNET, None, marks=pytest.mark.long),
        pytest.param(BLIND, None, marks=pytest.mark.long),
    ],
    ids=lambda value: getattr(value, "name", "own"),
)
def test_every_arm_learns(model, attention, data, tmp_path):
    made = seed_protocol(training(data, model, attention, steps=30, learning_rate=3e-3))
    run(made, tmp_path)
    table = lines(tmp_path / "steps.csv")
    assert float(table[-1]["loss"]) < 0.95 * float(table[0]["loss"])
    told = json.loads((tmp_path / "training.json").read_text())
    assert told["hears_time"] is (model is not BLIND)
    assert told["hears_class"] is True


@pytest.mark.parametrize(
    ("attention", "cause"),
    [
        (Choice("identity"), "no gradient reaches transformer_blocks.0.attn1.to_q.weight"),
        (Choice("zero"), "and 13 more"),
    ],
)
def test_a_method_that_lets_weights_learn_nothing_is_refused(attention, cause, data, tmp_path):
    with pytest.raises(UsageError, match=cause):
        run(training(data, DIT, attention), tmp_path)


def test_another_method_trains_other_weights(data, tmp_path):
    for name in ("softmax", "linear"):
        run(training(data, DIT, Choice(name)), tmp_path / name)
    assert not same(weights(tmp_path / "softmax"), weights(tmp_path / "linear"))


def test_the_null_class_is_trained_because_labels_are_dropped_in_the_loop(data, tmp_path):
    for dropout in (0.1, 1.0):
        run(training(data, label_dropout=dropout), tmp_path / str(dropout))
    table = "transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight"
    moved = (weights(tmp_path / "1.0")[table] - weights(tmp_path / "0.1")[table]).abs().sum(dim=1)
    assert moved[10] > 0
    network = training(data).process.build().train()
    assert network.transformer_blocks[0].norm1.emb.class_embedder.dropout_prob == 0.0


def test_a_distance_by_another_network_is_never_in_the_column_of_fid(data, tmp_path):
    made = training(data, quality=Quality("fashion_cnn", samples=12, reference=20))
    run(made, tmp_path)
    assert [line["fid"] for line in lines(tmp_path / "metrics.csv")] == [""]
    told = json.loads((tmp_path / "training.json").read_text())
    assert told["distance"]["name"] == "fd_fashion_cnn_12@dataset"
    assert told["distance"]["by_epoch"]["1"] == told["best"]["value"] > 0
    assert (tmp_path / "best" / keeping.WEIGHTS).is_file()


def test_mistake_21_fewer_pictures_than_features_are_told(data, tmp_path):
    few = training(data, quality=Quality("fashion_cnn", samples=12, reference=20))
    run(few, tmp_path)
    told = json.loads((tmp_path / "training.json").read_text())
    assert "12 pictures are no more than the 64 features" in told["distance"]["doubt"]


def test_judging_changes_no_weight(data, tmp_path):
    run(training(data), tmp_path / "alone")
    run(
        training(data, quality=Quality("fashion_cnn", samples=12, reference=20)),
        tmp_path / "judged",
    )
    assert same(weights(tmp_path / "alone"), weights(tmp_path / "judged"))


def test_a_table_is_of_exactly_the_seven_columns():
    assert keeping.table(Epoch, [Epoch(1, 0.5, 2.0, 20.0, 64.0, 100.0)]).splitlines() == [
        "epoch,loss,epoch_time_s,step_time_ms,peak_vram_mb,imgs_per_sec,fid",
        "1,0.5,2.0,20.0,64.0,100.0,",
    ]


def test_a_checkpoint_of_another_training_is_refused(data, tmp_path):
    run(training(data), tmp_path)
    with pytest.raises(UsageError, match=r"batch_size 8, not 4.*remove it, or give another --out"):
        run(training(data, batch_size=4), tmp_path)


def test_a_torn_checkpoint_is_one_line(data, tmp_path):
    run(training(data), tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UsageError, match=r"no checkpoint to go on from.*remove it to start anew"):
        run(training(data), tmp_path)


def test_a_loss_that_is_no_number_ends_the_training(data, tmp_path):
    with pytest.raises(loop.DivergedError, match="learning_rate") as caught:
        run(training(data, learning_rate=1e30, warmup=0, clip=1e30, steps=30), tmp_path)
    assert caught.value.exit_code == CELLS_FAILED


def test_a_full_disk_is_one_line(data, tmp_path):
    (tmp_path / "steps.csv").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        run(training(data), tmp_path)


def test_what_ships_is_half_the_size_and_says_what_it_is(data, tmp_path):
    made = training(data, class_names="bag, ankle boot")
    run(made, tmp_path / "run")
    export.export(made, tmp_path / "run", tmp_path / "ship", "suites/train/small.yaml")
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
    made = features.Features("cnn", str(data), epochs=2, batch_size=20)
    said = []
    features.train(made, tmp_path, said.append)
    found = fashion_cnn.FashionFeatures(str(tmp_path)).open()
    pictures, _ = idx.load(data, "train")
    seen = found.features(pictures[..., None]).pool
    assert seen.shape == (60, fashion_cnn.FEATURES)
    assert np.allclose(seen.mean(axis=0), found.shipped().mean, atol=1e-5)
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
def test_a_bad_data_folder_is_one_line(spoil, cause, data, tmp_path):
    for path in data.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    spoil(tmp_path)
    with pytest.raises(UsageError, match=cause):
        run(training(tmp_path), tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"model": choice("gqa-dit", hidden=16, classes=4)}, "10 classes, and the models know 4"),
        ({"model": choice("gqa-dit", hidden=16, size=24)}, "28x28 with 1 channels do not fit"),
        ({"batch_size": 64}, "60 pictures are no batch of 64"),
    ],
    ids=["classes", "size", "batch"],
)
def test_data_that_do_not_fit_the_models_are_one_line(changes, cause, data, tmp_path):
    with pytest.raises(UsageError, match=cause):
        run(training(data, **changes), tmp_path)
