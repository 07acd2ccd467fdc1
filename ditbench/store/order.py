"""Ids that rise from run to run, whatever the clock does, and what it did.

An id begins with the time. Where the clock stands at or before the newest run on disk, because two runs
began in one second or it was set back, the id goes on one second behind that run. `started` in the head
stays what the clock said.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Iterator
from datetime import MAXYEAR, UTC, datetime, timedelta
from pathlib import Path

from ditbench.store.reading import Run

_TIME = "%Y%m%d-%H%M%S"
_ID = re.compile(r"(\d{8}-\d{6})-[0-9a-f]{4}")
# Runs begun in one second, and a clock that is disciplined, move ids by less.
_SET_BACK = timedelta(seconds=60)


def next_id(results: Path, now: datetime) -> str:
    """An id above those of all runs in results. now: UTC."""
    taken = (time + timedelta(seconds=1) for name in _names(results) if (time := _time(name)))
    return f"{max([now, *taken]):{_TIME}}-{secrets.token_hex(2)}"


def is_id(name: str) -> bool:
    """Whether a folder's name is that of a run, and not somebody's copy of one."""
    return _ID.fullmatch(name) is not None


def clock_notes(run: Run) -> Iterator[str]:
    """What the clock did before and during a run, where it was set back by more than a minute."""
    named, started = _time(run.id), _when(run.started)
    if named and started and named - started > _SET_BACK:
        yield (
            f"The clock was set back before this run: it began at {run.started}, after a run of "
            f"{named:%Y-%m-%d %H:%M:%S}. Its id goes on from there, so that the order of runs holds."
        )
    if not run.origins and (
        back := _set_back(run)
    ):  # merged records stand one run behind the other
        yield (
            f"The clock was set back during this run, by {back} or more: durations do not depend on "
            "it, the times at which records began do."
        )


def _set_back(run: Run) -> timedelta | None:
    """How far the end of a record lies before the end of an earlier one, if that is no rounding."""
    latest = -math.inf
    for record in run.records:
        if "taken_from" in record.facts:  # another run's, of whatever time
            continue
        if begun := _when(record.started):
            ended = begun.timestamp() + record.seconds
            if _SET_BACK.total_seconds() < latest - ended < math.inf:
                return timedelta(seconds=latest - ended)
            latest = max(latest, ended)
    return None


def _names(results: Path) -> Iterator[str]:
    """Of all runs, those among them that have lost their head."""
    return (folder.name for folder in results.glob("*/*"))


def _time(name: str) -> datetime | None:
    """The time that an id begins with, or None of a name that begins with none."""
    match = _ID.fullmatch(name)
    try:
        found = datetime.strptime(match[1], _TIME).replace(tzinfo=UTC) if match else None
    except ValueError:
        return None
    return found if found and found.year < MAXYEAR else None


def _when(text: str) -> datetime | None:
    """A moment as records say it, or None of anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
