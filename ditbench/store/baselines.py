"""Baselines: accepted records in one text file that is reviewed in git like code.

The first line is the head; then one record a line, sorted by cell, raw values kept, so that every figure
can be computed again.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ditbench import machine, shape
from ditbench.environment import Environment
from ditbench.errors import StoreError, UsageError
from ditbench.metrics import NAMES, stage_of
from ditbench.records import SCHEMA, Cell, Record, Stage, Status
from ditbench.registry import did_you_mean
from ditbench.store.disk import load, write_whole
from ditbench.store.index import LATEST, Entry
from ditbench.store.reading import Run, parse, well_formed
from ditbench.store.seal import sealed, unsealed
from ditbench.store.writing import to_plain

BASELINES = Path("baselines")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TAKEN = frozenset({LATEST, "none"})
_SUFFIX = ".jsonl"


@dataclass(frozen=True)
class LeftOut:
    """A cell that a baseline did not take, and why."""

    cell: Cell
    reason: str


def baseline_set(run: Run, name: str, root: Path = BASELINES) -> tuple[LeftOut, ...]:
    """Write root/<name>.jsonl from the cells of the run that passed everything; the others are returned.

    Raises UsageError for a name that is no file's name, StoreError for a run that was cut off or damaged,
    and where no cell can stand in a baseline.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"baseline {name!r}: a name is letters, digits, '.', '_' and '-'")
    if name in _TAKEN:
        raise UsageError(f"baseline {name!r}: says something else to --baseline; choose another")
    _check_whole(run)
    of_cell, demands = _by_cell(run), _Demands.of(run)
    reasons = {
        cell.key: demands.refusal(cell, of_cell[cell.key]) or machine.unfit(of_cell[cell.key])
        for cell in run.planned
    }
    out = tuple(LeftOut(cell, reasons[cell.key]) for cell in run.planned if reasons[cell.key])
    accepted = [cell for cell in run.planned if not reasons[cell.key]]
    if not accepted:
        first = f"; the first, {out[0].cell.id}: {out[0].reason}" if out else ""
        raise StoreError(
            f"run {run.id}: none of its {len(out)} cells can stand in a baseline{first}"
        )
    records = {
        (record.key, record.stage, record.replicate): record
        for cell in accepted
        for record in of_cell[cell.key]
        if record.stage is not Stage.SAMPLE  # holds no value that anything could be judged by
    }
    ordered = sorted(records.values(), key=_place)
    lines = [_head(run), *(to_plain(record) for record in ordered)]
    text = "".join(sealed(line, sort_keys=True) + "\n" for line in lines)
    write_whole(root / f"{name}{_SUFFIX}", text)
    return out


def baseline_read(name: str, root: Path = BASELINES) -> Run:
    """The baseline of that name or path as a run. Raises StoreError naming file and line.

    A line that cannot be read is an error here, not a problem: a baseline with a hole hides what it
    should judge.
    """
    path = Path(name) if Path(name).is_file() else root / f"{name}{_SUFFIX}"
    if not path.is_file():
        known = [entry.id for entry in baseline_list(root)]
        stem = name.removesuffix(_SUFFIX)
        asked = Path(name) if stem != name else path
        raise StoreError(
            f"{asked}: no such baseline{did_you_mean(stem, known)}; "
            f"`ditbench baseline set {Path(stem).name} RUN` makes one"
        )
    head, _, rest = load(path).partition(b"\n")
    lines = parse(path, rest, first=2)
    if lines.problems:
        raise StoreError("\n".join(lines.problems))
    return well_formed(f"{path}:1", lambda: _run(path, unsealed(head), lines.records))


def baseline_list(root: Path = BASELINES) -> tuple[Entry, ...]:
    """All baselines by name; one that cannot be read is listed with the reason."""
    return tuple(_entry(path) for path in sorted(root.glob(f"*{_SUFFIX}")))


def baseline_runs(root: Path = BASELINES) -> Mapping[str, str]:
    """The ids of the runs that baselines were made of, with the baseline's name.

    Raises StoreError where a head cannot be read: which run it names is not known then.
    """
    return {_run_named_by(path): path.stem for path in sorted(root.glob(f"*{_SUFFIX}"))}


