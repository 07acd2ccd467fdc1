"""Two arms of one commit side by side: gates, then rounds of processes that each run both arms in turns.

Each process is one job of the fork server, with its lock, its limits and its watch; a crash is a record.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ditbench import environment
from ditbench.devices import nvml
from ditbench.devices.device import Device
from ditbench.errors import UsageError
from ditbench.gating import GATE, MOST, PROCESSES
from ditbench.jobs import Job, Timing
from ditbench.records import Cell, Record, Stage, Status
from ditbench.run import scheduler, telemetry
from ditbench.run.display import display_of
from ditbench.run.interrupts import InterruptedRunError
from ditbench.store import Arm, Session, SessionWriter, session_read
from ditbench.store.sessions import ARM, ARMS, PROCESS, share
from ditbench.suite.spec import Suite
from ditbench.summary.sides import Pair, two_modes

Pairs = tuple[Pair, ...]

# How well a process is to know its own ratio, as a share of the gate.
_SHARE = 0.25
# Pairs of calls and seconds beyond which a process only learns about itself.
_MOST_PAIRS, _CAP_S = 2000, 20.0
_SUFFIX = ".session.jsonl"


@dataclass(frozen=True)
class Match:
    """What is to be measured: pairs of A's and B's cells, each cell in one pair of its arm.

    path: of the session's file; what workers print and what the machine did lie in a folder beside it.
    processes, most: of each pair, and of those that `wants_more` names once all have had theirs.
    """

    suite: Suite
    pairs: Pairs
    arms: tuple[Arm, Arm]
    path: Path
    processes: int = PROCESSES
    most: int = MOST
    wants_more: Callable[[Session], Pairs] = two_modes

    @property
    def timing(self) -> Timing:
        """How often in each process: pairs until their median ratio is known to a quarter of the gate.

        At least as many as a run repeats; in no more time than a run would take, or _CAP_S.
        """
        asked = self.suite.timing
        return dataclasses.replace(
            asked,
            processes=self.processes,
            precision=_SHARE * self.suite.gate.get("latency", GATE),
            most_repeats=max(asked.repeats, _MOST_PAIRS),
            cap_s=min(asked.cap_s, _CAP_S),
        )

    @property
    def folder(self) -> Path:
        """For logs and telemetry."""
        return self.path.with_name(self.path.name.removesuffix(_SUFFIX) + ".logs")


def duel(
    match: Match,
    server: scheduler.Runner,
    devices: Sequence[Device],
    warn: Callable[[str], None],
) -> Session:
    """Measure every pair; the session as it is on disk. warn: hears what does not end it.

    Raises UsageError for pairs that no file could tell apart, StoreError, and InterruptedRunError, after
    which the session holds what had ended.
    """
    _check(match.pairs)
    with SessionWriter.create(_head(match)) as writer:
        match.folder.mkdir(parents=True, exist_ok=True)
        watches = telemetry.watches(list(devices), nvml.load())
        watch = telemetry.Telemetry(watches, match.folder, warn)
        with watch:
            ring = _Ring(match, server, devices, writer, watch)
            ring.hold(_jobs(match, devices[0].name))
            wanted = match.wants_more(session_read(match.path))
            rounds = range(match.processes, match.most)
            ring.hold(_timed(match, wanted, rounds, devices[0].name))
        writer.finish()
    return session_read(match.path)


def _check(pairs: Pairs) -> None:
    """Records say their arm and cell, and so a cell stands in one pair of its arm."""
    for arm in range(2):
        cells = [pair[arm] for pair in pairs]
        twice = next((cell for cell in cells if cells.count(cell) > 1), None)
        if twice:
            raise UsageError(f"{twice.id}: stands in two pairs of arm {ARMS[arm]}")


def _head(match: Match) -> Session:
    return Session(
        path=match.path,
        suite=match.suite.name,
        suite_path=match.suite.path,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        arms=match.arms,
        inside=True,
        pairs=match.pairs,
        gate=dict(match.suite.gate),
        effort={"timing": dataclasses.asdict(match.timing)},
    )


def _jobs(match: Match, device: str) -> tuple[Job, ...]:
    """A gate for every cell of either arm, and the processes that every pair has."""
    cells = {cell.key: cell for pair in match.pairs for cell in pair}
    gates = (_job(match, cell, Stage.GATE, 0, device) for cell in cells.values())
    return (*gates, *_timed(match, match.pairs, range(match.processes), device))


def _timed(
    match: Match, pairs: Iterable[Pair], rounds: Iterable[int], device: str
) -> tuple[Job, ...]:
    pairs = tuple(pairs)
    return tuple(
        dataclasses.replace(_job(match, b, Stage.TIME, number, device), beside=a)
        for number in rounds
        for a, b in pairs
    )


def _job(match: Match, cell: Cell, stage: Stage, number: int, device: str) -> Job:
    quality = match.suite.quality
    return Job(cell, stage, number, match.timing, quality, ("latency",), device, match.folder)


@dataclass
class _Ring:
    """Where jobs are run and become records. ended: as the scheduler knows them, both arms in one."""

    match: Match
    server: scheduler.Runner
    devices: Sequence[Device]
    writer: SessionWriter
    watch: scheduler.Watch
    ended: list[Record] = field(default_factory=list)

    def hold(self, jobs: Sequence[Job]) -> None:
        """Run these jobs. Raises InterruptedRunError."""
        arm = self.match.arms[0]
        session = scheduler.Session(
            self.match.folder,
            arm.environment.id,
            environment.code_label(arm.code),
            tuple(self.ended),
            self.watch,
            tuple(one.name for one in self.devices),
        )
        if not jobs:
            return
        try:
            with display_of(jobs) as display:
                scheduler.execute(jobs, self.server, session, self._write, display)
        except InterruptedRunError:
            done = sum(record.stage is Stage.TIME for record in self.ended)
            raise InterruptedRunError(
                f"interrupted; the {done} processes that had ended are in {self.match.path}, "
                "which nothing goes on with: measure anew into another file"
            ) from None

    def _write(self, record: Record) -> None:
        self.ended.append(dataclasses.replace(record, metrics={}, warmups={}))
        for one in _told(record, self.match.pairs):
            self.writer.append(one)


def _told(record: Record, pairs: Pairs) -> Iterator[Record]:
    """What a job's record says of each arm; a gate only where it keeps that arm from the stopwatch."""
    if record.stage is Stage.TIME:
        pair = next(pair for pair in pairs if pair[1].key == record.cell.key)
        for arm, cell in zip(ARMS, pair, strict=True):
            yield _placed(record, arm, cell)
    elif record.status is not Status.OK:
        for number, arm in enumerate(ARMS):
            if record.cell.key in {pair[number].key for pair in pairs}:
                yield _placed(record, arm, record.cell)


def _placed(record: Record, arm: str, cell: Cell) -> Record:
    """An arm's share of a record, with its place in the session."""
    return share(record, arm, cell, {ARM: arm, PROCESS: record.replicate})
