"""A canary that moved between two runs, or within one: times that moved then say nothing of code.

Looked at for times that left their gate and that no session has judged: side by side, both arms meet one
machine.
"""

from __future__ import annotations

from ditbench.compare.screening import CONFIRM, MACHINE
from ditbench.compare.suitewide import settled
from ditbench.compare.verdicts import Finding, Step, Verdict
from ditbench.metrics import known
from ditbench.records import Stage
from ditbench.store import Run
from ditbench.summary import canary

# Memory and what is counted do not depend on how fast a machine runs.
_OF_SPEED = frozenset({"s", "J"})


def warned(findings: tuple[Finding, ...], before: Run, now: Run) -> tuple[Finding, ...]:
    """The findings, those that a moved canary explains saying so."""
    told = _told(before, now)
    return tuple(_warned(one, told) if told and _moved(one) else one for one in findings)


def _told(before: Run, now: Run) -> str:
    """How the canary moved, in words; empty where it did not."""
    if moved := canary.moved(before, now):
        return f"the canary moved too, so the machine is another: {moved}"
    if drift := canary.drift(now):
        return f"the canary moved within this run, so the machine did not stay the same: {drift}"
    return ""


def _moved(one: Finding) -> bool:
    """Whether it is a time that left its gate, unconfirmed."""
    metric = known(one.metric)
    of_speed = metric is not None and metric.stage is Stage.TIME and metric.unit in _OF_SPEED
    moved = one.verdict is Verdict.INCONCLUSIVE and any(step.rule == CONFIRM for step in one.steps)
    return of_speed and moved and not settled(one)


def _warned(one: Finding, told: str) -> Finding:
    return one.after(Step(MACHINE, "", told), clause=told)
