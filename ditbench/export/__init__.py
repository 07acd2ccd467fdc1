"""A run in the formats that other programs read: one file a format, one row of a table here.

Everything is made in memory, so that a file is written whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ditbench.errors import UsageError
from ditbench.export import as_csv, as_gha, as_json, as_junit, as_parquet
from ditbench.export.result import Exported, Result
from ditbench.registry import did_you_mean

__all__ = ["FORMATS", "Exported", "Format", "Result", "format_of"]


@dataclass(frozen=True)
class Format:
    """How a result is written. text: whether a terminal can show it."""

    write: Callable[[Result], Exported]
    summary: str
    text: bool = True


FORMATS = {
    "gha": Format(as_gha.lower, "github-action-benchmark, customSmallerIsBetter"),
    "gha-bigger": Format(as_gha.higher, "the same of figures where more is better"),
    "csv": Format(as_csv.write, "a row a cell, metric, process and sample"),
    "parquet": Format(as_parquet.write, "the same rows", text=False),
    "junit": Format(as_junit.write, "JUnit XML: a test case a cell"),
    "json": Format(as_json.write, "run, figures, verdicts and claims as one object"),
}


def format_of(name: str) -> Format:
    """The format of that name. Raises UsageError with those that there are."""
    if found := FORMATS.get(name):
        return found
    known = ", ".join(FORMATS)
    raise UsageError(f"--format {name}: is none of {known}{did_you_mean(name, FORMATS)}")
