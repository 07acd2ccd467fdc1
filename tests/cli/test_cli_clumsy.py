"""A clumsy user: each slip is one clear line and the right exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from fakes_runs import PROVISIONAL, failures, fake_run, good_records
from suite.catalogs import CATALOG

from ditbench import plan, store
from ditbench.catalog import Inspection
from ditbench.cli import main
from ditbench.cli.preparing import _check_quick, _overrides
from ditbench.errors import UsageError
from ditbench.store import RunWriter
from ditbench.suite import parse

NAME = "name: x\nmodel: fashion-dit\nattention: softmax\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with one good run, one baseline of it, and one run with a torn line."""
    monkeypatch.chdir(tmp_path)
    with RunWriter.create(tmp_path / "results", fake_run()) as writer:
        for one in (*good_records((1,)), *failures()):
            writer.append(one)
        writer.finish()
    store.baseline_set(store.read(writer.folder), "good", tmp_path / "baselines", PROVISIONAL)
    with RunWriter.create(tmp_path / "results", fake_run()) as writer:
        for one in good_records((1,))[:7]:
            writer.append(one)
    with (writer.folder / "records.jsonl").open("ab") as file:
        file.write(b'{"torn')
    return tmp_path


def told(capsys, *arguments):
    """Exit code and the lines on stderr."""
    code = main(arguments)
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return code, err.strip().removeprefix("ditbench: ")


@pytest.mark.parametrize("run", [0, 1], ids=["damaged", "healthy with failures"])
@pytest.mark.parametrize(
    "verb",
    [
        ["show", "RUN"],
        ["claims", "RUN"],
        ["compare", "good", "RUN"],
        ["list"],
        ["baseline", "list"],
        ["baseline", "show", "good"],
    ],
    ids=" ".join,
)
def test_what_json_prints_is_json_by_the_letter(home, capsys, run, verb):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    name = store.runs(home / "results")[run].id
    main([*(name if word == "RUN" else word for word in verb), "--json"])
    assert isinstance(json.loads(capsys.readouterr().out, parse_constant=refuse), list)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "goood"], "nor a baseline of that name in baselines (did you mean 'good'?)"),
        (["compare", "zzz"], "nor a baseline of that name in baselines (good)"),
        (
            ["compare", "nosuch.jsonl"],
            "nosuch.jsonl: no such baseline; `ditbench baseline set nosuch",
        ),
        (["list", "--out", "afile"], "--out afile: is no folder"),
        (["list", "--out", "nosuch"], "--out nosuch: is no folder"),
        (["baseline", "list", "--baselines", "afile"], "--baselines afile: is no folder"),
        (["baseline", "list", "--baselines", "nosuch"], "--baselines nosuch: is no folder"),
        (["gc", "--pictures", "nan"], "--pictures nan: write a number of days, from 0"),
        (["gc", "--unfinished=-1"], "--unfinished -1.0: write a number of days, from 0"),
        (["show", "--out", "afile"], "afile: is no folder; `ditbench run"),
        (["show", "--out", "baselines"], "baselines: holds no run"),
        (["show", "../../etc"], "results: no run '../../etc'"),
        (["show", "x" * 5000], "File name too long"),
        (["report", "--to", "afile", "--baseline", "good"], "--to afile: cannot be made a folder"),
        (["report", "--baseline", "baselines"], "no run 'baselines'"),
        (["run", "baselines"], "baselines: a folder, and no suite"),
        (["run", "pipe"], "pipe: no file, and no suite"),
        (["run", "/dev/zero"], "/dev/zero: no file, and no suite"),
        (["baseline", "set", "../x"], "a name is letters, digits"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_slip_is_one_line_and_exit_2(home, capsys, arguments, words):
    (home / "afile").write_text("")
    os.mkfifo(home / "pipe")
    if arguments[0] == "run":
        with pytest.raises(UsageError, match=words):
            parse.read(home / arguments[1])
        return
    code, line = told(capsys, *arguments)
    assert code == 2
    assert words in line
    assert len(line.splitlines()) == 1


def test_a_pipe_in_place_of_records_is_not_waited_for(home, capsys):
    (folder,) = {entry.folder for entry in store.runs(home / "results")[:1]}
    (folder / "records.jsonl").unlink()
    os.mkfifo(folder / "records.jsonl")
    code, line = told(capsys, "show", folder.name)
    assert (code, line) == (2, f"{folder.relative_to(home)}/records.jsonl: is no file")


def test_a_run_behind_a_link_that_leads_nowhere_is_told(home, capsys):
    (folder,) = {entry.folder for entry in store.runs(home / "results")[:1]}
    (folder / "run.json").unlink()
    (folder / "run.json").symlink_to("nowhere")
    assert told(capsys, "show", folder.name)[0] == 2


def test_no_run_at_all_is_an_empty_list(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize("verb", [["show"], ["show", "--json"], ["list"], ["--version"]])
def test_output_that_goes_nowhere_is_told_and_a_reader_who_left_is_not(home, verb):
    command = [sys.executable, "-m", "ditbench", *verb]
    with open("/dev/full", "w") as full:  # noqa: PTH123 (a device)
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (
        2,
        "ditbench: standard output: No space left on device\n",
    )
    left = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {' '.join(command)} | true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (left.returncode, left.stderr) == (0, "")


def test_one_axis_set_twice_is_refused():
    with pytest.raises(UsageError, match="--set steps is given twice; write all values in one"):
        _overrides(("steps=1", "steps =2"))


@pytest.mark.parametrize("axis", ["timing.repeats", "timing.processes", "timing.warmup"])
def test_quick_and_another_number_of_repeats_are_refused_together(axis):
    with pytest.raises(UsageError, match=f"--quick decides {axis} itself: leave out one of the"):
        _check_quick({"steps": "1", axis: "2"})
    _check_quick({"steps": "1", "timing.timeout_s": "60"})


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("steps: [" + "1, " * 60_000 + "]", "more than 10,000 values"),
        ("# " + "x" * 2**18, "at most 262,144"),
    ],
)
def test_a_suite_that_is_no_page_of_text_is_refused_at_once(text, cause):
    started = time.process_time()
    with pytest.raises(UsageError, match=cause):
        parse.compose(NAME + text, "s.yaml")
    assert time.process_time() - started < 4


@pytest.mark.parametrize(
    ("pattern", "cause"),
    [
        ("(.+)+!", "searches for longer than 0.2 s: write it simpler"),
        ("(", "not a regular expression"),
        ("(" * 5000 + ")" * 5000, "not a regular expression"),
        ("a{99999999999}", "not a regular expression"),
    ],
    ids=["for ever", "open", "deep", "huge"],
)
def test_a_pattern_that_cannot_be_searched_for_is_told(monkeypatch, pattern, cause):
    monkeypatch.setattr(plan, "_SEARCH_S", 0.2)
    made = parse.parse("name: x\nmodel: small\nattention: softmax\n", "s.yaml", CATALOG)
    cells = plan.expand(made)
    with pytest.raises(UsageError, match=cause):
        plan.assemble(made, cells, [Inspection(cell.key) for cell in cells], pattern)
