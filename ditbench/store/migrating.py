"""Older files in the present schema, in place, with what was there kept beside it.

A reader lifts older lines by itself; this puts checksums on them, and keeps them readable when the schema
after next no longer lifts them. Lines that cannot be read stay as they are, and stay named.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ditbench.errors import StoreError
from ditbench.records import SCHEMA
from ditbench.store.baselines import baseline_rewrite
from ditbench.store.disk import load, write_whole
from ditbench.store.lock import locked
from ditbench.store.reading import HEAD, RECORDS, gone, read_head, well_formed
from ditbench.store.seal import sealed, unsealed


@dataclass(frozen=True)
class Migrated:
    """One file that was rewritten. schema: what it was. lines: how many. kept: the file as it was."""

    path: Path
    schema: int
    lines: int
    kept: Path


def migrate_run(folder: Path) -> tuple[Migrated, ...]:
    """Lift a run's records, then its head; what is lifted already is left alone.

    Raises StoreError where the head is of no schema that is read here, or another process writes the run.
    """
    if reason := gone(folder):
        raise StoreError(reason)
    read_head(folder)
    with locked(folder):
        lifted = (_lines(folder / RECORDS), _head(folder / HEAD))
    return tuple(one for one in lifted if one)


def migrate_baseline(path: Path) -> tuple[Migrated, ...]:
    """Lift a baseline. Raises StoreError where its head is of no schema that is read here."""
    data = load(path)
    head, *lines = data.splitlines()
    well_formed(f"{path}:1", lambda: unsealed(head))
    schemas = [schema for line in (head, *lines) if (schema := _schema(line))]
    if not schemas or min(schemas) >= SCHEMA:
        return ()
    kept = _kept(path, data, min(schemas))
    baseline_rewrite(path)
    return (Migrated(path, min(schemas), len(lines) + 1, kept),)


def _lines(path: Path) -> Migrated | None:
    data = load(path)
    old = data.splitlines(keepends=True)
    schemas = [_schema(line) for line in old]
    behind = [schema for schema in schemas if schema and schema < SCHEMA]
    if not behind:
        return None
    new = (
        _lifted(line) if schema and schema < SCHEMA else line
        for line, schema in zip(old, schemas, strict=True)
    )
    return _replaced(path, data, b"".join(new), min(behind), len(behind))


def _head(path: Path) -> Migrated | None:
    data = load(path)
    schema = _schema(data)
    if schema is None or schema >= SCHEMA:
        return None
    text = sealed(unsealed(data), indent=1) + "\n"
    return _replaced(path, data, text.encode(), schema, 1)


def _lifted(line: bytes) -> bytes:
    end = b"\n" if line.endswith(b"\n") else b""
    return sealed(unsealed(line)).encode() + end


def _replaced(path: Path, old: bytes, new: bytes, schema: int, lines: int) -> Migrated:
    """First the old file under its new name, then the new one in its place: neither is ever missing."""
    kept = _kept(path, old, schema)
    write_whole(path, new, "run it again")
    return Migrated(path, schema, lines, kept)


def _kept(path: Path, old: bytes, schema: int) -> Path:
    kept = path.with_name(f"{path.name}.v{schema}")
    if not kept.exists():
        write_whole(kept, old, "run it again")
    return kept


def _schema(data: bytes) -> int | None:
    """The schema of what can be read, or None."""
    try:
        unsealed(data)
        return int(json.loads(data)["schema"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
