"""What a run has lost, taken out of its records before it goes on, so that it is measured again.

Nothing is thrown away: every line that is taken out is kept aside.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

from ditbench.records import Record, Stage, Status, cell_from_json
from ditbench.store.disk import load, write_whole
from ditbench.store.reading import RECORDS, Run, keep_aside, parse, to_record
from ditbench.store.shelf import shard_of


def mend(folder: Path) -> None:
    """Take out of the records what cannot be read, and end the last line.

    So a run that is gone on with measures these again, and is whole when it has ended.
    """
    path = folder / RECORDS
    data = load(path)
    lines = parse(path, data)
    if not lines.problems and (not data or data.endswith(b"\n")):
        return
    keep_aside(folder, lines.rejected)
    out = set(lines.places)
    _rewrite(path, (line for at, line in enumerate(data.split(b"\n")) if at not in out and line))


def without_lost(run: Run) -> Run:
    """A mended run without the records of shards whose files are gone, each told among its problems.

    Of a run that has come to its end they are not missed: its pictures may be removed when they have been
    judged.
    """
    lost = [] if run.finished else [one for one in run.records if _is_lost(run.folder, one)]
    if not lost:
        return run
    path = run.folder / RECORDS
    lines = [line for line in load(path).split(b"\n") if line]
    identities = {(one.key, one.replicate) for one in lost}
    gone = [line for line in lines if _shard(line) in identities]
    keep_aside(run.folder, tuple(gone))
    _rewrite(path, (line for line in lines if line not in set(gone)))
    told = tuple(f"{shard_of(run.folder, one)}: is gone" for one in lost)
    rest = tuple(one for one in run.records if one not in lost)
    return dataclasses.replace(run, records=rest, problems=(*run.problems, *told))


def _is_lost(folder: Path, record: Record) -> bool:
    made = record.stage is Stage.SAMPLE and record.status is Status.OK
    return made and not shard_of(folder, record).is_file()


def _shard(line: bytes) -> tuple[str, int] | None:
    """Quality key and number of the shard that a record is of; None where it is of none."""
    if json.loads(line)["stage"] != Stage.SAMPLE:
        return None
    record = to_record(line, cell_from_json)
    return record.key, record.replicate


def _rewrite(path: Path, lines: Iterable[bytes]) -> None:
    write_whole(path, b"".join(line + b"\n" for line in lines))
