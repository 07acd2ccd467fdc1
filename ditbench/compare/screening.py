"""Times of two runs: screened against the nights before and the baseline; never confirmed by that.

What moves between two runs may be the machine, so a time that leaves its gate is `inconclusive` until a
session of both arms side by side has judged the cell. The screen is no wider than the gate of a session,
because what it lets pass nobody looks at again.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ditbench import deciding, machine, units
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
    if not unfit or pair.settled:
        return None
    told = f"the machine was not fit {'now' if pair.now.unfit else 'then'}: {unfit}"
    screened = _screen(pair)
    return replace(screened, step=Step(MACHINE, pair.values, told), verdict=Verdict.INCONCLUSIVE)


def _explained(pair: Pair) -> Ruling | None:
    """What the machine did to a time that moved: other programs beside it, or another clock."""
    if pair.settled:
        return None
    then, now = pair.then.times, pair.now.times
    clocks = machine.other_clocks(then, now, pair.change or 0.0, pair.gate.value)
    why = machine.crowded(now) or machine.crowded(then) or clocks
    if not why:
        return None
    way = pair.confirmed.reason if pair.confirmed else pair.unconfirmed
    told = f"{_screen(pair).step.outcome}, but {why}; {way}"
    return said(MACHINE, pair.values, told, Verdict.INCONCLUSIVE)


def _small(pair: Pair) -> Ruling:
    """Differences that no clock and no person can tell."""
    least = (
        CALL_FLOOR_S if pair.now.cell.op and pair.metric.name == "latency" else pair.metric.floor
    )
    apart = max(abs(pair.after.value - one) for one in (pair.seen[0], pair.before.value))
    if apart == 0:
        return said("difference", pair.values, "equal", Verdict.UNCHANGED)
    if apart > least:
        return said("difference", pair.values, f"{apart:.3g}, more than {least:.3g}")
    told = f"a difference of {apart:.3g}, which {least:.3g} may be by itself"
    return said("difference", pair.values, told, None if pair.confirmed else Verdict.UNCHANGED)


def _gate(pair: Pair) -> Ruling:
    return pair.gate.ruling


def _screen(pair: Pair) -> Ruling:
    """Against the baseline, and the middle of the last clean nights where there are enough.

    What moved by more than was asked to be let pass, and by less than the gate that this machine's noise
    raised, is not to be confirmed: a session on the same machine could not tell either.
    """
    found = pair.screened
    against = pair.before.value if found.of_base else pair.seen[0]
    numbers = " -> ".join(units.of(one, pair.metric.unit) for one in (against, pair.after.value))
    step = Step("screen", f"{numbers}; {_varied(pair)}", _outcome(pair, found))
    change = None if math.isnan(found.change) else float(found.change)
    return Ruling(step, _passed(pair, found), float(found.allowed), change)


def _passed(pair: Pair, found: Screened) -> Verdict | None:
    if found.beyond or pair.confirmed:
        return None
    return Verdict.INCONCLUSIVE if found.moved else Verdict.UNCHANGED


def _outcome(pair: Pair, found: Screened) -> str:
    change, least, allowed = (float(one) for one in (found.change, found.least, found.allowed))
    told = "no ratio" if math.isnan(change) else units.percent(change, signed=True)
    told = f"{told} against the baseline," if found.of_base else told
    of = f" of the last {WINDOW} clean nights" if pair.nights else ""
    if found.beyond:
        return f"{told} beyond the floor of {units.percent(allowed)}{of}"
    if found.moved:
        noise = f"within twice this machine's floor, {units.percent(allowed)}"
        return f"{told} beyond {units.percent(least)}{of}, {noise}"
    return f"{told} within the floor of {units.percent(least)}{of}"


def _varied(pair: Pair) -> str:
    """What was seen to vary, and how far."""
    what = f"{_SIGMAS} x the deviation of the nights by their successive differences"
    if not pair.nights:
        what = (
            f"clean nights: {len(pair.history)}; "
            f"{_SIGMAS} x the spread of the baseline's process medians"
        )
    return f"{what} {units.percent(_SIGMAS * pair.seen[1])}"


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
