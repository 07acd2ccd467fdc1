"""Where a run's wall time went: into measuring, or into all that measuring needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ditbench.records import Record, Stage
from ditbench.store import Run

# Phases of a worker in which a model runs, or its pictures are made; the others prepare or judge.
_MEASURING = frozenset({"gates", "first call", "warm-up", "timing", "pictures", "batch", "canary"})
# Between two jobs nothing takes so long: the run was cut off and went on later.
_PAUSE_S = 120.0


@dataclass(frozen=True)
class Spent:
    """Seconds, summed over all devices: wall = measuring + workers + between.

    measuring: inside gates, sampling runs and pictures. workers: the rest of the workers' time: their
    start, weights, counting, judging. between: no worker ran, as while the plan is made.
    """

    wall: float
    measuring: float
    workers: float

    @property
    def between(self) -> float:
        """What no worker accounts for."""
        return max(0.0, self.wall - self.measuring - self.workers)

    @property
    def share(self) -> float:
        """The part of the wall time that was spent measuring."""
        return self.measuring / self.wall


def spent(run: Run) -> Spent | None:
    """The account of a run, or None where its records do not tell.

    The wall time goes from the run's start to the end of its last record, once for each device, without
    the pauses of a run that was resumed.
    """
    ran = [one for one in run.records if _is_own(one)]
    phases = [one.facts["phase_s"] for one in ran if "phase_s" in one.facts]
    devices = len({one.facts.get("gpu_uuid") for one in ran})
    try:
        wall = _wall(run.started, ran) * devices
    except ValueError:  # a time that somebody wrote by hand
        return None
    if not phases or wall <= 0 or run.origins:  # merged runs have no one start
        return None
    kinds: Counter[str] = Counter()
    for seconds in phases:
        kinds.update(seconds)
    measuring = sum(seconds for kind, seconds in kinds.items() if kind in _MEASURING)
    return Spent(wall, measuring, sum(one.seconds for one in ran) - measuring)


def _is_own(record: Record) -> bool:
    """Whether a worker of this run found it out: a plan is no work, and pictures may be another run's."""
    own = record.stage is not Stage.PLAN and "taken_from" not in record.facts
    return own and bool(record.started)


def overhead(records: Iterable[Record]) -> float | None:
    """Seconds that a worker takes beside its measuring, on average; None where no record tells."""
    told = [
        one.seconds - sum(s for kind, s in one.facts["phase_s"].items() if kind in _MEASURING)
        for one in records
        if "phase_s" in one.facts
    ]
    return sum(told) / len(told) if told else None


def _wall(started: str, ran: Iterable[Record]) -> float:
    """Seconds from the start to the last end, pauses left out."""
    spans = sorted((_at(one.started), one.seconds) for one in ran)
    begin = now = _at(started) if started else (spans[0][0] if spans else 0.0)
    paused = 0.0
    for start, seconds in spans:
        paused += start - now if start - now > _PAUSE_S else 0.0
        now = max(now, start + seconds)
    return now - begin - paused


def _at(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
