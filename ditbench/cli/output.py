"""Results on stdout: tables for people, JSON lists for programs. The log goes to stderr, elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ditbench import errors, units

if TYPE_CHECKING:
    from ditbench.compare import Comparison, Finding, Lint
    from ditbench.plan import Entry, Estimate, Plan
    from ditbench.store import Run
    from ditbench.summary import Row, Summary

_MEANING = {
    errors.OK: "fine",
    errors.INTERNAL: "internal error",
    errors.USAGE: "usage",
    errors.CELLS_FAILED: "some cells failed",
    errors.PERFORMANCE: "performance regression",
    errors.QUALITY: "quality regression",
    errors.ENVIRONMENT: "environment unfit",
    errors.NOTHING_COMPARABLE: "nothing comparable",
}


# Of attention cores by themselves: no model around them, and no pictures.
_FIGURES_OF_CORES = ("latency", "speed-up", "matrix rate", "bandwidth", "core MACs")
_FIGURES = ("latency", "speed-up", "bound", "MAC ceilings", "core MACs", "drift", "Frechet, real")


def as_json(objects: Sequence[dict[str, Any]]) -> int:
    """A list of objects on stdout; what is not finite is text by now, because JSON has no word for it."""
    print(json.dumps(list(objects), indent=1, default=str, allow_nan=False))
    return errors.OK


def warn(text: str) -> None:
    """A line for people beside the results, on stderr."""
    print(f"ditbench: {text}", file=sys.stderr)


def table(title: str, columns: Iterable[str], rows: Iterable[Sequence[str]]) -> None:
    """One table, folded to a terminal's width; elsewhere every row is one line, however long."""
    screen, columns, title = Console(highlight=False), list(columns), errors.one_line(title)
    lines = [list(map(errors.one_line, row)) for row in rows]
    if not screen.is_terminal:
        _print_aligned(title, [columns, *lines])
        return
    shown = Table(
        title=Text(title), title_justify="left", box=None, header_style="bold", pad_edge=False
    )
    for column in columns:
        shown.add_column(column, overflow="fold")
    for line in lines:
        shown.add_row(*map(Text, line))
    screen.print(shown)


