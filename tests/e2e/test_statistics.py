"""`ditbench stats` as a person types it: made, shown, refused, broken off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

RNG = np.random.default_rng(7)


def pictures(shell, name, count, size=32):
    folder = shell.folder / name
    folder.mkdir()
    for number, image in enumerate(RNG.integers(0, 256, (count, size, size), np.uint8)):
        Image.fromarray(image).save(folder / f"{number:06d}.png")
    return name


@pytest.fixture(scope="module")
def made(shell):
    pictures(shell, "real", 70)
    return shell(
        "stats", "make", "real", "--extractor", "fashion_cnn", "--to", "real.npz", "--gpu", "cpu"
    )


def test_statistics_are_made_and_say_whose_they_are(shell, made):
    assert (made.code, made.out) == (0, "real.npz\n"), made.err
    ended = shell.again("stats", "show", "real.npz", "--json")
    (told,) = json.loads(ended.out)
    assert ended.code == 0
    assert (told["name"], told["extractor"], told["count"]) == ("real", "fashion_cnn", 70)
    assert (told["width"], told["features_kept"]) == (64, 70)
    ended = shell.again("stats", "show", "real.npz")
    assert "count             70" in ended.out


def test_what_is_there_is_not_written_over_and_nothing_is_computed_for_it(shell, made):
    before = (shell.folder / "real.npz").read_bytes()
    ended = shell.again("stats", "make", "real", "--extractor", "fashion_cnn", "--to", "real.npz")
    assert ended.code == 2
    assert ended.err.endswith(
        "ditbench: --to real.npz: is there already: remove it, or write to another file\n"
    )
    assert (shell.folder / "real.npz").read_bytes() == before
    ended = shell.again("stats", "make", "real", "--extractor", "fashion_cnn", "--to", "real")
    assert (ended.code, "write real.npz" in ended.err) == (2, True)


def test_fewer_pictures_than_features_are_allowed_and_told(shell, made):
    ended = shell(
        "stats", "make", "real", "--extractor", "fashion_cnn", "--limit", "20", "--to", "few.npz",
        "--gpu", "cpu",
    )  # fmt: skip
    assert ended.code == 0
    assert "20 pictures are not more than 64 features: distances to them are finite" in ended.err
    (told,) = json.loads(shell.again("stats", "show", "few.npz", "--json").out)
    assert (told["name"], told["count"], told["rank_deficient"]) == ("20 of real", 20, True)


def test_a_corrupt_picture_ends_it_with_one_line_and_no_file(shell, made):
    pictures(shell, "torn", 5)
    path = shell.folder / "torn" / "000003.png"
    path.write_bytes(path.read_bytes()[:200])
    ended = shell(
        "stats", "make", "torn", "--extractor", "fashion_cnn", "--to", "torn.npz", "--gpu", "cpu"
    )
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert ended.err.startswith("ditbench: torn/000003.png: is no whole picture: ")
    assert not list(shell.folder.glob("*torn.npz*"))


def test_a_file_that_holds_no_statistics_is_one_line(shell):
    np.savez(shell.folder / "images.npz", images=np.zeros((2, 8, 8, 3), np.uint8))
    ended = shell.again("stats", "show", "images.npz")
    assert (ended.code, "images.npz: holds images: neither statistics" in ended.err) == (2, True)
    assert ended.err.count("\n") == 1


def test_breaking_it_off_leaves_nothing_under_the_targets_name(shell):
    np.savez(shell.folder / "many.npz", RNG.integers(0, 256, (30000, 32, 32, 1), np.uint8))
    arguments = ["stats", "make", "many.npz", "--extractor", "fashion_cnn", "--to", "cut.npz"]
    with subprocess.Popen(
        [sys.executable, "-m", "ditbench", *arguments, "--gpu", "cpu"],
        cwd=shell.folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        heard = process.stderr.readline()  # "ditbench: 256 of 30000 pictures"
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        told = process.stderr.read()
        code = process.wait(60)
    assert code == 130
    assert time.monotonic() - begin < 30
    assert "of 30000 pictures" in heard
    assert "ditbench: interrupted" in told
    assert "Traceback" not in told
    assert not list(shell.folder.glob("*cut.npz*"))
