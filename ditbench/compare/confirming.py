"""A session of two arms: one finding a pair, about its latency, and the only one that confirms a change.

Each arm's process medians, or where both arms ran in each process its own ratio, go through
`ditbench.deciding`. Where each process was of one arm, the ratio to the reference method of the same process
is a second witness, and the canary of the same turns tells where it disagrees: the machine, or what the arms'
methods share. Over all timings of the session discoveries that chance explains are dropped (Benjamini &
Hochberg 1995).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ditbench import deciding, machine, units
from ditbench.compare.bout import Bout
from ditbench.compare.rules import Gate, Rules, Ruling, judged, said
from ditbench.compare.screening import MACHINE
from ditbench.compare.verdicts import COUNTED, ENOUGH, Finding, Step, Verdict
from ditbench.gating import PROCESSES
from ditbench.metrics import CALL_FLOOR_S
from ditbench.stats import Interval
from ditbench.store import Floor, Noise, Session
from ditbench.summary.sides import LATENCY, Pair, sides_of

_RATIOS, _DIFFERENCE = "ratios", "difference"
# What a session tells of: batches, and so the steps that one is made of. The second cell of a process finds
# the first one's work done, and peaks are of both: nobody's first call and nobody's memory.
_CONFIRMED = frozenset({LATENCY, "step_latency"})
_SHARED = "what all methods share"


def confirms(metric: str) -> bool:
    """Whether a session of two arms measures it, or what it is a part of."""
    return metric in _CONFIRMED


def judge_session(session: Session, noise: Noise | None = None) -> tuple[Finding, ...]:
    """One finding a pair, about B's cell. noise: this machine's floors, where measured."""
    return _discoveries(tuple(judged(bout, _RULES) for bout in bouts(session, noise)))


def bouts(session: Session, noise: Noise | None = None) -> Iterator[Bout]:
    """Every pair of a session, with its gate."""
    for pair in session.pairs:
        sides = sides_of(session, pair)
        yield Bout(sides.a, sides.b, sides.inside, _gate(session, noise, pair))


def _gate(session: Session, noise: Noise | None, pair: Pair) -> Gate:
    """The larger of both cells' floors counts."""
    found = [noise.floor(cell.key, LATENCY) for cell in pair] if noise else []
    floors = [_relative(one, inside=session.inside) for one in found if one]
    return Gate(session.gate.get(LATENCY), max(floors, default=None))


def _relative(floor: Floor, *, inside: bool) -> float:
    return floor.inside if inside else floor.apart


def _processes(bout: Bout) -> Ruling:
    """Four processes confirm nothing."""
    a, b = map(len, bout.groups)
    told = f"{a} and {b} processes"
    if not all(0 < value < math.inf for side in bout.medians for value in side):
        why = "a median that is no time, against which nothing can be judged"
        return said(COUNTED, told, why, Verdict.INCONCLUSIVE)
    if min(a, b) >= PROCESSES:
        return said(COUNTED, told, ENOUGH)
    failures = [f"{name}: {side.failed}" for name, side in (("A", bout.a), ("B", bout.b))]
    why = "; ".join(one for one in failures if not one.endswith(": "))
    few = f"{told}: fewer than {PROCESSES} an arm confirm nothing"
    return said(COUNTED, told, f"{few}; {why}" if why else few, Verdict.INCONCLUSIVE)


def _machine(bout: Bout) -> Ruling | None:
    unfit = machine.session_unfit((*bout.a.records.values(), *bout.b.records.values()))
    if not unfit:
        return None
    told = f"the machine was not fit for the session: {unfit}"
    return said(MACHINE, "", told, Verdict.INCONCLUSIVE)


def _gated(bout: Bout) -> Ruling:
    return bout.gate.ruling


def _small(bout: Bout) -> Ruling | None:
    """Differences that the clock cannot tell."""
    a, b = (float(np.median(one)) for one in bout.medians)
    if not abs(b - a) <= CALL_FLOOR_S:
        return None
    told = f"side by side B/A is {_interval_of(bout)}, a difference of {abs(b - a):.3g}, "
    told += f"which {CALL_FLOOR_S:.3g} may be by itself"
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


