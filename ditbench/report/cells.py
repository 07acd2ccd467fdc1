"""Single cells: published claims, what did not run and why, and how to run one again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ditbench import units
from ditbench.records import Status
from ditbench.report import words
from ditbench.report.tables import MISSING, Column, Table, Value
from ditbench.store import Run
from ditbench.summary import Answered, ClaimResult, Row, Summary

_CLAIMS = (
    Column("claim"),
    Column("cell"),
    Column("published", numeric=True),
    Column("measured", numeric=True),
    Column("apart", "measured / published \N{MINUS SIGN} 1", numeric=True),
    Column("tolerance", numeric=True),
    Column("result"),
)
_ABSENT = (Column("cell"), Column("how it ended"), Column("reason"), Column("log"))


@dataclass(frozen=True)
class Claims:
    """Published numbers beside ours. said: how many there are of each verdict."""

    said: str
    table: Table


def claims(summary: Summary) -> Claims:
    """Each published number beside ours; those contradicted first. A cell may be in no row of the run."""
    order = list(Answered)
    cells = [claim.cell for claim in summary.claims if claim.cell]
    names = words.Names.of([*(row.cell for row in summary.rows), *cells])
    ordered = sorted(summary.claims, key=lambda claim: order.index(claim.verdict))
    return Claims(
        said=counted(summary),
        table=Table(_CLAIMS, tuple(_claim(claim, names) for claim in ordered)),
    )


def counted(summary: Summary) -> str:
    """`9 claims: 7 reproduced, 2 not measured`."""
    found = Counter(claim.verdict for claim in summary.claims)
    told = ", ".join(f"{found[verdict]} {verdict}" for verdict in Answered if found[verdict])
    return f"{words.plural(len(summary.claims), 'claim')}: {told}" if told else ""


def _claim(claim: ClaimResult, names: words.Names) -> tuple[Value, ...]:
    measured, apart = MISSING, Value("\N{EN DASH}")
    if claim.measured is not None:
        measured = Value(words.claimed(claim, claim.measured), order=claim.measured)
    if claim.measured is not None and claim.published:
        share = claim.measured / claim.published - 1
        apart = Value(units.percent(share, signed=True), order=share)
    return (
        Value(claim.title, claim.source),
        Value(names.cell(claim.cell)) if claim.cell else Value(claim.about or "none"),
        Value(words.published(claim), order=claim.published),
        measured,
        apart,
        _allowed(claim),
        Value(str(claim.verdict), claim.why or claim.how),
    )


def _allowed(claim: ClaimResult) -> Value:
    if claim.at_least:
        return Value("a bound", "any figure from the published one upwards reproduces it")
    return Value(f"\N{PLUS-MINUS SIGN}{units.percent(claim.tolerance)}", order=claim.tolerance)


@dataclass(frozen=True)
class Absent:
    """Cells without a result: what failed, and what was known before not to run."""

    failed: Table
    refused: Table


def absent(run: Run, summary: Summary, names: words.Names, limit: int) -> Absent:
    """Every cell without a result and its reason, at most `limit` of each kind; the rest is counted."""
    logs = _logs(run)
    out = [row for row in summary.rows if row.status is not Status.OK]
    return Absent(
        failed=_absent((row for row in out if not row.status.known_before), names, logs, limit),
        refused=_absent((row for row in out if row.status.known_before), names, logs, limit),
    )


def _absent(
    rows: Iterable[Row], names: words.Names, logs: dict[str, list[str]], limit: int
) -> Table:
    """Equal kinds and reasons stand together."""
    ordered = sorted(rows, key=lambda row: (row.status, row.reason))
    return Table(
        _ABSENT,
        tuple(
            (
                Value(names.cell(row.cell)),
                Value(row.status.value),
                Value(_without_log(row.reason, named)),
                Value(", ".join(named) or "\N{EN DASH}"),
            )
            for row in ordered[:limit]
            for named in [_logs_of(row, logs)]
        ),
        max(0, len(ordered) - limit),
    )


def _without_log(reason: str, named: list[str]) -> str:
    """The reason; a log that stands in the next column is not told twice."""
    for log in named:
        reason = reason.replace(f"; log: {log}", "")
    return reason


def _logs(run: Run) -> dict[str, list[str]]:
    """Log files by the key that begins their name."""
    found: dict[str, list[str]] = {}
    for path in sorted((run.folder / "logs").glob("*.log")):
        found.setdefault(path.name.partition("-")[0], []).append(f"logs/{path.name}")
    return found


def _logs_of(row: Row, logs: dict[str, list[str]]) -> list[str]:
    keys = dict.fromkeys((row.cell.key, row.cell.quality_key))
    return [log for key in keys for log in logs.get(key, ())]


def _commands_of(origins: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The command that first planned each cell, by its key, from what a merged head says of its runs."""
    found: dict[str, str] = {}
    for origin in origins:
        inner = _commands_of(origin.get("origins", ()))
        for key in origin.get("cells", ()):
            found.setdefault(key, inner.get(key, origin["command"]))
    return found


def commands(run: Run, summary: Summary, names: words.Names, limit: int) -> Table:
    """One command a cell, in the order of the plan; in a merged run as the run that the cell is from."""
    given = _commands_of(run.origins)
    rows = tuple(
        (
            Value(names.cell(row.cell)),
            Value(words.command(given.get(row.cell.key, run.command), run.suite_path, row.cell)),
        )
        for row in summary.rows[:limit]
    )
    return Table((Column("cell"), Column("command")), rows, len(summary.rows) - len(rows))
