"""Published numbers beside the measured ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ditbench.metrics import known
from ditbench.records import Cell
from ditbench.suite.spec import holds
from ditbench.summary.rows import ClaimResult, Row


def answer(claim: Mapping[str, Any], rows: Iterable[Row]) -> list[ClaimResult]:
    """One result for every cell that the claim is about, or one without a cell where there is none."""
    answers = [row for row in rows if holds(claim["where"], row.cell)]
    measured = [row for row in answers if claim["metric"] in row.estimates]
    if measured:
        return [_result(claim, row.cell, _measured(claim, row)) for row in measured]
    return [_result(claim, answers[0].cell if answers else None, None)]


def _measured(claim: Mapping[str, Any], row: Row) -> float:
    """In the claim's unit: multiply-adds are counted for one step, all else for one batch."""
    value = row.estimates[claim["metric"]].value
    if claim["per"] != "image":
        return value
    of = known(claim["metric"])
    unit = of.unit if of else ""
    if unit in {"MAC", "FLOP"}:
        return value * row.cell.steps / row.cell.batch_size
    return value / row.cell.batch_size if unit == "s" else value


def _result(claim: Mapping[str, Any], cell: Cell | None, measured: float | None) -> ClaimResult:
    published, tolerance = float(claim["value"]), float(claim["tolerance"])
    return ClaimResult(
        metric=claim["metric"],
        per=claim["per"],
        source=claim["source"],
        published=published,
        tolerance=tolerance,
        cell=cell,
        measured=measured,
        reproduced=None
        if measured is None
        else abs(measured - published) <= tolerance * abs(published),
    )
