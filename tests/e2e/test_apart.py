"""Two commits of a plug-in, each in a worktree: what one made slower is found, and the checkout stays."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes_git import commit, git, traces
from fakes_runs import CODE, fake_run, gate, timed

from ditbench import environment
from ditbench.cli import apart, confirming
from ditbench.cli.preparing import Choices, plan_of, session_of
from ditbench.compare import judge_session
from ditbench.records import Stage
from ditbench.store import Against, session_read

# Both commits say that they are softmax, and are: the second does more work on the way.
METHOD = '''
"""Softmax, with so much work beside it."""
from dataclasses import dataclass
from typing import ClassVar
from ditbench.attention.softmax import Softmax

@dataclass(frozen=True)
class Working(Softmax):
    """Softmax, with so much work beside it."""
    name: ClassVar[str] = "working"

    def attend(self, q, k, v):
        for _ in range({}):
            q.sin()
        return Softmax.attend(self, q, k, v)
'''
SUITE = """
name: toy
model: {name: dit, hidden: 32, depth: 1, heads: 2, size: 8, channels: 1, out_channels: 1, classes: 10}
attention: working:Working
steps: 1
timing: {warmup: 1, warmup_cap_s: 0, repeats: 10, processes: 1}
metrics: [latency]
"""


@pytest.fixture
def room(tmp_path_factory) -> Path:
    """For temporary files; the name of a socket has little room."""
    return tmp_path_factory.mktemp("t")


@pytest.fixture
def mine(tmp_path, room, monkeypatch) -> Path:
    """A repository whose second commit is slower; something in it is changed, and something unknown."""
    folder = tmp_path / "mine"
    folder.mkdir()
    git(folder, "init", "--quiet")
    commit(folder, suites__toy_yaml=SUITE, suites__working_py=METHOD.format(1), notes_txt="")
    commit(folder, suites__working_py=METHOD.format(2000))
    (folder / "notes.txt").write_text("changed")
    (folder / "unknown.txt").write_text("mine")
    monkeypatch.setattr("tempfile.tempdir", str(room))
    monkeypatch.setenv("TMPDIR", str(room))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(folder)
    return folder


def left(room) -> list[str]:
    return [path.name for path in room.glob("ditbench-ab-*")]


def without_neighbours(session):
    """As on a machine that nobody else uses: here the other tests do."""
    quiet = (
        dataclasses.replace(one, facts={k: v for k, v in one.facts.items() if k != "telemetry"})
        for one in session.records
    )
    return dataclasses.replace(session, records=tuple(quiet))


def test_the_slower_commit_is_found_and_the_checkout_stays_as_it_was(mine, tmp_path, room, capfd):
    before = traces(mine)
    suite = Path("suites/toy.yaml")
    a, b = (apart.source(said, suite) for said in ("git:HEAD~1", "git:HEAD"))
    path = tmp_path / "one.session.jsonl"
    session = apart.apart(apart.Asked(Choices(suite), a, b, path, most=5))
    assert traces(mine) == before
    assert left(room) == []
    (found,) = judge_session(without_neighbours(session))
    assert found.verdict == "regressed", found.reason
    assert found.duel
    assert found.duel.best > 1.6
    assert found.duel.witness
    sung = {one.facts["process"]: one for one in session.records if one.stage is Stage.CANARY}
    assert sorted(sung) == list(range(10))
    assert all(one.metrics["canary_matrix"] for one in sung.values())
    sides = [(one.facts["process"], one.facts["arm"]) for one in session.records[::3]]
    assert sides == list(enumerate("abbaabbaab"))
    commits = [arm.code["suite_commit"] for arm in session.arms]
    assert commits == [git(mine, "rev-parse", name) for name in ("HEAD~1", "HEAD")]
    err = capfd.readouterr().err
    assert "git:HEAD is commit" in err
    assert "1 files of" in err
    assert "the arms differ in suite_commit" in err


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


def test_run_confirm_measures_the_baselines_commit_beside_what_lies_here(
    mine, tmp_path, monkeypatch
):
    """The screen's two runs are planted: what is measured is the session."""
    suite = mine / "suites" / "toy.yaml"
    choices = Choices(suite, gpu="cpu")
    with session_of(choices) as (server, devices):
        (cell,) = plan_of(choices, server, devices[0]).runnable
    first, now = git(mine, "rev-parse", "HEAD~1"), environment.code_identity(suite)
    monkeypatch.setattr(environment, "code_identity", lambda _suite=None: now)
    records = [(gate(cell), *timed(cell, *[(s, s, s)] * 5)) for s in (0.1, 0.2)]
    then = {"suite_commit": first, "suite_dirty": False}
    kept = {name: now[name] for name in CODE}
    kept["dirty"] = False
    then_run = fake_run(*records[0], id="20261121-100000-aaaa", code=kept | then)
    now_run = fake_run(*records[1], id="20261122-100000-aaaa", code=now, folder=tmp_path)
    whole = apart.apart
    monkeypatch.setattr(
        confirming, "apart", lambda asked: whole(dataclasses.replace(asked, processes=1, most=1))
    )
    before = traces(mine)
    against = Against("main", then_run.id)
    asked = confirming.Confirmation(choices, tmp_path / "results", tmp_path)
    confirming.confirm_moved(asked, now_run, then_run, against)
    session = session_read(tmp_path / "confirm.session.jsonl")
    assert [arm.said for arm in session.arms] == [f"baseline main, run {then_run.id}", "."]
    assert [arm.code["suite_commit"] for arm in session.arms] == [first, now["suite_commit"]]
    assert session.pairs == ((cell, cell),)
    timed = [one for one in session.records if one.stage is Stage.TIME]
    times = [one for one in timed if "witness" not in one.facts]
    assert [(one.facts["arm"], one.status) for one in times] == [("a", "ok"), ("b", "ok")]
    assert {k: v for k, v in traces(mine).items() if "__pycache__" not in k} == before
