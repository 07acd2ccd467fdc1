"""The only writer of a run's folder: what has ended is on disk before the next cell starts."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import math
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from ditbench.errors import StoreError, first_of
from ditbench.records import SCHEMA, Record, Stage, digest, record_to_json
from ditbench.store.reading import (
    HEAD,
    RECORDS,
    Run,
    head_to_json,
    keep_aside,
    load,
    parse,
    read,
    read_head,
)
from ditbench.store.seal import sealed

VERDICT = "verdict.json"
_LOCK = ".lock"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_WAYS_OUT = {
    errno.ENOSPC: "; make room, then go on with --resume",
    errno.EDQUOT: "; make room, then go on with --resume",
    errno.EROFS: "; name another folder with --out",
    errno.EACCES: "; name another folder with --out",
}


class RunWriter:
    """An open run. `run` is the run as it stood when it was opened, with the records of an earlier session.

    Made by `create` or `resume`; holds a lock until it is closed, and says on disk only after `finish`
    that the run came to its end.
    """

    def __init__(self, run: Run, lock: IO[str]) -> None:
        self.run = run
        self._lock = lock
        self._count = len(run.records)
        self._path = run.folder / RECORDS
        with _writing(self._path):
            self._file = self._path.open("ab", buffering=0)

    @classmethod
    def create(cls, results: Path, head: Run) -> Self:
        """A new run under results/<suite>/. id, folder and start of `head` are replaced, its records dropped.

        Raises StoreError where nothing can be written.
        """
        now = datetime.now(UTC)
        name = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        run = dataclasses.replace(
            head,
            id=name,
            folder=results / slug(head.suite) / name,
            started=now.isoformat(timespec="seconds"),
            finished=False,
            written=None,
            records=(),
            problems=(),
        )
        with _writing(run.folder):
            for folder in ("logs", "images"):
                (run.folder / folder).mkdir(parents=True)
        lock = _locked(run.folder)
        _write_head(run)
        return cls(run, lock)

    @classmethod
    def resume(cls, folder: Path) -> Self:
        """Go on with a run: a torn last line is moved to records.rejected.jsonl. Raises StoreError."""
        read_head(folder)  # so that what is no run is refused before anything is written into it
        lock = _locked(folder)
        with _writing(folder / RECORDS):
            problems = _cut_torn(folder)
        run = read(folder)
        return cls(dataclasses.replace(run, problems=problems + run.problems), lock)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run.folder

    @property
    def logs(self) -> Path:
        """Where workers' output goes."""
        return self.run.folder / "logs"

    @property
    def images(self) -> Path:
        """Where generated pictures go."""
        return self.run.folder / "images"

    def append(self, record: Record) -> None:
        """Put one record on disk for good. Raises StoreError; what was there before stays whole."""
        line = sealed(to_plain(record)).encode() + b"\n"
        with _writing(self._path):
            end = os.fstat(self._file.fileno()).st_size
            try:
                _write_all(self._file.fileno(), line)
                os.fsync(self._file.fileno())
            except OSError:
                # A disk that fills up midway must not leave half a line for the next record to continue.
                os.ftruncate(self._file.fileno(), end)
                raise
        self._count += 1

    def finish(self) -> None:
        """Say on disk that the run came to its end, and with how many records."""
        _write_head(dataclasses.replace(self.run, finished=True, written=self._count))

    def close(self) -> None:
        """Let another writer in."""
        self._file.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def done(run: Run) -> set[tuple[str, Stage, int]]:
    """Key, stage and replicate of everything that ended, however: a crash is a result too.

    Whoever wants to try a failed cell again starts a new run, so that no failure is overwritten.
    """
    return {(record.key, record.stage, record.replicate) for record in run.records}


def slug(name: str) -> str:
    """A folder's name for any suite's name; names that had to be changed stay apart by a digest."""
    safe = _UNSAFE.sub("-", name).strip("-.")[:80]
    return safe if safe and safe == name else f"{safe or 'suite'}-{digest(name)[:6]}"


def to_plain(record: Record) -> dict[str, Any]:
    """A record as JSON can say it, its evidence too."""
    return record_to_json(record) | {"facts": _plain(record.facts)}


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises StoreError."""
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def write_verdict(
    folder: Path, findings: Sequence[Mapping[str, Any]], exit_codes: Iterable[int]
) -> None:
    """Write verdict.json: the findings as plain objects and every exit code that holds. Raises StoreError."""
    codes = set(exit_codes)
    verdict = {
        "schema": SCHEMA,
        "exit_code": first_of(codes),
        "exit_codes": sorted(codes),
        "findings": list(findings),
    }
    write_whole(folder / VERDICT, json.dumps(verdict, indent=1, allow_nan=False) + "\n")


def _write_head(run: Run) -> None:
    write_whole(run.folder / HEAD, sealed(head_to_json(run), indent=1) + "\n")


def _write_all(file: int, data: bytes) -> None:
    """All of it: one call may write less where a disk is nearly full."""
    while data:
        data = data[os.write(file, data) :]


def _cut_torn(folder: Path) -> tuple[str, ...]:
    """Move a last line that breaks off out of the way, or end it where only its newline is missing."""
    path = folder / RECORDS
    data = load(path) if path.exists() else b""
    start = data.rfind(b"\n") + 1
    if start == len(data):
        return ()
    torn = parse(path, data[start:], first=data.count(b"\n") + 1)
    with path.open("r+b") as file:
        if torn.rejected:
            keep_aside(folder, torn.rejected)
            file.truncate(start)
        else:
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
        file.flush()
        os.fsync(file.fileno())
    return torn.problems


def _locked(folder: Path) -> IO[str]:
    """The folder's lock, which goes with the process. Raises StoreError where another holds it."""
    path = folder / _LOCK
    with _writing(path):
        file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip()
        file.close()
        raise StoreError(
            f"{folder}: process {holder} is writing this run; wait for it, or start another run"
        ) from error
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _plain(value: Any) -> Any:  # noqa: ANN401 (any JSON)
    """Evidence as JSON can say it: non-finite numbers become text, tuples lists."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Tell a disk's refusal as one line with the way out."""
    try:
        yield
    except OSError as error:
        way_out = _WAYS_OUT.get(error.errno or 0, "")
        raise StoreError(f"{path}: cannot be written: {error.strerror}{way_out}") from error
