"""One metric of one pair of cells in a session of two arms: its processes, and what they come to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ditbench import deciding, stats
from ditbench.compare.rules import Gate
from ditbench.compare.verdicts import Duel, Finding, Verdict
from ditbench.deciding import Decision
from ditbench.metrics import Metric
from ditbench.records import Cell, Record
from ditbench.stats import Interval
from ditbench.summary import Estimate
from ditbench.summary.evidence import estimate

Values = tuple[float, ...]


@dataclass(frozen=True)
class Side:
    """One arm of a pair: records that are ok by process, the reference method's likewise, and what failed."""

    cell: Cell
    records: Mapping[int, Record]
    witnesses: Mapping[int, Record]
    failed: str = ""

    def values(self, metric: str) -> dict[int, Values]:
        """Raw values by process, of those that have any."""
        found = {at: tuple(one.metrics.get(metric, ())) for at, one in self.records.items()}
        return {at: values for at, values in sorted(found.items()) if values}

    def beside(self, metric: str) -> dict[int, float]:
        """By process, the ratio to the reference method that was timed in turns with it."""
        seen = {at: tuple(one.metrics.get(metric, ())) for at, one in self.witnesses.items()}
        return {
            at: _typical(_quotients(seen[at], values))
            for at, values in self.values(metric).items()
            if seen.get(at)
        }


@dataclass(frozen=True)
class Bout:
    """A is the base, B is judged."""

    metric: Metric
    a: Side
    b: Side
    gate: Gate
    inside: bool

    @cached_property
    def groups(self) -> tuple[tuple[Values, ...], tuple[Values, ...]]:
        """Raw values of each process, A's and B's; of both where they shared it."""
        a, b = (side.values(self.metric.name) for side in (self.a, self.b))
        if self.inside:
            a, b = ({at: one[at] for at in a.keys() & b.keys()} for one in (a, b))
        return tuple(a[at] for at in sorted(a)), tuple(b[at] for at in sorted(b))

    @cached_property
    def medians(self) -> tuple[Values, Values]:
        """Of the processes, A's and B's."""
        a, b = (stats.medians(one) if one else () for one in self.groups)
        return a, b

    @cached_property
    def pairs(self) -> tuple[Values, ...] | None:
        """Where both arms ran in turns, the ratios b / a of neighbouring calls by process."""
        return tuple(map(_quotients, *self.groups)) if self.inside else None

    @cached_property
    def paired(self) -> Values | None:
        """Each process's own ratio b / a."""
        return None if self.pairs is None else tuple(map(_typical, self.pairs))

    @cached_property
    def decision(self) -> Decision:
        """Of all processes."""
        return deciding.decide(*self.medians, self.gate.value, self.paired)

    @cached_property
    def witness(self) -> Interval | None:
        """The same ratio, of each arm's ratio to the reference method; None where that was not timed."""
        a, b = (side.beside(self.metric.name) for side in (self.a, self.b))
        shared = sorted(a.keys() & b.keys())
        if self.inside:
            own = tuple((b[at] / a[at],) for at in shared)
            return _interval((), (), own) if own else None
        sides = [tuple((one[at],) for at in sorted(one)) for one in (a, b)]
        return _interval(*sides) if all(sides) else None

    @cached_property
    def duel(self) -> Duel | None:
        """None where an arm has no process."""
        if not all(self.medians):
            return None
        a, b = self.medians
        return Duel(
            base=a,
            judged=b,
            ratio=_interval(*self.groups, self.pairs),
            best=float(self.decision.best),
            witness=self.witness,
            slow=(float(deciding.slow_share(a)), float(deciding.slow_share(b))),
            inside=self.inside,
            p=float(self.decision.p),
        )

    def finding(self, verdict: Verdict, reason: str) -> Finding:
        """About B's cell."""
        duel = self.duel
        ratio = duel.ratio.value if duel else math.nan
        a, b = (_estimate(one) for one in self.groups)
        return Finding(
            cell=self.b.cell,
            metric=self.metric.name,
            verdict=verdict,
            reason=reason,
            change=ratio - 1 if math.isfinite(ratio) else None,
            baseline=a,
            candidate=b,
            duel=duel,
            then=self.medians[0],
            now=self.medians[1],
        )


def _interval(
    a: tuple[Values, ...], b: tuple[Values, ...], pairs: tuple[Values, ...] | None = None
) -> Interval:
    """The Hodges-Lehmann ratio with its interval: processes are drawn anew, then samples within each."""
    if pairs is not None:
        value = deciding.ratio((), (), stats.medians(pairs))
        return stats.interval(float(value), deciding.ratio((), (), stats.draws(pairs)))
    value = deciding.ratio(stats.medians(a), stats.medians(b))
    drawn = deciding.ratio(stats.draws(a, below=True), stats.draws(b))
    return stats.interval(float(value), drawn)


def _estimate(groups: tuple[Values, ...]) -> Estimate | None:
    return estimate(stats.median(groups), groups) if groups else None


def _quotients(below: Values, above: Values) -> Values:
    """Neighbouring calls, in the order of time; NaN where there is no ratio."""
    with np.errstate(divide="ignore", invalid="ignore"):
        together = min(len(below), len(above))
        return tuple(np.divide(above[:together], below[:together]).tolist())


def _typical(quotients: Values) -> float:
    """The median on the logarithmic scale."""
    return float(np.exp(np.median(deciding.logarithms(quotients))))