def cards(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table with too much in it for a terminal's width: there each row is a card of its own."""
    if not Console().is_terminal:
        table(title, columns, rows)
        return
    print(title)
    for row in rows:
        print()
        card([(column, text) for column, text in zip(columns, row, strict=True) if text])


def card(lines: Sequence[tuple[str, str]]) -> None:
    """Words and what each stands for, the first of them in bold; folded to a terminal's width."""
    screen = Console(highlight=False)
    lines = [(word, errors.one_line(text)) for word, text in lines]
    if not screen.is_terminal:
        _print_aligned("", lines)
        return
    shown = Table.grid(padding=(0, 2))
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for number, (word, text) in enumerate(lines):
        shown.add_row(word, Text(text, style="" if number else "bold"))
    screen.print(shown)


def prose(text: str) -> None:
    """Paragraphs, folded to a terminal's width; an indented one is a formula and keeps its lines."""
    screen = Console(highlight=False)
    for paragraph in text.split("\n\n") if text else ():
        lines = [paragraph] if paragraph.startswith(" ") else [" ".join(paragraph.split())]
        print()
        screen.print(Text("\n".join(lines)), soft_wrap=not screen.is_terminal)


def _print_aligned(title: str, lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if title:
        print(title)
    for line in lines:
        told = (text.ljust(wide) for text, wide in zip(line, widths, strict=True))
        print("  ".join(told).rstrip())


def _counts(entry: Entry) -> tuple[str, str]:
    """Multiply-adds of a cell and its core's share; nothing where a cell could not be counted."""
    counted = entry.inspection
    if not counted.macs:
        return ("", "") if entry.status else (units.count(0, "MAC"), "")
    per = " an image" if entry.cell.finds_batch else ""
    return units.count(counted.macs, "MAC") + per, units.percent(counted.core_macs / counted.macs)


def show_plan(plan: Plan, estimate: Estimate) -> None:
    """The cells, the refused ones with every reason, and what the run would take."""
    varying = _varying([entry.cell.axes for entry in plan.entries])
    will = "to count from shapes alone, none to run" if plan.counts_only else "to run"
    table(
        f"{plan.suite.name}: {len(plan.runnable)} cells {will}, {len(plan.refused)} not",
        [*varying, "MACs a step", "core", ""],
        (
            [
                *(entry.cell.axes.get(axis, "") for axis in varying),
                *_counts(entry),
                f"{entry.status}: {entry.reason}"
                if entry.status
                else "; ".join(entry.inspection.notes),
            ]
            for entry in plan.entries
        ),
    )
    fixed = {k: v for k, v in plan.entries[0].cell.axes.items() if k not in varying}
    print("everywhere: " + " ".join(f"{axis}={value}" for axis, value in fixed.items()))
    _show_claimed(plan)
    if estimate.searches:
        print(
            f"largest batch of {estimate.searches} of them: "
            f"about {estimate.trials // estimate.searches} trials each, one fresh process a trial"
        )
    rest = (
        "counted, not measured"
        if plan.counts_only
        else "all of it measured earlier"
        if estimate.known == 1
        else (f"{units.percent(estimate.known)} of the cells measured earlier, the rest a guess")
    )
    print(
        f"about {units.seconds(estimate.seconds)} ({rest}) and {units.size(estimate.disk)} of disk"
    )


def _show_claimed(plan: Plan) -> None:
    """The cells that claims about counts name: counted from shapes alone, whatever the matrix holds."""
    if not plan.claimed:
        return
    varying = _varying([cell.axes for cell in plan.claimed])
    table(
        f"{len(plan.claimed)} cells that claims name, counted from shapes alone and not run for it",
        varying,
        ([cell.axes.get(axis, "") for axis in varying] for cell in plan.claimed),
    )
    claims = plan.suite.claims
    needy = sum(bool(claim.needs) for claim in claims)
    counted = sum(claim.cell is not None for claim in claims)
    print(
        f"claims: {counted} about counts, {len(claims) - counted - needy} about what runs, "
        f"{needy} that need what is not here"
    )


def show_summary(run: Run, summary: Summary, comparison: Comparison) -> None:
    """One line a cell, what changed, what failed, and the exit code."""
    show_figures(run, summary)
    _show_comparison(comparison)
    code = errors.first_of(set(comparison.exit_codes))
    meaning = comparison.unconfirmed if code == errors.OK else ""
    print(f"exit code of the run: {code}, {meaning or _MEANING[code]}")


def show_figures(run: Run, summary: Summary) -> None:
    """One line a cell, and what to mind: nothing of a comparison or an exit code."""
    varying = _varying([row.cell.axes for row in summary.rows])
    searched = any(row.cell.finds_batch for row in summary.rows)
    figures = _FIGURES_OF_CORES if any(row.cell.op for row in summary.rows) else _FIGURES
    table(
        f"{run.suite}: run {run.id}",
        [*varying, *(["largest batch"] if searched else []), *figures, ""],
        (
            [
                *(row.cell.axes.get(axis, "") for axis in varying),
                *([_largest(row)] if searched else []),
                *_figures(row),
            ]
            for row in summary.rows
        ),
    )
    for note in (*summary.notes, *run.problems):
        print(f"note: {errors.one_line(note)}")


def show_claims(title: str, summary: Summary) -> None:
    """One line a claim, in the order of the suite."""
    from ditbench.report.cells import counted
    from ditbench.report.words import claimed, published

    table(
        f"claims of {title}",
        ["claim", "cell", "published", "measured", "verdict", "source"],
        (
            [
                claim.title,
                claim.cell.id if claim.cell else claim.about,
                published(claim),
                "" if claim.measured is None else claimed(claim, claim.measured),
                claim.said,
                claim.source,
            ]
            for claim in summary.claims
        ),
    )
    print(counted(summary) or "the suite names no published numbers")


def show_entries(title: str, entries: list[dict[str, Any]], *, json: bool) -> int:
    """Runs or baselines, newest first."""
    if json:
        return as_json(entries)
    columns = ["id", "suite", "started", "finished", "cells", "records", "problem"]
    table(title, columns, ([str(entry[column]) for column in columns] for entry in entries))
    return errors.OK


def show_findings(comparison: Comparison) -> None:
    """Every verdict that is not `unchanged`, and how many are."""
    told = [finding for finding in comparison.findings if finding.verdict != "unchanged"]
    table(
        f"against {comparison.baseline or 'nothing'}",
        ["verdict", "metric", "change", "cell", "why"],
        (
            [
                str(finding.verdict),
                finding.metric,
                units.percent(finding.change, signed=True) if finding.change is not None else "",
                finding.cell.id,
                finding.reason + _beside(finding),
            ]
            for finding in told
        ),
    )
    print(f"unchanged: {len(comparison.findings) - len(told)}")
    if comparison.shift:
        print(f"shift: {comparison.shift}")
    _show_lint(comparison)


def _beside(finding: Finding) -> str:
    """Both values of what was refused; a reason without a step quotes its own."""
    from ditbench.report.words import figure

    both = finding.baseline, finding.candidate
    if finding.verdict != "incomparable" or not finding.steps or None in both:
        return ""
    then, now = (figure(finding.metric, one.value) for one in both if one)
    return f" ({finding.metric} {then} then, {now} now)"


def _show_lint(comparison: Comparison) -> None:
    """Each kind of gate that guards too little once, with the first of its cells."""
    alike: dict[tuple[str, str], list[Lint]] = {}
    for one in comparison.lint:
        alike.setdefault((one.kind, one.said), []).append(one)
    for (kind, said), found in alike.items():
        where = f": {found[0].cell.id}" if found[0].cell else ""
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        print(f"lint: {kind}: {errors.one_line(f'{said}{where}{more}')}")


def show_explained(findings: Sequence[Finding]) -> None:
    """Every rule of these findings, cell by cell."""
    from ditbench.compare import explaining

    cell = None
    for one in findings:
        if one.cell != cell:
            cell = one.cell
            print(f"{cell.key}  {errors.one_line(cell.id)}")
        for depth, line in explaining.lines(one):
            print("  " * (1 + depth) + errors.one_line(line))


def _show_comparison(comparison: Comparison) -> None:
    if not comparison.baseline:
        print("compared with nothing")
        return
    counts: dict[str, int] = {}
    for finding in comparison.findings:
        counts[finding.verdict] = counts.get(finding.verdict, 0) + 1
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    print(f"compared with {comparison.baseline}: {told or 'no cell in common'}")
    if comparison.shift:
        print(f"shift: {comparison.shift}")
    if comparison.unselected:
        print(f"not selected here: {comparison.unselected} cells of it")
    if comparison.incomparable:
        print("incomparable: " + "; ".join(comparison.differences))
    _show_lint(comparison)


def _largest(row: Row) -> str:
    if row.fit is None:
        return ""
    return f"{'at least ' if row.fit.fails is None else ''}{row.fit.largest}"


def _bound(row: Row) -> str:
    """Beside a speed-up; where nothing bounds it, a note below the table says why."""
    if row.bound is None:
        return "none" if row.boundless else ""
    return f"{units.digits(row.bound.value)}x"


def _ceilings(row: Row) -> str:
    """Of the core, of the attention module."""
    found = (row.ceiling, row.module_ceiling)
    return ", ".join(f"{units.digits(value)}x" for value in found if value is not None)


def _figures(row: Row) -> list[str]:
    frechet = next((e for name, e in row.estimates.items() if name.endswith("@dataset")), None)
    macs = row.estimates.get("core_macs")
    latency, core = row.estimates.get("latency"), units.count(macs.value) if macs else ""
    speed = [
        units.seconds(latency.value) if latency else "",
        f"{units.digits(row.speedup.value)}x" if row.speedup else "",
    ]
    told = "; ".join(row.doubts) if row.status == "ok" else f"{row.status}: {row.reason}"
    if row.cell.op:
        shares = row.shares
        both = (
            [units.percent(one) for one in (shares.matrix, shares.bandwidth)]
            if shares
            else ["", ""]
        )
        return [*speed, *both, core, told]
    return [
        *speed,
        _bound(row),
        _ceilings(row),
        core,
        units.digits(row.estimates["latent_drift"].value)
        if "latent_drift" in row.estimates
        else "",
        units.digits(frechet.value) if frechet else "",
        told,
    ]


def _varying(axes: Sequence[dict[str, str]]) -> list[str]:
    """The axes on which cells differ, be it that some have none; the method always."""
    every = dict.fromkeys(axis for cell in axes for axis in cell)
    return [
        axis for axis in every if axis == "attention" or len({cell.get(axis) for cell in axes}) > 1
    ]
