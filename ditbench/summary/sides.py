"""What the processes of a session timed of one pair of cells: what verdicts rest on, and whether it suffices.

One reading of it, so that who measures asks for more processes by the very figures that are judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ditbench import deciding, machine, stats
from ditbench.records import Cell, Record, Stage, Status, Values
from ditbench.store import Session
from ditbench.store.sessions import ARM, ARMS, PROCESS, WITNESS

# What a session times, call by call.
LATENCY = "latency"

Pair = tuple[Cell, Cell]


@dataclass(frozen=True)
class Side:
    """One arm of a pair, without the calls that something physical spoilt.

    By process: records that are ok, the reference method's of the same processes, and the canary's. failed:
    what became of one that is not ok, empty for none.
    """

    cell: Cell
    records: Mapping[int, Record]
    witnesses: Mapping[int, Record]
    canaries: Mapping[int, Record]
    failed: str = ""

    @classmethod
    def of(cls, session: Session, arm: str, cell: Cell) -> Side:
        """The records of a cell in one arm."""
        mine = [one for one in session.records if one.facts.get(ARM) == arm]
        timed = [one for one in mine if one.stage is Stage.TIME]
        own = [one for one in timed if WITNESS not in one.facts and one.cell.key == cell.key]
        records = _by_process(own)
        canaries = _by_process(one for one in mine if one.stage is Stage.CANARY)
        failed = next((one for one in own if one.status is not Status.OK), None)
        return cls(
            cell,
            records,
            _by_process(one for one in timed if one.facts.get(WITNESS) == cell.key),
            {at: one for at, one in canaries.items() if at in records},
            f"{failed.status}, {failed.reason}" if failed else "",
        )

    @cached_property
    def latencies(self) -> dict[int, Values]:
        """Seconds of the calls by process, of those that have any."""
        return _latencies(self.records)

    @cached_property
    def beside(self) -> tuple[float, ...]:
        """The ratio to the reference method that was timed in turns with it, one a process that has it."""
        below = _latencies(self.witnesses)
        return tuple(
            typical(quotients(below[at], above))
            for at, above in self.latencies.items()
            if at in below
        )


@dataclass(frozen=True)
class Sides:
    """A is the base, B is judged. inside: whether both ran in each process, call by call in turns."""

    a: Side
    b: Side
    inside: bool

    @cached_property
    def groups(self) -> tuple[tuple[Values, ...], tuple[Values, ...]]:
        """Seconds of each process's calls, A's and B's; of both where they shared it."""
        a, b = self.a.latencies, self.b.latencies
        if self.inside:
            a, b = ({at: one[at] for at in one if at in a and at in b} for one in (a, b))
        return tuple(a.values()), tuple(b.values())

    @cached_property
    def medians(self) -> tuple[Values, Values]:
        """Of the processes, A's and B's."""
        a, b = (stats.medians(one) if one else () for one in self.groups)
        return a, b

    @cached_property
    def pairs(self) -> tuple[Values, ...] | None:
        """Where both arms ran in turns, the ratios b / a of neighbouring calls by process."""
        return tuple(map(quotients, *self.groups)) if self.inside else None

    @cached_property
    def paired(self) -> Values | None:
        """Each process's own ratio b / a."""
        return None if self.pairs is None else tuple(map(typical, self.pairs))

    @property
    def two_modes(self) -> bool:
        """Whether two modes show in its processes."""
        return all(self.medians) and bool(deciding.wants_more(*self.medians, self.paired))


def sides_of(session: Session, pair: Pair) -> Sides:
    """What a session holds of one of its pairs."""
    a, b = (Side.of(session, arm, cell) for arm, cell in zip(ARMS, pair, strict=True))
    return Sides(a, b, session.inside)


def two_modes(session: Session) -> tuple[Pair, ...]:
    """The pairs whose processes show two modes: five of them do not tell which is an arm's own."""
    return tuple(pair for pair in session.pairs if sides_of(session, pair).two_modes)


def quotients(below: Values, above: Values) -> Values:
    """Neighbouring calls, in the order of time; NaN where there is no ratio."""
    with np.errstate(divide="ignore", invalid="ignore"):
        together = min(len(below), len(above))
        return tuple(np.divide(above[:together], below[:together]).tolist())


def typical(ratios: Values) -> float:
    """The median on the logarithmic scale."""
    return float(np.exp(np.median(deciding.logarithms(ratios))))


def _by_process(records: Iterable[Record]) -> dict[int, Record]:
    """Those that are ok, in the order of time."""
    good = {one.facts[PROCESS]: machine.kept(one) for one in records if one.status is Status.OK}
    return dict(sorted(good.items()))


def _latencies(records: Mapping[int, Record]) -> dict[int, Values]:
    found = {at: tuple(one.metrics.get(LATENCY, ())) for at, one in records.items()}
    return {at: values for at, values in found.items() if values}
