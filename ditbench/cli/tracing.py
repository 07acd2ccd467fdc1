"""`ditbench trace`: what a method with memory decides, beside what computing gives. No record comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench import errors, units
from ditbench.cli import output
from ditbench.cli.options import RESULTS, Gpu, Select, Set, SuiteFile

if TYPE_CHECKING:
    from ditbench.records import Cell
    from ditbench.reuse.trace import Line
    from ditbench.run.server import Server
    from ditbench.suite.spec import Suite

_TOLERANCES = (0.01, 0.02, 0.05, 0.1, 0.2)


def add_to(app: typer.Typer) -> None:
    """Register this verb."""
    app.command("trace")(trace)


def trace(
    suite: SuiteFile,
    select: Select = "",
    set_: Set = None,
    samples: Annotated[
        int, typer.Option("--samples", metavar="N", help="So many, each sampled by itself.", min=1)
    ] = 8,
    first: Annotated[
        int | None,
        typer.Option(
            "--first",
            metavar="N",
            help="The number of the first; default: the first that the suite does not judge.",
            min=0,
        ),
    ] = None,
    gpu: Gpu = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="A trace, *.jsonl, its map beside it as *.html; default: a new one in traces.",
        ),
    ] = None,
) -> int:
    """Trace what methods with memory reuse, why, and how far each reuse is from what computing gives."""
    from ditbench.cli.preparing import Choices, plan_of, session_of
    from ditbench.report import traced
    from ditbench.reuse.trace import text
    from ditbench.store.disk import write_whole

    choices = Choices(suite, select, tuple(set_ or ()), gpu=gpu)
    with session_of(choices) as (server, (device, *_)):
        planned = plan_of(choices, server, device)
        cells = [_traceable(cell) for cell in planned.runnable]
        to = _place(out, cells[0])
        begin = planned.suite.quality.samples if first is None else first
        asked = _Asked(server, device.name, planned.suite, to.parent)
        found = [asked.traced(cell, range(begin, begin + samples)) for cell in cells]
    lines = [line for every in found for line in every]
    _tell_left_out([cell for cell, every in zip(cells, found, strict=True) if not every], lines)
    write_whole(to, text(lines), "trace it again")
    page = traced.render(planned.suite.name, lines, to.with_suffix(".html"))
    _show(planned.suite.name, lines)
    print(page)
    print(to)
    return errors.OK


@dataclass(frozen=True)
class _Asked:
    """Where to trace. folder: for what a method must find out first."""

    server: Server
    device: str
    suite: Suite
    folder: Path

    def traced(self, cell: Cell, samples: range) -> Sequence[Line]:
        """The decisions of one cell, in a process of its own."""
        from ditbench.jobs import Job
        from ditbench.records import Stage

        timing, quality = self.suite.timing, self.suite.quality
        job = Job(cell, Stage.GATE, 0, timing, quality, (), self.device, self.folder)
        lines: Sequence[Line] = self.server.call(
            "ditbench.measure.tracing:trace",
            job,
            samples,
            device=self.device,
            alone=True,
            timeout_s=timing.timeout_s.gate * len(samples),
            hear=output.warn,
        )
        return lines


def _traceable(cell: Cell) -> Cell:
    refusals = {
        "a core by itself has no steps to reuse anything between": cell.op is not None,
        "what an accelerator skips decides nothing at its sites: leave it out with -k": cell.is_accelerated,
        "batch_size: max is a search: name one, as with --set batch_size=1": cell.finds_batch,
    }
    for reason, holds in refusals.items():
        if holds:
            raise errors.UsageError(f"{cell.id}: {reason}")
    return cell


def _tell_left_out(cells: Sequence[Cell], lines: Sequence[Line]) -> None:
    """Raises UsageError where nothing else is left."""
    if not lines:
        raise errors.UsageError("no method here has a memory: trace one that has, as dqar")
    if cells:
        named = ", ".join(dict.fromkeys(cell.attention.label for cell in cells))
        output.warn(f"left out, without a memory: {named}")


def _place(out: Path | None, cell: Cell) -> Path:
    """The file to write. Raises UsageError where it cannot be, before anything runs."""
    from ditbench.cli.preparing import folder_of

    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    to = out or RESULTS / "traces" / f"{stamp}-{cell.key}.jsonl"
    if to.is_dir() or to.suffix == ".html":
        raise errors.UsageError(f"--out {to}: name a file, as trace.jsonl")
    folder_of(to.parent, RESULTS, cell)
    return to


def _show(name: str, lines: Sequence[Line]) -> None:
    """Each reason with its count, and what share of the reuses is within which error."""
    counts: dict[tuple[str, bool], int] = {}
    for line in lines:
        counts[line.reason, line.reused] = counts.get((line.reason, line.reused), 0) + 1
    output.table(
        f"{name}: {len(lines):,} decisions",
        ["reason", "", "forwards", "share"],
        (
            [words, "reused" if reused else "computed", f"{n:,}", units.percent(n / len(lines))]
            for (words, reused), n in sorted(counts.items(), key=lambda one: -one[1])
        ),
    )
    found = [line.error for line in lines if line.error is not None]
    if found:
        shares = (sum(one <= most for one in found) / len(found) for most in _TOLERANCES)
        told = ", ".join(
            f"{units.percent(share)} within {most:g}"
            for most, share in zip(_TOLERANCES, shares, strict=True)
        )
        print(f"errors of the {len(found):,} reuses: {told}")
