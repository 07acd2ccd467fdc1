"""Published numbers beside the measured ones, each with a verdict or the reason why it has none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ditbench.metrics import known
from ditbench.records import Cell, Stage
from ditbench.suite.spec import holds
from ditbench.summary.rows import Answered, ClaimResult, Row


def answer(
    claim: Mapping[str, Any], rows: Iterable[Row], facts: Mapping[str, Any]
) -> list[ClaimResult]:
    """One result for every cell that the claim is about, or one without a cell where there is none.

    facts: of the environment, because a time is published for one machine.
    """
    answers = [row for row in rows if holds(claim["where"], row.cell)]
    measured = [row for row in answers if claim["metric"] in row.estimates]
    if measured:
        elsewhere = _elsewhere(claim, facts)
        return [_compared(claim, row, elsewhere or _unfit(claim, row)) for row in measured]
    cell = answers[0].cell if answers else None
    return [_result(claim, cell, None, Answered.NOT_MEASURED, _missing(claim, answers))]


def _compared(claim: Mapping[str, Any], row: Row, hindrance: str) -> ClaimResult:
    measured = _in_its_unit(claim, row)
    if hindrance:
        return _result(claim, row.cell, measured, Answered.NOT_COMPARABLE, hindrance)
    published = float(claim["value"])
    near = abs(measured - published) <= float(claim["tolerance"]) * abs(published)
    verdict = Answered.REPRODUCED if near else Answered.CONTRADICTED
    return _result(claim, row.cell, measured, verdict)


def _in_its_unit(claim: Mapping[str, Any], row: Row) -> float:
    """Multiply-adds are of one step of a batch, times of all its steps, energy of one image."""
    value, cell = row.estimates[claim["metric"]].value, row.cell
    of, per_image = known(claim["metric"]), claim["per"] == "image"
    unit = of.unit if of else ""
    if unit in {"MAC", "FLOP"}:
        return value * cell.steps / cell.batch_size if per_image else value
    if claim["metric"] == "step_latency":
        return value * cell.steps / cell.batch_size if per_image else value
    if unit == "J":
        return value if per_image else value * cell.batch_size / cell.steps
    if unit == "s":
        return value / cell.batch_size if per_image else value / cell.steps
    return value


def _elsewhere(claim: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Why a figure of this machine is none for that one; empty where the machine does not matter."""
    machine = claim.get("on", "")
    here = str(facts.get("gpu") or facts.get("cpu") or "an unknown machine")
    if not machine or not _is_timed(claim) or machine in here:
        return ""
    return f"published for {machine}, measured on {here}"


def _unfit(claim: Mapping[str, Any], row: Row) -> str:
    """Why a time of this cell refutes nothing; empty where it may be used."""
    return f"the machine was not fit: {row.unfit}" if row.unfit and _is_timed(claim) else ""


def _is_timed(claim: Mapping[str, Any]) -> bool:
    of = known(claim["metric"])
    return of is not None and of.stage is Stage.TIME


def _missing(claim: Mapping[str, Any], answers: list[Row]) -> str:
    """Why no cell answers a claim."""
    if claim.get("needs"):
        return f"needs {claim['needs']}"
    if not answers:
        return "no cell of this run is of that kind"
    failed = [row for row in answers if row.reason]
    if failed:
        return f"{failed[0].status}: {failed[0].reason}"
    return f"the run did not measure {claim['metric'].replace('_', ' ')}"


def _result(
    claim: Mapping[str, Any],
    cell: Cell | None,
    measured: float | None,
    verdict: Answered,
    why: str = "",
) -> ClaimResult:
    return ClaimResult(
        metric=claim["metric"],
        per=claim["per"],
        source=claim["source"],
        published=float(claim["value"]),
        tolerance=float(claim["tolerance"]),
        cell=cell,
        measured=measured,
        verdict=verdict,
        why=why,
    )
