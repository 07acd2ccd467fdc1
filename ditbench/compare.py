"""Two runs, or a run and a baseline: a verdict per cell and metric, with its reason, never a bare colour.

Cells are matched by key. Multiply-adds are exact, so any change of them is a verdict. Time, memory and
pictures are screened: a change beyond what the processes' own spread explains is shown as `inconclusive`,
because what moves between two sessions may be the session; interleaved runs confirm it, this does not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ditbench import errors, stats, units
from ditbench.environment import differences, incompatible, refusals
from ditbench.metrics import CALL_FLOOR_S, ROUNDING, Metric, known
from ditbench.records import Cell, Stage, Status
from ditbench.store import Run
from ditbench.summary import (
    DERIVED,
    Estimate,
    Evidence,
    estimate_to_json,
    gather,
    number_to_json,
)

# The relative change below which nothing is said where the suite names no gate of its own.
GATE = 0.02
# Changes within three standard deviations of the process medians are what the machine does by itself.
_SIGMAS = 3
# The PSNR of pictures whose error is one grey level everywhere, 20 log10(255): above it nobody sees anything.
_ONE_LEVEL = 20 * math.log10(255)
# What cannot be zero: such a baseline is a hole, not a number.
_POSITIVE = frozenset({"s", "B", "J", "images/s"})


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


@dataclass(frozen=True)
class _Pair:
    """One metric of one cell, then and now. gate: the suite's threshold, if it names one."""

    metric: Metric
    then: Evidence
    now: Evidence
    gate: float

    @property
    def before(self) -> Estimate:
        return self.then.estimates[self.metric.name]

    @property
    def after(self) -> Estimate:
        return self.now.estimates[self.metric.name]

    @property
    def change(self) -> float | None:
        """Candidate / baseline - 1, or None where that is no finite number."""
        before, after = self.before.value, self.after.value
        if before == 0 or not (math.isfinite(before) and math.isfinite(after)):
            return None
        return after / before - 1

    @property
    def floor(self) -> float:
        """The relative change that the gate or the spread of either run's processes explains."""
        spreads = (
            stats.spread(row.per_process.get(self.metric.name, (0.0,)))
            for row in (self.then, self.now)
        )
        return max(self.gate, *(_SIGMAS * spread for spread in spreads))

    def finding(self, verdict: Verdict, reason: str, floor: float | None = None) -> Finding:
        return Finding(
            cell=self.now.cell,
            metric=self.metric.name,
            verdict=verdict,
            reason=reason,
            change=self.change,
            floor=floor,
            baseline=self.before,
            candidate=self.after,
        )


def compare(
    candidate: Run, baseline: Run | None, name: str, *, required: bool = False
) -> Comparison:
    """Every verdict on the candidate. name: what the baseline is called. required: one must compare."""
    now = gather(candidate)
    if baseline is None:
        codes = _codes(candidate, now, (), required=required)
        return Comparison("", (), (), incomparable=False, exit_codes=codes)
    forbidden = incompatible(baseline.environment, candidate.environment)
    before = gather(baseline)
    wanted = [one for one in before if _selected(candidate, one.cell)]
    found = _findings(wanted, now, forbidden, candidate.gate)
    findings = tuple(sorted(found, key=_order))
    return Comparison(
        baseline=name,
        findings=findings,
        differences=tuple(differences(baseline.environment, candidate.environment)),
        incomparable=bool(forbidden),
        exit_codes=_codes(candidate, now, findings, required=required),
        unselected=len(before) - len(wanted),
    )


def _selected(run: Run, cell: Cell) -> bool:
    """Whether -k would have let this cell into the run."""
    try:
        return re.search(run.selected, cell.id) is not None
    except re.error:  # a head that somebody wrote by hand
        return True


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


def _findings(
    before: Iterable[Evidence],
    now: Iterable[Evidence],
    forbidden: list[str],
    gate: Mapping[str, float],
) -> Iterator[Finding]:
    """All findings, matched by key: where a cell stands in either suite does not matter.

    A cell of which a run holds no record, because it was cut off or lost lines, is one that it does not
    have: neither broken there nor fixed since.
    """
    then, after = ({row.cell.key: row for row in rows if row.recorded} for rows in (before, now))
    for key in dict.fromkeys((*then, *after)):
        old, new = then.get(key), after.get(key)
        if old is None or new is None or Status.OK not in {old.status, new.status}:
            yield from _one_sided(old, new)
        elif old.status is not Status.OK or new.status is not Status.OK:
            yield _turned(old, new)
        elif forbidden:
            yield _forbidden(old, new, f"measured elsewhere: {'; '.join(forbidden)}")
        elif old.weights and new.weights and old.weights != new.weights:
            yield _forbidden(
                old, new, f"other weights of that name: {old.weights} -> {new.weights}"
            )
        else:
            yield from _metrics(old, new, gate)


