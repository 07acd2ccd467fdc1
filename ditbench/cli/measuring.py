"""A plan, carried out: the run that is written, gone on with or stopped, and what its head says."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ditbench import errors, units
from ditbench.cli import output

if TYPE_CHECKING:
    from ditbench.devices.device import Device
    from ditbench.jobs import Job
    from ditbench.plan import Plan
    from ditbench.records import Record
    from ditbench.run.server import Server
    from ditbench.run.waiting import Budget
    from ditbench.store import Offer, Run, RunWriter


_ONLY_PICTURES = "pictures were made, and nothing else"


@dataclass(frozen=True)
class Allowance:
    """A time budget as it was said, and when it ends by the monotonic clock."""

    said: str
    deadline: float

    @classmethod
    def of(cls, text: str) -> Allowance | None:
        """None for no budget. Raises UsageError for what is no time."""
        if not text:
            return None
        seconds = units.parse_seconds(text)
        if not seconds:
            raise errors.UsageError(f"--time-budget {text}: write a time, as 90s, 30m or 1h30m")
        return cls(units.seconds(seconds), time.monotonic() + seconds)

    def budget(self, planned: Plan) -> Budget:
        """What the scheduler is told: exact methods first, because the others are held against them."""
        from ditbench.run.waiting import Budget

        return Budget(self.deadline, frozenset({"softmax", *planned.suite.exact}))


def measure(
    planned: Plan,
    server: Server,
    devices: Sequence[Device],
    out: Path,
    resume: str,
    allowed: Allowance | None = None,
    *,
    pictures: bool = False,
    source: Run | None = None,
    begun: Callable[[Path], object] = lambda _: None,
) -> Path:
    """Run every job of the plan; the run's folder. pictures: only those that make pictures, judging none.

    source: a run whose pictures are taken over where this one would make the same. begun: hears the folder
    as soon as it is there, and so of a run that does not come to its end.
    """
    from ditbench import environment
    from ditbench.devices import nvml
    from ditbench.devices.device import facts_of
    from ditbench.run import telemetry
    from ditbench.run.display import display_of
    from ditbench.run.scheduler import Session, execute

    device = devices[0]
    watches = telemetry.watches(list(devices), nvml.load())
    here = environment.collect(device.kind, facts_of(devices), os.environ)
    code = environment.code_identity(Path(planned.suite.path))
    head = _head(planned, here, code)
    offer = _offer(source, head, planned) if source else None
    with _writer(head, out, resume) as writer:
        begun(writer.folder)
        done = (*writer.run.records, *(_take_over(writer, offer) if offer else ()))
        _write_refused(writer, planned, head, done)
        if not pictures:
            _write_counted(writer, planned, head, server, device)
        jobs = _jobs(planned, writer, devices, pictures=pictures)
        watch = telemetry.Telemetry(watches, writer.folder, output.warn)
        session = Session(
            writer.logs,
            here.id,
            environment.code_label(code),
            done,
            watch,
            devices=tuple(one.name for one in devices),
            budget=allowed.budget(planned) if allowed else None,
        )
        with watch, display_of(jobs) as display:
            left = execute(jobs, server, session, writer.append, display)
        why = f"stopped after {allowed.said}" if allowed and left else ""
        if pictures and writer.run.finished:
            return writer.folder
        why = (
            _ONLY_PICTURES if pictures else f"{why}: {left} of {len(jobs)} jobs left" if why else ""
        )
        _close(writer, why)
    return writer.folder


def _jobs(
    planned: Plan, writer: RunWriter, devices: Sequence[Device], *, pictures: bool
) -> tuple[Job, ...]:
    """What is to be done: everything, or pictures alone."""
    from ditbench.run import fit
    from ditbench.run.order import jobs_of, pictures_of, with_canaries

    device = devices[0]
    if pictures:
        return pictures_of(planned.runnable, planned.suite, device.name, writer.images)
    limit = fit.limit(writer.run.records) if device.kind == "cpu" else None
    to_run = () if planned.counts_only else planned.runnable
    jobs = jobs_of(to_run, planned.suite, device.name, writer.images, limit)
    return with_canaries(jobs, [one.name for one in devices])


def _offer(source: Run, head: Run, planned: Plan) -> Offer:
    """What of another run's pictures this one would make; before it begins, for there may be nothing."""
    from ditbench import store
    from ditbench.run.order import jobs_of

    jobs = jobs_of(() if planned.counts_only else planned.runnable, planned.suite, "", Path())
    offer = store.offered(source, head, jobs)
    for lost in offer.lost:
        output.warn(f"{lost}; it is made anew")
    if head.code.get("dirty"):
        output.warn(
            f"--pictures {source.id}: the code holds changes that no commit has: whether they are those that "
            "made these pictures, nobody can tell"
        )
    return offer


