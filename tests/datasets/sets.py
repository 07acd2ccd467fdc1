"""Small data sets of every format, written into a folder."""

from __future__ import annotations

import gzip
import json

import numpy as np
from PIL import Image


def pictures(count=6, size=8, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, channels), np.uint8)


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    raw = header + array.tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def idx_folder(folder, count=6, suffix=".gz"):
    folder.mkdir(exist_ok=True)
    made = {}
    for seed, (split, stem) in enumerate((("train", "train"), ("test", "t10k"))):
        images, labels = pictures(count, 28, 1, seed), np.arange(count, dtype=np.uint8) % 10
        write_idx(folder / f"{stem}-images-idx3-ubyte{suffix}", images[..., 0])
        write_idx(folder / f"{stem}-labels-idx1-ubyte{suffix}", labels)
        made[split] = images, labels
    return made


CIFAR = {"train": [f"data_batch_{n}" for n in range(1, 6)], "test": ["test_batch"]}


def cifar_bytes(folder, each=3):
    folder.mkdir(exist_ok=True)
    made = {}
    for split, names in CIFAR.items():
        images = pictures(each * len(names), 32, 3, len(names))
        labels = np.arange(len(images), dtype=np.uint8) % 10
        planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        for name, part in zip(names, np.split(np.c_[labels, planes], len(names)), strict=True):
            (folder / f"{name}.bin").write_bytes(part.tobytes())
        made[split] = images, labels
    return made


def cifar_sheets(folder, each=3):
    folder.mkdir(exist_ok=True)
    made = cifar_bytes(folder, each)
    for path in folder.glob("*.bin"):
        path.unlink()
    for split, names in CIFAR.items():
        images, labels = made[split]
        for name, part in zip(names, np.split(images, len(names)), strict=True):
            Image.fromarray(part.reshape(len(part), 1024, 3)).save(folder / f"{name}.png")
        (folder / f"{split}_lables.json").write_text(json.dumps(labels.tolist()))
    return made


def png_folder(folder, images, names=None):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        name = names[number] if names else f"{number:06d}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(folder / name)
