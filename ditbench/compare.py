"""Two runs, or a run and a baseline: a verdict per cell and metric, with its reason, never a bare colour."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ditbench.records import Cell
from ditbench.summary import Estimate


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

    differences: facts of the environment that differ, "name: then -> now". incomparable: whether they
    forbid a comparison. exit_codes: every code of DESIGN's table that holds for this run.
    """

    baseline: str
    findings: tuple[Finding, ...]
    differences: tuple[str, ...]
    incomparable: bool
    exit_codes: frozenset[int]
