"""What a comparison comes to: a verdict per cell and metric, with its reason, never a bare colour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ditbench.records import Cell
from ditbench.summary import Estimate, estimate_to_json, number_to_json


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
class Finding:
    """One verdict. change: candidate / baseline - 1. floor: the relative change that would say nothing.

    metric is empty where the verdict is about the whole cell (new, missing, broken, fixed, incomparable).
    """

    cell: Cell
    metric: str
    verdict: Verdict
    reason: str
    change: float | None = None
    floor: float | None = None
    baseline: Estimate | None = None
    candidate: Estimate | None = None


@dataclass(frozen=True)
class Comparison:
    """All verdicts, sorted by effect. baseline: what the run was compared with, empty for nothing.

    unselected: cells of the baseline that -k left out of this run.
    differences: facts of the environment that differ, "name: then -> now". incomparable: whether they
    forbid a comparison. exit_codes: every code of DESIGN's table that holds for this run.
    """

    baseline: str
    findings: tuple[Finding, ...]
    differences: tuple[str, ...]
    incomparable: bool
    exit_codes: frozenset[int]
    unselected: int = 0

    @property
    def unconfirmed(self) -> str:
        """How many figures moved and were not confirmed, in words; empty for none."""
        number = sum(one.verdict is Verdict.INCONCLUSIVE for one in self.findings)
        if not number:
            return ""
        moved = (
            "1 figure moved beyond its" if number == 1 else f"{number} figures moved beyond their"
        )
        return f"{moved} floor, unconfirmed"


def order(finding: Finding) -> tuple[int, float, str, str]:
    """By rank, then by effect: halved and doubled weigh the same."""
    change = -1.0 if finding.change is None else finding.change
    effect = abs(math.log1p(change)) if change > -1 else math.inf
    return _RANK[finding.verdict], -effect, finding.cell.id, finding.metric


def findings_to_json(comparison: Comparison) -> list[dict[str, Any]]:
    """One plain object a finding, in the comparison's order."""
    return [
        {
            "key": one.cell.key,
            "cell": one.cell.id,
            "metric": one.metric,
            "verdict": str(one.verdict),
            "reason": one.reason,
            "change": number_to_json(one.change),
            "floor": number_to_json(one.floor),
            "baseline": estimate_to_json(one.baseline),
            "candidate": estimate_to_json(one.candidate),
        }
        for one in comparison.findings
    ]
