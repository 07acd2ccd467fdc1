"""A run as read from its folder. What cannot be read is named by file and line, and kept aside."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ditbench import shape
from ditbench.environment import Environment
from ditbench.errors import StoreError, one_line
from ditbench.records import (
    SCHEMA,
    Cell,
    Record,
    cell_from_json,
    cell_to_json,
    record_from_json,
)
from ditbench.store.admission import Admission
from ditbench.store.disk import load
from ditbench.store.seal import lists, unsealed

HEAD = "run.json"
RECORDS = "records.jsonl"
REJECTED = "records.rejected.jsonl"
# What a line of the wrong shape can raise on its way to becoming a record.
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
# A record's line begins with its cell, and that with its key.
_KEY = re.compile(rb'\{"sum": "[0-9a-f]{8}","cell": \{"key": "([0-9a-f]{16})"')

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """One run as read: its head (run.json) and its records.

    suite: the suite's name. suite_text: the file, whole. gate: thresholds by metric. claims: as in the
    suite, plain. planned: every cell that was to run. selected: the expression that -k narrowed them by.
    code: ditbench's version, git commit, dirty flag. finished: whether the run came to its end. effort:
    timing, quality and metrics that were asked for, plain; empty where a run of schema 1 did not keep
    them. written: how many records it had when it finished, if it did. stopped: why it did not, where it
    stopped by itself. origins: the runs that it was merged from. problems: lines that could not be read, each
    "file:line: cause". admission: of a baseline, the terms on which it stands.
    """

    id: str
    folder: Path
    suite: str
    suite_path: str
    suite_text: str
    command: str
    started: str
    finished: bool
    environment: Environment
    code: Mapping[str, Any]
    planned: tuple[Cell, ...]
    records: tuple[Record, ...]
    gate: Mapping[str, float]
    claims: tuple[Mapping[str, Any], ...] = ()
    effort: Mapping[str, Any] = field(default_factory=dict)
    written: int | None = None
    stopped: str = ""
    origins: tuple[Mapping[str, Any], ...] = ()
    selected: str = ""
    problems: tuple[str, ...] = ()
    admission: Admission | None = None


@dataclass(frozen=True)
class Lines:
    """A file of records: those that could be read, what was wrong with the others, and these verbatim.

    places: the indexes of the rejected among all lines.
    """

    records: tuple[Record, ...]
    problems: tuple[str, ...]
    rejected: tuple[bytes, ...]
    places: tuple[int, ...]


def read(folder: Path) -> Run:
    """The run in this folder. Raises StoreError where its head or its records are gone.

    A line that cannot be read is in `problems` and, verbatim, in records.rejected.jsonl.
    """
    head = read_head(folder)
    path = folder / RECORDS
    if reason := gone(folder):
        raise StoreError(reason)
    lines = parse(path, load(path))
    # Where the folder is read-only the line still stands in records.jsonl, and the problem is told.
    with contextlib.suppress(OSError):
        keep_aside(folder, lines.rejected)
    problems = (*lines.problems, *missing(path, head.written, len(lines.records + lines.rejected)))
    return dataclasses.replace(head, records=lines.records, problems=problems)


def gone(folder: Path) -> str:
    """What a run's folder has lost, with the way out; empty where head and records are there.

    The records' file is made before the head is written, so one without the other has been deleted.
    """
    if not (folder / RECORDS).exists():
        return (
            f"{folder / RECORDS}: is gone, and with it all that the run measured: "
            "put it back, or measure again and delete the folder"
        )
    if not (folder / HEAD).exists():
        return (
            f"{folder / HEAD}: is gone, and with it what the records are of: "
            "put it back, or measure again and delete the folder"
        )
    return ""


def missing(path: Path, written: int | None, found: int) -> tuple[str, ...]:
    """The problem of a finished run with fewer lines than it wrote."""
    if written is None or found >= written:
        return ()
    return (f"{path}:{found + 1}: {written - found} of the {written} records it had are gone",)


def read_head(folder: Path) -> Run:
    """The run without its records. Raises StoreError."""
    path = folder / HEAD
    if not path.exists() and (folder / RECORDS).exists():
        raise StoreError(gone(folder))
    return well_formed(f"{path}:1", lambda: _head(folder, unsealed(load(path))))


def head_to_json(run: Run) -> dict[str, Any]:
    """Everything of a run but its records, problems and place."""
    plain = {
        field.name: getattr(run, field.name)
        for field in dataclasses.fields(run)
        if field.name not in {"folder", "records", "problems", "admission"}
    }
    return plain | {
        "schema": SCHEMA,
        "environment": dict(run.environment.facts),
        "code": dict(run.code),
        "planned": [cell_to_json(cell) for cell in run.planned],
        "gate": dict(run.gate),
        "claims": [dict(claim) for claim in run.claims],
        "effort": dict(run.effort),
        "origins": [dict(origin) for origin in run.origins],
    }


@dataclass(frozen=True)
class Part:
    """What of a file of records is read. keys: of cells, None for all; empty: as for `unsealed`."""

    keys: Collection[str] | None = None
    empty: re.Pattern[bytes] | None = None

    def holds(self, line: bytes) -> bool:
        """Whether the line is read; one that shows no key is, because something is wrong with it."""
        found = _KEY.match(line) if self.keys is not None else None
        return found is None or found[1].decode() in (self.keys or ())


ALL = Part()


def skim(head: Run, keys: Collection[str], empty: Iterable[str]) -> Run:
    """The run with the records of these keys only, lists of these names read as empty; nothing is written.

    Raises StoreError where its records are gone. Lines of other cells are not looked at.
    """
    if reason := gone(head.folder):
        raise StoreError(reason)
    path = head.folder / RECORDS
    data = load(path)
    lines = parse(path, data, part=Part(keys, lists(empty)))
    problems = (*lines.problems, *missing(path, head.written, data.count(b"\n")))
    return dataclasses.replace(head, records=lines.records, problems=problems)


def parse(path: Path, data: bytes, first: int = 1, part: Part = ALL) -> Lines:
    """The records in these bytes. first: the number of the first line, for people."""
    records: dict[tuple[str, str, int], Record] = {}
    problems: dict[int, str] = {}
    read_cell = _remembering()
    lines = data.split(b"\n")
    torn = (
        len(lines) - 1 if lines[-1] else None
    )  # a whole last line leaves nothing behind its newline
    for index, line in enumerate(lines if lines[-1] else lines[:-1]):
        if not part.holds(line):
            continue
        try:
            record = to_record(line, read_cell, part.empty)
        except MALFORMED as error:
            problems[index] = "torn: the line breaks off" if index == torn else cause_of(error)
            continue
        if records.setdefault((record.key, record.stage, record.replicate), record) is not record:
            problems[index] = (
                f"a second {record.stage} record of replicate {record.replicate} of "
                f"{record.cell.id}; the first is kept"
            )
    return Lines(
        records=tuple(records.values()),
        problems=tuple(f"{path}:{first + index}: {cause}" for index, cause in problems.items()),
        rejected=tuple(lines[index] for index in problems),
        places=tuple(problems),
    )


def to_record(
    line: bytes,
    read_cell: Callable[[Mapping[str, Any]], Cell],
    empty: re.Pattern[bytes] | None = None,
) -> Record:
    """The record on one line. Raises one of many errors on anything else."""
    plain = unsealed(line, empty)
    record = record_from_json(plain, read_cell)
    if plain["cell"].get("key") != record.cell.key:
        raise ValueError(
            f"key {plain['cell'].get('key')} is not that of its cell, {record.cell.key}"
        )
    return record


def _remembering() -> Callable[[Mapping[str, Any]], Cell]:
    """`cell_from_json` that makes equal cells once: a run has several records of each."""
    seen: dict[object, tuple[Mapping[str, Any], Cell]] = {}

    def read_cell(plain: Mapping[str, Any]) -> Cell:
        known = seen.get(plain["key"])
        if known is None or known[0] != plain:
            known = seen[plain["key"]] = (plain, cell_from_json(plain))
        return known[1]

    return read_cell


def well_formed(place: str, build: Callable[[], T]) -> T:
    """What `build` makes of a file. Raises StoreError with the place for any wrong shape."""
    try:
        return build()
    except MALFORMED as error:
        raise StoreError(f"{place}: {cause_of(error)}") from error


def keep_aside(folder: Path, rejected: tuple[bytes, ...]) -> None:
    """Add lines verbatim to records.rejected.jsonl, each once however often the run is read."""
    path = folder / REJECTED
    known = set(path.read_bytes().split(b"\n")) if path.exists() else set()
    if fresh := [line for line in dict.fromkeys(rejected) if line not in known]:
        with path.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in fresh))
            file.flush()
            os.fsync(file.fileno())


def cause_of(error: Exception) -> str:
    """What is wrong with a line, as a clause."""
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON ({error.msg} in column {error.colno})"
    if isinstance(error, KeyError):
        return f"lacks {error}"
    if isinstance(error, UnicodeEncodeError):
        return "holds half a surrogate pair, which is no character"
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    if isinstance(error, ValueError):
        return one_line(str(error))
    return f"cannot be understood ({one_line(str(error))})"


def _head(folder: Path, plain: dict[str, Any]) -> Run:
    shape.check(plain, shape.HEAD)
    fields = {name: value for name, value in plain.items() if name != "schema"}
    return Run(
        **(
            fields
            | {
                "folder": folder,
                "environment": Environment(dict(fields["environment"])),
                "planned": tuple(cell_from_json(cell) for cell in fields["planned"]),
                "claims": tuple(fields["claims"]),
                "origins": tuple(fields.get("origins", ())),
                "records": (),
            }
        )
    )
