"""Baselines: accepted records in one text file that is reviewed in git like code.

The first line is the head with the terms of the admission; then what cells share, and a line for each cell
(`store.packing`), sorted, so that the same records make the same bytes whatever order they were measured in.
Every line has its checksum, and the head says how many there are: a merge that loses one is found.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ditbench import shape
from ditbench.environment import Environment, code_label
from ditbench.errors import StoreError, UsageError
from ditbench.records import SCHEMA, Record, record_from_json
from ditbench.registry import did_you_mean
from ditbench.store.admission import (
    UNTOLD,
    USUAL,
    Admission,
    Terms,
    admission_from_json,
    admission_to_json,
    day,
)
from ditbench.store.admitting import LeftOut, admit
from ditbench.store.disk import load, write_whole
from ditbench.store.index import LATEST
from ditbench.store.noise import noise_beside
from ditbench.store.packing import Unpacking, cells_of, packed
from ditbench.store.reading import MALFORMED, Run, cause_of, well_formed
from ditbench.store.seal import sealed, unsealed
from ditbench.store.writing import slug

BASELINES = Path("baselines")
SUFFIX = ".jsonl"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TAKEN = frozenset({LATEST, "none"})


@dataclass(frozen=True)
class Listed:
    """A baseline in a list. problem: why it cannot be read; then nothing else is known."""

    name: str
    path: Path
    suite: str = ""
    run: str = ""
    cells: int = 0
    admission: Admission = UNTOLD
    problem: str = ""


def baseline_set(
    run: Run, name: str, root: Path = BASELINES, terms: Terms = USUAL
) -> tuple[LeftOut, ...]:
    """Write root/<name>.jsonl from the cells of the run that passed everything; the others are returned.

    Raises UsageError for a name that is no file's name; StoreError as `admitting.admit` does, and where the
    baseline of that name, or the noise beside it, is there and cannot be read. Nothing is written then.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"baseline {name!r}: a name is letters, digits, '.', '_' and '-'")
    if name in _TAKEN:
        raise UsageError(f"baseline {name!r}: says something else to --baseline; choose another")
    path = root / f"{name}{SUFFIX}"
    if path.exists():
        baseline_read(str(path))  # what is damaged may be all that is left of a good one
    floors, noise = noise_beside((name, slug(run.suite)), root, run.environment) or (None, None)
    if noise and noise.elsewhere(run.environment):
        floors, noise = None, None
    taken = admit(run, noise, provisional=terms.provisional)
    if terms.unfit and not terms.provisional:
        raise StoreError(
            f"run {run.id} cannot become a baseline: the machine changed while it measured: "
            f"{terms.unfit}; measure again (or --provisional, of which no time gates anything)"
        )
    provisional = taken.provisional or bool(terms.unfit)
    admission = terms.admission(floors.name if floors else "", provisional=provisional)
    _write(path, dataclasses.replace(run, records=taken.records, admission=admission))
    return taken.left_out


def baseline_read(name: str, root: Path = BASELINES) -> Run:
    """The baseline of that name or path as a run. Raises StoreError naming file and line.

    A line that cannot be read is an error here, not a problem: a baseline with a hole hides what it
    should judge.
    """
    path = baseline_path(name, root)
    head, _, rest = load(path).partition(b"\n")
    run, lines = well_formed(f"{path}:1", lambda: _opened(path, unsealed(head)))
    records = _lines(
        path,
        run.written,
        lines,
        rest.split(b"\n")[:-1] if rest.endswith(b"\n") else rest.splitlines(),
    )
    return dataclasses.replace(run, records=records, planned=cells_of(records), written=None)


def _lines(
    path: Path, written: int | None, lines: Unpacking, texts: list[bytes]
) -> tuple[Record, ...]:
    """All records below the head. Raises StoreError naming each line that is wrong."""
    records: dict[tuple[str, str, int], Record] = {}
    problems = []
    for number, text in enumerate(texts, start=2):
        try:
            _take(_records(text, lines), records)
        except MALFORMED as error:
            problems.append(f"{path}:{number}: {cause_of(error)}")
    if not problems and written not in {None, len(texts)}:
        told = f"it had {written} lines below its head, and has {len(texts)}"
        problems.append(f"{path}:{len(texts) + 1}: {told}: take it from git again")
    if problems:
        raise StoreError("\n".join(problems))
    return tuple(records.values())


def _take(found: Iterable[Record], records: dict[tuple[str, str, int], Record]) -> None:
    for one in found:
        if records.setdefault((one.key, one.stage, one.replicate), one) is not one:
            raise ValueError(f"a second {one.stage} record of {one.cell.id}")


