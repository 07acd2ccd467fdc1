"""A small data set on disk, and small trainings of it."""

from __future__ import annotations

import dataclasses
import gzip

import numpy as np

from ditbench.models.base import made
from ditbench.records import Choice
from ditbench.registry import settings_of
from ditbench.train.spec import Arm, Sampling, Training

PICTURES = 60


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes()))


def write_data(folder, count=PICTURES, side=28):
    """Pictures of one bright square a class, so that there is something to learn."""
    draw = np.random.default_rng(0)
    for split, number in (("train", count), ("t10k", 20)):
        labels = (np.arange(number) % 10).astype(np.uint8)
        images = draw.integers(0, 60, (number, side, side)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            row, column = divmod(int(label), 4)
            image[row * 8 : row * 8 + 8, column * 6 : column * 6 + 6] = 255
        write_idx(folder / f"{split}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{split}-labels-idx1-ubyte.gz", labels)
    return folder


def choice(name, **settings):
    """A model with all its settings, as a training file names it."""
    spec = made(name, settings)
    values = {one.name: getattr(spec, one.name) for one in settings_of(type(spec))}
    return Choice(name, tuple(values.items()))


DIT = choice(
    "dit", hidden=16, depth=2, heads=2, patch=8, size=32, channels=1, out_channels=1, classes=10,
    prediction="v_prediction", betas="squaredcos_cap_v2",
)  # fmt: skip
GQA = choice("gqa-dit", hidden=16, depth=2, heads=4, kv_heads=2, patch=7)
UNET = choice("unet", hidden=16, size=28)
BLIND = choice("unet", hidden=16, size=28, sees_time=False)


def training(data, model=DIT, attention=None, **more):
    """Six steps of eight pictures."""
    known = {
        "steps": 6, "batch_size": 8, "log_every": 2, "save_every": 2, "warmup": 2,
        "sampling": Sampling(steps=2, columns=2),
    }  # fmt: skip
    return Training("small", str(data), arms=(Arm("", model, attention),), **{**known, **more})


def seed_protocol(made_training):
    """The constant rate, without a moving average or dropped labels."""
    return dataclasses.replace(
        made_training, label_dropout=0.0, ema=0.0, schedule="constant", warmup=0, beta2=0.999
    )
