"""Times of two runs: screened against the nights before, or the baseline; never confirmed by that.

What moves between two runs may be the machine, so a time that leaves its gate is `inconclusive` until a
session of both arms side by side has judged the cell. The screen is no wider than the gate of a session,
because what it lets pass nobody looks at again.
"""

from __future__ import annotations

from ditbench import deciding, machine, stats, units
from ditbench.compare.pair import Pair, relative
from ditbench.compare.rules import Rules, Ruling, said
from ditbench.compare.verdicts import Step, Verdict
from ditbench.metrics import CALL_FLOOR_S
from ditbench.summary.history import WINDOW

_SIGMAS = round(deciding.SIGMAS)
CONFIRM, MACHINE = "confirm", "machine"
# Before the names of rules that a session was judged by.
SESSION = "session: "
HOW = {
    "s": "not confirmed: run with --confirm or `ditbench ab`",
    "J": "not confirmed: no session measures energy, look at the latency",
}


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
    why = machine.crowded(now) or machine.crowded(then) or machine.other_clocks(then, now)
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
    """Against the middle of the last clean nights where there are enough, else against the baseline."""
    centre, (floor, against) = _centre(pair), _floor(pair)
    change = relative(centre, pair.after.value)
    numbers = " -> ".join(units.of(one, pair.metric.unit) for one in (centre, pair.after.value))
    of = f" of the last {WINDOW} clean nights" if pair.nights else ""
    told = "no ratio" if change is None else units.percent(change, signed=True)
    beyond = change is None or abs(change) > floor
    outcome = f"{told} {'beyond' if beyond else 'within'} the floor of {units.percent(floor)}{of}"
    step = Step("screen", f"{numbers}; {against}", outcome if beyond else outcome + _drifted(pair))
    return Ruling(step, None if beyond or pair.confirmed else Verdict.UNCHANGED, floor)


def _centre(pair: Pair) -> float:
    """What a time is screened against."""
    return pair.nights[0] if pair.nights else pair.before.value


def _floor(pair: Pair) -> tuple[float, str]:
    """The relative change that the gate, or what was seen to vary, lets pass, and where it comes from."""
    if pair.nights:
        varied, what = pair.nights[1], f"{_SIGMAS} x 1.4826 x MAD of the nights"
    else:
        varied = max((stats.spread(medians) for medians in pair.medians if medians), default=0.0)
        what = f"clean nights: {len(pair.history)}; {_SIGMAS} x the spread of process medians"
    return max(pair.gate.value, _SIGMAS * varied), f"{what} {units.percent(_SIGMAS * varied)}"


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
            "no session holds this cell",
            f"{screened}; {HOW[pair.metric.unit]}",
            Verdict.INCONCLUSIVE,
        )
    found = pair.confirmed
    told = found.reason
    if found.verdict is Verdict.UNCHANGED:
        told = f"not confirmed: {told}"
    return said(CONFIRM, f"session's {found.metric}", told, found.verdict)


RULES: Rules[Pair] = (_unfit, _small, _gate, _screen, _explained, _confirm)
