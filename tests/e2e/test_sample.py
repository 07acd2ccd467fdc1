"""Pictures are made once: in one go, in shards, or after a kill they are the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest
from conftest import ENVIRON

from ditbench.distances.moments import Streaming
from ditbench.store.pictures import Shards

COUNT = 1000
SUITE = """
name: pictures
model: TINY
attention: [softmax]
steps: 2
timing: {warmup: 0, warmup_cap_s: 0, repeats: 1, processes: 1}
metrics: [latent_drift]
quality: {samples: 1000, micro_batch: 20, reference: [softmax], SHARD}
"""


def suite(shell, shard):
    return shell.suite(SUITE.replace("SHARD", f"shard: {shard}"), f"in-{shard}.yaml")


def made(shell, shard, *more):
    """The exported file and the shards of 1,000 pictures."""
    done = shell.again("sample", suite(shell, shard), "--npz", f"npz-{shard}", *more)
    assert done.code == 0, done.err
    return done.out.splitlines()[-1].partition(": ")[0], sets(shell)[0]


def sets(shell):
    """The sets of pictures of the newest run."""
    return [Shards.open(path) for path in (shell.run_folder() / "images").iterdir()]


def digest(shell, path):
    return hashlib.sha256((shell.folder / path).read_bytes()).hexdigest()


def statistics(shards):
    """Moments of the pixels, streamed."""
    streaming = Streaming(64)
    for batch in shards.batches(64):
        streaming.add(batch.reshape(len(batch), -1).astype(np.float32))
    moments = streaming.moments()
    return moments.mean.tobytes(), moments.covariance.tobytes()


@pytest.fixture(scope="module")
def whole(shell):
    path, shards = made(shell, 1000)
    assert len(shards.parts) == 1
    return digest(shell, path), statistics(shards), shards.key


def test_mistake_26_four_shards_are_the_same_bytes_as_one(shell, whole):
    path, shards = made(shell, 250)
    assert [part.stop for part in shards.parts] == [260, 520, 780, 1000]  # whole micro-batches
    assert (digest(shell, path), statistics(shards), shards.key) == whole


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)
    return found


def test_a_run_killed_amid_its_shards_and_resumed_is_the_same_bytes(shell, whole, tmp_path):
    command = ["ditbench", "sample", suite(shell, 100), "--out", str(tmp_path)]
    environ = {**ENVIRON, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [shell.python, "-m", *command],
        cwd=shell.folder,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        wait_for(lambda: len(list(tmp_path.glob("*/*/images/*/*.npz"))) >= 3)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (folder,) = (path.parent for path in tmp_path.glob("*/*/run.json"))
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("images/*/*.npz")}
    assert 3 <= len(before) < 10
    recorded = (folder / "records.jsonl").read_text().count('"sample"')
    done = shell.again(
        "sample", suite(shell, 100), "--out", str(tmp_path), "--resume", folder.name,
        "--npz", str(tmp_path / "npz"),
    )  # fmt: skip
    assert done.code == 0, done.err
    shards = Shards.open(next((folder / "images").iterdir()))
    assert len(shards.parts) == 10
    kept = sum(before.get(part.path.name) == part.path.stat().st_mtime_ns for part in shards.parts)
    assert kept >= recorded  # what had been recorded is not made again
    (exported,) = (tmp_path / "npz").glob("softmax-1000-*.npz")
    assert (digest(shell, exported), statistics(shards), shards.key) == whole


def test_a_run_that_goes_on_judges_without_making_pictures_again(shell):
    made(shell, 500)
    folder = shell.run_folder()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("images/*/*.npz")}
    stopped = json.loads((folder / "run.json").read_text())
    assert (stopped["finished"], stopped["stopped"]) == (
        False,
        "pictures were made, and nothing else",
    )
    done = shell.again("run", suite(shell, 500), "--resume", folder.name)
    assert done.code == 0, done.err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    judged = [line for line in lines if line["stage"] == "quality"]
    assert [line["status"] for line in judged] == ["ok"]
    assert len(judged[0]["metrics"]["latent_drift"]) == COUNT
    assert judged[0]["facts"]["image_key"] == lines[-2]["facts"]["image_key"]
    again = shell.again("sample", suite(shell, 500), "--resume", folder.name, "--png", "png")
    assert again.code == 0, again.err
    assert json.loads((folder / "run.json").read_text())["finished"]
    (png,) = (shell.folder / "png").glob("softmax-1000-*")
    assert len(list(png.iterdir())) == COUNT


SMALL = """
name: small
model: TINY
attention: [softmax, identity]
steps: 2
timing: {warmup: 0, warmup_cap_s: 0, repeats: 1, processes: 1}
quality: {samples: 12, micro_batch: 4, shard: 4, reference: [softmax]}
"""


def test_a_shard_of_another_key_stops_the_judge_with_its_name_and_the_way_out(shell):
    name = shell.suite(SMALL, "small.yaml")
    done = shell.again("sample", name)
    assert done.code == 0, done.err
    assert [line.rpartition(": ")[2] for line in done.out.splitlines()] == [
        "12 pictures of softmax",
        "12 pictures of identity",
    ]
    folder = shell.run_folder()
    ours, other = (shards.folder for shards in sorted(sets(shell), key=lambda one: one.key))
    right = (ours / "000004-000008.npz").read_bytes()
    (ours / "000004-000008.npz").write_bytes((other / "000004-000008.npz").read_bytes())
    done = shell.again("run", name, "--resume", folder.name)
    assert done.code == 2
    told = done.err.splitlines()[-1]
    assert "000004-000008.npz: holds pictures of another key than 000000-000004.npz" in told
    assert "remove whichever is wrong, and go on with --resume" in told
    (ours / "000004-000008.npz").unlink()
    done = shell.again("run", name, "--resume", folder.name)
    assert done.code == 0, done.err
    assert "000004-000008.npz: is gone; what it held is measured again" in done.err
    assert (ours / "000004-000008.npz").read_bytes() == right


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--set", "quality.samples=0"), "quality.samples is 0, so there are no pictures to make"),
        (("--set", "batch_size=max"), "no cell makes pictures"),
    ],
)
def test_what_makes_no_pictures_is_one_clear_line(shell, more, told):
    done = shell.again("sample", shell.suite(SMALL, "small.yaml"), *more)
    assert done.code == 2
    assert told in done.err
    assert "Traceback" not in done.err


def test_a_method_that_fails_its_gate_is_not_sampled_and_said(shell):
    text = SMALL.replace("[softmax, identity]", "[softmax, deadly:Exits]")
    done = shell.again("sample", shell.suite(text, "deadly.yaml"))
    assert done.code == 3, done.err
    assert [line.rpartition(": ")[2] for line in done.out.splitlines()] == [
        "12 pictures of softmax"
    ]
    assert "ditbench: deadly:Exits: exited with 7 and no answer" in done.err


def test_another_micro_batch_is_another_key_and_moves_almost_nothing(shell):
    """At most one grey level, on at most a thousandth of the pixels, of the shipped model."""
    text = SMALL.replace("TINY", "fashion-dit\nweights: embedded").replace(
        "[softmax, identity]", "softmax"
    )
    found = []
    for size in (4, 3):
        name = shell.suite(text.replace("micro_batch: 4", f"micro_batch: {size}"), "fashion.yaml")
        done = shell.again("sample", name, "--set", "steps=4")
        assert done.code == 0, done.err
        found += sets(shell)
    one, other = (shards.images().astype(int) for shards in found)
    assert found[0].key != found[1].key
    assert found[0].folder.name == found[1].folder.name  # the same cell
    assert one.shape == other.shape == (12, 32, 32, 1)
    assert np.ptp(one) > 100  # no grey squares
    moved = np.abs(one - other)
    assert moved.max() <= 1
    assert (moved > 0).mean() <= 1e-3
