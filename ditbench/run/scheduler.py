"""Runs jobs, one at a time on each device, writes each record as it ends, and leaves out what is pointless.

A cell that failed its gate has no speed. A cell whose replicate crashed, hung or ran out of memory is not
tried again, so that a hang costs one time limit and not three; two arms in turns are, once. Pictures without
softmax's to judge them by are a record that says so.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ditbench.errors import UnfitError
from ditbench.jobs import Job
from ditbench.records import Record, Stage, Status
from ditbench.run import fit
from ditbench.run.crew import Crew
from ditbench.run.events import Ended, Event, Phase, Started
from ditbench.run.interrupts import InterruptedRunError, Interrupts
from ditbench.run.ledger import Ledger
from ditbench.run.order import in_order, key_of
from ditbench.run.server import Answer
from ditbench.run.waiting import Budget, Waiting


class Runner(Protocol):
    """What runs one job: the fork server, or a test's own."""

    def run_job(self, job: Job, log: Path, hear: Callable[[str], None]) -> Answer:
        """The job's findings, whatever became of it."""
        ...

    def stop(self) -> None:
        """End every job that runs now; called while they run in other threads."""
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
    is resumed. watch: sees the answer of every job that ran before it becomes a record. devices: where
    jobs run, one at a time on each; none where each job names its own. budget: None for all the time
    that it takes.
    """

    logs: Path
    environment: str
    code: str
    done: tuple[Record, ...] = ()
    watch: Watch | None = None
    devices: tuple[str, ...] = ()
    budget: Budget | None = None


def execute(
    jobs: Iterable[Job],
    server: Runner,
    session: Session,
    write: Callable[[Record], None],
    tell: Callable[[Event], None] = lambda _event: None,
) -> int:
    """Run all jobs that are not done yet; how many were left for want of time.

    write: stores one record; never interrupted. tell: hears what happens. Raises InterruptedRunError on
    Ctrl-C, SIGTERM or SIGHUP.
    """
    ledger = Ledger.of(session.done)
    first = session.budget.first if session.budget else frozenset()
    fresh = ledger.still_wanted([job for job in in_order(jobs, first) if not ledger.has(job)])
    queue = Waiting(fresh, ledger, session.devices, session.budget)
    try:
        work = functools.partial(_work, server, session.logs)
        hands = Crew(session.devices or ("",), work, server.stop)
        with Interrupts() as interrupts:
            run = _Run(queue, session, hands, tell, write, interrupts.held)
            run.to_the_end()
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"interrupted after {queue.pace.done.total()} jobs; "
            "what has ended is saved, and --resume goes on from there"
        ) from None
    return len(queue.left)


def _work(server: Runner, logs: Path, job: Job, hear: Callable[[str], None]) -> Answer:
    """Do one job, in whatever thread its device has."""

    def log(number: int) -> Path:
        return logs / f"{key_of(job)}-{job.stage}-{number}.log"

    def trial(one: Job) -> Answer:
        return server.run_job(one, log(one.cell.batch_size), of_trial)

    def of_trial(phase: str) -> None:
        # Which trial it is, the search says; of a trial's own phases only a wait for the device matters.
        if phase.startswith("waiting"):
            hear(phase)

    if job.stage is Stage.FIT:  # many processes, one record
        return fit.find(job, trial, hear)
    return server.run_job(job, log(job.replicate), hear)


@dataclass
class _Run:
    """A run on its way: jobs go to devices, answers become records.

    held: within it, a signal waits until its end.
    """

    queue: Waiting
    session: Session
    crew: Crew
    tell: Callable[[Event], None]
    write: Callable[[Record], None]
    held: Callable[[], AbstractContextManager[None]]

    def to_the_end(self) -> None:
        """Until no job is left, or none that fits the budget.

        On Ctrl-C, or where one device is not fit, what has ended on the others is kept all the same.
        """
        try:
            with self.crew:
                self._work_off()
        except (UnfitError, KeyboardInterrupt):
            for done in self.crew.ended:
                if done.answer and not self.queue.ledger.has(done.job):
                    self._end(done.job, done.answer, self.session.watch)
            raise

    def _work_off(self) -> None:
        while True:
            for device in self.crew.idle:
                self._occupy(device)
            if not self.crew.running:
                return
            told = self.crew.hear()
            if isinstance(told, Phase):
                self.tell(told)
                continue
            self._end(told.job, told.result(), self.session.watch)

    def _occupy(self, device: str) -> None:
        """Give a device its next job; one that is refused ends at once, and is not the last to be tried."""
        while job := self.queue.take(device):
            self.tell(Started(job, self.queue.pace.progress))
            refusal = self.queue.ledger.refusal(job)
            if refusal is None:
                self.crew.give(device, job)
                return
            self._end(job, refusal)

    def _end(self, job: Job, answer: Answer, watch: Watch | None = None) -> None:
        with self.held():  # so that what is written is in the ledger, and nothing is written twice
            judged = watch.judge(job, answer) if watch else answer
            record = _record(job, judged, self.session, self.queue.jobs)
            self.write(record)
            self.queue.end(job, record)
        self.tell(Ended(record, self.queue.pace.progress))


def _record(job: Job, answer: Answer, session: Session, waiting: Sequence[Job]) -> Record:
    """The record of a job; one that ends its cell's timing says how many replicates it took with it."""
    findings = answer.findings
    facts = dict(findings.facts)
    if job.device != "cpu":
        facts["gpu_uuid"] = job.device
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
