"""Training in processes of its own: arm after arm, killed at any moment, two that train as one."""

from __future__ import annotations

import contextlib
import csv
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from fakes_training import write_data
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

ARMS = """\
name: arms
data: {data}
arms:
  two: {{model: {{name: gqa-dit, hidden: 32, depth: 2, heads: 4, kv_heads: 2}}, attention: softmax}}
  one: {{model: {{name: gqa-dit, hidden: 32, depth: 2, heads: 4, kv_heads: 1}}, attention: softmax}}
label_dropout: 0
epochs: {epochs}
batch_size: 8
learning_rate: 0.003
warmup: 0
log_every: 5
save_every: 3
sampling: {{steps: 2, columns: 1}}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("idx"))


def file_of(folder, data, text=ARMS, epochs=4):
    path = folder / "arms.yaml"
    path.write_text(text.format(data=data, epochs=epochs))
    return path


def command(file, out, *more):
    words = ["train", str(file), "--out", str(out), "--device", "cpu", *more]
    return [sys.executable, "-m", "ditbench", *words]


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def run(file, out, *more):
    done = subprocess.run(
        command(file, out, *more), env=environment(), capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def last(out, arm):
    return load_file(out / "arms" / arm / "last" / "diffusion_pytorch_model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def lines(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def checkpoints(out):
    return [path.stat().st_mtime_ns for path in sorted(out.glob("arms/*/checkpoint.safetensors"))]


def test_arms_are_trained_one_after_the_other_and_set_side_by_side(data, tmp_path):
    code, said, told = run(file_of(tmp_path, data), tmp_path / "out")
    assert code == 0, told
    assert said.splitlines()[-1] == str(tmp_path / "out" / "arms" / "summary.md")
    for arm in ("two", "one"):
        table = lines(tmp_path / "out" / "arms" / arm / "metrics.csv")
        assert float(table[-1]["loss"]) < float(table[0]["loss"])
        assert all(float(line["peak_vram_mb"]) > 0 for line in table)
    page = (tmp_path / "out" / "arms" / "summary.md").read_text()
    assert "which the figures are then about: kv_heads 2 against 1" in page


@pytest.mark.long
def test_what_is_killed_at_any_moment_ends_with_the_same_weights(data, tmp_path):
    file = file_of(tmp_path, data)
    code, _, told = run(file, tmp_path / "whole")
    assert code == 0, told
    draw = random.SystemRandom()  # any moment, another each time the tests run
    hit = 0
    for _ in range(3):
        before = checkpoints(tmp_path / "killed")
        process = subprocess.Popen(
            command(file, tmp_path / "killed"), env=environment(), start_new_session=True
        )
        while process.poll() is None and checkpoints(tmp_path / "killed") == before:
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 2))
        hit += process.poll() is None
        how = draw.choice((os.kill, os.killpg))  # the one that waits, or its arm too
        with contextlib.suppress(ProcessLookupError):  # it was done before
            how(process.pid, signal.SIGKILL)
        process.wait()
    assert hit
    code, _, told = run(file, tmp_path / "killed")
    assert code == 0, told
    for arm in ("two", "one"):
        assert same(last(tmp_path / "whole", arm), last(tmp_path / "killed", arm))
        tables = [
            [line["loss"] for line in lines(tmp_path / out / "arms" / arm / "metrics.csv")]
            for out in ("whole", "killed")
        ]
        assert tables[0] == tables[1]


def test_two_processes_learn_what_one_does(data, tmp_path):
    pytest.importorskip("accelerate")
    file = file_of(tmp_path, data)
    code, _, told = run(file, tmp_path / "one", "--arm", "two")
    assert code == 0, told
    both = file_of(tmp_path, data, ARMS + "processes: 2\n")
    code, said, told = run(both, tmp_path / "two", "--arm", "two")
    assert code == 0, told
    assert len(said.splitlines()) == 1  # the first of them speaks
    steps = [lines(tmp_path / out / "arms" / "two" / "steps.csv") for out in ("one", "two")]
    ours, theirs = ([float(line["loss"]) for line in table] for table in steps)
    assert theirs == pytest.approx(ours, rel=1e-4)
    one, two = (last(tmp_path / out, "two") for out in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], atol=1e-3) for name in one)


def test_an_arm_that_fails_does_not_keep_the_others(data, tmp_path):
    file = file_of(tmp_path, data, epochs=1)
    stale = tmp_path / "out" / "arms" / "two" / "checkpoint.safetensors"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"torn")
    code, _, told = run(file, tmp_path / "out")
    assert code == 2
    assert "checkpoint.safetensors: no checkpoint to go on from" in told
    assert "Traceback" not in told
    assert (tmp_path / "out" / "arms" / "one" / "metrics.csv").exists()
    assert (
        "Not trained, or not to the end of an epoch: two."
        in (tmp_path / "out" / "arms" / "summary.md").read_text()
    )
