"""One pair of cells in a session of two arms: its processes, and what they come to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from ditbench import deciding, stats
from ditbench.compare.rules import Gate
from ditbench.compare.verdicts import Duel, Finding, Verdict
from ditbench.deciding import Decision
from ditbench.records import Values
from ditbench.stats import Interval
from ditbench.summary import Estimate, canary
from ditbench.summary.canary import Between
from ditbench.summary.evidence import estimate
from ditbench.summary.sides import LATENCY, Sides


@dataclass(frozen=True)
class Bout(Sides):
    """What both arms timed, and the relative change that is let pass."""

    gate: Gate

    @cached_property
    def decision(self) -> Decision:
        """Of all processes."""
        return deciding.decide(*self.medians, self.gate.value, self.paired)

    @property
    def moved(self) -> bool:
        """Whether the time is slower or faster by the rule that confirms."""
        return _moved(self.decision)

    @property
    def unmoved(self) -> bool:
        """Whether both figures lie within the gate; neither this nor `moved` where they are at odds."""
        return int(self.decision.codes) == deciding.UNCHANGED

    @cached_property
    def witness(self) -> Interval | None:
        """The same ratio, of each process's ratio to the reference method; None where that was not timed."""
        a, b = (tuple((one,) for one in side.beside) for side in (self.a, self.b))
        return _interval(a, b) if a and b else None

    @cached_property
    def contradicted(self) -> bool:
        """Whether the reference method moved too, or it alone, so that time and ratio to it tell otherwise.

        A time that moved asks half the gate of the ratio, on its side. One that did not is contradicted by a
        ratio that moved by the very rule of times: less would be noise.
        """
        if self.witness is None or not (self.moved or self.unmoved):
            return False
        if self.unmoved:
            beside = self.a.beside, self.b.beside
            return _moved(deciding.decide(*beside, self.gate.value))
        side = math.copysign(1, float(self.decision.ratio) - 1)
        return not side * _log(self.witness.value) > math.log1p(self.gate.value / 2)

    @cached_property
    def canaries(self) -> Between:
        """The machine of B against that of A, in the processes that timed these cells."""
        return canary.between(self.a.canaries.values(), self.b.canaries.values())

    @property
    def steady(self) -> bool:
        """Whether the canary was measured in both arms, and stayed within half the gate."""
        least = math.log1p(self.gate.value / 2)
        ratios = self.canaries.ratios.values()
        return bool(ratios) and all(abs(_log(one)) <= least for one in ratios)

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
            metric=LATENCY,
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


def _moved(decision: Decision) -> bool:
    return int(decision.codes) in {deciding.IMPROVED, deciding.REGRESSED}


def _log(value: float) -> float:
    """NaN for what has none, which is on no side of anything."""
    return float(deciding.logarithms(value)[0])
