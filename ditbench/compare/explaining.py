"""A verdict in its own words: the findings of the cells that a person names, rule by rule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ditbench import units
from ditbench.compare.verdicts import Finding
from ditbench.errors import UsageError
from ditbench.metrics import known
from ditbench.records import Cell


def asked(findings: Sequence[Finding], named: str) -> tuple[Finding, ...]:
    """Findings of cells whose key this is, or whose id holds this regular expression, cell by cell.

    Raises UsageError where there is none, or the expression is none.
    """
    try:
        wanted = re.compile(named)
    except re.error as error:
        raise UsageError(f"--explain {named}: is no regular expression: {error}") from error
    cells = dict.fromkeys(one.cell for one in findings)
    keys = [one.key for one in cells if named == one.key or wanted.search(one.id)]
    if not keys:
        raise UsageError(
            f"--explain {named}: no cell of {len(cells)} with a verdict{_first(cells)}"
        )
    found = [one for one in findings if one.cell.key in keys]
    return tuple(sorted(found, key=lambda one: keys.index(one.cell.key)))


def _first(cells: Iterable[Cell]) -> str:
    return next((f"; the first is {one.id}" for one in cells), "")


def lines(finding: Finding) -> Iterator[tuple[int, str]]:
    """The verdict, both sides' process medians, and each rule with its numbers; how deep each line stands."""
    yield 0, f"{finding.metric or 'cell'}: {finding.verdict}: {finding.reason}"
    for side, medians in (("baseline", finding.then), ("this run", finding.now)):
        if medians:
            yield 1, f"{side}, medians of processes: {_values(finding.metric, medians)}"
    if duel := finding.duel:
        for arm, medians in (("A", duel.base), ("B", duel.judged)):
            yield 1, f"side by side, {arm}: {_values(finding.metric, medians)}"
    for number, step in enumerate(finding.steps, start=1):
        numbers = f" [{step.numbers}]" if step.numbers else ""
        yield 1, f"{number}. {step.rule}: {step.outcome}{numbers}"


def _values(name: str, medians: Iterable[float]) -> str:
    metric = known(name)
    return ", ".join(units.of(one, metric.unit if metric else "") for one in medians)
