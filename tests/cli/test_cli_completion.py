"""What Tab offers, asked as the shells ask: through the environment."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ditbench.cli import completion, main


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    for run in ("20260102T030405-aaaa", "20260203T040506-bbbb"):
        (folder / "results/mine" / run).mkdir(parents=True)
        (folder / "results/mine" / run / "run.json").touch()
    (folder / "results/mine/no-run").mkdir()
    (folder / "elsewhere/other/20250101T000000-cccc").mkdir(parents=True)
    (folder / "elsewhere/other/20250101T000000-cccc/run.json").touch()
    (folder / "baselines").mkdir()
    (folder / "baselines/nightly.jsonl").touch()
    (folder / "suites/gpu").mkdir(parents=True)
    (folder / "suites/quick.yaml").touch()
    (folder / "suites/notes.txt").touch()
    return folder


@pytest.fixture
def ask(home, monkeypatch, capsys):
    """What the command prints for a shell."""

    def asked(**environ):
        monkeypatch.chdir(home)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit):
            main([])
        return capsys.readouterr().out

    return asked


@pytest.fixture
def bash(ask):
    def asked(*words):
        line = " ".join(("ditbench", *words))
        place = str(len(words))
        shown = ask(_DITBENCH_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=place)
        return shown.split()

    return asked


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["sho"], ["show"]),
        (["show", ""], ["20260203T040506-bbbb", "20260102T030405-aaaa", "latest"]),
        (["show", "--out", "elsewhere", "2"], ["20250101T000000-cccc"]),
        (["run", "x.yaml", "--resume", "202602"], ["20260203T040506-bbbb"]),
        (["compare", "n"], ["nightly"]),
        (["baseline", "show", ""], ["nightly"]),
        (["run", "suites/"], ["suites/quick.yaml", "suites/gpu/"]),
        (["plan", "sui"], ["suites/"]),
        (["init", "--attention", "softmax,mon"], ["softmax,monarch"]),
        (["plan", "x.yaml", "--set", "timing.re"], ["timing.repeats="]),
    ],
    ids=" ".join,
)
def test_bash_is_offered_what_fits(bash, words, offered):
    assert bash(*words) == offered


def test_zsh_and_fish_are_offered_the_same(ask):
    zsh = ask(_DITBENCH_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="ditbench baseline show n")
    assert "nightly" in zsh
    fish = ask(
        _DITBENCH_COMPLETE="complete_fish",
        _TYPER_COMPLETE_ARGS="ditbench show lat",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert fish.split() == ["latest"]


def test_where_nothing_is_there_nothing_is_offered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert completion.yaml_files("no/such/") == []
    assert completion.yaml_files("\0") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_be_given_its_script(ask, shell):
    assert f"_DITBENCH_COMPLETE=complete_{shell}" in ask(_DITBENCH_COMPLETE=f"source_{shell}")


def test_tab_waits_for_no_heavy_import(home):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ditbench"],
        cwd=home,
        env={
            **os.environ,
            "_DITBENCH_COMPLETE": "complete_bash",
            "COMP_WORDS": "ditbench plan x.yaml --set ste",
            "COMP_CWORD": "4",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.stdout == "steps=\n"
    assert "ditbench.suite.overrides" in imported
    assert not imported & {"torch", "diffusers", "pandas", "altair"}


def test_the_methods_on_offer_are_those_of_the_catalogue():
    from ditbench.measure.catalog import catalog

    assert set(completion.methods("")) == set(catalog().methods)
    assert set(completion.extractors("")) == set(catalog().extractors)
