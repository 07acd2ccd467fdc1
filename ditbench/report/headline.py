"""What a reader must know first: the exit code in words, what was compared, the counts, the winners."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ditbench import errors, units
from ditbench.compare import Comparison, Verdict
from ditbench.environment import refusals
from ditbench.records import Status
from ditbench.report import cells, cores, largest, words
from ditbench.report.changes import MARKS, effect
from ditbench.report.ranking import Group, groups, is_bound
from ditbench.store import Run
from ditbench.summary import Estimate, Row, Summary

_MEANING = {
    errors.OK: ("Fine", "What could run was measured, and nothing calls for action"),
    errors.INTERNAL: ("ditbench failed", "An internal error; figures may be missing"),
    errors.USAGE: ("Nothing to measure", "The command, the suite or a file is wrong"),
    errors.CELLS_FAILED: (
        "Some cells failed",
        "At least one cell that should have run has no result",
    ),
    errors.PERFORMANCE: ("Performance regressed", "A figure is worse than the baseline, confirmed"),
    errors.QUALITY: ("Pictures got worse", "Quality is below the baseline, beyond its noise"),
    errors.ENVIRONMENT: (
        "Not fit to measure",
        "The machine was invalid or too noisy for a verdict",
    ),
    errors.NOTHING_COMPARABLE: ("Nothing comparable", "A baseline was required and none fits"),
    errors.INTERRUPTED: ("Interrupted", "The run was stopped; what it had measured is saved"),
}
_GROUPS = 3


@dataclass(frozen=True)
class Count:
    """How often a verdict was given."""

    mark: str
    word: str
    number: int


@dataclass(frozen=True)
class Headline:
    """The verdict. tone: `good`, `bad` or `unsure`, for a colour beside the words.

    banner: that the machine changed, or was not fit, before anything is said of the code; empty for neither.
    points: what moved most, and the winners where nothing did; else winners stand apart.
    """

    code: int
    title: str
    meaning: str
    tone: str
    compared: str
    cells: str
    counts: tuple[Count, ...]
    banner: tuple[str, ...]
    points: tuple[str, ...]
    winners: tuple[str, ...]
    others: tuple[str, ...]


def headline(run: Run, summary: Summary, comparison: Comparison, names: words.Names) -> Headline:
    """The top of the page."""
    code = _code(comparison)
    title, meaning, tone = _told(code, comparison)
    moved = tuple(_moved(comparison, names))
    winners = tuple(_winners(summary, names))
    return Headline(
        code=code,
        title=title,
        meaning=meaning,
        tone=tone,
        compared=_compared(comparison),
        cells=_cells(run, summary),
        counts=_counts(comparison),
        banner=_banner(run, summary, comparison),
        points=(*moved, *(() if moved else winners), *_claims(summary)),
        winners=winners if moved else (),
        others=tuple(
            f"exit code {other} holds too: {_meaning(other)[0]}"
            for other in sorted(comparison.exit_codes - {code, errors.OK})
        ),
    )


def _banner(run: Run, summary: Summary, comparison: Comparison) -> tuple[str, ...]:
    """One statement of everything about the machine that weakens what follows."""
    unfit = [row.unfit for row in summary.rows if row.unfit]
    cells = f"{len(unfit)} of {words.plural(len(summary.rows), 'cell')}"
    told = (
        f"The machine changed, and not one method: {comparison.shift}." if comparison.shift else "",
        *(f"The machine was not fit to measure on: {one}." for one in refusals(run.environment)),
        f"The machine was not fit for {cells}: {_often(unfit)}." if unfit else "",
    )
    return tuple(one.replace("..", ".") for one in told if one)


def _often(reasons: Sequence[str]) -> str:
    """Each reason once, the most frequent first."""
    return "; ".join(reason for reason, _ in Counter(reasons).most_common(_GROUPS))


def _claims(summary: Summary) -> tuple[str, ...]:
    """How the published numbers came out, where the suite names any; they move no exit code."""
    told = cells.counted(summary)
    return (f"{told}.",) if told else ()


def _code(comparison: Comparison) -> int:
    """The code that the process ends with."""
    if errors.INTERRUPTED in comparison.exit_codes:
        return errors.INTERRUPTED
    return errors.first_of(set(comparison.exit_codes))


def _meaning(code: int) -> tuple[str, str]:
    return _MEANING.get(code, (f"Exit code {code}", "Unknown to this version of ditbench"))


def _told(code: int, comparison: Comparison) -> tuple[str, str, str]:
    """Title, meaning and tone. What moved is no verdict until it is confirmed, and never called fine."""
    if code == errors.OK and comparison.unconfirmed:
        return "Unconfirmed changes", f"{comparison.unconfirmed}: measure again to know", "unsure"
    return (*_meaning(code), _tone(code))


def _tone(code: int) -> str:
    if code == errors.OK:
        return "good"
    unsure = {errors.ENVIRONMENT, errors.NOTHING_COMPARABLE, errors.INTERRUPTED}
    return "unsure" if code in unsure else "bad"


def _compared(comparison: Comparison) -> str:
    if not comparison.baseline:
        return "Compared with nothing: no baseline was given, so this page tells no changes."
    if comparison.incomparable:
        return f"Not comparable with {comparison.baseline}: the environments differ (below)."
    left = words.plural(comparison.unselected, "other cell")
    narrowed = f" {left} of it not selected here." if comparison.unselected else ""
    return f"Compared with {comparison.baseline}.{narrowed}"


def _cells(run: Run, summary: Summary) -> str:
    found = Counter(row.status for row in summary.rows)
    parts = [f"{found[status]} {status}" for status in Status if found[status]]
    if partly := sum(bool(row.lacks) for row in summary.rows):
        parts.append(f"{partly} of those ok not measured in full")
    why = f" ({run.stopped})" if run.stopped else ""
    ended = "" if run.finished else f" The run did not come to its end{why}."
    return f"{words.plural(len(run.planned), 'cell')} planned: {', '.join(parts) or 'none ran'}.{ended}"


def _counts(comparison: Comparison) -> tuple[Count, ...]:
    found = Counter(finding.verdict for finding in comparison.findings)
    return tuple(Count(MARKS[v], v.value, found[v]) for v in MARKS if found[v])


def _moved(comparison: Comparison, names: words.Names) -> list[str]:
    """The largest effect of each verdict that calls for a look."""
    found = []
    for verdict in (
        Verdict.BROKEN,
        Verdict.REGRESSED,
        Verdict.TRADED,
        Verdict.INCONCLUSIVE,
        Verdict.IMPROVED,
    ):
        given = [finding for finding in comparison.findings if finding.verdict is verdict]
        if given:
            most = max(given, key=effect)
            change = "" if most.change is None else f" {units.percent(most.change, signed=True)}"
            what = f"{most.metric.replace('_', ' ')}{change}" if most.metric else most.reason
            among = f" (largest of {len(given)})" if len(given) > 1 else ""
            found.append(f"{verdict.capitalize()}{among}: {names.cell(most.cell)}, {what}.")
    return found


def _winners(summary: Summary, names: words.Names) -> list[str]:
    """One line for each of the first groups, of either kind."""
    models = (group for group in groups(summary, names) if not any(r.cell.op for r in group.rows))
    timed = [line for group in models if (line := _winner(group, names))]
    kinds = (timed, largest.leaders(summary, names), cores.leaders(summary, names))
    return [line for kind in kinds for line in kind[:_GROUPS]]


def _winner(group: Group, names: words.Names) -> str:
    """The fastest exact method of a group, and the fastest approximate one with its price."""
    timed = [row for row in group.rows if "latency" in row.estimates]
    parts = [
        _praise(kind, best, names)
        for kind, best in (
            ("fastest exact method", next((row for row in timed if row.exact), None)),
            (
                "fastest approximate method",
                next((r for r in timed if not (r.exact or is_bound(r))), None),
            ),
        )
        if best
    ]
    return f"{group.title}: {'; '.join(parts)}." if parts else ""


def _unsure(ratio: Estimate) -> str:
    """That a ratio may as well be 1, where its interval holds it."""
    if ratio.low == ratio.high or not ratio.low <= 1 <= ratio.high:
        return ""
    return f" (the interval {words.interval(ratio, units.digits)} includes 1)"


def _praise(kind: str, row: Row, names: words.Names) -> str:
    facts = [words.figure("latency", row.estimates["latency"].value)]
    if row.exact and row.versus_softmax:
        ratio = row.versus_softmax
        limits = f"{words.bound(row.softmax_bound)} and {words.ceilings(row)}"
        facts.append(f"{words.factor(ratio.value)} against softmax{_unsure(ratio)} where {limits}")
    if not row.exact:
        facts.append(
            f"{words.factor(row.speedup.value)} over {row.against}{_unsure(row.speedup)} where "
            f"{words.limits(row)}"
            if row.speedup
            else "speed-up not measured"
        )
        drift = row.estimates.get("latent_drift")
        facts.append(
            f"latent drift {words.figure('latent_drift', drift.value) if drift else 'not measured'}"
        )
    doubt = f" (doubtful: {'; '.join(row.doubts)})" if row.doubts else ""
    return f"{kind} {names.method(row.cell)}, {', '.join(facts)}{doubt}"
