"""On what terms a run's records stand as a baseline: from when, until when, and by whose word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ditbench import shape
from ditbench.errors import UsageError

# Drivers, kernels and libraries move: a month-old baseline is of another machine more often than not.
DAYS = 30
NEVER = "never"
_DAYS = re.compile(r"([1-9][0-9]{0,3})d")


@dataclass(frozen=True)
class Admission:
    """What the head of a baseline says of itself. admitted, expires: days as "2026-11-22", in UTC.

    expires: the first day on which it gates nothing any more, empty for never; admitted is empty in files
    that were written before there were terms. promoted_from: the run that the baseline of this name was
    made of before, where this one was compared with it. because: why it was accepted in spite of what that
    comparison found. provisional: of fewer than `gating.PROCESSES`, so that no time of it gates anything.
    floors: the file of measured noise that its spread was held against, empty for none.
    """

    admitted: str = ""
    expires: str = ""
    promoted_from: str = ""
    because: str = ""
    provisional: bool = False
    floors: str = ""

    def expired(self, now: datetime) -> str:
        """The clause that says since when it gates nothing; empty where it still does."""
        over = bool(self.expires) and self.expires <= day(now)
        return f"the baseline expired on {self.expires}" if over else ""

    def age(self, now: datetime) -> int | None:
        """Days since it was admitted; None where that is not known."""
        if not self.admitted:
            return None
        return (date.fromisoformat(day(now)) - date.fromisoformat(self.admitted)).days


@dataclass(frozen=True)
class Terms:
    """What whoever sets a baseline asks for. now: None for the clock's time; days: None for no end.

    unfit: that the machine changed while the run measured, as its canary tells (`summary.canary.drift`).
    """

    provisional: bool = False
    days: int | None = DAYS
    now: datetime | None = None
    promoted_from: str = ""
    because: str = ""
    unfit: str = ""

    def admission(self, floors: str, *, provisional: bool) -> Admission:
        """What they come to for a run of enough processes, or of too few."""
        now = self.now or datetime.now(UTC)
        return Admission(
            admitted=day(now),
            expires="" if self.days is None else day(now + timedelta(days=self.days)),
            promoted_from=self.promoted_from,
            because=self.because,
            provisional=provisional,
            floors=floors,
        )


# Of a file that tells no terms, and what is asked for where nothing is.
UNTOLD, USUAL = Admission(), Terms()


def day(moment: datetime) -> str:
    """The day of a moment, in UTC."""
    return moment.astimezone(UTC).date().isoformat()


def lasting(text: str) -> int | None:
    """The days that "60d" or "never" say. Raises UsageError for anything else."""
    if text == NEVER:
        return None
    match = _DAYS.fullmatch(text)
    if match is None:
        raise UsageError(f"--expires {text!r}: write a number of days as 60d, or never")
    return int(match[1])


def admission_to_json(admission: Admission) -> dict[str, Any]:
    """What stands in a head: fields that say nothing are left out."""
    return {name: value for name, value in asdict(admission).items() if value}


def admission_from_json(head: Mapping[str, Any]) -> Admission:
    """The inverse. Raises ValueError for a day that is none, or a field of the wrong kind."""
    plain = head.get("admission", {})
    shape.check(plain, shape.ADMISSION, "admission")
    for name in ("admitted", "expires"):
        if plain.get(name):
            date.fromisoformat(plain[name])
    return Admission(**plain)
