"""Two arms measured side by side in one session: a file of a head and one record a process and arm.

The head is written before the first process, each record as its process ends, and a last line when all have.
So a kill costs the process in flight, and a file without its last line says that it was cut off.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Self

from ditbench import shape
from ditbench.environment import Environment
from ditbench.errors import StoreError
from ditbench.records import (
    SCHEMA,
    Cell,
    Record,
    Stage,
    Values,
    cell_from_json,
    cell_to_json,
)
from ditbench.store.disk import load, write_all, writing
from ditbench.store.reading import cause_of, to_record, well_formed
from ditbench.store.seal import sealed, unsealed
from ditbench.store.writing import to_plain

# The names of A and of B, everywhere that a session is written or read.
ARMS = ("a", "b")
# The facts by which a record says where in its session it stands.
ARM, PROCESS, WITNESS = "arm", "process", "witness"
# What a process that ran both arms says of each, by its name.
SHARES = "arms"
_AGAIN = "start the session again"
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Arm:
    """One side, as a person wrote it ("git:main", "attention=sdpa"), and what its processes ran."""

    said: str
    code: Mapping[str, Any]
    environment: Environment


@dataclass(frozen=True)
class Session:
    """A session as read.

    arms: A, the base, and B, what is judged. inside: whether both arms of a process ran in that one process,
    call by call in turns; else each process is of one arm, in the order A B B A. pairs: what is compared,
    A's cell and B's. records: stage `time`, and where not `inside` the canary of each process; facts `arm`
    ("a" or "b"), `process` (its number in the order of time, from 0; shared by both arms where `inside`) and,
    of the reference method timed in the same process in turns with the cell, `witness` (that cell's key).
    finished: whether it came to its end. problems: lines that could not be read.
    """

    path: Path
    suite: str
    suite_path: str
    started: str
    arms: tuple[Arm, Arm]
    inside: bool
    pairs: tuple[tuple[Cell, Cell], ...]
    gate: Mapping[str, float]
    effort: Mapping[str, Any]
    records: tuple[Record, ...] = ()
    finished: bool = False
    problems: tuple[str, ...] = ()


@dataclass
class SessionWriter:
    """An open session. `append` returns when the record is on disk."""

    session: Session
    _file: IO[bytes] = field(repr=False)

    @classmethod
    def create(cls, session: Session) -> Self:
        """Begin the file at `session.path`. Raises StoreError where it is there or cannot be written."""
        path = session.path
        if path.exists():
            raise StoreError(f"{path}: is there already: name another place, or remove it")
        with writing(path, _AGAIN):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab", buffering=0)
        writer = cls(session, file)
        writer._write(_head(session))
        return writer

    def append(self, record: Record) -> None:
        """One process of one arm. Raises StoreError."""
        self._write({"schema": SCHEMA, **to_plain(record)})

    def finish(self) -> None:
        """Say that all came to its end."""
        self._write({"schema": SCHEMA, "end": True})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._file.close()

    def _write(self, plain: Mapping[str, Any]) -> None:
        with writing(self.session.path, _AGAIN):
            write_all(self._file.fileno(), (sealed(plain) + "\n").encode())
            os.fsync(self._file.fileno())


def share(record: Record, arm: str, cell: Cell, place: Mapping[str, Any]) -> Record:
    """What one arm of a process that ran both came to; of any other process, all of it.

    place: facts that say where in its session it stands.
    """
    told = record.facts.get(SHARES, {}).get(arm, {})
    common = {name: value for name, value in record.facts.items() if name != SHARES}
    return replace(
        record,
        stage=Stage.TIME,
        cell=cell,
        metrics={**record.metrics, **_values(told.get("metrics", {}))},
        warmups={**record.warmups, **_values(told.get("warmups", {}))},
        facts={**common, **told.get("facts", {}), **place},
    )


def _values(plain: Mapping[str, Iterable[float]]) -> dict[str, Values]:
    return {name: tuple(map(float, values)) for name, values in plain.items()}


def session_read(path: Path) -> Session:
    """The session in this file. Raises StoreError where it is gone, or its head cannot be read."""
    if not path.is_file():
        raise StoreError(f"{path}: no such session; `ditbench ab SUITE` makes one")
    first, *rest = load(path).split(b"\n")
    session = well_formed(f"{path}:1", lambda: _session(path, unsealed(first)))
    records: list[Record] = []
    problems: list[str] = []
    finished = False
    for number, line in enumerate(rest, start=2):
        if not line:
            continue
        try:
            if unsealed(line).get("end"):
                finished = True
                continue
            records.append(to_record(line, cell_from_json))
        except _MALFORMED as error:
            problems.append(f"{path}:{number}: {cause_of(error)}")
    return Session(
        **{
            **_fields(session),
            "records": tuple(records),
            "finished": finished,
            "problems": tuple(problems),
        }
    )


def _fields(session: Session) -> dict[str, Any]:
    return {name: getattr(session, name) for name in session.__dataclass_fields__}


def _head(session: Session) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "session": True,
        "suite": session.suite,
        "suite_path": session.suite_path,
        "started": session.started,
        "arms": [
            {"said": arm.said, "code": dict(arm.code), "environment": dict(arm.environment.facts)}
            for arm in session.arms
        ],
        "inside": session.inside,
        "pairs": [[cell_to_json(cell) for cell in pair] for pair in session.pairs],
        "gate": dict(session.gate),
        "effort": dict(session.effort),
    }


def _session(path: Path, plain: Mapping[str, Any]) -> Session:
    shape.check(plain, shape.SESSION)
    a, b = map(_arm, plain["arms"])
    return Session(
        path=path,
        suite=plain["suite"],
        suite_path=plain["suite_path"],
        started=plain["started"],
        arms=(a, b),
        inside=plain["inside"],
        pairs=tuple(_pair(pair) for pair in plain["pairs"]),
        gate=dict(plain["gate"]),
        effort=dict(plain["effort"]),
    )


def _arm(plain: Mapping[str, Any]) -> Arm:
    shape.check(plain, shape.ARM, "arms")
    return Arm(plain["said"], dict(plain["code"]), Environment(dict(plain["environment"])))


def _pair(cells: Iterable[Mapping[str, Any]]) -> tuple[Cell, Cell]:
    a, b = map(cell_from_json, cells)
    return a, b
