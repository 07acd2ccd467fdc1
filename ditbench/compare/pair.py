"""One metric of one cell, then and now, with all that is known to judge it by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from ditbench import deciding, units
from ditbench.compare.rules import Gate
from ditbench.compare.verdicts import COUNTED, ENOUGH, Duel, Finding, Verdict
from ditbench.deciding import Screened
from ditbench.metrics import Metric
from ditbench.summary import Estimate, Evidence
from ditbench.summary.history import WINDOW


@dataclass(frozen=True)
class Pair:
    """history: clean values of the nights before. confirmed: what a session of two arms came to.

    unconfirmed: what is said where none did, with the way out.
    """

    metric: Metric
    then: Evidence
    now: Evidence
    gate: Gate
    history: tuple[float, ...] = ()
    confirmed: Finding | None = None
    unconfirmed: str = ""

    @property
    def before(self) -> Estimate:
        """The baseline's figure."""
        return self.then.estimates[self.metric.name]

    @property
    def after(self) -> Estimate:
        """The candidate's."""
        return self.now.estimates[self.metric.name]

    @property
    def change(self) -> float | None:
        """Candidate / baseline - 1, or None where that is no finite number."""
        return relative(self.before.value, self.after.value)

    @property
    def medians(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Of the processes of baseline and candidate."""
        name = self.metric.name
        return self.then.per_process.get(name, ()), self.now.per_process.get(name, ())

    @property
    def nights(self) -> bool:
        """Whether there are enough nights before to be screened against."""
        return len(self.history) >= WINDOW

    @cached_property
    def seen(self) -> tuple[float, float]:
        """What is screened against, and how it varies: of the nights before, else of the baseline."""
        then, _now = self.medians
        middle, spread = deciding.nights(self.history) if self.nights else deciding.seen(then)
        return float(middle), float(spread)

    @cached_property
    def screened(self) -> Screened:
        """The figure beside that, and beside the baseline."""
        gates = self.gate.asked, self.gate.value
        return deciding.screened(self.seen, self.before.value, self.after.value, *gates)

    @property
    def settled(self) -> bool:
        """Whether a session judged it; of too few processes it says no more than that."""
        steps = self.confirmed.steps if self.confirmed else ()
        return any((step.rule, step.outcome) == (COUNTED, ENOUGH) for step in steps)

    @property
    def values(self) -> str:
        """Both figures, for people."""
        before, after = (units.of(one.value, self.metric.unit) for one in (self.before, self.after))
        return f"{before} -> {after}"

    @property
    def duel(self) -> Duel | None:
        """Of this very metric: steps are judged by their batch's, whose times are no steps'."""
        own = self.confirmed is not None and self.confirmed.metric == self.metric.name
        return self.confirmed.duel if self.confirmed and own else None

    def finding(self, verdict: Verdict, reason: str) -> Finding:
        """The verdict, with both figures beside it."""
        then, now = self.medians
        return Finding(
            cell=self.now.cell,
            metric=self.metric.name,
            verdict=verdict,
            reason=reason,
            change=self.change,
            baseline=self.before,
            candidate=self.after,
            duel=self.duel,
            then=then,
            now=now,
        )


def relative(before: float, after: float) -> float | None:
    """After / before - 1, or None where that is no finite number."""
    if before <= 0 or not (math.isfinite(before) and math.isfinite(after)):
        return None
    return after / before - 1
