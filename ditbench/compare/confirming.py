"""A session of two arms: one finding per pair and metric, and the only one that confirms a change of a time.

Each arm's process medians, or where both arms ran in each process its own ratio, go through
`ditbench.deciding`; the ratio to the reference method of the same process is a second witness; and over all
timings of the session discoveries that chance explains are dropped (Benjamini & Hochberg 1995).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy import stats as distributions

from ditbench import deciding, machine, units
from ditbench.compare import memory
from ditbench.compare.bout import Bout, Side
from ditbench.compare.rules import Gate, Rules, Ruling, judged, said, usual
from ditbench.compare.verdicts import Finding, Step, Verdict
from ditbench.metrics import CALL_FLOOR_S, Metric, known
from ditbench.records import Cell, Stage, Status
from ditbench.stats import Interval
from ditbench.store import Floor, Noise, Session
from ditbench.store.sessions import ARM, PROCESS, WITNESS
from ditbench.summary import DERIVED

# The share of false ones among the discoveries of a session.
DISCOVERIES = 0.05
_RATIOS, _DIFFERENCE = "ratios", "difference"
# In a shared process the second arm's first call finds the first one's work done, and peaks are of both.
_FIRST = "first_call"


def judge_session(session: Session, noise: Noise | None = None) -> tuple[Finding, ...]:
    """One finding per pair and metric, about B's cell. noise: this machine's floors, where measured."""
    found = tuple(
        judged(bout, _MEMORY if bout.metric.unit == "B" else _TIMING)
        for bout in bouts(session, noise)
    )
    return _discoveries(found)


def bouts(session: Session, noise: Noise | None = None) -> Iterator[Bout]:
    """Every pair and metric that a session can tell of, with its gate."""
    for pair in session.pairs:
        a, b = (_side(session, arm, cell) for arm, cell in zip("ab", pair, strict=True))
        for metric in _metrics(a, b):
            shared = metric.unit == "B" or metric.name == _FIRST
            if not (session.inside and shared):
                yield Bout(metric, a, b, _gate(session, noise, pair, metric), session.inside)


def _side(session: Session, arm: str, cell: Cell) -> Side:
    """The records of a cell in one arm."""
    mine = [one for one in session.records if one.facts.get(ARM) == arm and one.stage is Stage.TIME]
    own = [one for one in mine if WITNESS not in one.facts and one.cell.key == cell.key]
    good = {one.facts[PROCESS]: machine.kept(one) for one in own if one.status is Status.OK}
    beside = {
        one.facts[PROCESS]: machine.kept(one)
        for one in mine
        if one.facts.get(WITNESS) == cell.key and one.status is Status.OK
    }
    failed = next((one for one in own if one.status is not Status.OK), None)
    return Side(cell, good, beside, f"{failed.status}, {failed.reason}" if failed else "")


def _metrics(a: Side, b: Side) -> list[Metric]:
    """Of either arm; latency always, so that a pair of which nothing is known has a finding."""
    named = (name for side in (a, b) for one in side.records.values() for name in one.metrics)
    names = dict.fromkeys(("latency", *named))
    return [row for name in names if name not in DERIVED and (row := known(name))]


def _gate(session: Session, noise: Noise | None, pair: tuple[Cell, Cell], metric: Metric) -> Gate:
    """The larger of both cells' floors counts."""
    found = [noise.floor(cell.key, metric.name) for cell in pair] if noise else []
    floors = [_relative(one, inside=session.inside) for one in found if one]
    return Gate(session.gate.get(metric.name), max(floors, default=None), usual(metric))


def _relative(floor: Floor, *, inside: bool) -> float:
    return floor.inside if inside else floor.apart


