"""The verbs in the order in which people need them, and in groups: what `--help` and the docs show."""

from __future__ import annotations

import typing

import typer
from typer.core import TyperCommand, TyperGroup

_Command = TyperCommand | TyperGroup

PANELS = {
    "Measure": (
        "run",
        "ab",
        "noise",
        "sample",
        "plan",
        "doctor",
        "profile",
        "draw",
        "trace",
        "train",
        "train-policy",
        "stats",
    ),
    "Read": ("show", "report", "compare", "claims", "list", "export"),
    "Keep": ("baseline", "merge", "migrate", "gc"),
    "Help": ("init", "methods", "accelerators", "models", "extractors", "schema"),
}


def tree(app: typer.Typer) -> TyperGroup:
    """The command with all verbs; one that stands in no group comes first, under "Commands"."""
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)  # noqa: S101 (an app with several verbs is a group)
    for panel, names in PANELS.items():
        for name in names:
            root.commands[name].rich_help_panel = panel  # type: ignore[attr-defined]  # typer's verbs have it
            root.commands[name] = root.commands.pop(name)
    _quieten(root)
    return root


def _quieten(command: _Command, parent: typer.Context | None = None) -> None:
    """A flag takes nothing: typer would show `<bool>` beside it."""
    context = typer.Context(command, parent=parent, **command.context_settings)
    for param in command.get_params(context):
        if getattr(param, "is_flag", False):
            param.metavar = ""
    for inner in command.commands.values() if isinstance(command, TyperGroup) else ():
        _quieten(typing.cast("_Command", inner), context)
