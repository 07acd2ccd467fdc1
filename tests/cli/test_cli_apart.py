"""Arms that are commits or package sets, as a person names them, and those that cannot be had."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import fakes_scale
import pytest
from fakes_git import commit, git
from fakes_runs import CODE, cell, fake_run, gate, record, timed

from ditbench.cli import apart, main
from ditbench.cli.preparing import Choices
from ditbench.errors import USAGE, UnfitError, UsageError
from ditbench.records import Stage, Status
from ditbench.run import abroad


@pytest.fixture
def mine(tmp_path, monkeypatch) -> Path:
    """A repository whose first commit has no suite."""
    folder = tmp_path / "mine"
    folder.mkdir()
    git(folder, "init", "--quiet")
    commit(folder, plug_py="")
    commit(folder, toy_yaml="name: toy")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("a", "told"),
    [
        ("git:nosuch", "git:nosuch: no commit of that name in"),
        ("git:HEAD~1", "has no toy.yaml; name one that has, or commit the suite"),
        ("git:", "git:: no commit of that name in"),
        ("pip:--index-url=x", "write requirements as pip:torch==2.12.0,numpy>=2"),
        ("attention=sdpa", "an arm beside a commit or a package set is git:REV"),
    ],
)
def test_an_arm_that_is_none_is_one_line_and_makes_nothing(mine, capfd, tmp_path, a, told):
    out = tmp_path / "results" / "one.session.jsonl"
    assert main(["ab", "toy.yaml", "--a", a, "--b", "git:HEAD", "--out", str(out)]) == USAGE
    (line,) = capfd.readouterr().err.splitlines()
    assert told in line
    assert not out.parent.exists()


def test_a_suite_in_no_repository_has_no_commits(tmp_path):
    with pytest.raises(UsageError, match="lies in no git repository"):
        apart.source("git:HEAD", tmp_path / "toy.yaml")


def test_what_has_changed_since_is_said_to_be_no_part_of_the_commit(mine, capfd):
    (mine / "toy.yaml").write_text("name: other")
    found = apart.source("git:HEAD", mine / "toy.yaml")
    assert found.commits == {mine: git(mine, "rev-parse", "HEAD")}
    assert "what has changed since in 1 files" in capfd.readouterr().err
    git(mine, "checkout", "--quiet", "--", ".")
    apart.source("git:HEAD", mine / "toy.yaml")
    assert capfd.readouterr().err == ""


@pytest.fixture
def asked(mine, tmp_path):
    suite = mine / "toy.yaml"
    here = apart.Source(".")
    return apart.Asked(Choices(suite), here, here, tmp_path / "one.session.jsonl", processes=2)


def test_a_commit_of_before_there_were_turns_is_measured_by_its_run(asked, monkeypatch, capfd):
    """A cell that fails its gate there is a record too."""
    commands = []

    def ran(command, folder, environ, log):
        commands.append(command[1:])
        if "ditbench.cli.turn" in command:
            log.write_text(f"{command[0]}: No module named ditbench.cli.turn\n")
            return 1
        sound, broken = cell("sdpa"), cell("monarch")
        failed = record(broken, Stage.GATE, status=Status.FAILED_GATE, reason="lies 1.02 away")
        records = (gate(sound), *timed(sound, (0.1, 0.1)), failed)
        fakes_scale.write(Path(command[command.index("--out") + 1]), fake_run(*records))
        return 3

    monkeypatch.setattr(abroad, "ran", ran)
    session = apart.apart(asked)
    assert [command[1] for command in commands[:4]] == [
        "ditbench.cli.turn", "ditbench", "ditbench.cli.turn", "ditbench",
    ]  # fmt: skip
    assert all(command[1] == "ditbench" for command in commands[4:])
    assert "timing.processes=1" in commands[1]
    assert [(one.facts["arm"], one.facts["process"], one.status) for one in session.records] == [
        ("a", 0, "failed gate"), ("a", 0, "ok"), ("b", 1, "failed gate"), ("b", 1, "ok"),
        ("b", 2, "failed gate"), ("b", 2, "ok"), ("a", 3, "failed gate"), ("a", 3, "ok"),
    ]  # fmt: skip
    assert {one.stage for one in session.records} == {Stage.TIME}
    assert dict(session.arms[0].code) == CODE
    err = capfd.readouterr().err
    assert err.count("its ditbench takes no turns: measured by its `run`") == 2


@pytest.mark.parametrize(("code", "kind"), [(2, UsageError), (6, UnfitError)])
def test_an_arm_that_does_not_start_says_why_in_its_own_words(asked, monkeypatch, code, kind):
    def ran(_command, _folder, _environ, log):
        log.write_text("loading\nditbench: toy.yaml:1:1: model is missing\n")
        return code

    monkeypatch.setattr(abroad, "ran", ran)
    with pytest.raises(kind, match=rf"^\.: exit {code}: loading; toy.yaml:1:1: model is missing$"):
        apart.apart(asked)
    assert not asked.path.exists()


def test_a_file_that_is_there_is_told_before_anything_runs(asked):
    asked.path.touch()
    with pytest.raises(UsageError, match="is there already"):
        apart.apart(asked)
    assert asked.path.read_text() == ""


def test_a_turn_is_asked_for_in_a_file(asked, monkeypatch):
    seen = []

    def ran(command, _folder, _environ, log):
        seen.append((command[0], json.loads(Path(command[3]).read_text())))
        log.touch()
        return 2

    monkeypatch.setattr(abroad, "ran", ran)
    with pytest.raises(UsageError, match="it said nothing"):
        apart.apart(asked)
    ((python, request),) = seen
    assert python == sys.executable
    assert request["suite"] == str(asked.choices.suite)
    assert (request["number"], request["ids"]) == (0, [])
