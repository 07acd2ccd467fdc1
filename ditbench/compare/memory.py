"""Peaks of memory: nearly exact, so beyond their gate and 16 MiB they need no second session.

`peak_allocated` of one allocator and one program repeats to the byte. `peak_resident` is the system's and
repeats roughly: every process of both sides must agree. What an allocator keeps in reserve, and what a
device holds for everyone, is shown and never judged.
"""

from __future__ import annotations

from collections.abc import Sequence

from ditbench import units
from ditbench.compare.pair import Pair
from ditbench.compare.rules import Rules, Ruling, said
from ditbench.compare.verdicts import Verdict
from ditbench.metrics import SHOWN
from ditbench.summary import Evidence

_ROUGH = "peak_resident"
_PROCESSES = 2  # tell whether a rough peak repeats


def _verdict(
    name: str, then: Sequence[float], now: Sequence[float], sign: int
) -> tuple[Verdict, str]:
    """Of peaks that moved beyond their gate, up where sign is 1, and why; one value a process."""
    if name in SHOWN:
        return Verdict.INCONCLUSIVE, "advisory: it holds more than what the cell needs"
    moved = Verdict.REGRESSED if sign > 0 else Verdict.IMPROVED
    if name != _ROUGH:
        return moved, "of fresh processes, which repeat"
    if min(len(then), len(now)) < _PROCESSES:
        return Verdict.INCONCLUSIVE, "one process does not say how much it repeats"
    low, high = (then, now) if sign > 0 else (now, then)
    if max(low) >= min(high):
        return Verdict.INCONCLUSIVE, "processes of both sides overlap"
    return moved, "every process of one side above every one of the other"


def _moved(before: float, after: float, gate: float, least: float) -> int:
    """1 for more, -1 for less, 0 within the relative gate or the absolute least."""
    apart = after - before
    if abs(apart) <= max(gate * before, least):
        return 0
    return 1 if apart > 0 else -1


def _gate(pair: Pair) -> Ruling:
    return pair.gate.ruling


def _peaks(pair: Pair) -> Ruling:
    gate, least = pair.gate.value, pair.metric.floor
    sign = _moved(pair.before.value, pair.after.value, gate, least)
    told = units.percent(pair.change or 0.0, signed=True)
    allowed = f"{units.percent(gate)} or {units.size(least)}"
    if pair.before.value == pair.after.value:
        return said("memory", pair.values, "equal", Verdict.UNCHANGED)
    if not sign:
        return said("memory", pair.values, f"{told} within {allowed}", Verdict.UNCHANGED)
    if _warmup(pair.then) != _warmup(pair.now):
        why = "one side's peak includes the warm-up, the other's does not"
        return said("memory", pair.values, f"{told}: {why}", Verdict.INCONCLUSIVE)
    found, why = _verdict(pair.metric.name, *pair.medians, sign)
    return said("memory", pair.values, f"{told} beyond {allowed}, {why}", found)


def _warmup(row: Evidence) -> bool:
    """Whether a peak is that of the timed calls alone in every process."""
    return all(one.facts.get("peak_without_warmup") is not False for one in row.times)


RULES: Rules[Pair] = (_gate, _peaks)
