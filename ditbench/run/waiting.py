"""The jobs that wait: which one a device may take next, and which the time does not suffice for.

A cell is timed after its gate. Pictures are made after it too, by as many devices as there are, and judged
when all of them are there and softmax's have been. Cells that stand in one ratio are timed on one device,
because two cards of one model differ by per cents.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ditbench.jobs import Job
from ditbench.records import Cell, Choice, Record, Stage, Status
from ditbench.run.ledger import Ledger, Pace
from ditbench.run.order import key_of

Need = tuple[Stage, str]


@dataclass(frozen=True)
class Budget:
    """Time that a run may take. Jobs that would not be done by then are left for `--resume`.

    deadline: by the monotonic clock. first: methods that others are held against, timed first.
    """

    deadline: float
    first: frozenset[str] = frozenset()


class Waiting:
    """Jobs in their order, some of them running. left: those that the budget does not suffice for."""

    def __init__(
        self, jobs: Sequence[Job], ledger: Ledger, devices: Sequence[str], budget: Budget | None
    ) -> None:
        self.jobs = list(jobs)
        self.left: list[Job] = []
        self.ledger = ledger
        self.pace = Pace.of(jobs, max(1, len(devices)))
        self._running: list[Job] = []
        self._budget = budget
        self._begun = 0  # the round of replicates that is being timed
        self._open = _decided(jobs)
        self._ratios: dict[str, str] = {}
        self._homes = {
            self._ratio(record.cell): str(record.facts["gpu_uuid"])
            for record in ledger.ended.values()
            if record.stage is Stage.TIME and record.facts.get("gpu_uuid") in devices
        }

    def take(self, device: str) -> Job | None:
        """The next job for this device ("" for wherever the job says), or None where there is none now."""
        for place, job in enumerate(self.jobs):
            if not self._ready(job, device):
                continue
            if not self._fits(job):
                self._leave(job)
                return self.take(device)
            del self.jobs[place]
            return self._begin(dataclasses.replace(job, device=device) if device else job)
        return None

    def end(self, job: Job, record: Record) -> None:
        """A job has become a record."""
        if job in self._running:
            self._running.remove(job)
        self.ledger.add(record)
        self.pace.add(record)
        self._open.subtract(_decides(job))
        if record.status is not Status.OK:  # only a failure makes other jobs pointless
            self.jobs = self.ledger.still_wanted(self.jobs, self._running)
            self._open = _decided((*self.jobs, *self._running))
            self.pace.expect((*self.jobs, *self._running))

    def _begin(self, job: Job) -> Job:
        self._running.append(job)
        if job.stage is Stage.TIME:
            self._begun = max(self._begun, job.replicate)
            if job.device != "cpu":
                self._homes[self._ratio(job.cell)] = job.device
        return job

    def _ratio(self, cell: Cell) -> str:
        """Equal for cells in one ratio: they differ in method, blocks and compilation alone."""
        if cell.key not in self._ratios:
            plain = dataclasses.replace(cell, attention=Choice("any"), blocks=(), compile=False)
            self._ratios[cell.key] = plain.key
        return self._ratios[cell.key]

    def _ready(self, job: Job, device: str) -> bool:
        if any(self._open[need] for need in _needs(job)):
            return False
        if job.stage is Stage.CANARY:  # of one device, to say how that one does
            return device in {"", job.device}
        if job.stage is not Stage.TIME or not self._homes or not device:
            return True
        return self._homes.get(self._ratio(job.cell), device) == device

    def _fits(self, job: Job) -> bool:
        """Whether it would be done in time; from the second round on, whether the whole round would."""
        if self._budget is None:
            return True
        left = self._budget.deadline - time.monotonic()
        if left <= 0:
            return False
        if job.stage is not Stage.TIME or job.replicate == 0:
            return self._usual(job) <= left
        if job.replicate <= self._begun:
            return True
        together = (one for one in self.jobs if one.replicate == job.replicate)
        needed = sum(self._usual(one) for one in together if one.stage is Stage.TIME)
        return needed / self.pace.devices <= left

    def _usual(self, job: Job) -> float:
        """Seconds that the job may take, by the same cell's last replicate or by others of its stage."""
        before = self.ledger.ended.get((key_of(job), job.stage, job.replicate - 1))
        return before.seconds if before else self.pace.usual(job.stage)

    def _leave(self, job: Job) -> None:
        """What does not fit takes all of its stage along, a gate everything; and so do those that wait."""
        kept: list[Job] = []
        unknown: set[Need] = (
            set()
        )  # what nobody will find out; jobs stand behind those they wait for
        for one in self.jobs:
            if job.stage in {Stage.GATE, one.stage} or not unknown.isdisjoint(_needs(one)):
                self.left.append(one)
                unknown.update(_decides(one))
            else:
                kept.append(one)
        self.jobs = kept
        self.pace.expect((*self.jobs, *self._running))


def _decided(jobs: Iterable[Job]) -> Counter[Need]:
    """How many jobs each need still waits for."""
    return Counter(need for job in jobs for need in _decides(job))


def _decides(job: Job) -> tuple[Need, ...]:
    """What is known once the job has ended."""
    if job.stage is Stage.GATE:
        return (Stage.GATE, job.cell.key), (Stage.GATE, job.cell.quality_key)
    return ((job.stage, key_of(job)),) if job.stage.of_pictures else ()


def _needs(job: Job) -> tuple[Need, ...]:
    """What must be known before the job may start."""
    if job.stage in {Stage.TIME, Stage.FIT}:
        return tuple((Stage.GATE, cell.key) for cell in job.cells)
    if not job.stage.of_pictures:
        return ()
    own = (Stage.GATE, key_of(job))
    if job.stage is Stage.SAMPLE:
        return (own,)
    made = (Stage.SAMPLE, key_of(job))
    if job.reference is None:
        return own, made
    judge = job.reference.quality_key
    return own, made, (Stage.GATE, judge), (Stage.QUALITY, judge)
