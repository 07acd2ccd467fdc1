"""`ditbench profile`: where the time of one cell goes. No record comes of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ditbench import errors, units
from ditbench.cli import output
from ditbench.cli.options import RESULTS, Gpu, Out, Select, Set, SuiteFile

if TYPE_CHECKING:
    from ditbench.plan import Plan
    from ditbench.records import Cell

_SHOWN = 5  # cells that are named where too many match


def add_to(app: typer.Typer) -> None:
    """Register this verb."""
    app.command("profile")(profile)


def profile(
    suite: SuiteFile,
    select: Select = "",
    set_: Set = None,
    gpu: Gpu = None,
    out: Out = RESULTS,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="DIR", help="Where to write; default: a new folder in profiles."
        ),
    ] = None,
) -> int:
    """Trace a few warm steps, or calls, of one cell with torch's profiler: shares, and no record."""
    from ditbench.cli.preparing import Choices, folder_of, plan_of, session_of
    from ditbench.jobs import Job
    from ditbench.records import Stage, Status

    choices = Choices(suite, select, tuple(set_ or ()), gpu=gpu)
    with session_of(choices) as (server, (device, *_)):
        planned = plan_of(choices, server, device)
        cell = _one(planned, select)
        folder = folder_of(to, out / "profiles", cell)
        timing, quality = planned.suite.timing, planned.suite.quality
        job = Job(cell, Stage.TIME, 0, timing, quality, (), device.name, folder)
        profiler = dataclasses.replace(server, measure=_instrument(cell))
        findings = profiler.run_job(job, folder / "worker.log").findings
    if findings.status is not Status.OK:
        log = "" if "log: " in findings.reason else f"; log: {folder / 'worker.log'}"
        raise CellFailedError(f"{cell.id}: {findings.status}: {findings.reason}{log}")
    _show(cell, findings.facts)
    return errors.OK


class CellFailedError(errors.DitbenchError):
    """The cell did not get to its end."""

    exit_code = errors.CELLS_FAILED


def _instrument(cell: Cell) -> str:
    """What a worker does with it."""
    return f"ditbench.measure.{'op_profiling' if cell.op else 'profiling'}:measure"


def _one(planned: Plan, select: str) -> Cell:
    cells = planned.runnable
    if len(cells) == 1:
        return _that_can_be_traced(cells[0])
    named = "\n".join(f"  {cell.id}" for cell in cells[:_SHOWN])
    more = f"\n  and {len(cells) - _SHOWN} more" if len(cells) > _SHOWN else ""
    raise errors.UsageError(
        f"-k {select!r} matches {len(cells)} cells, and one is profiled at a time:\n{named}{more}"
    )


def _that_can_be_traced(cell: Cell) -> Cell:
    if cell.finds_batch:
        raise errors.UsageError("batch_size: max is a search: name one, as with --set batch_size=8")
    return cell


def _show(cell: Cell, facts: Any) -> None:  # noqa: ANN401 (what the worker found)
    total = facts["total_s"]
    print(cell.id)
    what = f"{facts['calls']} warm calls" if cell.op else f"{facts['steps']} warm steps"
    output.table(
        f"{what} on {facts['on']}",
        ["operator", "calls", "self time", "share"],
        (
            [name, f"{calls:,}", units.seconds(seconds), units.percent(seconds / total)]
            for name, calls, seconds in facts["top"]
        ),
    )
    if "core_s" in facts:
        core, projections = (
            units.percent(facts[part] / total) for part in ("core_s", "projections_s")
        )
        print(f"attention core {core}, its projections {projections} of the profiled time")
    elif not cell.op:
        print("the cell is compiled: what belongs to attention cannot be told apart")
    print("a profiler slows what it watches: these are shares, not speeds")
    size = units.size(facts["bytes"])
    print(f"open in https://ui.perfetto.dev, which keeps it on your machine ({size}):")
    print(facts["trace"])