def _one_sided(old: Evidence | None, new: Evidence | None) -> Iterator[Finding]:
    """A cell that only one side has; what is ok on neither side says nothing about a change."""
    if old is None and new is not None and not new.status.known_before:
        failed = "" if new.status is Status.OK else f", and failed: {new.status}, {new.reason}"
        yield Finding(new.cell, "", Verdict.NEW, f"not in the baseline{failed}")
    if new is None and old is not None and old.status is Status.OK:
        yield Finding(old.cell, "", Verdict.MISSING, "in the baseline, and not in this run")


def _turned(old: Evidence, new: Evidence) -> Finding:
    """A cell that is ok on one side only."""
    if new.status is Status.OK:
        verdict = Verdict.NEW if old.status.known_before else Verdict.FIXED
        return Finding(new.cell, "", verdict, f"was {old.status}: {old.reason}")
    verdict = Verdict.MISSING if new.status.known_before else Verdict.BROKEN
    return Finding(new.cell, "", verdict, f"was ok, now {new.status}: {new.reason}")


def _forbidden(old: Evidence, new: Evidence, reason: str) -> Finding:
    """Both values stand beside the refusal, so that a person may look."""
    return Finding(
        cell=new.cell,
        metric="",
        verdict=Verdict.INCOMPARABLE,
        reason=reason,
        baseline=old.estimates.get("latency"),
        candidate=new.estimates.get("latency"),
    )


def _metrics(old: Evidence, new: Evidence, gate: Mapping[str, float]) -> Iterator[Finding]:
    """One finding for every measured metric of either side."""
    for name in dict.fromkeys((*old.estimates, *new.estimates)):
        before, after = old.estimates.get(name), new.estimates.get(name)
        if name in DERIVED:
            continue
        if before is None:
            yield Finding(
                new.cell, name, Verdict.NEW, f"the baseline has no {name}", candidate=after
            )
        elif after is None:
            yield Finding(
                new.cell, name, Verdict.MISSING, f"this run has no {name}", baseline=before
            )
        elif found := known(name):
            usual = 0.0 if found.stage is Stage.FIT else GATE
            # A suite says `frechet` for all of them: their names say extractor, count and reference.
            told = gate.get("frechet" if found.unit == "distance" else name, usual)
            yield _judge(_Pair(found, old, new, told))
        else:
            yield Finding(
                new.cell, name, Verdict.INCOMPARABLE, f"this ditbench knows no metric {name}"
            )


def _judge(pair: _Pair) -> Finding:
    """The verdict on one metric that both sides have."""
    if hindrance := _hindrance(pair):
        return pair.finding(Verdict.INCOMPARABLE, hindrance)
    return {Stage.GATE: _exact, Stage.FIT: _searched}.get(pair.metric.stage, _screened)(pair)


def _hindrance(pair: _Pair) -> str:
    """Why the two values cannot stand beside each other; empty where they can."""
    before, after = pair.before, pair.after
    if math.isnan(before.value) or math.isnan(after.value):
        return "not a number"
    if pair.metric.unit in _POSITIVE and before.value <= 0:
        return f"the baseline is {before.value:g}, against which nothing can be judged: set it anew"
    if pair.metric.stage is Stage.TIME and (unfit := pair.now.unfit or pair.then.unfit):
        return f"the machine was not fit {'now' if pair.now.unfit else 'then'}: {unfit}"
    if pair.metric.unit == "distance" and pair.then.extractor != pair.now.extractor:
        named = (row.extractor or "unknown" for row in (pair.then, pair.now))
        return f"features of another network: {' -> '.join(named)}"
    if pair.metric.stage is Stage.QUALITY and before.samples != after.samples:
        return f"{before.samples} pictures then, {after.samples} now"
    return _other_memory(pair) if pair.metric.stage is Stage.FIT else ""


def _other_memory(pair: _Pair) -> str:
    """A largest batch is one of so much memory."""
    then, now = (row.fit.memory_limit if row.fit else None for row in (pair.then, pair.now))
    if then == now:
        return ""
    told = [f"{units.size(size)} ({size} bytes)" if size else "unknown" for size in (then, now)]
    return f"found in memory of {told[0]} then, {told[1]} now: set timing.memory_limit"


