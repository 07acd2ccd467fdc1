"""`ditbench noise`: how much equal arms differ on this machine, cell by cell, and the gates that follow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ditbench import errors, units
from ditbench.cli import output
from ditbench.cli.options import (
    BASELINES,
    RESULTS,
    Baselines,
    Floors,
    Gpu,
    Json,
    LockClocks,
    Out,
    Select,
    Set,
    SuiteFile,
)
from ditbench.cli.preparing import Choices, plan_of, session_of

if TYPE_CHECKING:
    from ditbench.compare.rules import Gate
    from ditbench.devices.device import Device
    from ditbench.plan import Plan
    from ditbench.records import Cell
    from ditbench.run.duel import Match
    from ditbench.store import Floor, Noise, Session

# Fewer processes have nothing to be held against.
_FEWEST = 2
_BOTH = "the suite as it is"


def add_to(app: typer.Typer) -> None:
    """Register this verb."""
    app.command("noise")(noise)


def noise(
    suite: SuiteFile,
    runs: Annotated[
        int,
        typer.Option(
            "--runs", metavar="N", help="Fresh processes of each cell; fewer than 5 gate nothing."
        ),
    ] = 10,
    floors: Floors = "",
    select: Select = "",
    set_: Set = None,
    gpu: Gpu = None,
    lock_clocks: LockClocks = "",
    out: Out = RESULTS,
    baselines: Baselines = BASELINES,
    json: Json = False,
) -> int:
    """Time each cell beside itself, and write what equal arms differ by here beside the baseline."""
    from ditbench import store
    from ditbench.run.duel import duel

    _check(runs, floors)
    choices = Choices(suite, select, tuple(set_ or ()), gpu=gpu, lock_clocks=lock_clocks)
    with session_of(choices) as (server, devices):
        planned = plan_of(choices, server, devices[0])
        path = store.noise_path(floors or store.slug(planned.suite.name), baselines)
        before = store.noise_read(
            path
        )  # what cannot be read shall neither cost an hour nor be lost
        session = duel(_match(planned, runs, devices, out), server, devices, output.warn)
    found = _judged(session)
    store.noise_write(path, found.noise)
    if json:
        output.as_json([row.plain for row in found.rows])
    else:
        _show(found, runs)
        print(f"floors: {path}{_instead(before, found.noise)}")
    for cell in found.lacking:
        output.warn(f"{cell.id}: has no floor: {_failure(session, cell)}")
    return errors.CELLS_FAILED if found.lacking else errors.OK


def _check(runs: int, floors: str) -> None:
    """Raises UsageError for what would measure nothing, or write where nobody looks."""
    from ditbench.gating import PROCESSES
    from ditbench.store import slug

    if runs < _FEWEST:
        raise errors.UsageError(
            f"--runs {runs}: one process has nothing to differ from: at least {_FEWEST}, 10 to gate by"
        )
    if runs < PROCESSES:
        output.warn(
            f"--runs {runs}: too few to gate by: floors of fewer than {PROCESSES} processes are bounds "
            "so wide that most changes pass"
        )
    if floors and slug(floors) != floors:
        raise errors.UsageError(f"--floors {floors!r}: a name is letters, digits, '.', '_' and '-'")


def _match(planned: Plan, runs: int, devices: Sequence[Device], out: Path) -> Match:
    """Each cell that can be timed against itself, so many processes of it and no more."""
    from ditbench import environment
    from ditbench.devices.device import facts_of
    from ditbench.run.duel import Match
    from ditbench.store import Arm, slug

    cells = [cell for cell in planned.runnable if not cell.finds_batch]
    if not cells or planned.counts_only:
        raise errors.UsageError(f"{planned.suite.path}: no cell of it is timed, so it has no noise")
    here = environment.collect(devices[0].kind, facts_of(devices), os.environ)
    arm = Arm(_BOTH, environment.code_identity(), here)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    path = out / "ab" / f"{slug(planned.suite.name)}-noise-{stamp}.session.jsonl"
    pairs = tuple((cell, cell) for cell in cells)
    return Match(planned.suite, pairs, (arm, arm), path, processes=runs, most=runs)


@dataclass(frozen=True)
class _Row:
    """One floor, and the gates of arms that share a process and of arms that do not."""

    cell: Cell
    metric: str
    floor: Floor
    inside: Gate
    apart: Gate

    @property
    def plain(self) -> dict[str, Any]:
        """For programs."""
        return {
            "key": self.cell.key,
            "cell": self.cell.id,
            "metric": self.metric,
            "processes": self.floor.processes,
            "threshold": self.inside.asked,
            "inside": self.floor.inside,
            "inside_gate": self.inside.value,
            "apart": self.floor.apart,
            "apart_gate": self.apart.value,
        }


@dataclass(frozen=True)
class _Found:
    """What a session came to. lacking: cells that have no floor."""

    session: Session
    noise: Noise
    rows: tuple[_Row, ...]
    lacking: tuple[Cell, ...]


def _judged(session: Session) -> _Found:
    """Raises UnfitError where the machine was busy with something else, DitbenchError for no floor at all."""
    from ditbench.compare.floors import floors
    from ditbench.compare.rules import Gate
    from ditbench.store import Noise

    cells = [cell for cell, _same in session.pairs]
    _check_fit(session, cells)
    found, arm = floors(session), session.arms[0]
    rows = tuple(
        _Row(cell, metric, floor, *(Gate(session.gate.get(metric), told) for told in both))
        for cell in cells
        for metric, floor in found.get(cell.key, {}).items()
        for both in [(floor.inside, floor.apart)]
    )
    lacking = tuple(cell for cell in cells if cell.key not in found)
    if not rows:
        raise _NoFloorError(
            f"no cell has a floor, nothing was written: {cells[0].id}: {_failure(session, cells[0])}"
        )
    noise = Noise(session.suite, session.started, arm.environment, arm.code, found)
    return _Found(session, noise, rows, lacking)


class _NoFloorError(errors.DitbenchError):
    """Every cell failed."""

    exit_code = errors.CELLS_FAILED


def _check_fit(session: Session, cells: Sequence[Cell]) -> None:
    from ditbench.machine import session_unfit

    for cell in cells:
        mine = [record for record in session.records if record.key == cell.key]
        if unfit := session_unfit(mine):
            raise errors.UnfitError(
                f"{cell.id}: {unfit}: that is no noise of this machine's own, and no floor was written; "
                f"measure again when it is at rest (the session: {session.path})"
            )


def _failure(session: Session, cell: Cell) -> str:
    """Why a cell has too few processes."""
    mine = [one for one in session.records if one.key == cell.key and one.reason]
    told = f": {mine[0].status}, {mine[0].reason}" if mine else ""
    return f"fewer than {_FEWEST} of its processes came to an end{told}"


def _show(found: _Found, runs: int) -> None:
    """A line a floor; then those whose gate it raises."""
    names = _names([row.cell for row in found.rows])
    output.table(
        f"{found.session.suite}: what equal arms differ by, {runs} processes a cell",
        ["cell", "metric", "in one process", "gate", "in processes apart", "gate", "processes"],
        (
            [
                names[row.cell.key],
                row.metric,
                units.percent(row.floor.inside),
                units.percent(row.inside.value),
                units.percent(row.floor.apart),
                units.percent(row.apart.value),
                str(row.floor.processes),
            ]
            for row in found.rows
        ),
    )
    for row in found.rows:
        for where, gate in (("in one process", row.inside), ("in processes apart", row.apart)):
            if gate.value > gate.asked:
                print(
                    f"note: {names[row.cell.key]}: the gate of {units.percent(gate.asked)} on {row.metric} "
                    f"cannot be kept {where}: below {units.percent(gate.value)} equal arms are not told apart"
                )


def _names(cells: Sequence[Cell]) -> dict[str, str]:
    """By key: the method, and the axes on which the cells differ."""
    told = [axis for axis in cells[0].axes if len({cell.axes.get(axis) for cell in cells}) > 1]
    axes = dict.fromkeys(("attention", *told))
    return {
        cell.key: " ".join(f"{axis}={cell.axes.get(axis, '')}" for axis in axes) for cell in cells
    }


def _instead(before: Noise | None, now: Noise) -> str:
    """What became of the file that was there."""
    if before is None:
        return ""
    lost = len(before.floors.keys() - now.floors.keys())
    told = f"; not measured now, and without a floor from now on: {lost} of its cells"
    return f", in the place of those of {before.started}{told if lost else ''}"
