"""What a person reads who types too little."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer
from typer.core import TyperGroup

from ditbench.cli import app
from ditbench.cli.tree import PANELS, tree

ROOT = tree(app)


def verbs(group, before=()):
    for name, command in group.commands.items():
        yield (*before, name), command
        if isinstance(command, TyperGroup):
            yield from verbs(command, (*before, name))


VERBS = dict(verbs(ROOT))


def helped(*arguments):
    command = [sys.executable, "-m", "ditbench", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "80", "PATH": "", "TERM": "dumb"},
    )


def test_every_verb_stands_in_a_group():
    assert set(ROOT.commands) == {name for names in PANELS.values() for name in names}


def test_without_arguments_the_verbs_are_shown_in_their_groups():
    shown = helped()
    words = [word for panel, names in PANELS.items() for word in (f"─ {panel} ─", *names)]
    places = [shown.stdout.find(word) for word in words]
    assert -1 not in places
    assert [shown.stdout.index(f"─ {panel} ─") for panel in PANELS] == sorted(
        shown.stdout.index(f"─ {panel} ─") for panel in PANELS
    )


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_a_verb_says_in_a_sentence_what_it_does(verb):
    text = VERBS[verb].help or ""
    assert text.splitlines()[0].endswith(".")
    assert len(text.splitlines()[0]) <= 110


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_option_says_what_it_is_for(verb):
    context = typer.Context(VERBS[verb])
    silent = [param.name for param in VERBS[verb].get_params(context) if not param.help]
    assert silent == []


@pytest.mark.parametrize("verb", [(), ("run",), ("baseline", "set")], ids=" ".join)
def test_help_is_readable_at_eighty_columns(verb):
    shown = helped(*verb, "--help")
    assert shown.returncode == 0
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "<bool>" not in shown.stdout


def test_what_may_be_given_several_times_is_named_once():
    assert "[OPTIONS] {RUN}..." in helped("merge", "--help").stdout
