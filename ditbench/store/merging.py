"""One run from several of the same suite: shards of a night, or a run that was cut off and the rest of it.

Nothing is measured and nothing is averaged: records stand beside each other as they were written. Of two
records of the same replicate the first run's is kept, and the other is named.
"""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ditbench.errors import StoreError, UsageError
from ditbench.records import Record, Stage, canonical
from ditbench.store.disk import write_whole, writing
from ditbench.store.lock import holder
from ditbench.store.order import next_id
from ditbench.store.reading import HEAD, RECORDS, REJECTED, Run, head_to_json, read
from ditbench.store.sameness import Weights, unlike
from ditbench.store.seal import sealed
from ditbench.store.shelf import shard_of
from ditbench.store.writing import slug, to_plain

TELEMETRY = "telemetry.jsonl"
UNDER_WAY = ".merging-"
_AGAIN = "merge again"


@dataclass(frozen=True)
class Merged:
    """What came of it. left_out: each record that an earlier run has otherwise, named with both runs."""

    folder: Path
    records: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Kept:
    """A record and the run that it is from."""

    record: Record
    run: Run


def merge(folders: Sequence[Path], results: Path, command: str) -> Merged:
    """Write a new run of the records of these; it appears whole, at the end, or not at all.

    Raises UsageError where the runs do not belong together, naming every difference with both values,
    and StoreError where one is being written, cannot be read, or the disk refuses.
    """
    runs = [_readable(folder) for folder in folders]
    _check_together(runs)
    kept, left_out = _union(runs)
    now = datetime.now(UTC)
    name = next_id(results, now)
    home = results / slug(runs[0].suite)
    head = dataclasses.replace(
        runs[0],
        id=name,
        folder=home / f"{UNDER_WAY}{name}",
        command=command,
        started=now.isoformat(timespec="seconds"),
        finished=all(run.finished and not run.problems for run in runs),
        written=len(kept),
        planned=tuple({cell.key: cell for run in runs for cell in run.planned}.values()),
        claims=tuple({canonical(one): one for run in runs for one in run.claims}.values()),
        origins=tuple(map(_origin, runs)),
        selected=_selected(runs),
        stopped="; ".join(dict.fromkeys(why for run in runs for why in _lacking(run))),
    )
    with writing(head.folder, _AGAIN):
        try:
            _write(head, kept, runs)
            head.folder.rename(home / name)
        except BaseException:
            shutil.rmtree(head.folder, ignore_errors=True)
            raise
    return Merged(home / name, len(kept), left_out)


def _readable(folder: Path) -> Run:
    if who := holder(folder):
        raise StoreError(f"{folder}: {who} is writing this run; merge it when it has ended")
    return read(folder)


def _check_together(runs: Sequence[Run]) -> None:
    first, *others = runs
    if not others or len({run.id for run in runs}) < len(runs):
        raise UsageError("merge: name two or more runs, each once")
    for run in others:
        if run.suite != first.suite:
            raise UsageError(
                f"merge: run {first.id} is of suite {first.suite!r}, run {run.id} of {run.suite!r}"
            )
        gates = [] if run.gate == first.gate else [f"gate: {dict(first.gate)} -> {dict(run.gate)}"]
        if differences := [*unlike(first, run), *gates]:
            raise UsageError(
                f"merge: runs {first.id} and {run.id} did not measure alike: {'; '.join(differences)}"
            )
    weights = Weights()
    for record in itertools.chain.from_iterable(run.records for run in runs):
        if other := weights.other(record):
            raise UsageError(f"merge: {other}")


def _union(runs: Sequence[Run]) -> tuple[list[_Kept], tuple[str, ...]]:
    """Every record once, and a line for each that an earlier run has otherwise."""
    kept: dict[tuple[str, Stage, int], _Kept] = {}
    left_out = []
    for run in runs:
        for record in run.records:
            first = kept.setdefault(
                (record.key, record.stage, record.replicate), _Kept(record, run)
            )
            if first.run is not run and not _same(first.record, record):
                left_out.append(
                    f"run {run.id}: {record.stage} record of replicate {record.replicate} of "
                    f"{record.cell.id}; that of run {first.run.id} is kept"
                )
    return list(kept.values()), tuple(left_out)


def _same(one: Record, other: Record) -> bool:
    """Bit-identical; what the plan said before anything ran has no moment that could differ."""
    if one.stage is Stage.PLAN:
        other = dataclasses.replace(other, started=one.started, code=one.code)
    return canonical(to_plain(one)) == canonical(to_plain(other))


def _selected(runs: Sequence[Run]) -> str:
    """The -k of all of them together; none where one of them ran the whole suite."""
    given = dict.fromkeys(run.selected for run in runs)
    return "" if "" in given else "|".join(f"(?:{one})" for one in given)


def _lacking(run: Run) -> Iterator[str]:
    """Why what is made of this run is not whole either."""
    if run.stopped:
        yield run.stopped
    if run.problems:
        yield f"lines of run {run.id} that could not be read: {len(run.problems)}"


def _origin(run: Run) -> dict[str, object]:
    """What a merged head says of one of its runs."""
    return {
        "run": run.id,
        "started": run.started,
        "finished": run.finished,
        "command": run.command,
        "cells": [cell.key for cell in run.planned],
        "records": len(run.records),
        "problems": list(run.problems),
        "origins": [dict(origin) for origin in run.origins],
    }


def _write(head: Run, kept: Iterable[_Kept], runs: Iterable[Run]) -> None:
    """Logs and pictures, what could not be read, the records, and the head last."""
    for part in ("images", "logs"):
        (head.folder / part).mkdir(parents=True)
    for one in kept:
        for path in _belongings(one):
            there = head.folder / path.relative_to(one.run.folder)
            there.parent.mkdir(exist_ok=True)
            shutil.copy2(path, there)
    for name in (REJECTED, TELEMETRY):  # one run's behind the other's
        parts = [run.folder / name for run in runs if (run.folder / name).exists()]
        if parts:
            write_whole(head.folder / name, b"".join(part.read_bytes() for part in parts), _AGAIN)
    text = "".join(sealed(to_plain(one.record)) + "\n" for one in kept)
    write_whole(head.folder / RECORDS, text, _AGAIN)
    write_whole(head.folder / HEAD, sealed(head_to_json(head), indent=1) + "\n", _AGAIN)


def _belongings(one: _Kept) -> Iterable[Path]:
    """The files of a run that are about this record only."""
    record, folder = one.record, one.run.folder
    yield from (folder / "logs").glob(f"{record.key}-{record.stage}-{record.replicate}[-.]*")
    if record.stage is Stage.SAMPLE and (path := shard_of(folder, record)).is_file():
        yield path
    earlier = folder / "images" / f"{record.key}.npz"  # as runs kept them before there were shards
    if record.stage is Stage.QUALITY and earlier.is_file():
        yield earlier
