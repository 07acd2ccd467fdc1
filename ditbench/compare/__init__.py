"""Two runs, or a run and a baseline: a verdict per cell and metric, with its reason, never a bare colour.

Cells are matched by key. Multiply-adds are exact, so any change of them is a verdict. Time, memory and
pictures are screened: a change beyond what the processes' own spread explains is shown as `inconclusive`,
because what moves between two sessions may be the session; interleaved runs confirm it, this does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from ditbench import errors
from ditbench.compare import pictures
from ditbench.compare.judging import Pair, judge
from ditbench.compare.verdicts import Comparison, Finding, Verdict, findings_to_json, order
from ditbench.environment import differences, incompatible, refusals
from ditbench.metrics import known, word_of
from ditbench.records import Cell, Stage, Status
from ditbench.store import Run
from ditbench.summary import DERIVED, Evidence, gather

__all__ = ["GATE", "Comparison", "Finding", "Verdict", "compare", "findings_to_json"]

# The relative change below which nothing is said where the suite names no gate of its own.
GATE = 0.02


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
    findings = tuple(sorted(found, key=order))
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
    unlike = pictures.unlike(old, new)
    yield from unlike.findings(new.cell)
    for name in dict.fromkeys((*old.estimates, *new.estimates)):
        before, after = old.estimates.get(name), new.estimates.get(name)
        if name in DERIVED or name in unlike.names:
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
            # A suite names figures of sets by a word: records by network, count and reference too.
            yield judge(Pair(found, old, new, gate.get(word_of(name), usual)))
        else:
            yield Finding(
                new.cell, name, Verdict.INCOMPARABLE, f"this ditbench knows no metric {name}"
            )


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
