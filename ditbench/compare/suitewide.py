"""What only the whole suite tells: a machine that changed for all cells, and speed bought with pictures."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from ditbench import stats, units
from ditbench.compare.screening import CONFIRM, MACHINE, SESSION
from ditbench.compare.verdicts import COUNTED, ENOUGH, Finding, Step, Verdict
from ditbench.gating import GATE
from ditbench.metrics import known
from ditbench.records import Stage

# So large a share of cells, and so many, that move the same way by a similar factor: the machine changed.
_SHARE = 0.30
_CELLS = 4
# Similar: within half of the middle change of its logarithm, or within the usual gate of it.
_ALIKE = 0.5
_LATENCY = "latency"
# The rule of a finding that moved as the others did.
SHIFT = "shift"


def traded(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """A cell that became faster, be it not confirmed, while a figure of its pictures became worse."""
    findings = tuple(findings)
    worse: dict[str, list[str]] = defaultdict(list)
    for one in findings:
        if one.verdict is Verdict.REGRESSED and _stage(one) is Stage.QUALITY:
            worse[one.cell.key].append(one.metric)
    return tuple(
        _traded(one, worse[one.cell.key]) if one.cell.key in worse and _faster(one) else one
        for one in findings
    )


def _stage(one: Finding) -> Stage | None:
    metric = known(one.metric)
    return metric.stage if metric else None


def _faster(one: Finding) -> bool:
    if one.metric != _LATENCY or one.verdict not in {Verdict.IMPROVED, Verdict.INCONCLUSIVE}:
        return False
    return one.verdict is Verdict.IMPROVED or (one.screened or 0.0) < -(one.floor or math.inf)


def _traded(one: Finding, names: Sequence[str]) -> Finding:
    step = Step("traded", ", ".join(names), "faster, and its pictures became worse")
    return one.after(step, Verdict.TRADED, f"and its pictures became worse: {', '.join(names)}")


def shifted(findings: tuple[Finding, ...]) -> tuple[tuple[Finding, ...], str]:
    """The findings of cells that moved alike, said to have, and the change of the machine in words.

    Empty where there is none. Cells whose change a session confirmed are no part of it.
    """
    screened = [one for one in findings if one.metric == _LATENCY and _screened(one)]
    moved = max((_alike(screened, sign) for sign in (1, -1)), key=len)
    if len(moved) < _CELLS or len(moved) <= _SHARE * len(screened):
        return findings, ""
    middle = stats.middle([one.screened or 0.0 for one in moved])
    told = (
        f"{len(moved)} of {len(screened)} cells moved alike, by about {units.percent(middle, signed=True)}: "
        "the machine changed, and not one of them by itself"
    )
    keys = {one.cell.key for one in moved}
    return tuple(_shifted(one, told) if one.cell.key in keys else one for one in findings), told


def _screened(one: Finding) -> bool:
    """Whether it stood beside its baseline, and no session confirmed it."""
    return one.verdict in {Verdict.UNCHANGED, Verdict.INCONCLUSIVE}


def unconfirmed(one: Finding) -> bool:
    """Whether it left its gate and no session has judged it."""
    if one.verdict not in {Verdict.INCONCLUSIVE, Verdict.TRADED}:
        return False
    rules = [step.rule for step in one.steps]
    return CONFIRM in rules and not any(rule.startswith(SESSION) for rule in rules)


def settled(one: Finding) -> bool:
    """Whether a session judged it, be it as inconclusive: one of enough processes, that is."""
    counted = SESSION + COUNTED
    return any((step.rule, step.outcome) == (counted, ENOUGH) for step in one.steps)


def blamed(one: Finding) -> bool:
    """Whether it left its floor on a machine that may explain that; a session of both arms tells."""
    if one.floor is None or not one.steps or one.steps[-1].rule != MACHINE or settled(one):
        return False
    return one.screened is None or abs(one.screened) > one.floor


def _alike(screened: Iterable[Finding], sign: int) -> list[Finding]:
    """Those beyond their floor on this side whose changes are similar."""
    beyond = [one for one in screened if _beyond(one, sign)]
    if not beyond:
        return []
    logs = [math.log1p(one.screened or 0.0) for one in beyond]
    middle = stats.middle(logs)
    near = max(_ALIKE * abs(middle), GATE)
    return [one for one, log in zip(beyond, logs, strict=True) if abs(log - middle) <= near]


def _beyond(one: Finding, sign: int) -> bool:
    """Whether the screen let it not pass, on this side."""
    if one.screened is None or one.screened <= -1 or one.floor is None:
        return False
    return sign * one.screened > one.floor and any(step.rule == CONFIRM for step in one.steps)


def _shifted(one: Finding, told: str) -> Finding:
    if not unconfirmed(one):
        return one
    step = Step(SHIFT, f"change {units.percent(one.screened or 0.0, signed=True)}", told)
    return one.after(step, clause=told)
