"""The only writer of a run's folder: what has ended is on disk before the next cell starts."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self

from ditbench.errors import StoreError
from ditbench.records import Record, Stage, digest, record_to_json
from ditbench.store.disk import RESUME, write_all, write_whole, writing
from ditbench.store.lock import locked
from ditbench.store.mending import mend, without_lost
from ditbench.store.order import next_id
from ditbench.store.reading import (
    HEAD,
    RECORDS,
    Run,
    gone,
    head_to_json,
    read,
    read_head,
)
from ditbench.store.sameness import Weights
from ditbench.store.seal import sealed

SAVED = "records.saved.jsonl"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class RunWriter:
    """An open run. `run` is the run as it stood when it was opened, with the records of an earlier session.

    Made by `create` or `resume`; holds a lock until it is closed, and says on disk only after `finish`
    that the run came to its end.
    """

    def __init__(self, run: Run, lock: IO[str]) -> None:
        self.run = run
        self._lock = lock
        self._count = len(run.records)
        self._weights = Weights()
        for record in run.records:
            self._weights.other(record)
        self._path = run.folder / RECORDS
        with writing(self._path):
            self._file = self._path.open("a+b", buffering=0)
            self._end = os.fstat(self._file.fileno()).st_size

    @classmethod
    def create(cls, results: Path, head: Run) -> Self:
        """A new run under results/<suite>/. id, folder and start of `head` are replaced, its records dropped.

        Raises StoreError where nothing can be written.
        """
        now = datetime.now(UTC)
        name = next_id(results, now)
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
        with writing(run.folder, "start the run again"):
            run.folder.mkdir(parents=True)
            try:
                return cls._begun(run)
            except BaseException:
                shutil.rmtree(run.folder, ignore_errors=True)  # a run that never began is no run
                raise

    @classmethod
    def _begun(cls, run: Run) -> Self:
        for folder in ("logs", "images"):
            (run.folder / folder).mkdir()
        (run.folder / RECORDS).touch()  # before the head, so that a head without records tells
        with contextlib.ExitStack() as held:
            lock = held.enter_context(locked(run.folder))
            _write_head(run, "start the run again")
            return cls._opened(run, lock, held)

    @classmethod
    def resume(cls, folder: Path) -> Self:
        """Go on with a run: lines that cannot be read, or whose pictures are gone, are kept aside.

        Raises StoreError. Where lines were lost the run has not come to its end any more.
        """
        read_head(folder)  # so that what is no run is refused before anything is written into it
        if reason := gone(folder):
            raise StoreError(reason)
        with contextlib.ExitStack() as held:
            lock = held.enter_context(locked(folder))
            run = read(folder)
            with writing(folder / RECORDS):
                mend(folder)
                run = without_lost(run)
            if run.problems and run.finished:
                _write_head(dataclasses.replace(run, finished=False, written=None))
            return cls._opened(run, lock, held)

    @classmethod
    def _opened(cls, run: Run, lock: IO[str], held: contextlib.ExitStack) -> Self:
        """The writer, to which the lock belongs from here on."""
        writer = cls(run, lock)
        held.pop_all()
        return writer

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
        """Put one record on disk for good. Raises StoreError; what was there before stays whole.

        A record of other weights than those that the run began with is refused.
        """
        if other := self._weights.other(record):
            raise StoreError(f"{self.folder}: {other}: put the first back, or start another run")
        with writing(self._path):
            self._put(sealed(to_plain(record)).encode() + b"\n")
        self._count += 1
        self._check_there()

    def finish(self) -> None:
        """Say on disk that the run came to its end, and with how many records. Raises StoreError."""
        self._check_there()
        self._head(finished=True, written=self._count, stopped="")

    def stop(self, reason: str) -> None:
        """Say on disk why the run does not come to its end, or "" that it goes on. Raises StoreError."""
        if reason != self.run.stopped:
            self._check_there()
            self._head(stopped=reason)

    def _head(self, **parts: object) -> None:
        self.run = dataclasses.replace(self.run, **parts)  # type: ignore[arg-type]  # fields of a head, given by name above
        _write_head(self.run)

    def _put(self, line: bytes) -> None:
        file = self._file.fileno()
        if os.fstat(file).st_size != self._end:
            raise StoreError(
                f"{self._path}: was changed by another hand while this run was writing it: "
                "`ditbench show` says what is left of it"
            )
        try:
            write_all(file, line)
            os.fsync(file)
        except OSError:
            # A disk that fills up midway must not leave half a line for the next record to continue.
            with contextlib.suppress(OSError):
                os.ftruncate(file, self._end)
            raise
        self._end += len(line)

    def _check_there(self) -> None:
        """Raises StoreError where another hand took head or records away; they are saved before."""
        records, head = _is_at(self._path, self._file), (self.folder / HEAD).exists()
        if records and head:
            return
        saved = self._path
        if (
            not records
        ):  # the open file still has them all; whatever lies in its place is left alone
            saved = self._path.with_name(SAVED) if self._path.exists() else self._path
            write_whole(saved, os.pread(self._file.fileno(), self._end, 0))
        if not head:
            _write_head(self.run)
        put_back = f"put {SAVED} in its place, then " if saved.name == SAVED else ""
        raise StoreError(
            f"{self.folder / HEAD if records else self._path}: was deleted or replaced while this run "
            f"was writing; all {self._count} records are safe in {saved.name}: {put_back}{RESUME}"
        )

    def close(self) -> None:
        """Let another writer in."""
        self._file.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
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


def _is_at(path: Path, file: IO[bytes]) -> bool:
    """Whether the open file still is the one of that name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False


def _write_head(run: Run, then: str = RESUME) -> None:
    write_whole(run.folder / HEAD, sealed(head_to_json(run), indent=1) + "\n", then)


def _plain(value: Any) -> Any:  # noqa: ANN401 (any JSON)
    """Evidence as JSON can say it: non-finite numbers become text, tuples lists."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
