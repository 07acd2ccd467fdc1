"""`ditbench ab`: two arms of a suite, measured side by side and judged."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench import errors
from ditbench.cli import output
from ditbench.cli.options import (
    BASELINES,
    RESULTS,
    Baselines,
    Floors,
    Gpu,
    Json,
    LockClocks,
    Select,
    Set,
    SuiteFile,
)
from ditbench.cli.pairing import Side, paired
from ditbench.cli.preparing import Choices, session_of
from ditbench.gating import MOST, PROCESSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.compare import Finding
    from ditbench.compare.verdicts import Duel
    from ditbench.records import Cell
    from ditbench.store import Noise, Session

SUFFIX = ".session.jsonl"
_ARM = "AXIS=VALUE as attention=sdpa, `.` for the suite as it is, git:REV or pip:SPEC."


def add_to(app: typer.Typer) -> None:
    """Register this verb."""
    app.command("ab")(ab)


@dataclass(frozen=True)
class Asked:
    """What two arms are to be measured by. path: of the session's file. processes: of each pair and arm."""

    given: Choices
    sides: tuple[Side, Side]
    path: Path
    processes: int


def ab(
    suite: SuiteFile,
    a: Annotated[
        str, typer.Option("--a", metavar="ARM", help=f"The base: {_ARM}", show_default=False)
    ],
    b: Annotated[
        str,
        typer.Option("--b", metavar="ARM", help="What is judged, likewise.", show_default=False),
    ],
    select: Select = "",
    set_: Set = None,
    gpu: Gpu = None,
    lock_clocks: LockClocks = "",
    processes: Annotated[
        int,
        typer.Option(
            "--processes",
            metavar="N",
            help=f"Fresh processes of a pair; fewer than {PROCESSES} confirm nothing.",
            min=1,
        ),
    ] = PROCESSES,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FILE|DIR", help=f"A new file *{SUFFIX}, or where to make one."
        ),
    ] = RESULTS / "ab",
    baselines: Baselines = BASELINES,
    floors: Floors = "",
    explain: Annotated[
        bool, typer.Option("--explain", help="Every rule on the way to each verdict.")
    ] = False,
    json: Json = False,
) -> int:
    """Measure two arms in turns, and say whether B is slower than A; -k chooses among A's cells."""
    sides = Side("a", a), Side("b", b)
    given = Choices(suite, select, tuple(set_ or ()), gpu=gpu, lock_clocks=lock_clocks)
    _check(baselines, floors)  # before anything is measured
    session = measured(Asked(given, sides, path_of(out, suite), processes))
    return told(session, (baselines, floors), explain="" if explain else None, json=json)


def told(session: Session, beside: tuple[Path, str], *, explain: str | None, json: bool) -> int:
    """Judge a session and print it, be it measured now or read again; the exit code.

    beside: the folder of baselines and the name of the one whose floors count, empty for the suite's.
    explain: a regular expression on the cells whose rules are printed, None for none.
    """
    from ditbench import compare as comparing
    from ditbench.compare import explaining

    found = comparing.judge_session(session, _floors(session, *beside))
    findings = comparing.turned(session, found)
    shown = findings if explain is None else explaining.asked(findings, explain)
    if json:
        output.as_json([comparing.finding_to_json(one) for one in shown])
    else:
        show(session, findings)
        if explain is not None:
            output.show_explained(shown)
        print(f"session: {session.path}")
    return errors.first_of(codes(session, findings))


def _check(baselines: Path, floors: str) -> None:
    """Raises UsageError where floors are asked for that nobody measured."""
    from ditbench import store

    path = store.noise_path(floors, baselines)
    if floors and not path.is_file():
        raise errors.UsageError(
            f"--floors {floors}: there is no {path}; `ditbench noise --floors {floors}` makes it"
        )


def _floors(session: Session, baselines: Path, floors: str) -> Noise | None:
    """Those of that name, or of the suite, where they were measured on the machine of the session."""
    from ditbench import store

    _check(baselines, floors)
    path = store.noise_path(floors or store.slug(session.suite), baselines)
    found = store.noise_read(path)
    if found and (unlike := found.elsewhere(session.arms[1].environment)):
        output.warn(
            f"{path}: floors that were measured elsewhere count for nothing here: {'; '.join(unlike)}"
        )
        return None
    return found


