"""Generate once, judge often: new runs judge the pictures of another in other ways, and make none."""

from __future__ import annotations

import json

import pytest

SUITE = """
name: again
model: fashion-dit
weights: embedded
attention: [softmax, identity]
steps: 2
metrics: [latent_drift]
quality: {samples: 4, micro_batch: 2, shard: 2, reference: [softmax], extractors: fashion_cnn}
"""


@pytest.fixture(scope="module")
def made(shell):
    """The folder of a run that made pictures and judged none."""
    done = shell.again("sample", shell.suite(SUITE))
    assert done.code == 0, done.err
    return shell.run_folder()


def shards(folder):
    return {path.relative_to(folder): path.stat() for path in folder.glob("images/*/*.npz")}


def records(folder, stage):
    lines = map(json.loads, (folder / "records.jsonl").read_text().splitlines())
    return [one for one in lines if one["stage"] == stage]


def again(shell, made, name):
    """The folder of a run that took all four shards over, and its judges' metrics."""
    done = shell.again("run", name, "--pictures", made.name)
    assert done.code == 0, done.err
    assert f"4 shards of pictures taken over from run {made.name}" in done.err
    folder = shell.run_folder()
    assert folder != made
    assert {one["facts"]["taken_from"] for one in records(folder, "sample")} == {made.name}
    theirs, ours = shards(made), shards(folder)
    assert len(ours) == 4
    for path, file in theirs.items():
        assert (ours[path].st_ino, ours[path].st_mtime_ns) == (file.st_ino, file.st_mtime_ns)
    assert not list((folder / "logs").glob("*-sample-*"))  # no process made any
    judged = records(folder, "quality")
    assert [one["status"] for one in judged] == ["ok", "ok"]
    return folder, {name for one in judged for name in one["metrics"]}


def test_pictures_are_judged_twice_in_other_ways_and_made_once(shell, made):
    before = (made / "records.jsonl").read_bytes()
    text = SUITE.replace("[latent_drift]", "[latent_drift, frechet]")
    folder, names = again(shell, made, shell.suite(text, "frechet.yaml"))
    assert {"latent_drift", "fd_fashion_cnn_4@softmax"} <= names
    assert f"4 from run {made.name}" in (folder / "report.html").read_text()
    text = SUITE.replace("[latent_drift]", "[ssim, frechet]").replace("[softmax],", "[dataset],")
    _, names = again(shell, made, shell.suite(text, "dataset.yaml"))
    assert {"ssim", "fd_fashion_cnn_4@dataset"} <= names
    assert "fd_fashion_cnn_4@softmax" not in names
    assert (made / "records.jsonl").read_bytes() == before
    assert not json.loads((made / "run.json").read_text())["finished"]


def test_what_the_run_lacks_is_made_as_usual(shell, made):
    done = shell.again(
        "run", "suite.yaml", "--pictures", made.name, "--set", "quality.samples=6", "--set",
        "attention=softmax",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "2 shards of pictures taken over" in done.err
    taken = ["taken_from" in one["facts"] for one in records(shell.run_folder(), "sample")]
    assert taken == [True, True, False]
    (judged,) = records(shell.run_folder(), "quality")
    assert (judged["status"], judged["facts"]["samples"]) == ("ok", 6)


def test_pictures_of_another_micro_batch_are_refused_and_leave_no_run(shell, made):
    runs = sorted(made.parent.iterdir())
    done = shell.again(
        "run", "suite.yaml", "--pictures", made.name, "--set", "quality.micro_batch=4"
    )
    assert done.code == 2
    assert "nothing to take over" in done.err.splitlines()[-1]
    assert "quality.micro_batch: 2 -> 4" in done.err.splitlines()[-1]
    assert sorted(made.parent.iterdir()) == runs
