"""The verbs that read: compare, report, show, list, models. None imports torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench import errors
from ditbench.cli import ab, completion, output, preparing
from ditbench.cli.concluding import asked_or_kept, conclude, either, given_for, judged
from ditbench.cli.options import (
    BASELINES,
    RESULTS,
    Baselines,
    Concluded,
    Floors,
    Json,
    Out,
    RunName,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ditbench.catalog import Model
    from ditbench.store import Run


def add_to(app: typer.Typer) -> None:
    """Register these verbs."""
    app.command("compare")(compare)
    app.command("report")(report)
    app.command("show")(show)
    app.command("claims")(claims)
    app.command("list")(list_)
    app.command("models")(models)


def compare(
    baseline: Annotated[
        str,
        typer.Argument(
            metavar="BASELINE",
            help="A baseline's name, a run, or the *.session.jsonl of two arms: judged again.",
            autocompletion=completion.baselines_and_runs,
        ),
    ],
    candidate: RunName = "latest",
    explain: Annotated[
        str,
        typer.Option(
            "--explain",
            metavar="CELL",
            help="Of cells whose id holds this regular expression: every rule in order, with its numbers.",
        ),
    ] = "",
    out: Out = RESULTS,
    baselines: Baselines = BASELINES,
    floors: Floors = "",
    json: Json = False,
) -> int:
    """Say what changed between a baseline and a run; 7 where nothing compares."""
    from ditbench import compare as comparing
    from ditbench import store
    from ditbench.compare import explaining

    if baseline.endswith(ab.SUFFIX):
        session = store.session_read(Path(baseline))
        return ab.told(session, (baselines, floors), explain=explain or None, json=json)
    if floors:
        raise errors.UsageError(
            "--floors: is for a session; of a run those beside its baseline count"
        )
    run = store.read(store.find(out, candidate))
    against, chosen = either(baseline, out, baselines, of=run.id)
    chosen = dataclasses.replace(chosen, required=True)
    found = judged(run, against, chosen, given_for(run, chosen, out, baselines))
    shown = explaining.asked(found.findings, explain) if explain else found.findings
    if json:
        output.as_json([comparing.finding_to_json(one) for one in shown])
    elif explain:
        output.show_explained(shown)
    else:
        output.show_findings(found)
    return errors.first_of(set(found.exit_codes))


def report(
    run: RunName = "latest",
    baseline: Concluded = "",
    out: Out = RESULTS,
    baselines: Baselines = BASELINES,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Where to write; default: the run's folder."),
    ] = None,
    history: Annotated[
        bool,
        typer.Option(
            "--history",
            help="Of all runs of the suite that compare with this one; default DIR: the suite's folder.",
        ),
    ] = False,
) -> int:
    """Write the report of a run anew, with the comparison that it was concluded with; name its page.

    Of a folder that `ditbench train` wrote, its arms side by side. With --history, every figure over all
    runs of the suite, and where its level changed.
    """
    from ditbench import store
    from ditbench.report import training

    if training.is_training(Path(run)):
        print(training.write(Path(run), to or Path(run)))
        return errors.OK
    place = store.find(out, run)
    if history:
        print(_history(store.read_head(place), out, to))
        return errors.OK
    found = store.read(place)
    against, chosen = asked_or_kept(found, baseline, out, baselines)
    given = given_for(found, chosen, out, baselines)
    print(conclude(found, against, chosen, given, _folder(to or found.folder))[2])
    return errors.OK


def _history(run: Run, out: Path, to: Path | None) -> Path:
    """The page of all runs that compare with this one, in the suite's own folder."""
    from ditbench.report.history import story
    from ditbench.report.render import render_history

    return render_history(story(out, run), _folder(to or run.folder.parent))


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.UsageError(
            f"--to {path}: cannot be made a folder: {error.strerror}"
        ) from error
    return path


def show(run: RunName = "latest", out: Out = RESULTS, json: Json = False) -> int:
    """Show a run's figures, one line a cell."""
    from ditbench import store, summary

    found = store.read(store.find(out, run))
    summed = summary.summarise(found)
    if json:
        return output.as_json(summary.rows_to_json(summed))
    output.show_figures(found, summed)
    return errors.OK


def claims(run: RunName = "latest", out: Out = RESULTS, json: Json = False) -> int:
    """Show every published number of a run's suite beside ours, with a verdict."""
    from ditbench import store, summary

    found = summary.summarise(store.read(store.find(out, run)))
    if json:
        return output.as_json(summary.claims_to_json(found))
    output.show_claims(run, found)
    return errors.OK


def list_(out: Out = RESULTS, json: Json = False) -> int:
    """List the runs on disk, newest first."""
    from ditbench import store

    if not out.is_dir() and (out != RESULTS or out.exists()):
        raise errors.UsageError(f"--out {out}: is no folder")
    return output.show_entries(str(out), store.entries_to_json(store.runs(out)), json=json)


def models(json: Json = False) -> int:
    """List the models a suite may name."""
    found = preparing.catalog().models.values()
    if json:
        return output.as_json([dataclasses.asdict(model) for model in found])
    output.table(
        "models",
        ["name", "summary", "predicts", "attention", "weights"],
        (
            [
                model.name,
                model.summary or model.broken,
                model.predicts,
                model.attention,
                "" if model.broken else ", ".join(_weights(model)),
            ]
            for model in found
        ),
    )
    return errors.OK


def _weights(model: Model) -> Iterator[str]:
    """Where its weights may come from."""
    yield "random"
    if model.embedded:
        yield "embedded"
    if model.hub:
        yield model.hub
