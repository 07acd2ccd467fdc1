"""Runs jobs one after another, writes each record as it ends, and leaves out what has become pointless.

A cell that failed its gate has no speed. A cell whose replicate crashed, hung or ran out of memory is not
tried again, so that a hang costs one time limit and not three. Pictures without softmax's to judge them by
are a record that says so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from ditbench.jobs import Findings, Job
from ditbench.records import Record, Stage, Status
from ditbench.run import fit
from ditbench.run.events import Ended, Event, Phase, Progress, Started
from ditbench.run.interrupts import InterruptedRunError, Interrupts
from ditbench.run.order import in_order, key_of
from ditbench.run.server import Answer

Identity = tuple[str, Stage, int]


class Runner(Protocol):
    """What runs one job: the fork server, or a test's own."""

    def run_job(self, job: Job, log: Path, hear: Callable[[str], None]) -> Answer:
        """The job's findings, whatever became of it."""
        ...


class Watch(Protocol):
    """Somebody who watches the device while jobs run, and knows what their workers cannot."""

    def judge(self, job: Job, answer: Answer) -> Answer:
        """The answer with what was seen meanwhile; called in the main thread before the record is made."""
        ...


@dataclass(frozen=True)
class Session:
    """What all records of a run share.

    logs: the folder for workers' output. environment, code: identities. done: records of the run that
    is resumed. watch: sees the answer of every job that ran before it becomes a record.
    """

    logs: Path
    environment: str
    code: str
    done: tuple[Record, ...] = ()
    watch: Watch | None = None


def execute(
    jobs: Iterable[Job],
    server: Runner,
    session: Session,
    write: Callable[[Record], None],
    tell: Callable[[Event], None] = lambda _event: None,
) -> None:
    """Run all jobs that are not done yet. Raises InterruptedRunError on Ctrl-C or SIGTERM.

    write: stores one record; never interrupted. tell: hears what happens.
    """
    ledger = _Ledger.of(session.done)
    waiting = ledger.still_wanted([job for job in in_order(jobs) if not ledger.has(job)])
    pace = _Pace.of(waiting)
    try:
        with Interrupts() as interrupts:
            while waiting:
                job, *waiting = waiting
                tell(Started(job, pace.progress))
                answer = ledger.refusal(job) or _run(job, server, session, tell)
                record = _record(job, answer, session, waiting)
                with interrupts.held():
                    write(record)
                ledger.add(record)
                pace.add(record)
                if record.status is not Status.OK:  # only a failure makes other jobs pointless
                    waiting = ledger.still_wanted(waiting)
                    pace.expect(waiting)
                tell(Ended(record, pace.progress))
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"interrupted after {pace.done.total()} jobs; "
            "what has ended is saved, and --resume goes on from there"
        ) from None


def _run(job: Job, server: Runner, session: Session, tell: Callable[[Event], None]) -> Answer:
    def hear(text: str) -> None:
        tell(Phase(job, text))

    def log(number: int) -> Path:
        return session.logs / f"{key_of(job)}-{job.stage}-{number}.log"

    def trial(one: Job) -> Answer:
        # Which trial it is, the search says; the phases within are of no use to a person.
        return server.run_job(one, log(one.cell.batch_size), lambda _phase: None)

    if job.stage is Stage.FIT:  # many processes, one record
        answer = fit.find(job, trial, hear)
    else:
        answer = server.run_job(job, log(job.replicate), hear)
    return session.watch.judge(job, answer) if session.watch else answer


def _record(job: Job, answer: Answer, session: Session, waiting: Sequence[Job]) -> Record:
    """The record of a job; one that ends its cell's timing says how many replicates it took with it."""
    findings = answer.findings
    facts = dict(findings.facts)
    if job.stage is Stage.TIME and findings.status is not Status.OK:
        later = sum(job.stage is one.stage and one.cell.key == job.cell.key for one in waiting)
        facts |= {"replicates_skipped": later} if later else {}
    return Record(
        cell=job.cell,
        stage=job.stage,
        status=findings.status,
        replicate=job.replicate,
        reason=findings.reason,
        metrics=findings.metrics,
        warmups=findings.warmups,
        facts=facts,
        started=answer.started,
        seconds=answer.seconds,
        environment=session.environment,
        code=session.code,
    )