def _exact(pair: _Pair) -> Finding:
    """Multiply-adds: counted, not measured, so there is nothing to confirm."""
    before, after = pair.before.value, pair.after.value
    if before == after:
        return pair.finding(Verdict.UNCHANGED, "equal", 0.0)
    verdict = Verdict.REGRESSED if after > before else Verdict.IMPROVED
    told = (units.count(value, pair.metric.unit) for value in (before, after))
    return pair.finding(verdict, f"{' -> '.join(told)}; a count needs no confirmation", 0.0)


def _searched(pair: _Pair) -> Finding:
    """Largest batches: whole numbers, so any step beyond what the searches left open is a change."""
    before, after = pair.before, pair.after
    told = f"{before.value:.0f} -> {after.value:.0f}"
    if before.value == after.value:
        return pair.finding(Verdict.UNCHANGED, "equal", pair.gate)
    if before.low <= after.high and after.low <= before.high:
        return pair.finding(Verdict.UNCHANGED, f"{told}, within a step of the search", pair.gate)
    if abs(pair.change or 0.0) <= pair.gate:
        return pair.finding(Verdict.UNCHANGED, f"{told}, within the suite's gate", pair.gate)
    if any(row.fit and row.fit.wavering for row in (pair.then, pair.now)):
        return pair.finding(Verdict.INCONCLUSIVE, f"{told}, but a search contradicted itself", 0.0)
    verdict = Verdict.IMPROVED if after.value > before.value else Verdict.REGRESSED
    return pair.finding(verdict, f"{told}, both sides of it tried twice", pair.gate)


def _screened(pair: _Pair) -> Finding:
    """Time, memory and pictures: beyond the floors of both kinds, and even then not confirmed."""
    if excuse := _same(pair):
        return pair.finding(Verdict.UNCHANGED, excuse, pair.floor)
    change, floor = pair.change, pair.floor
    if change is None:
        return pair.finding(
            Verdict.INCONCLUSIVE,
            f"{pair.before.value:g} -> {pair.after.value:g}, which is no ratio; "
            "one comparison does not confirm it",
            floor,
        )
    told = units.percent(change, signed=True)
    if abs(change) <= floor:
        reason = f"{told} within the floor of {units.percent(floor)}"
        return pair.finding(Verdict.UNCHANGED, reason, floor)
    return pair.finding(
        Verdict.INCONCLUSIVE,
        f"{told} beyond the floor of {units.percent(floor)}; one comparison does not confirm it",
        floor,
    )


def _same(pair: _Pair) -> str:
    """Why the two are the same in spite of any ratio; empty where they may not be."""
    before, after = pair.before.value, pair.after.value
    if before == after:
        return "equal"
    rounding = ROUNDING.get(pair.now.cell.sampling.dtype, 0.0)
    if pair.metric.name == "latent_drift" and pair.now.exact and max(before, after) <= rounding:
        return "rounding of an exact method"
    if pair.metric.unit == "dB" and min(before, after) >= _ONE_LEVEL:
        return "errors below one grey level"
    least = _least(pair)
    if abs(after - before) <= least:
        return f"a difference of {abs(after - before):.3g}, which {least:.3g} may be by itself"
    return ""


def _least(pair: _Pair) -> float:
    """The absolute change that says nothing: of a Frechet distance three of its standard errors."""
    if pair.now.cell.op and pair.metric.name == "latency":
        return CALL_FLOOR_S
    if pair.metric.unit != "distance":
        return pair.metric.floor
    # An interval reaches two standard errors up; downwards it may end at zero.
    return 1.5 * max(one.high - one.value for one in (pair.before, pair.after))


def _codes(
    candidate: Run, rows: Iterable[Evidence], findings: tuple[Finding, ...], *, required: bool
) -> frozenset[int]:
    """Every exit code that holds."""
    judged = any(
        one.candidate and one.baseline and one.verdict is not Verdict.INCOMPARABLE
        for one in findings
    )
    holds = {
        # A run that was cut off or damaged lacks results, even where each that it has is good.
        errors.CELLS_FAILED: not candidate.finished
        or bool(candidate.problems)
        or any(row.status is not Status.OK and not row.status.known_before for row in rows)
        or any(row.unjudged for row in rows),
        errors.PERFORMANCE: any(one.verdict is Verdict.REGRESSED for one in findings),
        errors.ENVIRONMENT: bool(refusals(candidate.environment)) or any(row.unfit for row in rows),
        errors.NOTHING_COMPARABLE: required and not judged,
    }
    return frozenset(code for code, holds_now in holds.items() if holds_now)


def _order(finding: Finding) -> tuple[int, float, str, str]:
    """By rank, then by effect: halved and doubled weigh the same."""
    change = -1.0 if finding.change is None else finding.change
    effect = abs(math.log1p(change)) if change > -1 else math.inf
    return _RANK[finding.verdict], -effect, finding.cell.id, finding.metric
