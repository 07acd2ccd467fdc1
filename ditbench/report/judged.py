"""Methods whose pictures may stand beside each other: equal in all that pictures depend on but the method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ditbench import scores
from ditbench.records import Record, Stage, Status
from ditbench.report import words
from ditbench.store import Run
from ditbench.summary import Row, Summary

REFERENCE = "softmax"
# What pictures do not depend on, or what tells methods apart.
_ASIDE = frozenset({"attention", "accelerator", "blocks", "batch_size", "compile"})
# A change within so many standard errors is none that was seen.
_ERRORS = 2
_FIRST = ("frechet", "sfid", "kid")


@dataclass(frozen=True)
class Change:
    """How a figure of a method's pictures differs from softmax's own, over the same seeds, and its error."""

    change: float
    error: float

    @property
    def unsure(self) -> bool:
        """Whether it may as well be none."""
        return abs(self.change) <= _ERRORS * self.error


@dataclass(frozen=True)
class Method:
    """One method and what the judge told of its pictures. drawn: its name in a chart.

    refused: why the judge told nothing, if so.
    """

    row: Row
    label: str
    drawn: str
    facts: Mapping[str, Any]
    metrics: Mapping[str, tuple[float, ...]]
    refused: str = ""

    @property
    def is_reference(self) -> bool:
        """Whether all others are held against it."""
        return self.row.cell.family == REFERENCE

    def changed(self, name: str) -> Change | None:
        """The paired difference to softmax's own figure, where it was taken."""
        found = self.facts.get("paired", {}).get(name)
        return Change(float(found["change"]), float(found["error"])) if found else None

    def of_picture(self, name: str, number: int) -> float | None:
        """A figure of one picture, by its number."""
        values = self.metrics.get(name, ())
        return values[number] if number < len(values) else None


@dataclass(frozen=True)
class Peers:
    """Methods of one model and protocol, the reference first, then in the order of the plan."""

    title: str
    methods: tuple[Method, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every figure of pictures that any of them has."""
        return tuple(dict.fromkeys(name for one in self.methods for name in one.metrics))


def peers(run: Run, summary: Summary, names: words.Names) -> tuple[Peers, ...]:
    """Each picture once: cells that differ in batch size or compilation share them."""
    found, refused = _records(run.records)
    together: dict[str, dict[str, Method]] = {}
    for row in summary.rows:
        cell = row.cell
        if row.status.known_before or cell.op or cell.finds_batch:
            continue
        title = names.said(cell, (names.varying | {"model", "steps"}) - _ASIDE)
        record = found.get(cell.quality_key)
        why = "" if record else refused.get(cell.quality_key, _status(row))
        method = Method(
            row,
            names.method(cell),
            names.drawn(cell),
            record.facts if record else {},
            record.metrics if record else {},
            why,
        )
        group = together.setdefault(title, {})
        if cell.quality_key not in group or group[cell.quality_key].row.status is not Status.OK:
            group[cell.quality_key] = method
    return tuple(
        Peers(title, tuple(sorted(group.values(), key=lambda one: not one.is_reference)))
        for title, group in together.items()
    )


def _records(records: Iterable[Record]) -> tuple[dict[str, Record], dict[str, str]]:
    """What the judge told, and why it did not, by the pictures' key."""
    found: dict[str, Record] = {}
    refused: dict[str, str] = {}
    for one in records:
        if one.stage is not Stage.QUALITY:
            continue
        if one.status is Status.OK:
            found[one.cell.quality_key] = one
        else:
            refused[one.cell.quality_key] = one.reason
    return found, refused


def _status(row: Row) -> str:
    return "no pictures were judged" if row.status is Status.OK else str(row.status)


def chosen(rows: Iterable[Row]) -> str:
    """The figure that tells most of a method's pictures: of those that most of these rows have, FID first.

    A distance to real pictures comes before one to softmax's, and any before drift; empty where nothing was.
    """
    found = Counter(name for row in rows for name in row.estimates)
    kept = {n: count for n, count in found.items() if n == "latent_drift" or _rank(n)}
    most = max(kept.values(), default=0)
    return first(name for name, count in kept.items() if count == most)


def first(names: Iterable[str]) -> str:
    """The one of these figures that tells most; empty of none."""
    return min(names, key=telling, default="")


def telling(name: str) -> tuple[Any, ...]:
    """What figures are put in order by: those that tell more of pictures first."""
    return _rank(name) is None, _rank(name) or (), name


def _rank(name: str) -> tuple[Any, ...] | None:
    """Where a distance stands in the order of choice; None of another figure."""
    score = scores.parse(name)
    if score is None or score.word not in _FIRST:
        return None
    inception = score.extractor == scores.INCEPTION
    return (
        score.against != "dataset",
        _FIRST.index(score.word),
        not inception,
        score.extractor,
        -score.count,
    )
