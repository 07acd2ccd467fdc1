"""At which clock each process ran: what stands beside its median, so that a slow clock is seen as one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ditbench.records import Record, Stage, Status
from ditbench.store import Run, Session
from ditbench.store.sessions import ARM, ARMS, PROCESS, WITNESS

# What tells the clock of a GPU's multiprocessors, and of processors: lowest, middle and highest, in hertz.
_TOLD = ("sm_clock", "frequency")
Clock = tuple[float, ...]


@dataclass(frozen=True)
class Beside:
    """What a run was judged by, where it is at hand: its baseline, and the session that confirmed."""

    baseline: Run | None = None
    session: Session | None = None


@dataclass(frozen=True)
class Clocks:
    """Hertz by cell key, one a process in the order of their medians; NaN where it was not measured.

    a, b: of the arms of the session, both by the key of the cell that B ran.
    """

    then: Mapping[str, Clock] = field(default_factory=dict)
    now: Mapping[str, Clock] = field(default_factory=dict)
    a: Mapping[str, Clock] = field(default_factory=dict)
    b: Mapping[str, Clock] = field(default_factory=dict)


def clocks(run: Run, beside: Beside) -> Clocks:
    """Of every process that was timed."""
    then = _clocks(beside.baseline.records if beside.baseline else ())
    now = _clocks(run.records)
    session = beside.session
    if session is None:
        return Clocks(then, now)
    a, b = (_clocks(one for one in session.records if one.facts.get(ARM) == arm) for arm in ARMS)
    base = {judged.key: a.get(base.key, ()) for base, judged in session.pairs}
    return Clocks(then, now, base, b)


def _clocks(records: Iterable[Record]) -> dict[str, Clock]:
    """In the order of processes; of one that stands witness nothing, it shares its neighbour's clock."""
    timed = [
        one
        for one in records
        if one.stage is Stage.TIME and one.status is Status.OK and WITNESS not in one.facts
    ]
    timed.sort(key=lambda one: int(one.facts.get(PROCESS, one.replicate)))
    found: dict[str, list[float]] = {}
    for one in timed:
        found.setdefault(one.cell.key, []).append(_clock(one))
    return {key: tuple(values) for key, values in found.items()}


def _clock(record: Record) -> float:
    """The middle of what was seen while the process was timed."""
    seen = record.facts.get("telemetry", {})
    told = next((seen[name] for name in _TOLD if name in seen), None)
    return float(told[1]) if told else math.nan
