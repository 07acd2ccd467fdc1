"""Two commits of a plug-in: what one made slower is exit 4, by `ab` and by `run --confirm`.

All of it through the command line, with the real work of real processes; and the checkout stays as it was.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import site
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest
from at_rest import first_in_line, undisturbed
from fakes_git import commit, git, traces

import ditbench
from ditbench import errors, machine, store
from ditbench.records import Stage

# Softmax in both commits; the second multiplies its matrices in double precision, which is twice the work of
# a processor and not one multiply-add more: nothing but the time tells of it.
METHOD = '''
"""Softmax, in a precision of its own."""
from dataclasses import dataclass
from typing import ClassVar
import torch
from ditbench.attention.softmax import Softmax

@dataclass(frozen=True)
class Working(Softmax):
    """Softmax, in a precision of its own."""
    name: ClassVar[str] = "working"

    def attend(self, q, k, v):
        exact = (one.to(torch.{}) for one in (q, k, v))
        return Softmax.attend(self, *exact).to(q.dtype)
'''
SUITE = """
name: toy
kind: op
op: {tokens: 512, heads: 4, head_dim: 64, cache: hot}
attention: working:Working
timing: {warmup: 1, warmup_cap_s: 0, repeats: 10, cap_s: 1, processes: 5}
metrics: [latency]
"""
REPORTS = ("report.html", "report.md", "verdict.json")


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """An interpreter in which ditbench is installed as for anybody, and no checkout of a developer's."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    theirs = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
    (packages / "theirs.pth").write_text("\n".join(theirs))
    package = Path(ditbench.__file__).parent
    shutil.copytree(package, packages / "ditbench", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "bin" / "python"


@pytest.fixture
def room(tmp_path_factory) -> Path:
    """For temporary files; the name of a socket has little room."""
    return tmp_path_factory.mktemp("t")


@pytest.fixture
def first(tmp_path, room, monkeypatch) -> Path:
    """A repository with the first commit."""
    folder = tmp_path / "mine"
    folder.mkdir()
    git(folder, "init", "--quiet")
    plug = METHOD.format("float32")
    commit(
        folder,
        suites__toy_yaml=SUITE,
        suites__working_py=plug,
        notes_txt="",
        _gitignore="__pycache__/",
    )
    monkeypatch.setattr("tempfile.tempdir", str(room))
    monkeypatch.setenv("TMPDIR", str(room))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(folder)
    return folder


def slower(folder: Path) -> Path:
    """The second commit; something in the checkout is changed, and something unknown."""
    commit(folder, suites__working_py=METHOD.format("float64"))
    (folder / "notes.txt").write_text("changed")
    (folder / "unknown.txt").write_text("mine")
    return folder


@pytest.fixture
def mine(first) -> Path:
    return slower(first)


@pytest.fixture
def run(python):
    """A command as a person types it, which others shall not disturb."""

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(python), "-m", "ditbench", *map(str, words)],
            preexec_fn=first_in_line,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run


def left(room) -> list[str]:
    return [path.name for path in room.glob("ditbench-ab-*")]


def latency(findings) -> dict:
    (found,) = [one for one in findings if one["metric"] == "latency"]
    return found


def disturbed(ended, findings) -> str:
    """Why it is 6, where it is."""
    if ended.returncode != errors.ENVIRONMENT:
        return ""
    steps = [step for one in findings for step in one["steps"]]
    return "; ".join(one["outcome"] for one in steps if one["rule"].endswith("machine"))


def test_ab_of_a_slower_commit_is_exit_4_and_the_checkout_stays_as_it_was(
    mine, tmp_path, room, run
):
    before = traces(mine)

    def attempt(number):
        path = tmp_path / f"{number}.session.jsonl"
        arms = ("--a", "git:HEAD~1", "--b", "git:HEAD", "--out", path, "--json")
        ended = run("ab", "suites/toy.yaml", *arms)
        assert traces(mine) == before
        assert left(room) == []
        found = json.loads(ended.stdout)
        return (ended, found, store.session_read(path)), disturbed(ended, found)

    ended, found, session = undisturbed(attempt)
    assert ended.returncode == errors.PERFORMANCE, f"{ended.stdout}\n{ended.stderr}"
    time_of_it = latency(found)
    assert time_of_it["verdict"] == "regressed"
    assert time_of_it["duel"]["best"] > 1.4
    assert time_of_it["duel"]["witness"]
    timed = [one for one in session.records if one.stage is Stage.TIME]
    sides = [one.facts["arm"] for one in timed if "witness" not in one.facts]
    assert sides[:10] == list("abbaabbaab")
    sung = {one.facts["process"]: one for one in session.records if one.stage is Stage.CANARY}
    assert sorted(sung) == list(range(len(sides)))
    assert all(one.metrics["canary_matrix"] for one in sung.values())
    commits = [arm.code["suite_commit"] for arm in session.arms]
    assert commits == [git(mine, "rev-parse", name) for name in ("HEAD~1", "HEAD")]
    assert "git:HEAD is commit" in ended.stderr
    assert "1 files of" in ended.stderr
    assert "the arms differ in suite_commit" in ended.stderr