def _processes(bout: Bout) -> Ruling:
    """Four processes confirm nothing."""
    a, b = map(len, bout.groups)
    told = f"{a} and {b} processes"
    if not all(0 < value < math.inf for side in bout.medians for value in side):
        why = "a median that is no time, against which nothing can be judged"
        return said("processes", told, why, Verdict.INCONCLUSIVE)
    if min(a, b) >= deciding.LEAST:
        return said("processes", told, "enough")
    failures = [f"{name}: {side.failed}" for name, side in (("A", bout.a), ("B", bout.b))]
    why = "; ".join(one for one in failures if not one.endswith(": "))
    few = f"{told}: fewer than {deciding.LEAST} an arm confirm nothing"
    return said("processes", told, f"{few}; {why}" if why else few, Verdict.INCONCLUSIVE)


def _machine(bout: Bout) -> Ruling | None:
    unfit = machine.session_unfit((*bout.a.records.values(), *bout.b.records.values()))
    if not unfit:
        return None
    told = f"the machine was not fit for the session: {unfit}"
    return said("machine", "", told, Verdict.INCONCLUSIVE)


def _gated(bout: Bout) -> Ruling:
    return bout.gate.ruling


def _small(bout: Bout) -> Ruling | None:
    """Differences that the clock cannot tell, or of a first call nobody would."""
    a, b = (float(np.median(one)) for one in bout.medians)
    least = bout.metric.floor if bout.metric.name == _FIRST else CALL_FLOOR_S
    if bout.metric.unit != "s" or not abs(b - a) <= least:
        return None
    told = f"side by side B/A is {_interval_of(bout)}, a difference of {abs(b - a):.3g}, "
    told += f"which {least:.3g} may be by itself"
    return said(_DIFFERENCE, f"{units.seconds(a)} -> {units.seconds(b)}", told, Verdict.UNCHANGED)


def _modes(bout: Bout) -> Ruling | None:
    """Told and never judged: what makes processes slow may be chance, or the change itself."""
    slow = bout.duel.slow if bout.duel else (0.0, 0.0)
    if not any(slow):
        return None
    counts = [
        f"{round(share * len(one))} of {len(one)}"
        for share, one in zip(slow, bout.medians, strict=True)
    ]
    told = "mode mix changed" if slow[0] != slow[1] else "the same mix of modes"
    return said("modes", f"slow processes: A {counts[0]}, B {counts[1]}", told)


def _interval(bout: Bout) -> Ruling | None:
    """Told and never judged: of five processes in two modes it contains 1 whatever the change (ADR 0019)."""
    if bout.duel is None:
        return None
    ratio = bout.duel.ratio
    contains = ratio.low <= 1 <= ratio.high
    return said("interval", _told(ratio), "contains 1" if contains else "does not contain 1")


def _ratios(bout: Bout) -> Ruling | None:
    """Both figures within the gate, or not both beyond it on one side: then no more is asked."""
    decision, gate = bout.decision, bout.gate
    allowed = units.percent(gate.value)
    numbers = f"Hodges-Lehmann {_ratio(decision.ratio)}, best processes {_ratio(decision.best)}"
    told = f"side by side B/A is {_interval_of(bout)}, of the best {_ratio(decision.best)}"
    if decision.codes == deciding.INCONCLUSIVE:
        why = f"{told}: not both beyond {allowed} on one side"
        return said(_RATIOS, numbers, why, Verdict.INCONCLUSIVE)
    if decision.codes != deciding.UNCHANGED:
        return said(_RATIOS, numbers, f"both beyond {allowed}")
    if abs(math.log(decision.ratio)) > math.log1p(gate.asked):
        why = f"{told}: beyond {units.percent(gate.asked)}, within twice this machine's floor, {allowed}"
        return said(_RATIOS, numbers, why, Verdict.INCONCLUSIVE)
    return said(_RATIOS, numbers, f"{told}, within {allowed}", Verdict.UNCHANGED)


def _witness(bout: Bout) -> Ruling | None:
    """The ratio to the reference method of the same process, which cancels the machine's clocks."""
    witness, ratio = bout.witness, float(bout.decision.ratio)
    if witness is None or bout.metric.name == _FIRST:
        return None
    numbers = f"B/A {_ratio(ratio)}; of the ratios to the reference method {_told(witness)}"
    least = math.log1p(bout.gate.value / 2)
    if math.log(witness.value) * math.copysign(1, ratio - 1) > least:
        return said("witness", numbers, "agrees")
    return said("witness", numbers, f"{numbers}: the witness disagrees", Verdict.INCONCLUSIVE)


