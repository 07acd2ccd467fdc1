"""`ditbench train FILE`: check all of it, train arm by arm, show how it goes, set the arms side by side."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ditbench import errors
from ditbench.devices.processes import die_with_parent
from ditbench.errors import UnfitError, UsageError
from ditbench.registry import did_you_mean
from ditbench.store.lock import locked
from ditbench.train import data as pictures
from ditbench.train import export, features, loop, network, showing, table, team
from ditbench.train.file import read
from ditbench.train.spec import Arm, Training
from ditbench.train.state import Step

DEVICES = ("cpu", "cuda")
_STARTED_BY = "DITBENCH_TRAINS_FOR"  # the id of the process that goes on with the next arm


@dataclass(frozen=True)
class Asked:
    """What the command line says. arm: only that one. export: where to write what ships."""

    file: Path
    data: Path | None
    out: Path
    export: Path | None = None
    arm: str = ""
    device: str = ""

    def again(self, arm: str) -> list[str]:
        """The command line of one arm of this."""
        words = ["train", str(self.file), "--out", str(self.out)]
        for option, value in (("data", self.data), ("arm", arm), ("device", self.device)):
            words += [f"--{option}", str(value)] if value else []
        return words


def train(asked: Asked) -> int:
    """Train what the file says under out/<name>; the exit code.

    Raises SuiteError with every mistake of the file, UsageError where what it names is not there.
    """
    training = read(asked.file)
    if asked.data:
        training = dataclasses.replace(training, data=str(asked.data))
    if isinstance(training, features.Features):
        say = Console(stderr=True).log
        print(features.train(training, asked.export or asked.out / training.name, say))  # noqa: T201 (the result)
        return errors.OK
    arms = _chosen(training, asked)
    device = _device(asked.device, training)
    loop.settle(torch.device(device))
    if not (team.is_member() or _is_started()):
        _check(training, arms, device)
    if len(arms) > 1:
        return _each(training, arms, asked)
    return _one(training, arms[0], asked, device)


def _chosen(training: Training, asked: Asked) -> tuple[Arm, ...]:
    if asked.export and len(training.arms) > 1:
        raise UsageError("--export: a file with arms ships nothing: write a file with model:")
    if not asked.arm:
        return training.arms
    names = [arm.name for arm in training.arms if arm.name]
    if asked.arm not in names:
        known = did_you_mean(asked.arm, names) or f" (known: {', '.join(names) or 'none'})"
        raise UsageError(f"--arm: {asked.file} has no arm {asked.arm!r}{known}")
    return tuple(arm for arm in training.arms if arm.name == asked.arm)


def _device(named: str, training: Training) -> str:
    """Where to train, or the reason why not there."""
    device = named or ("cuda" if torch.cuda.is_available() else "cpu")
    if device not in DEVICES:
        raise UsageError(f"--device: {device!r} is neither cpu nor cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UnfitError("--device cuda: torch sees no GPU: give --device cpu")
    if device == "cpu" and training.precision == "float16":
        raise UsageError("precision: float16 needs a GPU: write float32, or bfloat16")
    return device


def _check(training: Training, arms: tuple[Arm, ...], device: str) -> None:
    """What would fail hours later fails now: data, extractor, and weights that cannot learn."""
    if doubt := showing.facts(training).get("doubt"):
        _warn(f"quality: {doubt}")
    real = pictures.load(training)
    showing.check(training, real.dataset.shape)
    if device == "cpu" and training.precision == "bfloat16":
        _warn("precision: bfloat16 on a CPU without units for it is some twenty times slower")
    for arm in arms:
        network.try_out(arm, torch.device(device), training.precision)
        network.placement(arm, torch.device(device), training.batch_size, training.precision)


def _each(training: Training, arms: tuple[Arm, ...], asked: Asked) -> int:
    """Each arm in a process of its own: its memory is nobody else's, and what one leaves none inherits.

    An arm that fails does not keep the others from being trained.
    """
    folder, codes = asked.out / training.name, set()
    environment = {**os.environ, _STARTED_BY: str(os.getpid())}
    for arm in arms:
        words = [sys.executable, "-m", "ditbench", *asked.again(arm.name)]
        code = subprocess.run(words, env=environment, check=False).returncode
        codes.add(errors.CELLS_FAILED if code not in {errors.OK, errors.USAGE} else code)
        if code == errors.INTERRUPTED:
            return code
    written = table.write(training, folder)
    print(written)  # noqa: T201 (the result)
    return errors.first_of(codes)


def _is_started() -> bool:
    """Whether the process that trains arm after arm has checked everything, and waits for this one."""
    return os.environ.get(_STARTED_BY) == str(os.getppid())


def _one(training: Training, arm: Arm, asked: Asked, device: str) -> int:
    """Train an arm in this process, or in several that this one starts."""
    if _is_started():
        die_with_parent()
    folder = asked.out / training.name / arm.name
    folder.mkdir(parents=True, exist_ok=True)
    if training.processes > 1 and not team.is_member():
        with locked(folder):
            code = team.start(training.processes, asked.again(arm.name))
        return _beside_others(training, arm, asked) or code
    here = team.join(device)
    if not here.leads:
        loop.train(training, arm, folder, here)
        return errors.OK
    with _held(folder), _shown(training, arm) as show:
        path = loop.train(training, arm, folder, here, show)
    print(path)  # noqa: T201 (the result)
    _beside_others(training, arm, asked)
    if asked.export:
        export.export(training, folder, asked.export, asked.file.as_posix())
        print(asked.export)  # noqa: T201 (the result)
    return errors.OK


def _beside_others(training: Training, arm: Arm, asked: Asked) -> int:
    """The table anew, with an arm that was trained alone; who started this one writes it otherwise."""
    if arm.name and not _is_started() and not team.is_member():
        table.write(training, asked.out / training.name)
    return errors.OK


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """One writer a folder; of a team, the process that started it holds it."""
    if team.is_member():
        yield
        return
    with locked(folder):
        yield


@contextmanager
def _shown(training: Training, arm: Arm) -> Iterator[loop.OnStep]:
    """A progress bar on a terminal, and a line for each entry of steps.csv elsewhere."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    name = arm.name or training.name
    with bar:
        task = bar.add_task(name, total=None)

        def show(line: Step, total: int) -> None:
            told = f"{name}: loss {line.loss:.4f}"
            bar.update(task, completed=line.step, total=total, description=told)
            if not console.is_terminal:
                step = f"{name}: step {line.step}/{total} loss {line.loss:.4f} {line.seconds:.0f} s"
                console.print(step, highlight=False)

        yield show


def _warn(text: str) -> None:
    Console(stderr=True).print(f"warning: {text}", style="yellow", highlight=False, markup=False)
