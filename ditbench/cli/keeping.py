"""The verbs that keep results in order: migrate, merge, gc."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench import errors, units
from ditbench.cli import completion, output
from ditbench.cli.options import BASELINES, RESULTS, Baselines, Json, Out

if TYPE_CHECKING:
    from ditbench.store import Migrated


def add_to(app: typer.Typer) -> None:
    """Register these verbs."""
    app.command("migrate")(migrate)
    app.command("merge")(merge)
    app.command("gc")(gc)


def migrate(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RUN|DIR",
            help="A run, a baseline's file, or a folder of runs or of baselines.",
            autocompletion=completion.runs,
        ),
    ],
    out: Out = RESULTS,
) -> int:
    """Bring results of an older schema to the present one, in place; the old files stay beside them."""
    done, refused = 0, 0
    for path in _files(what, out):
        try:
            lifted = _migrated(path)
        except errors.StoreError as error:
            print(f"ditbench: {error}", file=sys.stderr)
            refused += 1
            continue
        for one in lifted:
            print(
                f"{one.path}: schema {one.schema}, {one.lines} to lift: done; as it was: {one.kept.name}"
            )
        done += len(lifted)
    if not done and not refused:
        print(f"{what}: nothing to do, all of it is of the present schema")
    return errors.USAGE if refused else errors.OK


def _files(what: str, out: Path) -> list[Path]:
    """Run folders, or files of baselines."""
    from ditbench import store

    place = Path(what)
    if place.is_file():
        return [place]
    if place.is_dir():
        found = [entry.folder for entry in store.runs(place)] or sorted(place.glob("*.jsonl"))
        if found and not any((place / name).exists() for name in ("run.json", "records.jsonl")):
            return found
    return [store.find(out, what)]


def _migrated(path: Path) -> tuple[Migrated, ...]:
    from ditbench import store

    return store.migrate_run(path) if path.is_dir() else store.migrate_baseline(path)


def merge(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Two or more runs of one suite, the one to trust first.",
            autocompletion=completion.runs,
        ),
    ],
    out: Out = RESULTS,
) -> int:
    """Make one run of several that measured alike; name its folder."""
    from ditbench import store

    folders = [store.find(out, name) for name in runs]
    command = shlex.join(["ditbench", "merge", *(folder.name for folder in folders)])
    made = store.merge(folders, out, command)
    for line in made.left_out:
        print(f"left out: {line}")
    print(f"{made.folder}: {made.records} records of {len(folders)} runs")
    return errors.OK


def gc(
    unfinished: Annotated[
        float, typer.Option("--unfinished", metavar="DAYS", help="Runs that never ended, older.")
    ] = 7.0,
    keep: Annotated[
        int | None,
        typer.Option("--keep", metavar="N", min=1, help="Finished runs of a suite beyond these."),
    ] = None,
    pictures: Annotated[
        float | None,
        typer.Option("--pictures", metavar="DAYS", help="Pictures of finished runs, older."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove it; without, it is only listed.")
    ] = False,
    out: Out = RESULTS,
    baselines: Baselines = BASELINES,
    json: Json = False,
) -> int:
    """List what may go, or remove it; never a run that a baseline names or that is being written."""
    from ditbench import store

    _check_days("--unfinished", unfinished)
    _check_days("--pictures", pictures)
    _check_known(baselines, yes=yes)
    limits = store.Limits(unfinished, keep, pictures)
    found = store.rubbish(out, baselines, limits, datetime.now(UTC))
    if json:
        output.as_json([dataclasses.asdict(one) | {"path": str(one.path)} for one in found])
    else:
        rows = ((str(one.path), units.size(one.size), one.reason) for one in found)
        output.table(f"{out}: {len(found)} may go", ["path", "size", "because"], rows)
    if yes:
        for one in found:
            store.remove(one)
    total = units.size(sum(one.size for one in found))
    if found:
        told = f"{total} removed" if yes else f"nothing was removed; --yes frees {total}"
        print(told, file=sys.stderr)
    return errors.OK


def _check_days(option: str, days: float | None) -> None:
    if days is not None and not days >= 0:  # nan is none either
        raise errors.UsageError(f"{option} {days}: write a number of days, from 0")


def _check_known(baselines: Path, *, yes: bool) -> None:
    """Nothing is removed by somebody who has not said where the baselines are, if not here."""
    if baselines.is_dir():
        return
    if yes and baselines == BASELINES:
        raise errors.UsageError(
            f"{baselines}: no such folder here, so nothing says which runs baselines name: "
            "--baselines DIR says where they are; nothing was removed"
        )
    print(f"ditbench: {baselines}: no such folder, so no baseline keeps a run", file=sys.stderr)
