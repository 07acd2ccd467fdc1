"""The verdict on one metric of one cell that two runs measured.

Multiply-adds are exact, so any change of them is a verdict; a largest batch is a whole number. Time, memory
and pictures are screened: a change beyond what the processes' own spread explains is `inconclusive`, because
one comparison does not confirm it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ditbench import stats, units
from ditbench.compare import pictures
from ditbench.compare.verdicts import Finding, Verdict
from ditbench.metrics import CALL_FLOOR_S, ROUNDING, Metric
from ditbench.records import Stage
from ditbench.summary import Estimate, Evidence

# Changes within three standard deviations of the process medians are what the machine does by itself.
_SIGMAS = 3
# The PSNR of pictures whose error is one grey level everywhere, 20 log10(255): above it nobody sees anything.
_ONE_LEVEL = 20 * math.log10(255)
# What cannot be zero: such a baseline is a hole, not a number.
_POSITIVE = frozenset({"s", "B", "J", "images/s"})


@dataclass(frozen=True)
class Pair:
    """One metric of one cell, then and now. gate: the suite's threshold, if it names one."""

    metric: Metric
    then: Evidence
    now: Evidence
    gate: float

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
        before, after = self.before.value, self.after.value
        if before <= 0 or not (math.isfinite(before) and math.isfinite(after)):
            return None
        return after / before - 1

    @property
    def floor(self) -> float:
        """The relative change that the gate or the spread of either run's processes explains."""
        spreads = (
            stats.spread(row.per_process.get(self.metric.name, (0.0,)))
            for row in (self.then, self.now)
        )
        return max(self.gate, *(_SIGMAS * spread for spread in spreads))

    def finding(self, verdict: Verdict, reason: str, floor: float | None = None) -> Finding:
        """The verdict, with both figures beside it."""
        return Finding(
            cell=self.now.cell,
            metric=self.metric.name,
            verdict=verdict,
            reason=reason,
            change=self.change,
            floor=floor,
            baseline=self.before,
            candidate=self.after,
        )


def judge(pair: Pair) -> Finding:
    """The verdict on one metric that both sides have."""
    if hindrance := _hindrance(pair):
        return pair.finding(Verdict.INCOMPARABLE, hindrance)
    return {Stage.GATE: _exact, Stage.FIT: _searched}.get(pair.metric.stage, _screened)(pair)


def _hindrance(pair: Pair) -> str:
    """Why the two values cannot stand beside each other; empty where they can."""
    before, after = pair.before, pair.after
    if math.isnan(before.value) or math.isnan(after.value):
        return "not a number"
    if pair.metric.unit in _POSITIVE and before.value <= 0:
        return f"the baseline is {before.value:g}, against which nothing can be judged: set it anew"
    if pair.metric.stage is Stage.TIME and (unfit := pair.now.unfit or pair.then.unfit):
        return f"the machine was not fit {'now' if pair.now.unfit else 'then'}: {unfit}"
    if pair.metric.stage is Stage.QUALITY:
        return pictures.hindrance(pair.metric.name, pair.then, pair.now)
    return _other_memory(pair) if pair.metric.stage is Stage.FIT else ""


def _other_memory(pair: Pair) -> str:
    """A largest batch is one of so much memory."""
    then, now = (row.fit.memory_limit if row.fit else None for row in (pair.then, pair.now))
    if then == now:
        return ""
    told = [f"{units.size(size)} ({size} bytes)" if size else "unknown" for size in (then, now)]
    return f"found in memory of {told[0]} then, {told[1]} now: set timing.memory_limit"


def _exact(pair: Pair) -> Finding:
    """Multiply-adds: counted, not measured, so there is nothing to confirm."""
    before, after = pair.before.value, pair.after.value
    if before == after:
        return pair.finding(Verdict.UNCHANGED, "equal", 0.0)
    verdict = Verdict.REGRESSED if after > before else Verdict.IMPROVED
    told = (units.count(value, pair.metric.unit) for value in (before, after))
    return pair.finding(verdict, f"{' -> '.join(told)}; a count needs no confirmation", 0.0)


def _searched(pair: Pair) -> Finding:
    """Largest batches: whole numbers, so any step beyond what the searches left open is a change."""
    before, after = pair.before, pair.after
    told = f"{before.value:.0f} -> {after.value:.0f}"
    if before.value == after.value:
        return pair.finding(Verdict.UNCHANGED, "equal", pair.gate)
    if before.low <= after.high and after.low <= before.high:
        return pair.finding(Verdict.UNCHANGED, f"{told}, within a step of the search", pair.gate)
    if abs(pair.change or 0.0) <= pair.gate:
        return pair.finding(Verdict.UNCHANGED, f"{told}, within the suite's gate", pair.gate)
    if any(row.fit and row.fit.wavering for row in (pair.then, pair.now)):
        return pair.finding(Verdict.INCONCLUSIVE, f"{told}, but a search contradicted itself", 0.0)
    verdict = Verdict.IMPROVED if after.value > before.value else Verdict.REGRESSED
    return pair.finding(verdict, f"{told}, both sides of it tried twice", pair.gate)


def _screened(pair: Pair) -> Finding:
    """Time, memory and pictures: beyond the floors of both kinds, and even then not confirmed."""
    if excuse := _same(pair):
        return pair.finding(Verdict.UNCHANGED, excuse, pair.floor)
    change, floor = pair.change, pair.floor
    if change is None:
        return pair.finding(
            Verdict.INCONCLUSIVE,
            f"{pair.before.value:g} -> {pair.after.value:g}, which is no ratio; "
            "one comparison does not confirm it",
            floor,
        )
    told = units.percent(change, signed=True)
    if abs(change) <= floor:
        reason = f"{told} within the floor of {units.percent(floor)}"
        return pair.finding(Verdict.UNCHANGED, reason, floor)
    return pair.finding(
        Verdict.INCONCLUSIVE,
        f"{told} beyond the floor of {units.percent(floor)}; one comparison does not confirm it",
        floor,
    )


def _same(pair: Pair) -> str:
    """Why the two are the same in spite of any ratio; empty where they may not be."""
    before, after = pair.before.value, pair.after.value
    if before == after:
        return "equal"
    rounding = ROUNDING.get(pair.now.cell.sampling.dtype, 0.0)
    if pair.metric.name == "latent_drift" and pair.now.exact and max(before, after) <= rounding:
        return "rounding of an exact method"
    if pair.metric.unit == "dB" and min(before, after) >= _ONE_LEVEL:
        return "errors below one grey level"
    least = _least(pair)
    if abs(after - before) <= least:
        return f"a difference of {abs(after - before):.3g}, which {least:.3g} may be by itself"
    return ""


def _least(pair: Pair) -> float:
    """The absolute change that says nothing: of a figure of a whole set three of its standard errors.

    Both runs draw the same noise, so where the difference to softmax has an error that is the one.
    """
    if pair.now.cell.op and pair.metric.name == "latency":
        return CALL_FLOOR_S
    told = [row.error(pair.metric.name) for row in (pair.then, pair.now)]
    return max(pair.metric.floor, _SIGMAS * max(error or 0.0 for error in told))
