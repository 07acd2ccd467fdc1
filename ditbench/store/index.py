"""Which runs there are, and the one that somebody means."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ditbench.errors import StoreError
from ditbench.registry import did_you_mean
from ditbench.store.disk import load
from ditbench.store.order import is_id
from ditbench.store.reading import HEAD, RECORDS, Run, gone, missing, read_head
from ditbench.store.writing import slug

LATEST = "latest"
_OF_SUITES = (".yaml", ".yml")


@dataclass(frozen=True)
class Entry:
    """A run or a baseline in a list. cells: planned; records: lines; problem: why it cannot be read."""

    id: str
    folder: Path
    suite: str = ""
    started: str = ""
    finished: bool = False
    cells: int = 0
    records: int = 0
    problem: str = ""


def runs(results: Path) -> tuple[Entry, ...]:
    """All runs, newest first; one that cannot be read is listed with the reason."""
    return tuple(_entry(folder) for folder in reversed(_folders(results)))


def find(results: Path, text: str) -> Path:
    """The folder of the run that `text` names: a path, an id or its beginning, "latest", or a suite's file.

    A suite's file stands for its newest run. Raises StoreError with what it may have meant.
    """
    if any((Path(text) / name).is_file() for name in (HEAD, RECORDS)):
        return Path(text)
    folders = _folders(results)
    if not folders:
        what = "is no folder" if results.exists() and not results.is_dir() else "holds no run"
        raise StoreError(f"{results}: {what}; `ditbench run SUITE` makes one")
    if text == LATEST:
        return folders[-1]
    if text.endswith(_OF_SUITES):
        return _newest_of(text, results, folders)
    found = [folder for folder in folders if folder.name.startswith(text)]
    exact = [folder for folder in found if folder.name == text]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if found:
        raise StoreError(
            f"run {text!r} could be any of {len(found)}: {_some(found)}; write more of it"
        )
    names = [LATEST, *(folder.name for folder in folders)]
    raise StoreError(f"{results}: no run {text!r}{did_you_mean(text, names)}")


def before(results: Path, run: Run) -> tuple[Path, ...]:
    """The folders of the runs of its suite that began before it, oldest first."""
    found = (folder for folder in _folders(results) if is_id(folder.name))
    return tuple(one for one in found if one.parent.name == slug(run.suite) and one.name < run.id)


def _newest_of(suite: str, results: Path, folders: list[Path]) -> Path:
    """By the suite's place, or by its text: a head's path is relative to where the run was started."""
    text = ""
    with contextlib.suppress(StoreError, ValueError):  # gone since it was measured, or no text
        text = load(Path(suite)).decode()
    for folder in reversed(folders):
        with contextlib.suppress(StoreError):  # what cannot be read is told when it is meant
            head = read_head(folder)
            here = Path(head.suite_path).resolve() == Path(suite).resolve()
            if here or (text and head.suite_text == text):
                return folder
    raise StoreError(f"{results}: holds no run of {suite}; `ditbench run {suite}` makes one")


def entries_to_json(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Plain objects, in the order given."""
    return [dataclasses.asdict(entry) | {"folder": str(entry.folder)} for entry in entries]


def _folders(results: Path) -> list[Path]:
    """The folders of all runs, oldest first: ids rise. What has lost its head or its records is one too.

    Copies under other names come before all, so that none is ever the newest. Empty records without a head
    are of a run that was killed before it began.
    """
    heads = {head.parent for head in results.glob(f"*/*/{HEAD}")}
    left = {part.parent for part in results.glob(f"*/*/{RECORDS}") if _holds_anything(part)}
    folders = (folder for folder in heads | left if not folder.name.startswith("."))
    return sorted(folders, key=lambda folder: (is_id(folder.name), folder.name))


def _holds_anything(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:  # removed since it was listed
        return False


def _entry(folder: Path) -> Entry:
    path = folder / RECORDS
    try:
        head = read_head(folder)
        lines = load(path).count(b"\n") if path.exists() else 0
    except StoreError as error:
        return Entry(folder.name, folder, problem=str(error))
    return Entry(
        id=head.id,
        folder=folder,
        suite=head.suite,
        started=head.started,
        finished=head.finished,
        cells=len(head.planned),
        records=lines,
        problem=gone(folder) or "".join(missing(path, head.written, lines)),
    )


def _some(folders: list[Path]) -> str:
    """The newest few names and how many more there are."""
    newest = [folder.name for folder in reversed(folders)]
    hidden = len(newest) - 5
    return ", ".join(newest[:5]) + (f" and {hidden} more" if hidden > 0 else "")