def _verdict(bout: Bout) -> Ruling:
    slower = bout.decision.codes == deciding.REGRESSED
    worse = slower == (bout.metric.better == "lower")
    counts = " and ".join(str(len(one)) for one in bout.medians)
    how = "in turns in each of" if bout.inside else "A B B A,"
    numbers = f"{how} {counts if not bout.inside else len(bout.medians[0])} processes"
    told = f"side by side B/A is {_interval_of(bout)}, of the best {_ratio(bout.decision.best)}"
    told = f"{told}: both beyond {units.percent(bout.gate.value)}; {numbers}"
    return said("confirmed", numbers, told, Verdict.REGRESSED if worse else Verdict.IMPROVED)


def _peaks(bout: Bout) -> Ruling:
    """Memory is nearly exact: its own rule, on the processes of both arms."""
    then, now = bout.medians
    before, after = (float(np.median(side)) if side else math.nan for side in (then, now))
    numbers = f"{units.of(before, 'B')} -> {units.of(after, 'B')}"
    if not (before > 0 and math.isfinite(after)):
        return said("memory", numbers, f"{numbers}: no ratio", Verdict.INCONCLUSIVE)
    change = units.percent(after / before - 1, signed=True)
    allowed = f"{units.percent(bout.gate.value)} or {units.size(bout.metric.floor)}"
    sign = memory.moved(before, after, bout.gate.value, bout.metric.floor)
    if not sign:
        return said("memory", numbers, f"{change} within {allowed}", Verdict.UNCHANGED)
    verdict, why = memory.verdict(bout.metric.name, then, now, sign)
    return said("memory", numbers, f"{change} beyond {allowed}, {why}", verdict)


def _discoveries(found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Of many timings one in a hundred moves by chance: each is held to its share."""
    tested = [at for at, one in enumerate(found) if _tested(one)]
    if not tested:
        return found
    p = [found[at].duel.p for at in tested]  # type: ignore[union-attr]  # what is tested has one
    q = distributions.false_discovery_control(p)
    corrected = list(found)
    for at, one in zip(tested, q.tolist(), strict=True):
        corrected[at] = _discovered(found[at], one, len(tested))
    return tuple(corrected)


def _tested(one: Finding) -> bool:
    came_to_it = any(step.rule in {_RATIOS, _DIFFERENCE} for step in one.steps)
    return came_to_it and one.duel is not None and not math.isnan(one.duel.p)


def _discovered(one: Finding, q: float, many: int) -> Finding:
    duel = replace(one.duel, q=q) if one.duel else None
    numbers = f"p = {duel.p if duel else 1:.2g}, q = {q:.2g} over {many} timings of the session"
    if one.verdict not in {Verdict.REGRESSED, Verdict.IMPROVED} or q <= DISCOVERIES:
        step = Step(
            "discovery", numbers, f"{'at most' if q <= DISCOVERIES else 'above'} {DISCOVERIES}"
        )
        return replace(one, duel=duel, steps=(*one.steps, step))
    reason = f"{one.reason}; but {numbers}, which chance explains"
    step = Step("discovery", numbers, f"above {DISCOVERIES}: chance explains it")
    return replace(
        one, duel=duel, verdict=Verdict.INCONCLUSIVE, reason=reason, steps=(*one.steps, step)
    )


def _interval_of(bout: Bout) -> str:
    return _told(bout.duel.ratio) if bout.duel else "unknown"


def _told(of: Interval) -> str:
    return f"{_ratio(of.value)} ({_ratio(of.low)} to {_ratio(of.high)})"


def _ratio(value: float | np.ndarray) -> str:
    return f"{float(value):.3f}"


_TIMING: Rules[Bout] = (
    _processes,
    _machine,
    _gated,
    _modes,
    _interval,
    _small,
    _ratios,
    _witness,
    _verdict,
)
_MEMORY: Rules[Bout] = (_gated, _peaks)
