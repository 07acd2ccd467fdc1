"""The verbs of baselines: set, promote, list, show, diff, expire. None imports torch."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ditbench import errors, units
from ditbench.cli import completion, output
from ditbench.cli.concluding import either
from ditbench.cli.options import BASELINES, RESULTS, Baselines, Json, Out, RunName

if TYPE_CHECKING:
    from ditbench.store import Listed, Run, Terms
    from ditbench.summary.beside import Beside

_app = typer.Typer(help="Accepted records of a run, kept in a file for git.", no_args_is_help=True)

# Changes below a thousandth are counted, and not listed.
_TOLD = 1e-3

_Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A baseline's name.", autocompletion=completion.baselines),
]
_Provisional = Annotated[
    bool,
    typer.Option(
        "--provisional",
        help="Take fewer than five processes, or a machine that changed; no time of it gates.",
    ),
]
_Expires = Annotated[str, typer.Option("--expires", metavar="60d|never", help="How long it gates.")]


def add_to(app: typer.Typer) -> None:
    """Register these verbs."""
    app.add_typer(_app, name="baseline")


@_app.command("set")
def baseline_set(
    name: _Name,
    run: RunName = "latest",
    out: Out = RESULTS,
    baselines: Baselines = BASELINES,
    provisional: _Provisional = False,
    expires: _Expires = "30d",
) -> int:
    """Accept a run's records as baseline NAME, and say what becomes other; failed cells are left out."""
    from ditbench import store

    terms = store.Terms(provisional=provisional, days=store.lasting(expires))
    return _accept(store.read(store.find(out, run)), name, baselines, terms)


@_app.command("promote")
def promote(
    name: _Name,
    run: RunName = "latest",
    out: Out = RESULTS,
    baselines: Baselines = BASELINES,
    because: Annotated[
        str,
        typer.Option(
            "--because",
            metavar="TEXT",
            help="Accept what the comparison found; the text goes into the file.",
        ),
    ] = "",
    provisional: _Provisional = False,
    expires: _Expires = "30d",
) -> int:
    """Accept a run as baseline NAME that was compared with it and found no worse."""
    from ditbench import store

    before = store.baseline_read(name, baselines)
    folder = store.find(out, run)
    found = store.read(folder)
    if (refusal := _worse(folder, name, before, baselines)) and not because:
        raise errors.StoreError(
            f"run {found.id} is not promoted: {refusal} (--because TEXT accepts it on record)"
        )
    terms = store.Terms(
        provisional=provisional,
        days=store.lasting(expires),
        promoted_from=before.id,
        because=errors.one_line(because) if refusal else "",
    )
    return _accept(found, name, baselines, terms)


@_app.command("list")
def baseline_list(baselines: Baselines = BASELINES, json: Json = False) -> int:
    """List the stored baselines with their age and the day they expire."""
    from ditbench import store

    if not baselines.is_dir() and (baselines != BASELINES or baselines.exists()):
        raise errors.UsageError(f"--baselines {baselines}: is no folder")
    now = datetime.now(UTC)
    entries = [_entry(one, now) for one in store.baseline_list(baselines)]
    if json:
        return output.as_json(entries)
    columns = ["name", "suite", "run", "cells", "admitted", "expires", "notes", "problem"]
    output.table(
        str(baselines), columns, ([str(entry[column]) for column in columns] for entry in entries)
    )
    return errors.OK


@_app.command("show")
def baseline_show(name: _Name, baselines: Baselines = BASELINES, json: Json = False) -> int:
    """Show a baseline's figures and its terms."""
    from ditbench import store, summary

    found = store.baseline_read(name, baselines)
    summed = summary.summarise(found)
    if json:
        return output.as_json(summary.rows_to_json(summed))
    output.show_figures(found, summed)
    entry = _entry(store.baseline_listed(store.baseline_path(name, baselines)), datetime.now(UTC))
    print(f"admitted: {entry['admitted'] or 'not told'}, expires: {entry['expires']}")
    if entry["notes"]:
        print(f"note: {entry['notes']}")
    return errors.OK


