"""What was not compared, and why: counted by reason, the most frequent first; no count leaves any out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ditbench.compare import Comparison, Verdict
from ditbench.records import Cell
from ditbench.report import words
from ditbench.report.changes import MARKS
from ditbench.report.tables import Column, Table, Value
from ditbench.store import Run

_COLUMNS = (
    Column("what"),
    Column("how many", numeric=True),
    Column("why"),
    Column("which, in the suite's order"),
)
_NOT_COMPARED = (Verdict.INCOMPARABLE, Verdict.MISSING, Verdict.NEW)
_NAMED = 6
_ROWS = 200


@dataclass
class _Kind:
    """One reason. cells: those that it holds for, once each; number: how many figures, samples or cells."""

    what: str
    why: str
    cells: dict[str, Cell]
    number: int = 0


def uncompared(run: Run, comparison: Comparison, names: words.Names) -> Table:
    """One row for each reason, and the first of its cells in the suite's order."""
    order = {cell.key: place for place, cell in enumerate(run.planned)}
    kinds: dict[tuple[str, str], _Kind] = {}
    for what, why, cell, number in (*_findings(comparison), *_lint(comparison), *_calls(run)):
        kind = kinds.setdefault((what, why), _Kind(what, why, {}))
        kind.number += number
        if cell:
            kind.cells[cell.key] = cell
    ordered = sorted(kinds.values(), key=lambda kind: -kind.number)
    rows = [_row(kind, order, names) for kind in ordered[:_ROWS]]
    if comparison.unselected:
        rows.append(_plain("cells of the baseline", comparison.unselected, "left out by -k"))
    return Table(_COLUMNS, tuple(rows), len(ordered) - len(ordered[:_ROWS]))


Told = tuple[str, str, Cell | None, int]


def _findings(comparison: Comparison) -> Iterator[Told]:
    for one in comparison.findings:
        if one.verdict in _NOT_COMPARED:
            yield f"{MARKS[one.verdict]} {one.verdict}", one.reason, one.cell, 1


def _lint(comparison: Comparison) -> Iterator[Told]:
    """Gates that guard nothing."""
    for one in comparison.lint:
        yield f"! {one.kind.replace('-', ' ').replace('_', ' ')}", one.said, one.cell, 1


def _calls(run: Run) -> Iterator[Told]:
    """Timed calls that heat or another program spoilt, by what did."""
    for record in run.records:
        for _place, why in record.facts.get("excluded", ()):
            yield "timed calls left out", str(why), record.cell, 1


def _row(kind: _Kind, order: dict[str, int], names: words.Names) -> tuple[Value, ...]:
    cells = sorted(kind.cells.values(), key=lambda cell: order.get(cell.key, len(order)))
    named = ", ".join(names.cell(cell) for cell in cells[:_NAMED])
    more = f"and {words.plural(len(cells) - _NAMED, 'more cell')}" if len(cells) > _NAMED else ""
    return (
        Value(kind.what),
        Value(str(kind.number), order=kind.number),
        Value(kind.why),
        Value(named or "\N{EN DASH}", more),
    )


def _plain(what: str, number: int, why: str) -> tuple[Value, ...]:
    return Value(what), Value(str(number), order=number), Value(why), Value("\N{EN DASH}")
