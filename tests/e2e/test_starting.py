"""Before the first run: a suite to begin with, and a schema for editors."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(scope="module")
def written(shell):
    return shell("init", "mine.yaml", "--schema", "--attention", "monarch,xformers")


def test_a_first_suite_is_written_and_named(shell, written):
    assert (written.code, written.out) == (0, "mine.yaml\n")
    text = (shell.folder / "mine.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=ditbench.schema.json\n")
    assert "name: mine " in text


def test_it_passes_the_plan_as_it_is_with_softmax_to_judge_by(shell, written):
    found = json.loads(shell.again("plan", "mine.yaml", "--json").out)
    status = {row["attention"]: row["status"] for row in found}
    assert status == {"softmax": "will run", "monarch": "will run", "xformers": "unsupported"}


def test_it_runs_here(shell, written):
    ended = shell.again("run", "mine.yaml", "--quick", "--set", "steps=1", "-k", "monarch")
    assert ended.code == 0, ended.err


def test_nothing_is_overwritten(shell, written):
    before = (shell.folder / "mine.yaml").read_text()
    again = shell.again("init", "mine.yaml")
    assert again.code == 2
    assert again.err == "ditbench: mine.yaml is there already: name another file\n"
    assert (shell.folder / "mine.yaml").read_text() == before


def test_a_method_that_cannot_be_imported_is_one_line(shell):
    ended = shell.again("init", "other.yaml", "--attention", "no.such:Method")
    assert ended.code == 2
    assert "attention method 'no.such:Method': there is no module 'no.such'" in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not (shell.folder / "other.yaml").exists()


def test_the_schema_on_stdout_is_the_one_beside_the_suite(shell, written):
    printed = json.loads(shell.again("schema").out)
    assert printed == json.loads((shell.folder / "ditbench.schema.json").read_text())
    assert printed["$schema"].endswith("2020-12/schema")


def test_a_method_in_a_file_of_the_working_folder_is_told_in_full(shell):
    text = "from ditbench.attention.linear import Linear\n"
    (shell.folder / "lying_here.py").write_text(text)
    ended = shell.again("methods", "lying_here:Linear")
    assert ended.code == 0, ended.err
    assert "arXiv 2006.16236" in ended.out
