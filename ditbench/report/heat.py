"""Changes at a glance: a table of methods by batch size for each metric that was compared.

Each box has a mark and a signed per cent; the colour behind them repeats what they say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ditbench.compare import Comparison, Finding, Verdict
from ditbench.metrics import known
from ditbench.records import Cell
from ditbench.report import words
from ditbench.report.changes import MARKS, far

_FIRST = "latency"
_MAPS = 24
# Changes, by magnitude, at which a colour grows stronger.
_LEVELS = (0.0, 0.05, 0.15)
_CALM = frozenset({Verdict.UNCHANGED, Verdict.NEW, Verdict.MISSING, Verdict.INCOMPARABLE})


@dataclass(frozen=True)
class Box:
    """One cell. tone: `better` or `worse` with 1 to 3, or empty; verdict: in a word, for who cannot see."""

    mark: str
    text: str
    verdict: str
    tone: str = ""


@dataclass(frozen=True)
class HeatMap:
    """One metric of one group of cells. rows: a method and its boxes, None where there is no such cell."""

    title: str
    metric: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Box | None, ...]], ...]


@dataclass(frozen=True)
class Heat:
    """The first maps, by metric. hidden: how many more there are."""

    maps: tuple[HeatMap, ...]
    hidden: int


def heat(comparison: Comparison, names: words.Names) -> Heat:
    """Of time, and of every other metric in which anything moved."""
    found: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for metric, one in _told(comparison.findings):
        found[metric, names.context(one.cell, ("batch_size",))].append(one)
    ordered = sorted(found.items(), key=lambda pair: pair[0][0] != _FIRST)
    maps = [_map(metric, title, of, names) for (metric, title), of in ordered[:_MAPS]]
    return Heat(tuple(maps), len(ordered) - len(maps))


def _told(findings: Sequence[Finding]) -> Iterable[tuple[str, Finding]]:
    """Findings with the metric whose map they belong on; one of a whole cell is on the map of time."""
    moved = {one.metric for one in findings if one.metric and one.verdict not in _CALM}
    wanted = moved | {_FIRST}
    for one in findings:
        if one.metric in wanted:
            yield one.metric, one
        elif not one.metric:
            yield _FIRST, one


def _map(metric: str, title: str, found: Sequence[Finding], names: words.Names) -> HeatMap:
    columns = sorted({_batch(one.cell) for one in found})
    rows: dict[str, dict[int, Box]] = defaultdict(dict)
    for one in sorted(found, key=lambda one: one.cell.id):
        rows[names.method(one.cell)][_batch(one.cell)] = _box(one, metric)
    return HeatMap(
        title,
        words.named(metric),
        tuple(words.axis("batch_size", str(size) if size else "max") for size in columns),
        tuple((name, _across(boxes, columns)) for name, boxes in rows.items()),
    )


def _across(boxes: Mapping[int, Box], columns: Sequence[int]) -> tuple[Box | None, ...]:
    return tuple(boxes.get(size) for size in columns)


def _batch(cell: Cell) -> int:
    """Zero where the largest is searched for."""
    return 0 if cell.finds_batch else cell.batch_size


def _box(finding: Finding, metric: str) -> Box:
    mark, verdict, change = MARKS[finding.verdict], str(finding.verdict), finding.change
    if change is None:
        return Box(mark, verdict, "")
    return Box(
        mark,
        _percent(change),
        verdict,
        "" if finding.verdict in _CALM else _tone(metric, change),
    )


def _percent(change: float) -> str:
    """With one place: a box is for a look, and not for the third digit."""
    told = f"{100 * change:+.1f} %" if round(100 * change, 1) else "0.0 %"
    return told.replace("-", "\N{MINUS SIGN}")


def _tone(metric: str, change: float) -> str:
    """Which way it went, and how far, halved and doubled being equally far."""
    of = known(metric)
    up = of is not None and of.better == "higher"
    strength = sum(far(change) >= level for level in _LEVELS)
    return f"{'better' if (change > 0) == up else 'worse'}-{strength}"
