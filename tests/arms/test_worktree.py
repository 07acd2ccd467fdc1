"""A commit in a folder of its own: the checkout it came from stays as it was, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fakes_git import commit, git, repository, traces

from ditbench import arms
from ditbench.errors import UsageError


@pytest.fixture
def mine(tmp_path, monkeypatch) -> Path:
    """A repository, and a temporary folder beside it."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return repository(tmp_path / "mine")


def of(folder: Path) -> arms.Repository:
    found = arms.Repository.of(folder)
    assert found
    return found


def test_a_commit_is_written_elsewhere_and_nothing_of_it_stays(mine, tmp_path):
    before = traces(mine)
    here = of(mine / "suite.yaml")
    with arms.den() as den, arms.worktree(here, here.commit("HEAD~1"), den / "one") as tree:
        assert (tree / "suite.yaml").read_text() == "first"
        assert not (tree / "unknown.txt").exists()
        assert mine not in tree.parents
    assert traces(mine) == before
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not (mine / ".git" / "worktrees").exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_goes_wrong_meanwhile_leaves_nothing_either(mine, error):
    before = traces(mine)
    here = of(mine)
    with (
        pytest.raises(error),
        arms.den() as den,
        arms.worktree(here, here.commit("HEAD"), den / "one"),
    ):
        raise error
    assert traces(mine) == before


def test_neither_hooks_nor_the_variables_of_one_reach_it(mine, monkeypatch):
    hook = mine / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {mine}/was-here\n")
    hook.chmod(0o755)
    before = traces(mine)
    monkeypatch.setenv("GIT_DIR", str(mine / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(mine / ".git" / "index"))
    here = of(mine)
    with arms.den() as den, arms.worktree(here, here.commit("HEAD~1"), den / "one") as tree:
        assert (tree / "plug.py").read_text() == "WHICH = 'first'"
    monkeypatch.undo()
    assert traces(mine) == before


KILLED = """
import sys, time
from pathlib import Path
from ditbench import arms
here = arms.Repository.of(Path(sys.argv[1]))
with arms.den() as den, arms.worktree(here, here.commit("HEAD~1"), den / "one") as tree:
    print(tree, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(mine):
    """Another session that is in the middle of its work, and its worktree."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(mine)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    assert process.stdin
    assert process.stdout
    with process:
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_what_a_killed_session_left_goes_when_the_next_begins(mine, other):
    process, tree = other
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tree / "plug.py").exists()
    of(mine).clear()
    assert not tree.parent.exists()
    assert not (mine / ".git" / "worktrees").exists()


def test_what_it_left_is_forgotten_too_where_its_folder_is_gone_already(mine, other):
    process, tree = other
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(["rm", "-rf", str(tree.parent)], check=True)
    of(mine).clear()
    assert not (mine / ".git" / "worktrees").exists()


def test_a_session_that_goes_on_is_left_alone(mine, other):
    _process, tree = other
    of(mine).clear()
    assert (tree / "plug.py").exists()
    here = of(mine)
    with arms.den() as den, arms.worktree(here, here.commit("HEAD"), den / "one") as second:
        assert second.exists()
    assert (tree / "plug.py").exists()
    assert str(tree) in git(mine, "worktree", "list")


def test_worktrees_of_people_are_never_touched(mine, tmp_path):
    """Not even one whose disk is not mounted now, which `git worktree prune` would forget."""
    there = tmp_path / "their own"
    git(mine, "worktree", "add", "--quiet", "-b", "theirs", str(there))
    there.rename(tmp_path / "unmounted")
    before = traces(mine)
    here = of(mine)
    here.clear()
    with arms.den() as den, arms.worktree(here, here.commit("HEAD"), den / "one"):
        pass
    assert traces(mine) == before


def test_a_commit_that_is_not_here_is_one_line(mine, tmp_path):
    with pytest.raises(UsageError, match=r"git:nosuch: no commit of that name in .*/mine;"):
        of(mine).commit("nosuch")
    commit(mine, plug_py="third")
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{mine}", "shallow")
    with pytest.raises(UsageError, match=r"whole history .`git fetch --unshallow`"):
        of(tmp_path / "shallow").commit("HEAD~1")


def test_a_folder_of_no_repository_has_none(tmp_path):
    assert arms.Repository.of(tmp_path) is None


def test_changes_are_counted_as_git_does(mine):
    assert of(mine).changed == 1
    git(mine, "checkout", "--", "plug.py")
    assert of(mine).changed == 0


def test_no_room_for_a_folder_is_one_line(mine, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "no such folder"))
    with pytest.raises(UsageError, match="set TMPDIR to another folder"), arms.den():
        pass
