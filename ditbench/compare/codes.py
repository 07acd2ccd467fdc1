"""What findings say with the exit code, of two runs and of two arms alike (DESIGN, Verdicts)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ditbench import errors
from ditbench.compare.screening import MACHINE, SESSION
from ditbench.compare.suitewide import SHIFT, settled
from ditbench.compare.verdicts import Finding, Verdict
from ditbench.metrics import known
from ditbench.records import Stage


def codes_of(findings: Iterable[Finding]) -> frozenset[int]:
    """Every code that these findings alone give: 4, 5 and 6."""
    findings = tuple(findings)
    worse = [one for one in findings if one.verdict is Verdict.REGRESSED]
    holds = {
        errors.PERFORMANCE: any(not _pictured(one) for one in worse),
        errors.QUALITY: any(map(_pictured, worse)),
        errors.ENVIRONMENT: any(_machine(findings)),
    }
    return frozenset(code for code, holds_now in holds.items() if holds_now)


def _pictured(one: Finding) -> bool:
    metric = known(one.metric)
    return metric is not None and metric.stage is Stage.QUALITY


def _machine(findings: tuple[Finding, ...]) -> Iterator[bool]:
    """Of each rule whether it blames the machine.

    Of a cell that a session judged, only what the session says: both arms met one machine there, and
    figures that no session measures, such as a first call, must not hold the cell's night against it.
    """
    judged = {one.cell.key for one in findings if settled(one)}
    for one in findings:
        for rule in _rules(one):
            counts = one.cell.key not in judged or rule.startswith(SESSION)
            yield counts and (rule.endswith(MACHINE) or rule == SHIFT)


def _rules(one: Finding) -> Iterator[str]:
    return (step.rule for step in one.steps)
