"""`ditbench train FILE`: read a training file as strictly as a suite, train, show how it goes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ditbench.errors import UsageError
from ditbench.models import fashion_cnn
from ditbench.models.dit import DiT
from ditbench.registry import settings_of
from ditbench.suite import values, yaml12
from ditbench.suite.problems import Problems
from ditbench.train import dit, export, features

_OWN = {"name", "model", "data"}


def command(file: Path, data: Path | None, out: Path, to: Path | None) -> None:
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
    """The training file, checked."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read: {error}") from error
    problems = Problems()
    node = yaml12.read(text, str(file), problems)
    known = {
        field.name
        for kind in (dit.Training, features.Features)
        for field in dataclasses.fields(kind)
    }
    given = values.fields(node, "", known, problems, required=_OWN)
    problems.end()
    model = given["model"]
    small = isinstance(model, yaml12.Leaf) and model.value == fashion_cnn.NAME
    kind = features.Features if small else dit.Training
    settings = {setting.name: setting for setting in settings_of(kind)}
    read: dict[str, object] = {}
    for name, child in given.items():
        if name == "model":
            continue
        if name not in settings:
            problems.add(
                child.place, name, f"not a setting of this training{values.hint(name, settings)}"
            )
            continue
        read[name] = values.scalar(child, name, settings[name], problems)
    if not small:
        read["model"] = _model(model, problems)
    problems.end()
    return kind(**read)  # type: ignore[arg-type]  # every value was checked against its setting


def _model(node: yaml12.Node, problems: Problems) -> DiT:
    name = settings_of(_Named)
    given = values.plain(node, "model", (*name, *settings_of(DiT)), problems)
    if given.pop("name", "dit") != "dit":
        problems.add(
            node.place, "model.name", "only `dit` can be trained, and the word fashion_cnn"
        )
    architecture = DiT(**given)  # type: ignore[arg-type]  # every value was checked against its setting
    for problem in architecture.problems():
        problems.add(node.place, "model", problem)
    return architecture


@dataclasses.dataclass(frozen=True)
class _Named:
    name: str = "dit"


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