def baseline_path(name: str, root: Path = BASELINES) -> Path:
    """The file of the baseline of that name or path. Raises StoreError with what it may have meant."""
    path = Path(name)
    if not path.is_file() and not (path.exists() and path.suffix == SUFFIX):
        path = root / f"{name}{SUFFIX}"
    if path.exists():
        return path
    known = [entry.name for entry in baseline_list(root)]
    stem = name.removesuffix(SUFFIX)
    asked = Path(name) if stem != name else path
    raise StoreError(
        f"{asked}: no such baseline{did_you_mean(stem, known)}; "
        f"`ditbench baseline set {Path(stem).name} RUN` makes one"
    )


def baseline_expire(name: str, root: Path = BASELINES, now: datetime | None = None) -> None:
    """Have the baseline gate nothing from now on. Raises StoreError where it cannot be read."""
    path = baseline_path(name, root)
    run = baseline_read(str(path))
    admission = run.admission or UNTOLD
    today = day(now or datetime.now(UTC))
    _write(path, dataclasses.replace(run, admission=dataclasses.replace(admission, expires=today)))


def baseline_rewrite(path: Path) -> None:
    """Write a baseline in the present form; nothing of it changes but that. Raises StoreError."""
    _write(path, baseline_read(str(path)))


def baseline_list(root: Path = BASELINES) -> tuple[Listed, ...]:
    """All baselines by name; one that cannot be read is listed with the reason."""
    return tuple(baseline_listed(path) for path in sorted(root.glob(f"*{SUFFIX}")))


def baseline_runs(root: Path = BASELINES) -> Mapping[str, str]:
    """The ids of the runs that baselines were made of, with the baseline's name.

    Raises StoreError where a head cannot be read: which run it names is not known then.
    """
    return {_run_named_by(path): path.stem for path in sorted(root.glob(f"*{SUFFIX}"))}


def _run_named_by(path: Path) -> str:
    head = load(path).partition(b"\n")[0]
    return well_formed(f"{path}:1", lambda: str(unsealed(head)["run"]))


def _write(path: Path, run: Run) -> None:
    lines = [line | {"schema": SCHEMA} for line in packed(run.records)]
    head = {
        "schema": SCHEMA,
        "baseline": True,
        "run": run.id,
        "suite": run.suite,
        "suite_path": run.suite_path,
        "started": run.started,
        "environment": dict(run.environment.facts),
        "code": dict(run.code),
        "gate": dict(run.gate),
        "effort": dict(run.effort),
        "written": len(lines),
        "admission": admission_to_json(run.admission or UNTOLD),
    }
    text = "".join(sealed(line, sort_keys=True, close=True) + "\n" for line in (head, *lines))
    write_whole(path, text, "make it again")


def _records(text: bytes, lines: Unpacking) -> list[Record]:
    """The records on a line: one of them, as schema 2 wrote it, or all of a cell."""
    plain = unsealed(text)
    found = [plain] if "stage" in plain else lines.records(plain)
    records = [record_from_json(one) for one in found]
    for one, record in zip(found, records, strict=True):
        if one["cell"].get("key") != record.cell.key:
            raise ValueError(
                f"key {one['cell'].get('key')} is not that of its cell, {record.cell.key}"
            )
    return records


def _opened(path: Path, head: dict[str, Any]) -> tuple[Run, Unpacking]:
    """The head's run, and what reads the lines below it."""
    run = _head(path, head)
    return run, Unpacking(run.environment.id, code_label(run.code))


def _head(path: Path, head: dict[str, Any]) -> Run:
    """Its run without records. `written`: the lines below the head, None where schema 2 did not tell."""
    shape.check(head, shape.HEAD)
    return Run(
        id=head["run"],
        folder=path.parent,
        suite=head["suite"],
        suite_path=head["suite_path"],
        suite_text="",
        command="",
        started=head["started"],
        finished=True,
        environment=Environment(dict(head["environment"])),
        code=dict(head["code"]),
        planned=(),
        records=(),
        gate=dict(head["gate"]),
        effort=dict(head.get("effort", {})),
        written=head.get("written"),
        admission=admission_from_json(head),
    )


def baseline_listed(path: Path) -> Listed:
    """One entry of the list."""
    try:
        run = baseline_read(str(path))
    except StoreError as error:
        return Listed(path.stem, path, problem=str(error).partition("\n")[0])
    return Listed(
        name=path.stem,
        path=path,
        suite=run.suite,
        run=run.id,
        cells=len(run.planned),
        admission=run.admission or UNTOLD,
    )
