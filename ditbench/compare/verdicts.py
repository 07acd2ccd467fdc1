"""What a comparison comes to: a verdict per cell and metric, with its reason, never a bare colour."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ditbench.records import Cell
from ditbench.stats import Interval
from ditbench.summary import Estimate, estimate_to_json, number_to_json
from ditbench.summary.history import History

# The rule of a session that counts its processes, and what it says where they are not too few.
COUNTED, ENOUGH = "processes", "enough"


class Verdict(StrEnum):
    """What became of a cell's metric."""

    IMPROVED = "improved"
    UNCHANGED = "unchanged"
    REGRESSED = "regressed"
    TRADED = "traded"
    INCONCLUSIVE = "inconclusive"
    INCOMPARABLE = "incomparable"
    NEW = "new"
    MISSING = "missing"
    BROKEN = "broken"
    FIXED = "fixed"


# In the order of attention; within one rank the larger effect comes first.
_RANK = {
    Verdict.BROKEN: 0,
    Verdict.REGRESSED: 1,
    Verdict.TRADED: 1,
    Verdict.INCONCLUSIVE: 1,
    Verdict.IMPROVED: 1,
    Verdict.MISSING: 2,
    Verdict.INCOMPARABLE: 2,
    Verdict.FIXED: 3,
    Verdict.NEW: 3,
    Verdict.UNCHANGED: 4,
}


@dataclass(frozen=True)
class Step:
    """One rule on the way to a verdict: its name, the numbers it was given, and what it said."""

    rule: str
    numbers: str
    outcome: str


@dataclass(frozen=True)
class Duel:
    """Two arms of one session, a value a process.

    base, judged: medians of A's and B's processes in the order of time, in the metric's unit. ratio: the
    Hodges-Lehmann ratio B / A with its interval. best: the ratio of the best modes. witness: the same ratio
    of each arm's ratio to the reference method of its own process, where that was timed. slow: the share of
    processes in the slow mode, A's and B's. inside: whether both arms shared each process. p: of no
    difference; q: the same after all timings of the session (Benjamini & Hochberg 1995); NaN for unknown.
    """

    base: tuple[float, ...]
    judged: tuple[float, ...]
    ratio: Interval
    best: float
    witness: Interval | None = None
    slow: tuple[float, float] = (0.0, 0.0)
    inside: bool = False
    p: float = math.nan
    q: float = math.nan


@dataclass(frozen=True)
class Lint:
    """A gate that guards less than it seems to. kind: a word to count by; cell: None of a whole suite."""

    kind: str
    said: str
    cell: Cell | None = None


@dataclass(frozen=True)
class Finding:
    """One verdict. change: candidate / baseline - 1. floor: the relative change that would say nothing.

    screened: the change of a time that was held against that floor, None of anything else: that against the
    middle of the nights before may be another one than that against the baseline.
    metric is empty where the verdict is about the whole cell (new, missing, broken, fixed, incomparable).
    steps: every rule in order, with its numbers. duel: where a session of two arms was judged. then, now:
    medians of the processes of baseline and candidate.
    """

    cell: Cell
    metric: str
    verdict: Verdict
    reason: str
    change: float | None = None
    floor: float | None = None
    screened: float | None = None
    baseline: Estimate | None = None
    candidate: Estimate | None = None
    steps: tuple[Step, ...] = ()
    duel: Duel | None = None
    then: tuple[float, ...] = ()
    now: tuple[float, ...] = ()

    def after(self, step: Step, verdict: Verdict | None = None, clause: str = "") -> Finding:
        """What it is after one more rule. verdict: None for the same. clause: what is added to the reason."""
        return dataclasses.replace(
            self,
            verdict=verdict or self.verdict,
            reason=f"{self.reason}; {clause}" if clause else self.reason,
            steps=(*self.steps, step),
        )


@dataclass(frozen=True)
class Comparison:
    """All verdicts, sorted by effect. baseline: what the run was compared with, empty for nothing.

    unselected: cells of the baseline that -k left out of this run.
    differences: facts of the environment that differ, "name: then -> now". incomparable: whether they
    forbid a comparison. exit_codes: every code of DESIGN's table that holds for this run. shift: that the
    machine changed and not the code, in words; empty for no such thing. lint: gates that guard nothing.
    history: the nights before this run, where there are any.
    """

    baseline: str
    findings: tuple[Finding, ...]
    differences: tuple[str, ...]
    incomparable: bool
    exit_codes: frozenset[int]
    unselected: int = 0
    shift: str = ""
    lint: tuple[Lint, ...] = ()
    history: History | None = None

    @property
    def unconfirmed(self) -> str:
        """How many figures moved and were not confirmed, in words; empty for none."""
        number = sum(one.verdict is Verdict.INCONCLUSIVE for one in self.findings)
        if not number:
            return ""
        return f"{number} figure{'s' if number > 1 else ''} moved, unconfirmed"


def order(finding: Finding) -> tuple[int, float, str, str]:
    """By rank, then by effect: halved and doubled weigh the same."""
    change = -1.0 if finding.change is None else finding.change
    effect = abs(math.log1p(change)) if change > -1 else math.inf
    return _RANK[finding.verdict], -effect, finding.cell.id, finding.metric


def findings_to_json(comparison: Comparison) -> list[dict[str, Any]]:
    """One plain object a finding, in the comparison's order."""
    return [finding_to_json(one) for one in comparison.findings]


def finding_to_json(one: Finding) -> dict[str, Any]:
    """One finding as plain data."""
    return {
        "key": one.cell.key,
        "cell": one.cell.id,
        "metric": one.metric,
        "verdict": str(one.verdict),
        "reason": one.reason,
        "change": number_to_json(one.change),
        "floor": number_to_json(one.floor),
        "screened": number_to_json(one.screened),
        "baseline": estimate_to_json(one.baseline),
        "candidate": estimate_to_json(one.candidate),
        "steps": [dataclasses.asdict(step) for step in one.steps],
        "then": list(map(number_to_json, one.then)),
        "now": list(map(number_to_json, one.now)),
        "duel": _duel_to_json(one.duel),
    }


def _duel_to_json(duel: Duel | None) -> dict[str, Any] | None:
    if duel is None:
        return None
    return {
        "base": list(map(number_to_json, duel.base)),
        "judged": list(map(number_to_json, duel.judged)),
        "ratio": _interval_to_json(duel.ratio),
        "best": number_to_json(duel.best),
        "witness": _interval_to_json(duel.witness),
        "slow": list(duel.slow),
        "inside": duel.inside,
        "p": number_to_json(duel.p),
        "q": number_to_json(duel.q),
    }


def _interval_to_json(of: Interval | None) -> dict[str, Any] | None:
    if of is None:
        return None
    return {name: number_to_json(part) for name, part in dataclasses.asdict(of).items()}