@dataclass
class _Ledger:
    """What has ended so far, and what follows from it."""

    ended: dict[Identity, Record] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)  # keys of cells of which a replicate failed
    pictures: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, records: Iterable[Record]) -> _Ledger:
        ledger = cls()
        for record in records:
            ledger.add(record)
        return ledger

    def add(self, record: Record) -> None:
        self.ended[record.key, record.stage, record.replicate] = record
        if record.stage is Stage.TIME and record.status is not Status.OK:
            self.broken.add(record.key)
        if record.stage is Stage.GATE:
            self.pictures[record.cell.quality_key].append(record)

    def has(self, job: Job) -> bool:
        return (key_of(job), job.stage, job.replicate) in self.ended

    def still_wanted(self, jobs: Sequence[Job]) -> list[Job]:
        """Without those that nothing could come of any more."""
        untried = {job.cell.quality_key for job in jobs if job.stage is Stage.GATE}
        return [
            job
            for job in jobs
            if not self._pointless(job) or (job.stage is Stage.QUALITY and key_of(job) in untried)
        ]

    def refusal(self, job: Job) -> Answer | None:
        """Why pictures cannot be judged, as an answer, or None where they can."""
        if job.stage is not Stage.QUALITY or job.reference is None:
            return None
        key = job.reference.quality_key
        pictures = self.ended.get((key, Stage.QUALITY, 0))
        failed = pictures or self._failed_gate(key)
        if failed is None or failed.status is Status.OK:
            return None
        reason = f"no softmax pictures to judge by: {failed.reason}"
        return Answer(
            Findings(failed.status, reason), datetime.now(UTC).isoformat(timespec="seconds"), 0.0
        )

    def _pointless(self, job: Job) -> bool:
        if job.stage in {Stage.TIME, Stage.FIT}:
            gate = self.ended.get((job.cell.key, Stage.GATE, 0))
            failed = gate is not None and gate.status is not Status.OK
            return failed or job.cell.key in self.broken
        return job.stage is Stage.QUALITY and self._failed_gate(key_of(job)) is not None

    def _failed_gate(self, quality_key: str) -> Record | None:
        """A failed gate, where no cell that shares these pictures passed its own."""
        gates = self.pictures.get(quality_key, [])
        failed = all(gate.status is not Status.OK for gate in gates)
        return gates[0] if gates and failed else None


@dataclass
class _Pace:
    """How long jobs of each stage take, and how many are left: sums, so that no event looks at every job."""

    left: Counter[Stage]
    done: Counter[Stage] = field(default_factory=Counter)
    seconds: dict[Stage, float] = field(default_factory=lambda: defaultdict(float))

    @classmethod
    def of(cls, waiting: Iterable[Job]) -> _Pace:
        return cls(Counter(job.stage for job in waiting))

    def add(self, record: Record) -> None:
        self.left[record.stage] -= 1
        self.done[record.stage] += 1
        self.seconds[record.stage] += record.seconds

    def expect(self, waiting: Iterable[Job]) -> None:
        """Only these are left."""
        self.left = Counter(job.stage for job in waiting)

    @property
    def progress(self) -> Progress:
        done = self.done.total()
        return Progress(done, done + self.left.total(), self._eta())

    def _eta(self) -> float | None:
        """Seconds until the last job; a stage not seen yet takes what the others took."""
        done = self.done.total()
        if not done:
            return None
        usual = sum(self.seconds.values()) / done
        return sum(
            number * (self.seconds[stage] / self.done[stage] if self.done[stage] else usual)
            for stage, number in self.left.items()
        )
