"""What happens during a run, as it is told to whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass

from ditbench.jobs import Job
from ditbench.records import Record


@dataclass(frozen=True)
class Progress:
    """Jobs that have ended, of those that are to run, and seconds until the last (None: not yet known)."""

    done: int
    total: int
    eta_s: float | None


@dataclass(frozen=True)
class Started:
    """A worker starts on this job."""

    job: Job
    progress: Progress


@dataclass(frozen=True)
class Phase:
    """The running worker has reached this phase."""

    job: Job
    text: str


@dataclass(frozen=True)
class Ended:
    """A record has been written."""

    record: Record
    progress: Progress


Event = Started | Phase | Ended