def _ratios(bout: Bout) -> Ruling:
    """Both figures within the gate, or not both beyond it on one side: then no more is asked.

    But for a time within it whose ratio to the reference method is not.
    """
    decision, gate = bout.decision, bout.gate
    allowed = units.percent(gate.value)
    numbers = f"Hodges-Lehmann {_ratio(decision.ratio)}, best processes {_ratio(decision.best)}"
    if bout.moved:
        return said(_RATIOS, numbers, f"both beyond {allowed}")
    if not bout.unmoved:
        why = f"{_both(bout)}: not both beyond {allowed} on one side"
        return said(_RATIOS, numbers, why, Verdict.INCONCLUSIVE)
    if abs(math.log(decision.ratio)) > math.log1p(gate.asked):
        beyond = f"beyond {units.percent(gate.asked)}, within twice this machine's floor, {allowed}"
        why = f"{_both(bout)}: {beyond}"
        return said(_RATIOS, numbers, why, Verdict.INCONCLUSIVE)
    verdict = None if bout.contradicted else Verdict.UNCHANGED
    return said(_RATIOS, numbers, f"{_both(bout)}, within {allowed}", verdict)


def _witness(bout: Bout) -> Ruling | None:
    """The ratio to the reference method of the same process, which cancels the machine's clocks."""
    if bout.witness is None:
        return None
    return said("witness", _beside(bout), _odds(bout) if bout.contradicted else "agrees")


def _canary(bout: Bout) -> Ruling | None:
    """Where the reference method tells otherwise, of what it shares with the method or of the machine."""
    if not bout.contradicted:
        return None
    found, half = bout.canaries, units.percent(bout.gate.value / 2)
    if not bout.steady:
        why = found.lacking or f"so did the canary ({found.said}: not both within {half})"
        told = f"{_beside(bout)}: {_odds(bout)}, and {why}: this may be the machine"
        return said(
            MACHINE, f"the canary's B/A: {found.said or 'unknown'}", told, Verdict.INCONCLUSIVE
        )
    told = f"{_odds(bout)} and the canary did not"
    if bout.moved:
        return said("canary", f"B/A: {found.said}", f"{told}: {_SHARED}")
    told = f"{_both(bout)}, within {units.percent(bout.gate.value)}; {told}"
    return said("canary", f"B/A: {found.said}", told, Verdict.UNCHANGED)


def _odds(bout: Bout) -> str:
    return f"the reference method moved {'with it' if bout.moved else 'and the cell did not'}"


def _verdict(bout: Bout) -> Ruling:
    slower = bout.decision.codes == deciding.REGRESSED
    counts = " and ".join(str(len(one)) for one in bout.medians)
    how = "in turns in each of" if bout.inside else "A B B A,"
    numbers = f"{how} {counts if not bout.inside else len(bout.medians[0])} processes"
    told = f"{_both(bout)}: both beyond {units.percent(bout.gate.value)}; {numbers}"
    if bout.contradicted:
        told = f"{told}; {_odds(bout)} and the canary did not: {_SHARED}"
    return said("confirmed", numbers, told, Verdict.REGRESSED if slower else Verdict.IMPROVED)


def _discoveries(found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Of many timings one in a hundred moves by chance: each is held to its share."""
    tested = [at for at, one in enumerate(found) if _tested(one)]
    if not tested:
        return found
    p = [found[at].duel.p for at in tested]  # type: ignore[union-attr]  # what is tested has one
    q = deciding.discoveries(p)
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
    found, chance = replace(one, duel=duel), q > deciding.DISCOVERIES
    said_so = f"{'above' if chance else 'at most'} {deciding.DISCOVERIES}"
    if not chance or one.verdict not in {Verdict.REGRESSED, Verdict.IMPROVED}:
        return found.after(Step("discovery", numbers, said_so))
    step = Step("discovery", numbers, f"{said_so}: chance explains it")
    return found.after(step, Verdict.INCONCLUSIVE, f"but {numbers}, which chance explains")


def _both(bout: Bout) -> str:
    return f"side by side B/A is {_interval_of(bout)}, of the best {_ratio(bout.decision.best)}"


def _beside(bout: Bout) -> str:
    """What the reference method says, beside the time itself."""
    told = _told(bout.witness) if bout.witness else "unknown"
    return f"B/A {_ratio(bout.decision.ratio)}; of the ratios to the reference method {told}"


def _interval_of(bout: Bout) -> str:
    return _told(bout.duel.ratio) if bout.duel else "unknown"


def _told(of: Interval) -> str:
    return f"{_ratio(of.value)} ({_ratio(of.low)} to {_ratio(of.high)})"


def _ratio(value: float | np.ndarray) -> str:
    return f"{float(value):.3f}"


_RULES: Rules[Bout] = (
    _processes,
    _machine,
    _gated,
    _modes,
    _interval,
    _small,
    _ratios,
    _witness,
    _canary,
    _verdict,
)
