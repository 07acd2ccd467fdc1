"""What changed against the baseline, the largest effect first, and how much of it is folded away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ditbench import units
from ditbench.compare import Comparison, Finding, Verdict
from ditbench.report import words
from ditbench.report.tables import Column, Table, Value
from ditbench.summary import Estimate

# A mark for the eye; the word always stands beside it.
MARKS = {
    Verdict.BROKEN: "\N{MULTIPLICATION X}",
    Verdict.REGRESSED: "\N{BLACK DOWN-POINTING TRIANGLE}",
    Verdict.TRADED: "\N{RIGHTWARDS ARROW OVER LEFTWARDS ARROW}",
    Verdict.IMPROVED: "\N{BLACK UP-POINTING TRIANGLE}",
    Verdict.FIXED: "\N{CHECK MARK}",
    Verdict.INCONCLUSIVE: "?",
    Verdict.INCOMPARABLE: "\N{NOT EQUAL TO}",
    Verdict.MISSING: "\N{MINUS SIGN}",
    Verdict.NEW: "+",
    Verdict.UNCHANGED: "=",
}
_COLUMNS = (
    Column("verdict"),
    Column("cell"),
    Column("metric"),
    Column("change", "candidate / baseline \N{MINUS SIGN} 1", numeric=True),
    Column("baseline", numeric=True),
    Column("candidate", numeric=True),
    Column("noise floor", "a change that says nothing", numeric=True),
    Column("reason"),
)
# A reader need not act on these.
_QUIET = frozenset({Verdict.UNCHANGED, Verdict.NEW, Verdict.INCOMPARABLE})


@dataclass(frozen=True)
class Changes:
    """open: shown at once. folded: the rest, behind a click; its `hidden` is counted and not shown.

    quiet: what to say where nothing is open.
    """

    open: Table
    quiet: str
    folded: Table
    folded_title: str


def changes(comparison: Comparison, names: words.Names, shown: int, limit: int) -> Changes:
    """All findings by effect: the first `shown` that matter, then the others up to `limit` rows in all."""
    ordered = sorted(comparison.findings, key=effect, reverse=True)
    loud = [finding for finding in ordered if finding.verdict not in _QUIET]
    rest = loud[shown:] + [finding for finding in ordered if finding.verdict in _QUIET]
    listed = rest[: max(0, limit - shown)]
    return Changes(
        open=Table(_COLUMNS, _rows(loud[:shown], names)),
        quiet=_quiet(ordered, loud),
        folded=Table(_COLUMNS, _rows(listed, names), len(rest) - len(listed)),
        folded_title=_title(rest, len(loud) - len(loud[:shown])),
    )


def _quiet(findings: Sequence[Finding], loud: Sequence[Finding]) -> str:
    """Calm is a finding: only figures that were compared give it."""
    if loud:
        return "What changed is folded away below."
    if any(finding.verdict is Verdict.UNCHANGED for finding in findings):
        return "No figure that could be compared moved beyond its noise."
    return "Nothing could be compared."


def effect(finding: Finding) -> float:
    """How far a finding moves: twice as fast and twice as slow are equally far; a broken cell is farthest."""
    if finding.verdict is Verdict.BROKEN:
        return math.inf
    if finding.change is None:
        return 0.0
    return abs(math.log1p(finding.change)) if finding.change > -1 else math.inf


def _title(rest: Sequence[Finding], loud: int) -> str:
    counts = [
        words.plural(number, kind, "")
        for kind, number in (
            ("smaller in effect", loud),
            *((v.value, sum(f.verdict is v for f in rest)) for v in MARKS if v in _QUIET),
        )
        if number
    ]
    largest = max((abs(f.change) for f in rest if f.change is not None), default=None)
    reach = f"; the largest change among them is {units.percent(largest)}" if largest else ""
    return f"{words.plural(len(rest), 'more verdict')}: {', '.join(counts)}{reach}"


def _rows(findings: Sequence[Finding], names: words.Names) -> tuple[tuple[Value, ...], ...]:
    return tuple(_row(finding, names) for finding in findings)


def _row(finding: Finding, names: words.Names) -> tuple[Value, ...]:
    name = finding.metric
    nothing = Value("\N{EN DASH}")

    def figure(found: Estimate | None) -> Value:
        return words.estimate(name, found) if found and name else nothing

    def percent(share: float | None, *, signed: bool) -> Value:
        return nothing if share is None else Value(units.percent(share, signed=signed), order=share)

    return (
        Value(f"{MARKS[finding.verdict]} {finding.verdict}", order=str(finding.verdict)),
        Value(names.cell(finding.cell)),
        Value(name.replace("_", " ") or "whole cell"),
        percent(finding.change, signed=True),
        figure(finding.baseline),
        figure(finding.candidate),
        percent(finding.floor, signed=False),
        Value(finding.reason),
    )
