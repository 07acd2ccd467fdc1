"""Two distributions by process, drawn and in a table: then and now, or the two arms of a session."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from ditbench import units
from ditbench.compare import Finding
from ditbench.report import words
from ditbench.report.clocks import Clock, Clocks
from ditbench.report.drawing import Drawing, Lane, Panel, Shape, Show, strip
from ditbench.report.tables import MISSING, NOT_MEASURED, Column, Table, Value
from ditbench.stats import Interval

_COLUMNS = (
    Column("arm"),
    Column("process", numeric=True),
    Column("median", numeric=True),
    Column("clock", numeric=True),
)


@dataclass(frozen=True)
class Arm:
    """One side. values: process medians; clocks: hertz a process, NaN where none was measured."""

    title: str
    shape: Shape
    values: tuple[float, ...]
    clocks: Clock

    @property
    def pairs(self) -> Iterable[tuple[float, float]]:
        """Each process with its clock; of a baseline that kept none, or another number, without."""
        unknown = itertools.repeat(math.nan)
        told = self.clocks if len(self.clocks) == len(self.values) else unknown
        return zip(self.values, told, strict=False)

    @property
    def clocked(self) -> bool:
        """Whether any of its processes has a clock."""
        return any(math.isfinite(clock) for _, clock in self.pairs)


def arms(finding: Finding, known: Clocks) -> tuple[Arm, ...]:
    """A and B where a session was judged, else then and now; none where no process told anything."""
    key, duel = finding.cell.key, finding.duel
    if duel:
        both = (
            Arm("A", "ring", duel.base, known.a.get(key, ())),
            Arm("B", "diamond", duel.judged, known.b.get(key, ())),
        )
    else:
        both = (
            Arm("then", "ring", finding.then, known.then.get(key, ())),
            Arm("now", "diamond", finding.now, known.now.get(key, ())),
        )
    return both if all(arm.values for arm in both) else ()


def drawn(finding: Finding, found: tuple[Arm, ...], name: str) -> Drawing | None:
    """The arms above each other, the ratio of a session, and the clocks that they ran at."""
    if not found:
        return None
    show = partial(words.figure, finding.metric)
    panels = [Panel(tuple(_lane(arm, show) for arm in found), show)]
    if finding.duel:
        panels.append(_ratio(finding.duel.ratio))
    clocked = [arm for arm in found if arm.clocked]
    if clocked:
        panels.append(Panel(tuple(map(_clock, clocked)), _hertz))
    return strip(name, _said(finding, found), panels)


def _lane(arm: Arm, show: Show) -> Lane:
    tips = tuple(
        f"{arm.title}, process {number}: {show(value)}{_at(clock)}"
        for number, (value, clock) in enumerate(arm.pairs, start=1)
    )
    return Lane(arm.title, arm.values, arm.shape, tips)


def _ratio(ratio: Interval) -> Panel:
    lane = Lane("B / A", (ratio.value,), "diamond", span=(ratio.low, ratio.high))
    return Panel((lane,), lambda value: units.digits(value, 4), (1.0,))


def _clock(arm: Arm) -> Lane:
    tips = tuple(f"{arm.title}, process {n}{_at(c)}" for n, (_, c) in enumerate(arm.pairs, start=1))
    return Lane(f"{arm.title} clock", tuple(clock for _, clock in arm.pairs), arm.shape, tips)


def table(finding: Finding, found: tuple[Arm, ...]) -> Table:
    """Every process with its clock, for who wants to read it or cannot see it drawn."""
    rows = tuple(
        (
            Value(arm.title),
            Value(str(number), order=number),
            Value(words.figure(finding.metric, value), order=value),
            Value(_hertz(clock), order=clock) if math.isfinite(clock) else MISSING,
        )
        for arm in found
        for number, (value, clock) in enumerate(arm.pairs, start=1)
    )
    return Table(_COLUMNS, rows)


def clocks(found: tuple[Arm, ...]) -> str:
    """At which clocks the arms ran, in one line."""
    told = [f"{arm.title} {_range(arm)}" for arm in found if arm.clocked]
    return f"Clock: {', '.join(told)}." if told else f"Clock: {NOT_MEASURED}."


def _range(arm: Arm) -> str:
    known = [clock for _, clock in arm.pairs if math.isfinite(clock)]
    low, high = _hertz(min(known)), _hertz(max(known))
    return low if low == high else f"{low} to {high}"


def _said(finding: Finding, found: tuple[Arm, ...]) -> str:
    told = "; ".join(
        f"{arm.title}: {', '.join(words.figure(finding.metric, value) for value in arm.values)}"
        for arm in found
    )
    return f"{words.named(finding.metric)} by process. {told}. {clocks(found)}"


def _at(clock: float) -> str:
    return f", {_hertz(clock)}" if math.isfinite(clock) else ""


def _hertz(value: float) -> str:
    return units.count(value, "Hz")
