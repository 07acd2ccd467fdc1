"""Files with bytes changed, cut out or put in: the pictures, or one line; never anything else."""

from __future__ import annotations

import numpy as np
import pytest
import sets

from ditbench.datasets import open_dataset
from ditbench.distances import frechet
from ditbench.errors import UsageError
from ditbench.store import statistics

TRIES = 40


def damaged(raw, draw):
    """Up to five changes, most of them near the head, where formats are described."""
    raw = bytearray(raw)
    for _ in range(draw.integers(1, 6)):
        at = int(min(draw.integers(0, len(raw) + 1, 3)))
        new = draw.bytes(int(draw.integers(0, 8)))
        raw[at : at + int(draw.integers(0, 8))] = new
    return bytes(raw)


def held_to_it(path, read):
    whole = path.read_bytes()
    draw = np.random.default_rng(8)
    for _ in range(TRIES):
        path.write_bytes(damaged(whole, draw))
        try:
            read()
        except UsageError as error:
            assert "\n" not in str(error)  # noqa: PT017 (both outcomes are right)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_damaged_picture(tmp_path, suffix):
    sets.png_folder(tmp_path, sets.pictures(2, 16), [f"a.{suffix}", f"b.{suffix}"])
    held_to_it(tmp_path / f"a.{suffix}", lambda: list(open_dataset(str(tmp_path)).batches(2)))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_damaged_idx(tmp_path, suffix):
    sets.idx_folder(tmp_path, suffix=suffix)
    for part in ("images-idx3", "labels-idx1"):
        path = tmp_path / f"train-{part}-ubyte{suffix}"
        held_to_it(path, lambda: list(open_dataset(str(tmp_path)).batches(4)))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_npz(tmp_path, save):
    save(tmp_path / "x.npz", sets.pictures(3), np.arange(3))
    held_to_it(tmp_path / "x.npz", lambda: list(open_dataset(str(tmp_path / "x.npz")).batches(2)))


def test_damaged_statistics(tmp_path):
    path = tmp_path / "x.npz"
    features = np.random.default_rng(9).normal(size=(20, 4)).astype(np.float32)
    moments = frechet.moments(features)
    statistics.save(
        path, statistics.Reference("n", "e", "s", "r", "d", 20, moments, moments, features)
    )
    held_to_it(path, lambda: statistics.read(path))