def _take_over(writer: RunWriter, offer: Offer) -> tuple[Record, ...]:
    from ditbench import store

    taken = store.take_over(writer, offer)
    count = len(taken)
    shards = "1 shard" if count == 1 else f"{count} shards"
    output.warn(f"{shards} of pictures taken over from run {offer.run.id}")
    return taken


def _writer(head: Run, out: Path, resume: str) -> RunWriter:
    """A new run, or the one that goes on."""
    from ditbench import store

    if not resume:
        return store.RunWriter.create(out, head)
    earlier = store.read(store.find(out, resume))
    check_same(earlier, head)
    writer = store.RunWriter.resume(earlier.folder)
    writer.stop("")
    for problem in writer.run.problems:
        output.warn(f"{problem}; what it held is measured again")
    return writer


def _close(writer: RunWriter, stopped: str) -> None:
    """Say on disk how the run ended, and to a person where it did not come to its end."""
    if not stopped:
        writer.finish()
        return
    writer.stop(stopped)
    print(f"ditbench: {stopped}; go on with --resume {writer.run.id}", file=sys.stderr)


def _head(planned: Plan, here: object, code: object) -> Run:
    """What run.json says."""
    from ditbench import store

    suite = planned.suite
    return store.Run(
        id="",
        folder=Path(),
        suite=suite.name,
        suite_path=suite.path,
        suite_text=suite.text,
        command=shlex.join(["ditbench", *sys.argv[1:]]),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        finished=False,
        environment=here,  # type: ignore[arg-type]  # imported where it is used
        code=code,  # type: ignore[arg-type]  # likewise
        planned=tuple(entry.cell for entry in planned.entries),
        selected=planned.select,
        records=(),
        gate=dict(suite.gate),
        claims=tuple(claim.plain for claim in suite.claims),
        effort={
            "timing": dataclasses.asdict(suite.timing),
            "quality": dataclasses.asdict(suite.quality),
            "metrics": list(suite.metrics),
            **({"quick": list(suite.shortened)} if suite.shortened else {}),
        },
    )


def check_same(earlier: Run, head: Run) -> None:
    """A resumed run must go on as it began: cells, machine, effort and code."""
    from ditbench import store

    if {cell.key for cell in earlier.planned} != {cell.key for cell in head.planned}:
        raise errors.UsageError(
            f"--resume {earlier.id}: the suite plans other cells than that run did; "
            "give the suite, -k and --set as they were, or start another run"
        )
    if differences := store.unlike(earlier, head):
        raise errors.UsageError(
            f"--resume {earlier.id}: that run did not measure like this: {'; '.join(differences)}; "
            "go back to what it had, or start another run"
        )


def _write_refused(writer: RunWriter, planned: Plan, head: Run, done: tuple[Record, ...]) -> None:
    from ditbench.records import Record, Stage

    known = {record.key for record in done if record.stage is Stage.PLAN}
    for entry in planned.refused:
        if entry.cell.key not in known and entry.status:
            writer.append(
                Record(
                    entry.cell,
                    Stage.PLAN,
                    entry.status,
                    reason=entry.reason,
                    started=head.started,
                    environment=head.environment.id,
                )
            )


def _write_counted(
    writer: RunWriter, planned: Plan, head: Run, server: Server, device: Device
) -> None:
    """Count, in one process, what shapes alone tell; first, so that no budget leaves it out."""
    from ditbench import environment
    from ditbench.records import Record, Stage

    known = {record.key for record in writer.run.records if record.stage is Stage.COUNT}
    cells = tuple(cell for cell in planned.counted if cell.key not in known)
    if not cells:
        return
    begin, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    limit = planned.suite.timing.timeout_s.of(Stage.COUNT)
    function = "ditbench.measure.counting:count"
    counted = server.call(function, cells, device.kind, timeout_s=limit)
    seconds = (time.monotonic() - begin) / len(cells)
    for cell, findings in zip(cells, counted, strict=True):
        writer.append(
            Record(
                cell,
                Stage.COUNT,
                findings.status,
                reason=findings.reason,
                metrics=findings.metrics,
                facts=findings.facts,
                started=started,
                seconds=seconds,
                environment=head.environment.id,
                code=environment.code_label(dict(head.code)),
            )
        )