def measured(asked: Asked) -> Session:
    """The session, measured: in shared processes where both arms are of this code, else each in its own."""
    if not any(side.abroad for side in asked.sides):
        return _inside(asked)
    if asked.given.lock_clocks:
        raise errors.UsageError(
            "--lock-clocks: commits and package sets run in environments of their own, which would not know: "
            "lock by hand with sudo nvidia-smi -lgc MHZ, and afterwards -rgc"
        )
    from ditbench.cli import apart

    a, b = (apart.source(side.said, asked.given.suite) for side in asked.sides)
    return apart.apart(apart.Asked(asked.given, a, b, asked.path, processes=asked.processes))


def _inside(asked: Asked) -> Session:
    from ditbench import environment, store
    from ditbench.devices.device import facts_of
    from ditbench.run.duel import Match, duel

    with session_of(asked.given) as (server, devices):
        found = paired(asked.given, asked.sides, server, devices[0])
        for line in found.alone:
            output.warn(line)
        here = environment.collect(devices[0].kind, facts_of(devices), os.environ)
        code = environment.code_identity()
        a, b = (store.Arm(side.said, code, here) for side in asked.sides)
        match = Match(
            found.plan.suite,
            found.pairs,
            (a, b),
            asked.path,
            asked.processes,
            max(asked.processes, MOST),
        )
        return duel(match, server, devices, output.warn)


def path_of(out: Path, suite: Path) -> Path:
    """The file that was asked for, or a new one in a folder."""
    from ditbench.store import slug

    if out.name.endswith(SUFFIX):
        return out
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    return out / f"{slug(suite.stem)}-{stamp}{SUFFIX}"


def show(session: Session, findings: Sequence[Finding]) -> None:
    """One line a finding, in the order of the suite."""
    from ditbench.store.sessions import ARM, ARMS

    a, b = (arm.said for arm in session.arms)
    names = _names(session.pairs)
    output.table(
        f"{session.suite}: B, {b}, against A, {a}",
        ["pair", "metric", "verdict", "B/A", "best", "processes", "gate", "why"],
        (
            [
                names[one.cell.key],
                one.metric,
                str(one.verdict),
                *_figures(one.duel),
                _gate(one),
                one.reason,
            ]
            for one in findings
        ),
    )
    for arm in ARMS:
        for record in session.records:
            if record.facts[ARM] == arm and record.reason:
                print(f"{arm.upper()}, {record.cell.id}: {record.status}, {record.reason}")
    for problem in session.problems:
        print(f"note: {problem}")


def _figures(duel: Duel | None) -> tuple[str, str, str]:
    """The ratio with its interval, that of the best modes, and how many processes told."""
    if duel is None:
        return "", "", "0"
    ratio = duel.ratio
    counts = [str(len(side)) for side in (duel.base, duel.judged)]
    return (
        f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})",
        f"{duel.best:.3f}",
        counts[0] if duel.inside else " and ".join(counts),
    )


def _gate(one: Finding) -> str:
    """The relative change that is let pass, and where it comes from, with this machine's floor."""
    found = (step for step in one.steps if step.rule == "gate")
    return next((f"{step.outcome} ({step.numbers})" for step in found), "")


def _names(pairs: Sequence[tuple[Cell, Cell]]) -> dict[str, str]:
    """By B's key: the axes on which the arms differ, as `attention=softmax -> sdpa`, or cells do."""
    axes = [(a.axes, b.axes) for a, b in pairs]
    every = dict.fromkeys(axis for both in axes for one in both for axis in one)
    telling = [
        axis
        for axis in every
        if axis == "attention" or len({one.get(axis) for both in axes for one in both}) > 1
    ]
    return {
        b.key: " ".join(
            _named(axis, a.axes.get(axis, ""), b.axes.get(axis, "")) for axis in telling
        )
        for a, b in pairs
    }


def _named(axis: str, a: str, b: str) -> str:
    return f"{axis}={a}" if a == b else f"{axis}={a} -> {b}"


def codes(session: Session, findings: Sequence[Finding]) -> set[int]:
    """Every exit code that holds."""
    from ditbench.compare import codes_of
    from ditbench.records import Stage, Status

    failed = (
        not session.finished
        or bool(session.problems)
        or any(
            record.status is not Status.OK and record.stage is Stage.TIME
            for record in session.records
        )
    )
    return set(codes_of(findings)) | ({errors.CELLS_FAILED} if failed else set())
