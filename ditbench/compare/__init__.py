"""Two runs, or a run and a baseline: a verdict per cell and metric, with its reason, never a bare colour.

Cells are matched by key. Counts are exact, so any change of them is a verdict, and figures of pictures of
fixed seeds nearly so. Times have two stages: one that leaves its gate here is `inconclusive`, because what
moves between two runs may be the machine, until a session of both arms side by side has judged the cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ditbench import errors, units
from ditbench.compare import pictures
from ditbench.compare.codes import codes_of
from ditbench.compare.conditions import warned
from ditbench.compare.confirming import confirms, judge_session
from ditbench.compare.given import Given
from ditbench.compare.judging import is_judged, judge
from ditbench.compare.lint import Gathered, lint
from ditbench.compare.pair import Pair
from ditbench.compare.provisional import advised, provisional
from ditbench.compare.rules import Gate, usual
from ditbench.compare.same_code import told_by
from ditbench.compare.suitewide import blamed, shifted, traded, unconfirmed
from ditbench.compare.turned import turned
from ditbench.compare.verdicts import (
    Comparison,
    Duel,
    Finding,
    Lint,
    Step,
    Verdict,
    finding_to_json,
    findings_to_json,
    order,
)
from ditbench.deciding import (
    Decision,
    decide,
    discoveries,
    nights,
    screened,
    seen,
    wants_more,
)
from ditbench.environment import differences, incompatible, refusals
from ditbench.metrics import COUNTS, Metric, known, word_of
from ditbench.records import Cell, Status
from ditbench.store import Run
from ditbench.summary import DERIVED, Evidence, gather
from ditbench.summary.sides import LATENCY

__all__ = [
    "Comparison",
    "Decision",
    "Duel",
    "Finding",
    "Given",
    "Lint",
    "Step",
    "Verdict",
    "codes_of",
    "compare",
    "decide",
    "discoveries",
    "finding_to_json",
    "findings_to_json",
    "flagged",
    "judge_session",
    "nights",
    "screened",
    "seen",
    "turned",
    "wants_more",
]


_NOTHING = Given()
# Steps are not timed side by side: the batch that they make up is, and was when noise was measured.
_BESIDE = {"step_latency": LATENCY}


def compare(
    candidate: Run,
    baseline: Run | None,
    name: str,
    *,
    required: bool = False,
    given: Given = _NOTHING,
) -> Comparison:
    """Every verdict on the candidate. name: what the baseline is called. required: one must compare.

    given: earlier nights, floors of noise, and a session that confirms or does not.
    """
    now = gather(candidate)
    after = Gathered(candidate, now)
    history = given.history if given.history.runs else None
    when = given.now or datetime.now(UTC)
    if baseline is None:
        codes = _codes(candidate, now, (), required=required)
        nothing = lint(after, None, given.noise, when)
        return Comparison("", (), (), False, codes, lint=nothing, history=history)
    forbidden = incompatible(baseline.environment, candidate.environment)
    before = gather(baseline)
    wanted = [one for one in before if _selected(candidate, one.cell)]
    elsewhere = f"measured elsewhere: {'; '.join(forbidden)}" if forbidden else ""
    expired = baseline.admission.expired(when) if baseline.admission else ""
    found = _findings(
        wanted, now, elsewhere or expired, _Known.of(candidate, given.since(baseline))
    )
    moved, shift = shifted(tuple(found))
    told = warned(moved, baseline, candidate)
    told = advised(told, provisional(baseline, before))
    findings = tuple(sorted(traded(told), key=order))
    return Comparison(
        baseline=name,
        findings=findings,
        differences=tuple(differences(baseline.environment, candidate.environment)),
        incomparable=bool(forbidden or expired),
        exit_codes=_codes(candidate, now, findings, required=required),
        unselected=len(before) - len(wanted),
        shift=shift,
        lint=lint(after, Gathered(baseline, before), given.noise, when),
        history=history,
    )


def flagged(comparison: Comparison) -> tuple[Cell, ...]:
    """Cells to confirm, by effect: their times left the gate, a session measures them, and none has."""
    waiting = (one for one in comparison.findings if unconfirmed(one) or blamed(one))
    return tuple(dict.fromkeys(one.cell for one in waiting if confirms(one.metric)))


def _way(metric: str, hindrance: str) -> str:
    """Why a time that moved is not confirmed, and what a person can do. hindrance: of this run's session."""
    if confirms(metric):
        return f"not confirmed: {hindrance or 'run with --confirm or `ditbench ab`'}"
    return (
        f"not confirmed, and no session confirms {metric}: measure again, or see in "
        "`ditbench report --history` whether it stays"
    )


