"""What of a run may stand in a baseline, and why the rest may not.

A baseline judges every run after it, so a broken night that got into it would be seen by nobody: whatever is
doubtful stays out, by name and with its reason.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ditbench import machine, units
from ditbench.environment import refusals
from ditbench.errors import StoreError
from ditbench.gating import PROCESSES
from ditbench.metrics import NAMES, stage_of
from ditbench.records import Cell, Record, Stage, Status
from ditbench.store.noise import Noise
from ditbench.store.reading import Run

# Processes that lie further apart than so many floors were not measured on a machine as it was then. A floor
# is of medians of five processes, and this is the spread of single ones, which five tell badly: of equal
# nights on the three simulated machines of benchmarks/gate.py one floor refuses 12 to 26 % of all cells, two
# 0.5 to 6 %, three 0.03 to 1.2 %; of nights five times noisier three refuse 37 to 42 % (quiet, typical).
FLOORS = 3


@dataclass(frozen=True)
class LeftOut:
    """A cell that a baseline did not take, and why."""

    cell: Cell
    reason: str


@dataclass(frozen=True)
class Admitted:
    """What a baseline takes of a run. provisional: timed in too few processes to gate anything."""

    records: tuple[Record, ...]
    left_out: tuple[LeftOut, ...]
    provisional: bool


def admit(run: Run, noise: Noise | None, *, provisional: bool) -> Admitted:
    """The records that passed everything. provisional: take a run of too few processes all the same.

    Raises StoreError for a run that was cut off, damaged, quick, measured where it must not be or timed in
    too few processes, and where no cell can stand in a baseline.
    """
    _check_whole(run)
    of_cell, demands = _by_cell(run), _Demands.of(run)
    few = demands.times and demands.processes < PROCESSES
    if few and not provisional:
        raise StoreError(
            f"run {run.id}: timed in {_processes(demands.processes)}; a baseline needs {PROCESSES}: "
            f"set timing.processes: {PROCESSES} (or --provisional, of which no time gates anything)"
        )
    reasons = {
        cell.key: demands.refusal(cell, of_cell[cell.key])
        or machine.unfit(of_cell[cell.key])
        or machine.crowded(_timed(of_cell[cell.key]))
        or _broken(of_cell[cell.key])
        or _restless(cell, of_cell[cell.key], noise)
        for cell in run.planned
    }
    out = tuple(LeftOut(cell, reasons[cell.key]) for cell in run.planned if reasons[cell.key])
    taken = [cell for cell in run.planned if not reasons[cell.key]]
    if not taken:
        first = f"; the first, {out[0].cell.id}: {out[0].reason}" if out else ""
        raise StoreError(
            f"run {run.id}: none of its {len(out)} cells can stand in a baseline{first}"
        )
    records = {
        (record.key, record.stage, record.replicate): record
        for cell in taken
        for record in of_cell[cell.key]
        if record.stage is not Stage.SAMPLE  # holds no value that anything could be judged by
    }
    canary = [one for one in run.records if one.stage is Stage.CANARY and one.status is Status.OK]
    return Admitted((*records.values(), *canary), out, few)


def _by_cell(run: Run) -> Mapping[str, list[Record]]:
    """The records of every cell, those of its pictures among them."""
    by_key = defaultdict(list)
    for record in run.records:
        by_key[record.key].append(record)
    return {
        cell.key: [*by_key.get(cell.key, []), *by_key.get(cell.quality_key, [])]
        for cell in run.planned
    }


def _timed(records: Sequence[Record]) -> list[Record]:
    return [one for one in records if one.stage is Stage.TIME]


def _check_whole(run: Run) -> None:
    """What speaks against the whole run."""
    if run.problems:
        raise StoreError(
            f"run {run.id} cannot become a baseline: {'; '.join(run.problems)}; measure again"
        )
    if not run.finished:
        raise StoreError(
            f"run {run.id} cannot become a baseline: it did not come to its end; go on with --resume"
        )
    if run.effort.get("quick") or "--quick" in _words(run.command):
        raise StoreError(
            f"run {run.id} cannot become a baseline: it was measured with --quick; measure without"
        )
    if told := refusals(run.environment):
        raise StoreError(f"run {run.id} cannot become a baseline: {'; '.join(told)}; measure again")


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # a head that somebody wrote by hand
        return command.split()


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

    def refusal(self, cell: Cell, records: Sequence[Record]) -> str:
        """Why a cell cannot stand in a baseline; empty where it can."""
        for record in records:
            if record.status is not Status.OK:
                return f"{record.status}: {record.reason}"
        stages = Counter(record.stage for record in records)
        if not stages[Stage.GATE] and not (stages[Stage.COUNT] and not self.times):
            return "no gate has passed it"
        if cell.finds_batch:
            return "" if stages[Stage.FIT] else "its largest batch was not found"
        if few := self._untimed(records):
            return "; ".join(filter(None, (few, machine.left_out(records))))
        return "it has no pictures" if self.pictures and not stages[Stage.QUALITY] else ""

    def _untimed(self, records: Sequence[Record]) -> str:
        """That it has too few processes of which a call is left."""
        kept = (machine.kept(one) for one in records if one.stage is Stage.TIME)
        timed = sum(bool(one.metrics.get("latency")) for one in kept)
        if not self.times or timed >= self.processes:
            return ""
        return f"{timed} of {self.processes} processes were timed" if timed else "it has no time"


def _broken(records: Sequence[Record]) -> str:
    """What no picture and no time may be, though its stage was ok."""
    for record in records:
        share = float(record.facts.get("constant_share", 0.0))
        if record.stage is Stage.QUALITY and share > 0:
            return f"{units.percent(share)} of its pictures are constant"
        for name, values in record.metrics.items():
            if any(map(math.isnan, values)):
                return f"{name} is not a number"
            if record.stage is Stage.TIME and name == "latency" and min(values, default=1.0) <= 0:
                return f"its {name} is {min(values):g}"
    return ""


def _restless(cell: Cell, records: Sequence[Record], noise: Noise | None) -> str:
    """That its processes lie further apart than the machine's measured noise explains.

    Nothing is said where no noise was measured: what such a baseline costs is power and no false alarm, for
    the screen lets pass three times the spread of either side's processes, and a session confirms.
    """
    from ditbench import stats  # noqa: PLC0415 (numpy, which a fork server must not load)

    floor = noise.floor(cell.key, "latency") if noise else None
    kept = [machine.kept(one).metrics.get("latency", ()) for one in records]
    groups = [calls for calls in kept if calls]
    if floor is None or not 0 < floor.apart < math.inf or not groups:
        return ""
    spread = stats.spread(stats.medians(groups))
    if spread <= FLOORS * floor.apart:
        return ""
    return (
        f"its processes spread {units.percent(spread)}, more than {FLOORS} x the measured floor of "
        f"{units.percent(floor.apart)}"
    )


def _processes(number: int) -> str:
    return "1 process" if number == 1 else f"{number} processes"
