"""What may go: runs that never ended, runs that newer ones have replaced, pictures of old runs.

Never a run that is being written, never one that a baseline names, never one that cannot be read.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ditbench.store.baselines import baseline_runs
from ditbench.store.disk import writing
from ditbench.store.index import Entry, runs
from ditbench.store.lock import holder, locked
from ditbench.store.merging import UNDER_WAY

_REMOVING = ".removing-"
_CRUMBS = timedelta(days=1)
_AGAIN = "run it again"


@dataclass(frozen=True)
class Limits:
    """What counts as old. unfinished, pictures: days since the run began; keep: finished runs of a suite.

    None: no such limit.
    """

    unfinished: float | None = 7
    keep: int | None = None
    pictures: float | None = None


@dataclass(frozen=True)
class Rubbish:
    """A run's folder, or its pictures. size: bytes."""

    path: Path
    reason: str
    size: int


def rubbish(results: Path, baselines: Path, limits: Limits, now: datetime) -> tuple[Rubbish, ...]:
    """Everything beyond the limits, newest first. Raises StoreError where a baseline cannot be read."""
    named = baseline_runs(baselines)
    found = [*_runs(results, named, limits, now), *_crumbs(results, now)]
    return tuple(Rubbish(path, reason, _size(path)) for path, reason in found)


def remove(one: Rubbish) -> None:
    """Remove a run at one stroke, or its pictures. Raises StoreError; a run being written stays."""
    with writing(one.path, _AGAIN):
        if one.path.name == "images":
            with locked(one.path.parent):
                for picture in one.path.iterdir():
                    if picture.is_dir():
                        shutil.rmtree(picture)
                    else:
                        picture.unlink()
            return
        gone = one.path
        if not one.path.name.startswith("."):
            with locked(one.path):
                gone = one.path.rename(one.path.with_name(f"{_REMOVING}{one.path.name}"))
        shutil.rmtree(gone)


def _runs(
    results: Path, named: Mapping[str, str], limits: Limits, now: datetime
) -> Iterator[tuple[Path, str]]:
    ended: Counter[str] = Counter()
    for entry in runs(results):
        if entry.problem:
            continue
        ended[entry.suite] += entry.finished
        if entry.id in named or holder(entry.folder):
            continue
        age = _age(entry, now)
        if reason := _reason(entry, limits, age, ended[entry.suite] - 1):
            yield entry.folder, reason
        elif entry.finished and _older(age, limits.pictures) and _size(entry.folder / "images"):
            yield entry.folder / "images", f"pictures of a run that is {age.days} days old"


def _reason(entry: Entry, limits: Limits, age: timedelta, newer: int) -> str:
    """Why a run may go; empty where it may not. newer: finished runs of its suite that came after it."""
    if not entry.finished:
        return f"unfinished for {age.days} days" if _older(age, limits.unfinished) else ""
    if limits.keep is not None and newer >= limits.keep:
        return f"{newer} newer finished runs of {entry.suite}"
    return ""


def _older(age: timedelta, days: float | None) -> bool:
    return days is not None and age / timedelta(days=1) > days  # so many days may be no timedelta


def _age(entry: Entry, now: datetime) -> timedelta:
    """Since the run began, nothing where the clock says that it has yet to begin."""
    try:
        started = datetime.fromisoformat(entry.started)
    except ValueError:
        return timedelta(0)
    return max(now - (started if started.tzinfo else started.replace(tzinfo=UTC)), timedelta(0))


def _crumbs(results: Path, now: datetime) -> Iterator[tuple[Path, str]]:
    """What a merge or a removal that was killed has left."""
    for folder in results.glob("*/.*-*"):
        if folder.name.startswith((UNDER_WAY, _REMOVING)):
            since = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
            if now - since > _CRUMBS:
                yield folder, "left by a merge or a removal that was killed"


def _size(path: Path) -> int:
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
