"""What a run's raw records amount to: one row a cell, every figure with its interval and its doubts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ditbench.records import Stage, Status
from ditbench.store import Run, clock_notes
from ditbench.summary import arms, canary, claims, costs, pictures
from ditbench.summary.doubts import Suspect, Twin, doubts, twins
from ditbench.summary.evidence import DERIVED, Asked, Evidence, gather, only_counted
from ditbench.summary.reuse import profile, reuse
from ditbench.summary.rows import (
    Answered,
    ClaimResult,
    Estimate,
    Fit,
    Reuse,
    Row,
    Shares,
    Summary,
    claims_to_json,
    estimate_to_json,
    number_to_json,
    rows_to_json,
)
from ditbench.summary.shares import Ceilings
from ditbench.summary.speed import Group, groups, speeds
from ditbench.summary.spent import Spent, overhead, spent

__all__ = [
    "DERIVED",
    "Answered",
    "ClaimResult",
    "Estimate",
    "Evidence",
    "Fit",
    "Reuse",
    "Row",
    "Shares",
    "Spent",
    "Summary",
    "claims_to_json",
    "estimate_to_json",
    "gather",
    "number_to_json",
    "only_counted",
    "overhead",
    "rows_to_json",
    "spent",
    "summarise",
]


def summarise(run: Run) -> Summary:
    """The run, read: rows in the order of the plan, claims in the order of the suite."""
    cells = gather(run)
    together = groups(cells)
    asked = Asked.of(run)
    alike, given = twins(cells), Ceilings.of(cells)
    by_key = {key: row for group in together.values() for key, row in _rows(group, asked, alike)}
    rows = tuple(replace(by_key[one.cell.key], shares=given.shares(one)) for one in cells)
    known = claims.Known.of(run, rows)
    return Summary(
        rows=rows,
        claims=tuple(result for claim in run.claims for result in claims.answer(claim, known)),
        notes=tuple(_notes(run, rows, together.values())),
    )


def _rows(group: Group, asked: Asked, alike: Mapping[str, Twin]) -> list[tuple[str, Row]]:
    """The group's rows by key. alike: cells of bit-identical outputs."""
    ratios = speeds(group)
    found = []
    for one in group.members:
        speed = ratios[one.cell.key]
        lacks = one.lacks(asked)
        suspect = Suspect(one, speed, group, alike.get(one.cell.quality_key), lacks)
        row = Row(
            cell=one.cell,
            status=one.status,
            reason=one.reason,
            recorded=one.recorded,
            estimates=one.estimates,
            per_process=one.per_process,
            speedup=speed.speedup,
            against=speed.against,
            versus_softmax=speed.versus_softmax,
            bound=speed.bound,
            softmax_bound=speed.softmax_bound,
            bound_by=speed.bound_by,
            boundless=speed.boundless,
            ceiling=speed.ceiling,
            module_ceiling=speed.module_ceiling,
            exact=one.exact,
            kernels=tuple(map(str, one.facts.get("kernels", ()))),
            pictures=str(one.pictures.facts.get("pictures", "")) if one.pictures else "",
            doubts=doubts(suspect),
            fit=one.fit,
            unfit=one.unfit,
            lacks=lacks,
            reuse=reuse(one),
            profile=profile(one),
        )
        found.append((one.cell.key, row))
    return found


def _notes(run: Run, rows: tuple[Row, ...], together: Iterable[Group]) -> Iterable[str]:
    """What a reader must know of the run as a whole."""
    if only_counted(run):
        yield "No network ran: all that the suite asks follows from shapes, so its cells were counted."
    if not run.finished:
        missing = sum(not row.recorded for row in rows)
        why = f" ({run.stopped})" if run.stopped else ""
        partly = sum(bool(row.lacks) for row in rows)
        rest = f", and {partly} only a part of it" if partly else ""
        told = f"{missing} of {len(rows)} cells have no result{rest}"
        yield f"The run did not come to its end{why}: {told}."
    if run.problems:
        yield f"Lines of the results that could not be read: {len(run.problems)}."
    yield from clock_notes(run)
    yield from _canary_notes(run)
    together = tuple(together)
    if not any(row.status is Status.OK for row in rows):
        yield "No cell has a result."
    unfit = [row.unfit for row in rows if row.unfit]
    if unfit:
        yield f"Cells timed while the machine was not fit for it: {len(unfit)}; the first, {unfit[0]}."
    lost = sum(
        1 for group in together if group.fastest is None and any(one.times for one in group.members)
    )
    if lost:
        yield f"Groups of cells without a speed-up, for want of a timed exact method: {lost}."
    yield from _bounds(rows)
    cells = [one for group in together for one in group.members]
    if told := arms.of_models(cells):
        yield f"Rows of different models differ in more than attention: {told}."
    yield from pictures.unmeasured(cells)
    yield from costs.dearer(_costs(run, rows))


def _canary_notes(run: Run) -> Iterable[str]:
    """What the machine itself did meanwhile, and where nobody knows."""
    if told := canary.drift(run):
        yield f"The machine changed while it measured: {told} (the canary)."
    for clause in canary.failures(run):
        yield f"The canary was not measured at the {clause}."


def _bounds(rows: Iterable[Row]) -> Iterable[str]:
    """Speed-ups that nothing can be called implausible by, and what would bound them."""
    rows = [row for row in rows if row.speedup]
    for reason, number in Counter(row.boundless for row in rows if row.boundless).items():
        told = reason.removeprefix("no bound: ")
        yield f"No bound stands beside {number} of {len(rows)} speed-ups: {told}."


def _costs(run: Run, rows: tuple[Row, ...]) -> Iterable[costs.Cost]:
    """Of cells that ran, and of those that were only counted."""
    for row in rows:
        if core := row.estimates.get("core_macs"):
            yield costs.Cost(row.cell, core.value, row.exact)
    for one in run.records:
        if one.stage is Stage.COUNT and one.metrics.get("core_macs"):
            yield costs.Cost(one.cell, one.metrics["core_macs"][0], bool(one.facts.get("exact")))
