"""What has ended so far, what follows from it, and how long it took."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ditbench.jobs import Findings, Job
from ditbench.records import Cell, Record, Stage, Status
from ditbench.run.events import Progress
from ditbench.run.order import key_of
from ditbench.run.server import Answer

Identity = tuple[str, Stage, int]


# A cell of a run has no speed once a process of it failed. Of two arms in turns each process counts for
# itself: one that fails costs itself, and only the second tells that more of them would fail as well.
_OF_A_RUN, _IN_TURNS = 1, 2


def _failures(job: Job) -> int:
    """So many failed processes end the trying."""
    return _OF_A_RUN if job.beside is None else _IN_TURNS


@dataclass
class Ledger:
    """What has ended so far, and what follows from it."""

    ended: dict[Identity, Record] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)  # of a cell's timed processes, by key
    pictures: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))
    spoilt: dict[str, Record] = field(
        default_factory=dict
    )  # by quality key, the first shard that failed

    @classmethod
    def of(cls, records: Iterable[Record]) -> Ledger:
        """What these records say."""
        ledger = cls()
        for record in records:
            ledger.add(record)
        return ledger

    def add(self, record: Record) -> None:
        """Take in one record, but for its raw values: a night's worth of them is on disk, and not here."""
        where = {name: value for name, value in record.facts.items() if name == "gpu_uuid"}
        record = dataclasses.replace(record, metrics={}, warmups={}, facts=where)
        self.ended[record.key, record.stage, record.replicate] = record
        if record.stage is Stage.TIME and record.status is not Status.OK:
            self.failures[record.key] += 1
        if record.stage is Stage.SAMPLE and record.status is not Status.OK:
            self.spoilt.setdefault(record.key, record)
        if record.stage is Stage.GATE:
            self.pictures[record.cell.quality_key].append(record)

    def has(self, job: Job) -> bool:
        """Whether the job has ended, however."""
        return (key_of(job), job.stage, job.replicate) in self.ended

    def still_wanted(self, jobs: Sequence[Job], running: Iterable[Job] = ()) -> list[Job]:
        """Without those that nothing could come of any more, whatever comes of those that run."""
        untried = {job.cell.quality_key for job in (*jobs, *running) if job.stage is Stage.GATE}
        return [job for job in jobs if not self._pointless(job, untried)]

    def refusal(self, job: Job) -> Answer | None:
        """Why pictures cannot be judged, as an answer, or None where they can."""
        if job.stage is not Stage.QUALITY:
            return None
        if lost := self.spoilt.get(key_of(job)):
            return _refused(lost, f"its pictures were not all made: shard {_told(lost)}", {})
        if job.reference is None or (failed := self._unjudging(job.reference)) is None:
            return None
        key = job.reference.quality_key
        return _refused(
            failed, f"no softmax pictures to judge by: {failed.reason}", {"unjudged": key}
        )

    def _pointless(self, job: Job, untried: set[str]) -> bool:
        """untried: quality keys of cells whose gate may still be passed."""
        if job.stage in {Stage.TIME, Stage.FIT}:
            gates = (self.ended.get((cell.key, Stage.GATE, 0)) for cell in job.cells)
            failed = any(gate is not None and gate.status is not Status.OK for gate in gates)
            return failed or self.failures[job.cell.key] >= _failures(job)
        if not job.stage.of_pictures or key_of(job) in untried:
            return False
        return self._failed_gate(key_of(job)) is not None or (
            job.stage is Stage.SAMPLE and self._wasted(job)
        )

    def _wasted(self, job: Job) -> bool:
        """Whether a shard would be judged by nobody: another of its own failed, or softmax's pictures did."""
        if key_of(job) in self.spoilt:
            return True
        return job.reference is not None and self._unjudging(job.reference) is not None

    def _unjudging(self, reference: Cell) -> Record | None:
        """What failed of the pictures that others are judged by, where something did."""
        key = reference.quality_key
        judged = self.ended.get((key, Stage.QUALITY, 0))
        if judged is not None:
            return judged if judged.status is not Status.OK else None
        return self.spoilt.get(key) or self._failed_gate(key)

    def _failed_gate(self, quality_key: str) -> Record | None:
        """A failed gate, where no cell that shares these pictures passed its own."""
        gates = self.pictures.get(quality_key, [])
        failed = all(gate.status is not Status.OK for gate in gates)
        return gates[0] if gates and failed else None


def _refused(failed: Record, reason: str, facts: dict[str, str]) -> Answer:
    """An answer that nobody had to work for."""
    return Answer(
        Findings(failed.status, reason, facts=facts),
        datetime.now(UTC).isoformat(timespec="seconds"),
        0.0,
    )


def _told(lost: Record) -> str:
    return f"{lost.replicate}: {lost.reason}"


@dataclass
class Pace:
    """How long jobs of each stage take, and how many are left: sums, so that no event looks at every job."""

    left: Counter[Stage]
    devices: int = 1
    done: Counter[Stage] = field(default_factory=Counter)
    seconds: dict[Stage, float] = field(default_factory=lambda: defaultdict(float))

    @classmethod
    def of(cls, waiting: Iterable[Job], devices: int) -> Pace:
        """Nothing done yet, on so many devices at once."""
        return cls(Counter(job.stage for job in waiting), devices)

    def add(self, record: Record) -> None:
        """One job more is done."""
        self.left[record.stage] -= 1
        self.done[record.stage] += 1
        self.seconds[record.stage] += record.seconds

    def expect(self, waiting: Iterable[Job]) -> None:
        """Only these are left."""
        self.left = Counter(job.stage for job in waiting)

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        done = self.done.total()
        return Progress(done, done + self.left.total(), self._eta())

    def _eta(self) -> float | None:
        """Seconds until the last job; a stage not seen yet takes what the others took."""
        if not self.done.total():
            return None
        each = {stage: self.usual(stage) for stage in self.left}
        return sum(number * each[stage] for stage, number in self.left.items()) / self.devices

    def usual(self, stage: Stage) -> float:
        """Seconds of a job of this stage, or of any where none of it has ended; 0 before the first."""
        if self.done[stage]:
            return self.seconds[stage] / self.done[stage]
        return sum(self.seconds.values()) / max(1, self.done.total())
