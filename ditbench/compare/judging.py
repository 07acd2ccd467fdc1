"""The verdict on one metric of one cell that two runs measured.

Multiply-adds and the bytes of caches are exact, so any change of them is a verdict; a largest batch is a
whole number, and memory nearly so. Times are screened, and only arms measured side by side confirm them.
Figures of pictures of fixed seeds have rules of their own.
"""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import replace

from ditbench import units
from ditbench.compare import memory, pictures, quality, screening
from ditbench.compare.pair import Pair
from ditbench.compare.rules import Rules, Ruling, judged, said
from ditbench.compare.screening import CONFIRM, SESSION
from ditbench.compare.verdicts import Finding, Verdict
from ditbench.metrics import BOUNDS, ONCE, Metric
from ditbench.records import Stage

# What cannot be zero: such a baseline is a hole, not a number.
_POSITIVE = frozenset({"s", "B", "J", "images/s"})
# More of it is neither better nor worse: what it buys is told by times, and what it costs by drift.
_NEITHER = "reuse_ratio"


def is_judged(metric: str, gate: Container[str]) -> bool:
    """Whether anything is said of it: of what is timed once only where the suite's gate names it."""
    return metric not in BOUNDS and (metric not in ONCE or metric in gate)


def judge(pair: Pair) -> Finding:
    """The verdict on one metric that both sides have."""
    found = judged(pair, (_comparable, *_rules(pair)))
    if pair.confirmed is None or found.steps[-1].rule != CONFIRM:
        return found
    *before, last = found.steps
    session = (replace(one, rule=f"{SESSION}{one.rule}") for one in pair.confirmed.steps)
    return replace(found, steps=(*before, *session, last))


def _rules(pair: Pair) -> Rules[Pair]:
    stage = pair.metric.stage
    if stage is Stage.TIME:
        return memory.RULES if pair.metric.unit == "B" else screening.RULES
    if stage is Stage.GATE:
        return (_exact if _is_counted(pair.metric) else _once,)
    return (_searched,) if stage is Stage.FIT else quality.RULES


def _is_counted(metric: Metric) -> bool:
    return metric.stage is Stage.GATE and metric.name not in ONCE


def _comparable(pair: Pair) -> Ruling | None:
    """Why the two values cannot stand beside each other."""
    hindrance = _hindrance(pair)
    return said("comparable", pair.values, hindrance, Verdict.INCOMPARABLE) if hindrance else None


def _hindrance(pair: Pair) -> str:
    before, after = pair.before.value, pair.after.value
    if math.isnan(before) or math.isnan(after):
        return "not a number"
    # A cache of no bytes is a method that was told to keep nothing.
    if pair.metric.unit in _POSITIVE and before <= 0 and not _is_counted(pair.metric):
        return f"the baseline is {before:g}, against which nothing can be judged: set it anew"
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


def _exact(pair: Pair) -> Ruling:
    """Multiply-adds, bytes of caches: counted, not measured, so there is nothing to confirm."""
    before, after = pair.before.value, pair.after.value
    if before == after:
        return said("count", pair.values, "equal", Verdict.UNCHANGED)
    if pair.metric.name == _NEITHER:
        told = f"{pair.values}: neither better nor worse by itself; times and drift say what it is worth"
        return said("count", pair.values, told, Verdict.INCONCLUSIVE)
    verdict = Verdict.REGRESSED if after > before else Verdict.IMPROVED
    return said("count", pair.values, f"{pair.values}; a count needs no confirmation", verdict)


def _once(pair: Pair) -> Ruling:
    """One value a run, of which nobody knows how it repeats: only a gate that a suite sets judges it."""
    change, gate = pair.change or 0.0, pair.gate.value
    told = f"{units.percent(change, signed=True)}"
    if abs(change) <= gate or abs(pair.after.value - pair.before.value) <= pair.metric.floor:
        least = f"{units.percent(gate)} or {units.of(pair.metric.floor, pair.metric.unit)}"
        return said("once", pair.values, f"{told} within {least}", Verdict.UNCHANGED)
    verdict = Verdict.REGRESSED if change > 0 else Verdict.IMPROVED
    return said("once", pair.values, f"{told} beyond the suite's {units.percent(gate)}", verdict)


def _searched(pair: Pair) -> Ruling:
    """Largest batches: whole numbers, so any step beyond what the searches left open is a change."""
    before, after = pair.before, pair.after
    told = f"{before.value:.0f} -> {after.value:.0f}"
    if before.value == after.value:
        return said("search", told, "equal", Verdict.UNCHANGED)
    if before.low <= after.high and after.low <= before.high:
        return said("search", told, f"{told}, within a step of the search", Verdict.UNCHANGED)
    if abs(pair.change or 0.0) <= pair.gate.value:
        return said("search", told, f"{told}, within the suite's gate", Verdict.UNCHANGED)
    if any(row.fit and row.fit.wavering for row in (pair.then, pair.now)):
        why = f"{told}, but a search contradicted itself"
        return said("search", told, why, Verdict.INCONCLUSIVE)
    verdict = Verdict.IMPROVED if after.value > before.value else Verdict.REGRESSED
    return said("search", told, f"{told}, both sides of it tried twice", verdict)
