"""`ditbench train FILE`: read a training file as strictly as a suite, train, show how it goes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ditbench.extractors import fashion_cnn
from ditbench.models.dit import DiT
from ditbench.registry import settings_of
from ditbench.suite.cursor import At, Problems
from ditbench.suite.kinds import kind_of
from ditbench.suite.parse import read as read_text
from ditbench.suite.yaml12 import Fields, Leaf, compose
from ditbench.train import dit, export, features


def train(file: Path, data: Path | None, out: Path, to: Path | None) -> None:
    """Train what the file says under out/<name>; write what ships to `to`, where given.

    Raises SuiteError with every mistake of the file, UsageError where the data is not there.
    """
    training = read(file)
    if data:
        training = dataclasses.replace(training, data=str(data))
    folder = out / training.name
    if isinstance(training, features.Features):
        say = Console(stderr=True).log
        print(features.train(training, to or folder, say))  # noqa: T201 (the result)
        return
    print(_train(training, folder))  # noqa: T201 (the result)
    if to:
        export.export(training, folder, to, file.as_posix())
        print(to)  # noqa: T201 (the result)


def read(file: Path) -> dit.Training | features.Features:
    """The training file, checked. Raises SuiteError with every mistake."""
    problems = Problems()
    root = At(compose(read_text(file), str(file)), "", problems)
    parts = root.node.fields if isinstance(root.node, Fields) else {}
    named = parts.get("model")
    small = isinstance(named, Leaf) and named.value == fashion_cnn.NAME
    kind = features.Features if small else dit.Training
    settings = {setting.name: setting for setting in settings_of(kind)}
    given = root.fields([*settings, "model"])
    for key in ("name", "model", "data"):
        if key not in given:
            root.wrong(f"{key!r} is missing")
    values = {
        name: kind_of(settings[name]).read(at) for name, at in given.items() if name != "model"
    }
    if not small and "model" in given:
        values["model"] = _model(given["model"])
    problems.tell()
    return kind(**values)


def _model(at: At) -> DiT | None:
    """`{name: dit, ...}`; noted and None where it cannot be built."""
    settings = {setting.name: setting for setting in settings_of(DiT)}
    given = at.fields(["name", *settings], "setting")
    if "name" in given:
        given.pop("name").word([DiT.name], "model")
    values = {name: kind_of(settings[name]).read(child) for name, child in given.items()}
    if None in values.values():
        return None
    made = DiT(**values)
    for problem in made.problems():
        at.wrong(problem)
    return made


def _train(training: dit.Training, folder: Path) -> Path:
    """With a progress bar on a terminal, and a line for each entry of the metrics elsewhere."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(training.name, total=training.steps)

        def show(line: dit.Progress) -> None:
            bar.update(task, completed=line.step, description=f"loss {line.loss:.4f}")
            if not console.is_terminal:
                console.print(
                    f"step {line.step}/{training.steps} loss {line.loss:.4f} {line.seconds:.0f} s",
                    highlight=False,
                )

        return dit.train(training, folder, show)
