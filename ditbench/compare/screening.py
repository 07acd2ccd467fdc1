"""Times of two runs: screened against the nights before, or the baseline; never confirmed by that.

What moves between two runs may be the machine, so a time that leaves its gate is `inconclusive` until a
session of both arms side by side has judged the cell. The screen is no wider than the gate of a session,
because what it lets pass nobody looks at again.
"""

from __future__ import annotations

import math

from ditbench import deciding, machine, stats, units
from ditbench.compare.pair import Pair
from ditbench.compare.rules import Rules, Ruling, said
from ditbench.compare.verdicts import Step, Verdict
from ditbench.deciding import Screened
from ditbench.metrics import CALL_FLOOR_S
from ditbench.summary.history import WINDOW

_SIGMAS = round(deciding.SIGMAS)
CONFIRM, MACHINE = "confirm", "machine"
# Before the names of rules that a session was judged by.
SESSION = "session: "


def _unfit(pair: Pair) -> Ruling | None:
    """A slowed or shared machine measures itself; a session says for itself whether it was fit."""
    unfit = pair.now.unfit or pair.then.unfit
    if not unfit or pair.confirmed:
        return None
    told = f"the machine was not fit {'now' if pair.now.unfit else 'then'}: {unfit}"
    return said(MACHINE, pair.values, told, Verdict.INCONCLUSIVE)


def _explained(pair: Pair) -> Ruling | None:
    """What the machine did to a time that moved: other programs beside it, or another clock."""
    if pair.confirmed:
        return None
    then, now = pair.then.times, pair.now.times
    clocks = machine.other_clocks(then, now, pair.change or 0.0, pair.gate.value)
    why = machine.crowded(now) or machine.crowded(then) or clocks
    if not why:
        return None
    told = f"{_screen(pair).step.outcome}, but {why}"
    return said(MACHINE, pair.values, told, Verdict.INCONCLUSIVE)


def _small(pair: Pair) -> Ruling:
    """Differences that no clock and no person can tell."""
    least = (
        CALL_FLOOR_S if pair.now.cell.op and pair.metric.name == "latency" else pair.metric.floor
    )
    apart = abs(pair.after.value - _centre(pair))
    if apart == 0:
        return said("difference", pair.values, "equal", Verdict.UNCHANGED)
    if apart > least:
        return said("difference", pair.values, f"{apart:.3g}, more than {least:.3g}")
    told = f"a difference of {apart:.3g}, which {least:.3g} may be by itself"
    return said("difference", pair.values, told, None if pair.confirmed else Verdict.UNCHANGED)


def _gate(pair: Pair) -> Ruling:
    return pair.gate.ruling


def _screen(pair: Pair) -> Ruling:
    """Against the middle of the last clean nights where there are enough, else against the baseline.

    What moved by more than was asked to be let pass, and by less than the gate that this machine's noise
    raised, is not to be confirmed: a session on the same machine could not tell either.
    """
    found = pair.screened
    numbers = " -> ".join(
        units.of(one, pair.metric.unit) for one in (_centre(pair), pair.after.value)
    )
    outcome, verdict = _outcome(pair, found), None
    if not found.beyond:
        outcome += _drifted(pair)
        verdict = Verdict.INCONCLUSIVE if found.moved else Verdict.UNCHANGED
    step = Step("screen", f"{numbers}; {_varied(pair)}", outcome)
    return Ruling(step, None if pair.confirmed else verdict, float(found.allowed))


def _outcome(pair: Pair, found: Screened) -> str:
    change, least, allowed = (float(one) for one in (found.change, found.least, found.allowed))
    told = "no ratio" if math.isnan(change) else units.percent(change, signed=True)
    of = f" of the last {WINDOW} clean nights" if pair.nights else ""
    if found.beyond:
        return f"{told} beyond the floor of {units.percent(allowed)}{of}"
    if found.moved:
        noise = f"within twice this machine's floor, {units.percent(allowed)}"
        return f"{told} beyond {units.percent(least)}{of}, {noise}"
    return f"{told} within the floor of {units.percent(least)}{of}"


def _centre(pair: Pair) -> float:
    """What a time is screened against."""
    return pair.seen[0]


def _varied(pair: Pair) -> str:
    """What was seen to vary, and how far."""
    what = f"{_SIGMAS} x {stats.NORMAL} x MAD of the nights"
    if not pair.nights:
        what = f"clean nights: {len(pair.history)}; {_SIGMAS} x the spread of process medians"
    return f"{what} {units.percent(_SIGMAS * pair.seen[1])}"


def _drifted(pair: Pair) -> str:
    """A rolling window follows a slow drift; the baseline does not."""
    if not pair.nights or abs(pair.change or 0.0) <= pair.gate.value:
        return ""
    return f"; {units.percent(pair.change or 0.0, signed=True)} against the baseline"


def _confirm(pair: Pair) -> Ruling:
    """What both arms side by side came to, where they were measured so."""
    screened = _screen(pair).step.outcome
    if pair.confirmed is None:
        return said(
            CONFIRM,
            "no session holds it",
            f"{screened}; {pair.unconfirmed}",
            Verdict.INCONCLUSIVE,
        )
    found = pair.confirmed
    told = found.reason
    if found.verdict is Verdict.UNCHANGED:
        told = f"not confirmed: {told}"
    return said(CONFIRM, f"session's {found.metric}", told, found.verdict)


RULES: Rules[Pair] = (_unfit, _small, _gate, _screen, _explained, _confirm)