def _run_named_by(path: Path) -> str:
    head = load(path).partition(b"\n")[0]
    return well_formed(f"{path}:1", lambda: str(unsealed(head)["run"]))


def _by_cell(run: Run) -> Mapping[str, list[Record]]:
    """The records of every cell, those of its pictures among them."""
    by_key = defaultdict(list)
    for record in run.records:
        by_key[record.key].append(record)
    return {
        cell.key: [*by_key.get(cell.key, []), *by_key.get(cell.quality_key, [])]
        for cell in run.planned
    }


def _check_whole(run: Run) -> None:
    """A baseline judges every run after it: nothing may be missing without anybody's knowing."""
    if run.problems:
        raise StoreError(
            f"run {run.id} cannot become a baseline: {'; '.join(run.problems)}; measure again"
        )
    if not run.finished:
        raise StoreError(
            f"run {run.id} cannot become a baseline: it did not come to its end; go on with --resume"
        )


def _place(record: Record) -> tuple[str, str, Stage, int]:
    """Where a record stands in the file: the same in every run, so that git shows what changed only."""
    return record.cell.id, record.cell.key, record.stage, record.replicate


@dataclass(frozen=True)
class _Demands:
    """What every cell of a run must have: replicates, and pictures where they were asked for."""

    processes: int
    times: bool
    pictures: bool

    @classmethod
    def of(cls, run: Run) -> _Demands:
        """As the run's head tells it; a run of schema 1 shows by its best cell how many replicates."""
        if {"timing", "quality", "metrics"} <= run.effort.keys():
            known = (name for name in run.effort["metrics"] if name in NAMES)
            stages = {stage_of(name) for name in known}
            pictured = Stage.QUALITY in stages and run.effort["quality"].get("samples", 0) > 0
            return cls(run.effort["timing"].get("processes", 1), Stage.TIME in stages, pictured)
        counts = Counter(record.key for record in run.records if record.stage is Stage.TIME)
        return cls(max(counts.values(), default=1), times=True, pictures=False)

    def refusal(self, cell: Cell, records: list[Record]) -> str:
        """Why a cell cannot stand in a baseline; empty where it can."""
        for record in records:
            if record.status is not Status.OK:
                return f"{record.status}: {record.reason}"
        stages = Counter(record.stage for record in records)
        if not stages[Stage.GATE] and not (stages[Stage.COUNT] and not self.times):
            return "no gate has passed it"
        if cell.finds_batch:
            return "" if stages[Stage.FIT] else "its largest batch was not found"
        timed = sum(
            record.stage is Stage.TIME and bool(record.metrics.get("latency")) for record in records
        )
        if self.times and not timed:
            return "it has no time"
        if self.times and timed < self.processes:
            return f"{timed} of {self.processes} processes were timed"
        return "it has no pictures" if self.pictures and not stages[Stage.QUALITY] else ""


def _head(run: Run) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "baseline": True,
        "run": run.id,
        "suite": run.suite,
        "suite_path": run.suite_path,
        "started": run.started,
        "environment": dict(run.environment.facts),
        "code": dict(run.code),
        "gate": dict(run.gate),
        "effort": dict(run.effort),
    }


def _run(path: Path, head: dict[str, Any], records: tuple[Record, ...]) -> Run:
    shape.check(head, shape.HEAD)
    timed = {record.key: record.cell for record in records if not record.stage.of_pictures}
    return Run(
        id=head["run"],
        folder=path.parent,
        suite=head["suite"],
        suite_path=head["suite_path"],
        suite_text="",
        command="",
        started=head["started"],
        finished=True,
        environment=Environment(dict(head["environment"])),
        code=dict(head["code"]),
        planned=tuple(timed.values()),
        records=records,
        gate=dict(head["gate"]),
        effort=dict(head.get("effort", {})),
    )


def _entry(path: Path) -> Entry:
    try:
        run = baseline_read(str(path))
    except StoreError as error:
        return Entry(path.stem, path, problem=str(error))
    return Entry(
        id=path.stem,
        folder=path,
        suite=run.suite,
        started=run.started,
        finished=True,
        cells=len(run.planned),
        records=len(run.records),
    )
