"""Baselines that are provisional: their times are advice, and no verdict on a time gates against them."""

from __future__ import annotations

from collections.abc import Iterable

from ditbench.compare.verdicts import Finding, Step, Verdict
from ditbench.gating import PROCESSES
from ditbench.metrics import known
from ditbench.records import Stage
from ditbench.store import Run
from ditbench.summary import Evidence

_GATES = frozenset({Verdict.REGRESSED, Verdict.IMPROVED})


def provisional(baseline: Run, before: Iterable[Evidence]) -> str:
    """Why a baseline's times are advice only; empty where they gate, and of a run, which has no terms.

    before: its cells.
    """
    if baseline.admission is None:
        return ""
    few = min((len(one.samples("latency")) for one in before if one.times), default=PROCESSES)
    if few >= PROCESSES and not baseline.admission.provisional:
        return ""
    told = f"timed in {few} processes where {PROCESSES} gate"
    told = told if few < PROCESSES else "the machine changed while it was measured"
    return f"the baseline is provisional: {told}, so that its times are advice only"


def advised(findings: Iterable[Finding], why: str) -> tuple[Finding, ...]:
    """The findings, none of a time with a verdict that gates. why: as `provisional` tells it."""
    return tuple(_advised(one, why) if why and _gates(one) else one for one in findings)


def _gates(one: Finding) -> bool:
    metric = known(one.metric)
    timed = metric is not None and metric.stage is Stage.TIME and metric.unit != "B"
    return timed and one.verdict in _GATES


def _advised(one: Finding, why: str) -> Finding:
    step = Step("provisional", f"{one.verdict} against a baseline that gates", why)
    return one.after(step, Verdict.INCONCLUSIVE, why)