@_app.command("diff")
def diff(
    name: _Name,
    other: Annotated[
        str,
        typer.Argument(
            metavar="NAME|RUN",
            help="Another baseline, or a run.",
            autocompletion=completion.baselines_and_runs,
        ),
    ] = "latest",
    out: Out = RESULTS,
    baselines: Baselines = BASELINES,
    json: Json = False,
) -> int:
    """Show a baseline's figures beside another's or a run's, without a verdict."""
    from ditbench import store
    from ditbench.summary.beside import beside, beside_to_json

    then = store.baseline_read(name, baselines)
    now, against = either(other, out, baselines)
    if json:
        return output.as_json(beside_to_json(beside(then, now)))
    _show_difference(f"baseline {name} -> {against.called}", then, now)
    return errors.OK


@_app.command("expire")
def expire(name: _Name, baselines: Baselines = BASELINES) -> int:
    """Have baseline NAME gate nothing from now on: its cells are then incomparable."""
    from ditbench import store

    store.baseline_expire(name, baselines)
    print(store.baseline_path(name, baselines))
    return errors.OK


def _accept(run: Run, name: str, baselines: Path, terms: Terms) -> int:
    from ditbench import store
    from ditbench.summary import canary

    terms = dataclasses.replace(terms, unfit=canary.drift(run))
    path = baselines / f"{name}.jsonl"
    before = store.baseline_read(str(path)) if path.exists() else None
    for left in store.baseline_set(run, name, baselines, terms):
        print(f"left out: {left.cell.id}: {left.reason}")
    now = store.baseline_read(str(path))
    if now.admission and not now.admission.floors:
        output.warn(
            "how far processes spread was held against nothing, for the noise of this machine was not "
            f"measured: `ditbench noise {run.suite_path}`"
        )
    if before:
        _show_difference(f"baseline {name}: run {before.id} -> run {now.id}", before, now)
    print(path)
    return errors.OK


def _worse(folder: Path, name: str, before: Run, baselines: Path) -> str:
    """Why the run's own comparison does not speak for promoting it; empty where it does."""
    from ditbench import store

    against, codes = store.concluded_against(folder), store.concluded_with(folder)
    path = str(store.baseline_path(name, baselines))
    way = f"`ditbench report {folder.name} --baseline {name}` compares them"
    if against is None or codes is None or against.name not in {name, path}:
        other = f", but with {against.called}" if against and against.name else ""
        return f"it was not compared with baseline {name}{other}: {way}"
    if against.run != before.id:
        return (
            f"it was compared with baseline {name} as it was of run {against.run}, "
            f"and that is of run {before.id} now: {way}"
        )
    if codes:
        return f"its comparison ended with exit code {errors.first_of(set(codes))}"
    return ""


def _entry(one: Listed, now: datetime) -> dict[str, Any]:
    """A baseline in a list, for people and programs alike."""
    terms = one.admission
    age = terms.age(now)
    notes = (
        terms.expired(now),
        "provisional: no time of it gates anything" if terms.provisional else "",
        f"floors: {terms.floors}" if terms.floors else "",
        f"promoted from run {terms.promoted_from}" if terms.promoted_from else "",
        f"because {terms.because}" if terms.because else "",
    )
    return dataclasses.asdict(terms) | {
        "name": one.name,
        "path": str(one.path),
        "suite": one.suite,
        "run": one.run,
        "cells": one.cells,
        "age_days": age,
        "expired": bool(terms.expired(now)),
        "expires": "" if one.problem else terms.expires or "never",
        "notes": "; ".join(filter(None, notes)),
        "problem": one.problem,
    }


def _show_difference(title: str, then: Run, now: Run) -> None:
    from ditbench.environment import differences
    from ditbench.summary.beside import beside

    for line in differences(then.environment, now.environment):
        print(f"environment: {line}")
    found = beside(then, now)
    told = [one for one in found if one.change is None or abs(one.change) >= _TOLD]
    if told:
        output.table(title, ["change", "metric", "then", "now", "cell"], map(_row, told))
    same = len(found) - len(told)
    print(f"{title}: {same} of {len(found)} figures within {units.percent(_TOLD)}")


def _row(one: Beside) -> list[str]:
    from ditbench.report.words import figure

    change = "" if one.change is None else units.percent(one.change, signed=True)
    told = {"then": "gone", "now": "added"}.get(one.only, change)
    metric = one.metric or "latency"
    shown = [figure(metric, side.value) if side else "" for side in (one.then, one.now)]
    return [told, one.metric, *shown, one.cell.id]
