"""The verb that hands a run to other programs: export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench import errors
from ditbench.cli import completion, output
from ditbench.cli.concluding import asked_or_kept, given_for, judged
from ditbench.cli.options import BASELINES, RESULTS, Baselines, Concluded, Out, RunName

if TYPE_CHECKING:
    from ditbench.export import Exported


def add_to(app: typer.Typer) -> None:
    """Register this verb."""
    app.command("export")(export)


def export(
    run: RunName = "latest",
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="|".join(completion.FORMATS),
            help="For github-action-benchmark, tables, test reports, programs.",
            autocompletion=completion.formats,
        ),
    ] = "json",
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="Where to write; default: standard output."),
    ] = None,
    baseline: Concluded = "",
    out: Out = RESULTS,
    baselines: Baselines = BASELINES,
) -> int:
    """Write a run in a format of another program; 0 whatever the run was concluded with."""
    from ditbench import export as exporting
    from ditbench import store, summary

    chosen_format = exporting.format_of(format_)
    if to is None and not chosen_format.text:
        raise errors.UsageError(
            f"--format {format_}: is no text: say with --to FILE where to write"
        )
    found = store.read(store.find(out, run))
    against, chosen = asked_or_kept(found, baseline, out, baselines)
    comparison = judged(found, against, chosen, given_for(found, chosen, out, baselines))
    result = exporting.Result(found, summary.summarise(found), comparison)
    _deliver(chosen_format.write(result), to)
    return errors.OK


def _deliver(exported: Exported, to: Path | None) -> None:
    from ditbench.store.disk import write_whole

    for note in exported.notes:
        output.warn(note)
    if to is None:
        sys.stdout.write(exported.data.decode())
        return
    if to.is_dir():
        raise errors.UsageError(f"--to {to}: is a folder: name a file")
    write_whole(to, exported.data, "export again")
    print(to)
