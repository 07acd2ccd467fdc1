"""`ditbench draw`: the attention matrix that each method implies, side by side. No record comes of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench import errors, units
from ditbench.cli import output
from ditbench.cli.options import RESULTS, Gpu, Out, Select, Set, SuiteFile

if TYPE_CHECKING:
    from ditbench.jobs import Drawn, Matrix
    from ditbench.plan import Plan
    from ditbench.records import Cell, Choice


def add_to(app: typer.Typer) -> None:
    """Register this verb."""
    app.command("draw")(draw)


def draw(
    suite: SuiteFile,
    select: Select = "",
    set_: Set = None,
    block: Annotated[int, typer.Option("--block", metavar="N", help="Of the model, from 0.")] = 0,
    head: Annotated[int, typer.Option("--head", metavar="N", help="Of the block, from 0.")] = 0,
    step: Annotated[
        int | None,
        typer.Option(
            "--step", metavar="N", help="Of the sampling run, from 0; default: the middle one."
        ),
    ] = None,
    gpu: Gpu = None,
    out: Out = RESULTS,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="DIR", help="Where to write; default: a new folder in matrices."
        ),
    ] = None,
) -> int:
    """Draw the attention matrix that each method implies (V = I) at one block and head, on one page."""
    from ditbench.cli.preparing import Choices, folder_of, plan_of, session_of
    from ditbench.jobs import Asked
    from ditbench.report import matrices

    choices = Choices(suite, select, tuple(set_ or ()), gpu=gpu)
    with session_of(choices) as (server, (device, *_)):
        planned = plan_of(choices, server, device)
        cell = _softmax(planned, select)
        asked = Asked(cell, _methods(planned, cell), block, head, _step(step, cell))
        folder = folder_of(to, out / "matrices", cell)
        drawn = server.call(
            "ditbench.measure.implied:matrices",
            asked,
            device.name,
            device=device.name,
            alone=True,
            timeout_s=planned.suite.timing.timeout_s.gate,
            hear=output.warn,
        )
    refused = _refused(planned, cell)
    page = matrices.render(asked, drawn, refused, folder)
    _show(asked.cell, drawn)
    for label, reason in refused:
        print(f"not drawn: {label}: {reason}")
    print(page)
    return errors.CELLS_FAILED if any(one.failure for one in drawn.matrices) else errors.OK


def _softmax(planned: Plan, select: str) -> Cell:
    """The first cell of softmax, at batch size 1. Raises UsageError where there is none to draw."""
    cells = [cell for cell in planned.runnable if cell.family == "softmax"]
    if not cells:
        hint = f": write -k 'softmax|{select}'" if select else ", and this suite has none"
        raise errors.UsageError(
            f"no cell of softmax is left, whose q and k every method is given{hint}"
        )
    if cells[0].op:
        raise errors.UsageError(
            f"{planned.suite.path}: a suite of kind op has no model to take q and k from"
        )
    return dataclasses.replace(cells[0], batch_size=1, compile=False)


def _methods(planned: Plan, cell: Cell) -> tuple[Choice, ...]:
    """Those of the model's cells, softmax first."""
    found = (one.attention for one in planned.runnable if _beside(one, cell))
    return tuple(dict.fromkeys((cell.attention, *found)))


def _refused(planned: Plan, cell: Cell) -> tuple[tuple[str, str], ...]:
    """Methods that the plan refuses everywhere, each with the reason."""
    drawn = _methods(planned, cell)
    found = {
        entry.cell.attention: entry.reason
        for entry in planned.refused
        if _beside(entry.cell, cell) and entry.cell.attention not in drawn
    }
    return tuple((method.label, reason) for method, reason in found.items())


def _beside(one: Cell, cell: Cell) -> bool:
    return (one.model, one.weights, one.sampling) == (cell.model, cell.weights, cell.sampling)


def _step(given: int | None, cell: Cell) -> int:
    return cell.steps // 2 if given is None else given


def _show(cell: Cell, drawn: Drawn) -> None:
    output.table(
        cell.id,
        ["method", "row sums", "from softmax's", "negative", "exactly zero", ""],
        (_line(one, drawn.tokens**2) for one in drawn.matrices),
    )


def _line(one: Matrix, entries: int) -> list[str]:
    if one.failure:
        return [one.method.label, "", "", "", "", f"not drawn: {one.failure}"]
    low, high = (f"{end:.4g}" for end in one.row_sums)
    told = "" if one.linear else f"not linear in v: its matrix misses its output by {one.apart:.2g}"
    return [
        one.method.label,
        low if low == high else f"{low} to {high}",
        f"{one.error:.2g}",
        units.percent(one.negative / entries),
        units.percent(one.zeros / entries),
        told,
    ]
