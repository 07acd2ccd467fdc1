"""What changed against the baseline, the largest effect first, with its evidence; and what is folded away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ditbench import units
from ditbench.compare import Comparison, Finding, Verdict
from ditbench.compare.verdicts import Duel, Step
from ditbench.report import nights, strips, words
from ditbench.report.clocks import Clocks
from ditbench.report.drawing import Drawing
from ditbench.report.tables import Column, Table, Value
from ditbench.stats import Interval
from ditbench.summary import Estimate
from ditbench.summary.history import History

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
# What says the same as another metric of the same cell.
_ECHOES = {"step_latency": "latency"}
# A reader need not act on these.
_QUIET = frozenset({Verdict.UNCHANGED, Verdict.NEW, Verdict.INCOMPARABLE})


_STEPS = (Column("rule"), Column("numbers"), Column("what it said"))
# A verdict's colour, beside its mark and its word.
_TONES = {
    Verdict.BROKEN: "bad",
    Verdict.REGRESSED: "bad",
    Verdict.TRADED: "unsure",
    Verdict.INCONCLUSIVE: "unsure",
    Verdict.IMPROVED: "good",
    Verdict.FIXED: "good",
}


@dataclass(frozen=True)
class Change:
    """One verdict with its evidence. name: unlike any other's on the page.

    figures: both sides and what the session of two arms found, a clause each. strip: both distributions by
    process; trend: the nights before; None where there is nothing to draw. clocks: at which the arms ran.
    steps: every rule in order. processes: what the strip shows, as a table.
    """

    name: str
    mark: str
    verdict: str
    tone: str
    cell: str
    metric: str
    change: str
    figures: tuple[str, ...]
    reason: str
    strip: Drawing | None
    trend: Drawing | None
    clocks: str
    steps: Table
    processes: Table

    @property
    def title(self) -> str:
        """What happened to what."""
        happened = " ".join(filter(None, (self.mark, self.verdict, self.change)))
        return f"{happened}: {self.cell}, {self.metric}"

    @property
    def drawings(self) -> tuple[Drawing, ...]:
        """What there is to see."""
        return tuple(one for one in (self.strip, self.trend) if one)


@dataclass(frozen=True)
class Changes:
    """What is shown at once as `cards`, and as a table as `open`; the rest, behind a click, is `folded`.

    What of that is `hidden` is counted. quiet: what to say where nothing is open.
    """

    cards: tuple[Change, ...]
    open: Table
    quiet: str
    folded: Table
    folded_title: str


def changes(
    comparison: Comparison, names: words.Names, known: Clocks, shown: int, limit: int
) -> Changes:
    """All findings by effect: the first `shown` that matter, then the others up to `limit` rows in all."""
    ordered = sorted(comparison.findings, key=effect, reverse=True)
    told = {(one.cell.key, one.metric, one.verdict) for one in ordered}
    calm = [one for one in ordered if one.verdict in _QUIET]
    moved = [one for one in ordered if one.verdict not in _QUIET]
    echoes = [one for one in moved if _echo(one) in told]
    loud = [one for one in moved if _echo(one) not in told]
    rest = [*loud[shown:], *echoes, *calm]
    listed = rest[: max(0, limit - shown)]
    return Changes(
        cards=tuple(
            _card(f"change-{place}", finding, names, known, comparison.history)
            for place, finding in enumerate(loud[:shown], start=1)
        ),
        open=Table(_COLUMNS, _rows(loud[:shown], names)),
        quiet=_quiet(ordered, loud),
        folded=Table(_COLUMNS, _rows(listed, names), len(rest) - len(listed)),
        folded_title=_title(rest, len(loud) - len(loud[:shown]), len(echoes)),
    )


def _card(
    name: str, finding: Finding, names: words.Names, known: Clocks, history: History | None
) -> Change:
    arms = strips.arms(finding, known)
    change = finding.change
    return Change(
        name=name,
        mark=MARKS[finding.verdict],
        verdict=str(finding.verdict),
        tone=_TONES.get(finding.verdict, ""),
        cell=names.cell(finding.cell),
        metric=_metric(finding),
        change="" if change is None else units.percent(change, signed=True),
        figures=tuple(part for part in _figures(finding, history) if part),
        reason=finding.reason,
        strip=strips.drawn(finding, arms, name),
        trend=nights.drawn(finding, history, f"{name}-history"),
        clocks=strips.clocks(arms) if arms else "",
        steps=Table(_STEPS, tuple(_step(step) for step in finding.steps)),
        processes=strips.table(finding, arms),
    )


def _metric(finding: Finding) -> str:
    return words.named(finding.metric) if finding.metric else "whole cell"


def _step(step: Step) -> tuple[Value, ...]:
    return Value(step.rule), Value(step.numbers), Value(step.outcome)


def _figures(finding: Finding, history: History | None) -> tuple[str, ...]:
    return _sides(finding), *_duel(finding.duel), *nights.told(finding, history)


def _sides(finding: Finding) -> str:
    """`300 ms (294 - 306) then, 336 ms (329 - 343) now`, as far as there are any."""
    sides = ((finding.baseline, "then"), (finding.candidate, "now"))
    told = [(words.estimate(finding.metric, found), when) for found, when in sides if found]
    if not finding.metric:
        return ""
    return ", ".join(
        f"{value.text} ({value.detail}) {when}" if value.detail else f"{value.text} {when}"
        for value, when in told
    )


def _duel(duel: Duel | None) -> tuple[str, ...]:
    """What two arms side by side came to: B / A, the best modes, the second witness, the slow mode."""
    if duel is None:
        return ()
    where = "in one process" if duel.inside else "in fresh processes"
    return (
        f"side by side {where}: B / A {_ratio(duel.ratio)}, best modes {units.digits(duel.best, 4)}",
        f"each against the reference method beside it: {_ratio(duel.witness)}"
        if duel.witness
        else "",
        f"processes in a slow mode: A {units.percent(duel.slow[0])}, B {units.percent(duel.slow[1])}"
        if any(duel.slow)
        else "",
    )


def _ratio(ratio: Interval) -> str:
    low, high = units.digits(ratio.low, 4), units.digits(ratio.high, 4)
    return f"{units.digits(ratio.value, 4)} (95 % interval {low} \N{EN DASH} {high})"


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
    return 0.0 if finding.change is None else far(finding.change)


def far(change: float) -> float:
    """How far a change moves, halved as far as doubled."""
    return abs(math.log1p(change)) if change > -1 else math.inf


def _echo(finding: Finding) -> tuple[str, str | None, Verdict]:
    """The finding that a person sees instead, where there is such a one."""
    return finding.cell.key, _ECHOES.get(finding.metric), finding.verdict


def _title(rest: Sequence[Finding], loud: int, echoes: int) -> str:
    counts = [
        words.plural(number, kind, "")
        for kind, number in (
            ("smaller in effect", loud),
            ("of a step as its whole run", echoes),
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
        Value(_metric(finding)),
        percent(finding.change, signed=True),
        figure(finding.baseline),
        figure(finding.candidate),
        percent(finding.floor, signed=False),
        Value(finding.reason),
    )
