"""The largest batch by method: how many samples fit, against softmax and sdpa, and in how much memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ditbench import units
from ditbench.metrics import LARGEST_BATCH
from ditbench.report import words
from ditbench.report.ranking import Ranking, is_bound
from ditbench.report.tables import MISSING, Column, Table, Value
from ditbench.summary import Fit, Row, Summary

# What a user of attention has today: the plain formula, and the fused kernel.
_AGAINST = ("softmax", "sdpa")
_COLUMNS = (
    Column("method"),
    Column("largest batch", "images", numeric=True),
    *(Column(f"against {name}", "times its largest batch", numeric=True) for name in _AGAINST),
    Column("peak memory", "of a trial of that batch", numeric=True),
    Column("memory there is", "for one process", numeric=True),
    Column("trials", numeric=True),
    Column("doubts"),
)


@dataclass(frozen=True)
class _Group:
    """Rows that differ in nothing but the method, the largest first. silent: how many found nothing."""

    title: str
    rows: tuple[Row, ...]
    silent: int

    def of(self, method: str) -> float | None:
        """The largest batch of a method in whatever setting fits most."""
        found = (_largest(row) for row in self.rows if row.cell.family == method)
        return next(found, None)


def tables(summary: Summary, names: words.Names, limit: int) -> tuple[Ranking, ...]:
    """A table for each set of cells that differ in the method alone; `limit` rows at most in each."""
    return tuple(
        Ranking(
            group.title,
            Table(
                _COLUMNS,
                tuple(_row(row, group, names) for row in group.rows[:limit]),
                max(0, len(group.rows) - limit),
            ),
            f"{words.plural(group.silent, 'cell')} of this group without an answer"
            if group.silent
            else "",
        )
        for group in _groups(summary, names)
    )


def leaders(summary: Summary, names: words.Names) -> list[str]:
    """One line for each group: who fits most, and how much more than softmax."""
    return [line for group in _groups(summary, names) if (line := _leader(group, names))]


def _leader(group: _Group, names: words.Names) -> str:
    best = next((row for row in group.rows if not is_bound(row)), None)
    if best is None or best.fit is None:
        return ""
    softmax = group.of(_AGAINST[0])
    beside = (
        f", {words.factor(_largest(best) / softmax)} softmax's {softmax:.0f}" if softmax else ""
    )
    return f"{group.title}: largest batch {_said(best.fit)} by {names.method(best.cell)}{beside}."


def _groups(summary: Summary, names: words.Names) -> list[_Group]:
    together: dict[tuple[object, ...], list[Row]] = {}
    for row in summary.rows:
        cell = row.cell
        if cell.finds_batch:
            same = (cell.model, cell.weights, cell.compile, cell.steps, cell.sampling)
            together.setdefault(same, []).append(row)
    return [_group(rows, names) for rows in together.values()]


def _group(rows: Sequence[Row], names: words.Names) -> _Group:
    fit = sorted((row for row in rows if row.fit), key=_largest, reverse=True)
    # What was known not to run before anything ran is no silence.
    silent = sum(not row.fit and not row.status.known_before for row in rows)
    return _Group(names.context(rows[0].cell, ("batch_size",)), tuple(fit), silent)


def _row(row: Row, group: _Group, names: words.Names) -> tuple[Value, ...]:
    fills: tuple[Callable[[Fit], Value], ...] = (
        _batch,
        *(lambda _fit, name=name: _ratio(row, group.of(name)) for name in _AGAINST),
        lambda fit: _size(fit.peak_bytes, fit.peak.replace("_", " ")),
        lambda fit: _size(fit.memory_limit),
        lambda fit: Value(str(fit.trials), order=fit.trials),
        lambda _fit: Value("; ".join(row.doubts) or "none", order=len(row.doubts)),
    )
    name = names.method(row.cell)
    kind = "no attention at all, so no method" if is_bound(row) else ""
    return Value(name, kind, name.casefold()), *(fill(row.fit) for fill in fills if row.fit)


def _batch(fit: Fit) -> Value:
    beyond = "the search goes no further" if fit.fails is None else f"{fit.fails} does not fit"
    return Value(_said(fit), beyond, fit.largest)


def _said(fit: Fit) -> str:
    return f"at least {fit.largest}" if fit.fails is None else str(fit.largest)


def _ratio(row: Row, to: float | None) -> Value:
    if not to:  # not searched, or a file that somebody else wrote
        return MISSING
    return Value(words.factor(_largest(row) / to), order=_largest(row) / to)


def _size(found: int | None, detail: str = "") -> Value:
    return MISSING if found is None else Value(units.size(found), detail, found)


def _largest(row: Row) -> float:
    return row.estimates[LARGEST_BATCH].value