@dataclass(frozen=True)
class _Known:
    """What a pair is judged by. sessions: what a session of two arms came to, by cell key and metric."""

    gate: Mapping[str, float]
    given: Given
    sessions: Mapping[tuple[str, str], Finding]

    @classmethod
    def of(cls, candidate: Run, given: Given) -> _Known:
        """Of a run, on its machine."""
        given = given.on(candidate.environment)
        session = given.session
        found = told_by(session, judge_session(session, given.noise)) if session else ()
        same = {a.key for a, b in session.pairs if a.key == b.key} if session else set()
        of_same = {(one.cell.key, one.metric): one for one in found if one.cell.key in same}
        return cls(candidate.gate, given, of_same)

    def pair(self, metric: Metric, then: Evidence, now: Evidence) -> Pair:
        """One metric of one cell, with all that is known of it."""
        key, named = now.cell.key, dict.fromkeys((metric.name, _BESIDE.get(metric.name, "")))
        floor = next(filter(None, (self.given.floor(key, one) for one in named)), None)
        # A suite names figures of sets by a word: records by network, count and reference too.
        gate = Gate(
            self.gate.get(word_of(metric.name)), floor.apart if floor else None, usual(metric)
        )
        confirmed = next(filter(None, (self.sessions.get((key, one)) for one in named)), None)
        history = self._nights(metric.name, then)
        way = _way(metric.name, self.given.hindrance)
        return Pair(metric, then, now, gate, history, confirmed, way)

    def _nights(self, name: str, then: Evidence) -> tuple[float, ...]:
        """Clean values of the nights before; of steps those of the batch that they make up, in proportion.

        A history does not read the lists of steps, which are most of every file.
        """
        whole, clean = then.estimates.get(_BESIDE.get(name, "")), self.given.history.clean
        if whole is None or not whole.value > 0:
            return clean(then.cell.key, name)
        share = then.estimates[name].value / whole.value
        return tuple(share * night for night in clean(then.cell.key, _BESIDE[name]))


def _selected(run: Run, cell: Cell) -> bool:
    """Whether -k would have let this cell into the run."""
    try:
        return re.search(run.selected, cell.id) is not None
    except re.error:  # a head that somebody wrote by hand
        return True


def _findings(
    before: Iterable[Evidence],
    now: Iterable[Evidence],
    forbidden: str,
    known_of: _Known,
) -> Iterator[Finding]:
    """All findings, matched by key: where a cell stands in either suite does not matter.

    A cell of which a run holds no record, because it was cut off or lost lines, is one that it does not
    have: neither broken there nor fixed since. forbidden: why no figures may stand beside each other.
    """
    then, after = ({row.cell.key: row for row in rows if row.recorded} for rows in (before, now))
    for key in dict.fromkeys((*then, *after)):
        old, new = then.get(key), after.get(key)
        if old is None or new is None or Status.OK not in {old.status, new.status}:
            yield from _one_sided(old, new)
        elif old.status is not Status.OK or new.status is not Status.OK:
            yield _turned(old, new)
        elif forbidden:
            yield _forbidden(old, new, forbidden)
        elif old.weights and new.weights and old.weights != new.weights:
            yield _forbidden(
                old, new, f"other weights of that name: {old.weights} -> {new.weights}"
            )
        else:
            yield from _metrics(old, new, known_of)


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
    """Both values stand beside the refusal, so that a person may look: of the first metric that both have.

    The time where they have one, and no count where they have anything else; the step quotes all of them.
    """
    shared = [name for name in old.estimates if name in new.estimates and name not in DERIVED]
    first = min(shared, key=lambda name: (name != LATENCY, name in COUNTS), default="")
    values = ", ".join(f"{name} {_quoted(name, old, new)}" for name in shared)
    return Finding(
        cell=new.cell,
        metric=first,
        verdict=Verdict.INCOMPARABLE,
        reason=reason,
        baseline=old.estimates.get(first),
        candidate=new.estimates.get(first),
        steps=(Step("comparable", values, reason),),
    )


def _quoted(name: str, *sides: Evidence) -> str:
    metric = known(name)
    unit = metric.unit if metric else ""
    return " -> ".join(units.of(one.estimates[name].value, unit) for one in sides)


def _metrics(old: Evidence, new: Evidence, known_of: _Known) -> Iterator[Finding]:
    """One finding for every measured metric of either side."""
    unlike = pictures.unlike(old, new)
    yield from unlike.findings(new.cell)
    for name in dict.fromkeys((*old.estimates, *new.estimates)):
        before, after = old.estimates.get(name), new.estimates.get(name)
        if name in DERIVED or name in unlike.names or not is_judged(name, known_of.gate):
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
            yield judge(known_of.pair(found, old, new))
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
        errors.ENVIRONMENT: bool(refusals(candidate.environment)) or any(row.unfit for row in rows),
        errors.NOTHING_COMPARABLE: required and not judged,
    }
    return codes_of(findings) | {code for code, holds_now in holds.items() if holds_now}
