"""The verb that makes pictures and judges none: sample."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench import errors
from ditbench.cli import completion, output
from ditbench.cli.measuring import measure
from ditbench.cli.options import RESULTS, Gpu, Out, Quick, Select, Set, SuiteFile
from ditbench.cli.preparing import Choices, plan_of, session_of

if TYPE_CHECKING:
    from ditbench.plan import Plan
    from ditbench.store import Run
    from ditbench.store.pictures import Shards

_UNSAFE = re.compile(r"[^A-Za-z0-9._]+")


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command("sample")(sample)


def sample(
    suite: SuiteFile,
    select: Select = "",
    set_: Set = None,
    quick: Quick = False,
    gpu: Gpu = None,
    resume: Annotated[
        str,
        typer.Option(
            "--resume",
            metavar="RUN",
            help="Go on with a run, or export the pictures of one that has ended.",
            autocompletion=completion.runs,
        ),
    ] = "",
    npz: Annotated[
        Path | None,
        typer.Option(
            "--npz", metavar="DIR", help="Write each method's as one arr_0, for ADM's evaluator."
        ),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option("--png", metavar="DIR", help="Write each method's as a folder of PNG files."),
    ] = None,
    out: Out = RESULTS,
) -> int:
    """Make a suite's pictures and judge none; `run --resume` goes on from there."""
    choices = Choices(suite, select, tuple(set_ or ()), quick, gpu)
    with session_of(choices) as (server, devices):
        planned = plan_of(choices, server, devices[0])
        _check_asked(planned)
        folder = measure(planned, server, devices, out, resume, pictures=True)
    return errors.first_of(set(_told(planned, folder, npz, png)))


def _check_asked(planned: Plan) -> None:
    """Raises UsageError where no picture would come of it."""
    suite = planned.suite
    if not suite.quality.samples:
        raise errors.UsageError(
            f"{suite.path}: quality.samples is 0, so there are no pictures to make: write how many, or "
            "--set quality.samples=256"
        )
    if all(cell.finds_batch or cell.op for cell in planned.runnable):
        raise errors.UsageError(
            f"{suite.path}: no cell makes pictures: attention cores by themselves have none, nor have cells "
            "whose batch size is max"
        )


@dataclass(frozen=True)
class _Set:
    """One method's pictures, or why there are none. name: a file's."""

    said: str
    name: str
    shards: Shards | None = None
    reason: str = ""


def _told(planned: Plan, folder: Path, npz: Path | None, png: Path | None) -> Iterator[int]:
    """Say on stdout where pictures lie, one line a method; the exit code of each."""
    from ditbench import store
    from ditbench.store.exporting import export_npz, export_png

    for one in _sets(planned, store.read(folder)):
        if one.shards is None:
            output.warn(f"{one.said}: {one.reason}")
            yield errors.CELLS_FAILED
            continue
        count = f"{one.shards.count} pictures of {one.said}"
        if npz is None and png is None:
            print(f"{one.shards.folder}: {count}")
        if npz is not None:
            yield _exported(export_npz, one.shards, npz / f"{one.name}.npz", count)
        if png is not None:
            yield _exported(export_png, one.shards, png / one.name, count)
        yield errors.OK


def _exported(write: Callable[[Shards, Path], None], shards: Shards, to: Path, count: str) -> int:
    """What cannot be exported is told, and hides no other."""
    try:
        write(shards, to)
    except errors.StoreError as error:
        output.warn(str(error))
        return errors.USAGE
    print(f"{to}: {count}")
    return errors.OK


def _sets(planned: Plan, run: Run) -> Iterator[_Set]:
    """Every method's pictures, in the order in which they were made."""
    from ditbench.records import Stage, Status
    from ditbench.run.display import short_names
    from ditbench.run.order import pictures_of
    from ditbench.store.pictures import Shards
    from ditbench.store.shelf import folder_of

    pictures = run.folder / "images"
    jobs = pictures_of(planned.runnable, planned.suite, "", pictures)
    cells = {job.cell.quality_key: job.cell for job in jobs if job.stage is Stage.SAMPLE}
    names = short_names(cells)
    failed = {
        record.cell.quality_key: record.reason
        for record in reversed(run.records)
        if record.stage in {Stage.GATE, Stage.SAMPLE} and record.status is not Status.OK
    }
    made = Counter(
        one.key for one in run.records if one.stage is Stage.SAMPLE and one.status is Status.OK
    )
    for key, cell in cells.items():
        if made[key] < len(planned.suite.quality.shards):
            yield _Set(names[key], "", reason=failed.get(key, "its pictures were not all made"))
            continue
        shards = Shards.open(folder_of(pictures, cell))
        safe = _UNSAFE.sub("-", names[key]).strip("-.")[:80]
        yield _Set(names[key], f"{safe}-{shards.count}-{shards.key}", shards)