def baseline_of(run, places) -> store.Run:
    """The first commit's own run, stored as a baseline."""

    def attempt(_):
        ended = run("run", "suites/toy.yaml", *places)
        assert ended.returncode in {errors.OK, errors.ENVIRONMENT}, ended.stderr
        found = store.read(newest(places))
        if others := machine.crowded([one for one in found.records if one.stage is Stage.TIME]):
            return found, others
        kept = run("baseline", "set", "toy", *places)
        return found, kept.stderr if kept.returncode else ""

    return undisturbed(attempt)


def newest(places) -> Path:
    return max(places[1].glob("toy/*/run.json")).parent


def test_run_confirm_of_a_slower_commit_is_exit_4_with_its_reports(first, tmp_path, room, run):
    places = ("--out", tmp_path / "results", "--baselines", tmp_path / "baselines")
    then = baseline_of(run, places)
    mine = slower(first)
    before = traces(mine)

    def attempt(_):
        ended = run("run", "suites/toy.yaml", *places, "--baseline", "toy", "--confirm")
        kept = {name: told for name, told in traces(mine).items() if "__pycache__" not in name}
        assert kept == {name: told for name, told in before.items() if "__pycache__" not in name}
        assert left(room) == []
        said = json.loads((newest(places) / "verdict.json").read_text())
        return (ended, said), disturbed(ended, said["findings"])

    ended, said = undisturbed(attempt)
    assert ended.returncode == errors.PERFORMANCE, f"{ended.stdout}\n{ended.stderr}"
    folder = newest(places)
    assert ended.stdout.splitlines()[-1] == str(folder / "report.html")
    assert [name for name in REPORTS if not (folder / name).is_file()] == []
    assert said["exit_code"] == errors.PERFORMANCE
    found = latency(said["findings"])
    assert found["verdict"] == "regressed"
    rules = [step["rule"] for step in found["steps"]]
    assert rules.index("screen") < rules.index("session: ratios") < rules.index("confirm")
    head, *_ = (folder / "report.md").read_text().splitlines()
    assert head.endswith(f"(exit code {errors.PERFORMANCE})")
    assert "regressed" in (folder / "report.html").read_text()
    session = store.session_read(folder / "confirm.session.jsonl")
    assert [arm.said for arm in session.arms] == [f"baseline toy, run {then.id}", "."]
    commits = [arm.code["suite_commit"] for arm in session.arms]
    assert commits == [git(mine, "rev-parse", name) for name in ("HEAD~1", "HEAD")]


def begun(mine: Path, out: Path) -> subprocess.Popen[str]:
    """A session that has started its first process."""
    words = ("ab", "suites/toy.yaml", "--a", "git:HEAD~1", "--b", "git:HEAD", "--out", str(out))
    process = subprocess.Popen(
        [sys.executable, "-m", "ditbench", *words],
        cwd=mine,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    assert process.stderr
    for line in process.stderr:
        if "process 1: A, git:HEAD~1" in line:
            return process
    raise AssertionError(f"ended with {process.wait()}")


def turns(room) -> list[int]:
    """Processes that still work for a session of this test."""
    mine = str(room).encode()
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and mine in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_neither_kill_nor_interruption_touches_it_and_the_next_clears_up(mine, tmp_path, room):
    before = traces(mine)
    first = begun(mine, tmp_path / "first.session.jsonl")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    told = traces(mine)
    assert before.pop("worktree list --porcelain") != told.pop("worktree list --porcelain")
    assert told == before
    assert len(left(room)) == 1
    end = time.monotonic() + 10
    while turns(room) and time.monotonic() < end:
        time.sleep(0.05)  # for the kernel to end what worked for it
    assert turns(room) == []

    second = begun(mine, tmp_path / "second.session.jsonl")
    second.send_signal(signal.SIGINT)
    _, err = second.communicate()
    assert second.returncode == 130, err
    assert left(room) == []
    assert not (mine / ".git" / "worktrees").exists()
    told = traces(mine)
    del told["worktree list --porcelain"]
    assert told == before
