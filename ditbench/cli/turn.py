"""One turn of an arm, in its own interpreter: the canary, and every cell once beside a reference method.

`python -m ditbench.cli.turn REQUEST.json` is started by `ditbench ab` of another version perhaps: what it is
asked is one flat object, and what it answers a file of a session, which says its own schema.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ditbench import errors
from ditbench.cli import output

if TYPE_CHECKING:
    from ditbench.devices.device import Device
    from ditbench.jobs import Job
    from ditbench.plan import Plan
    from ditbench.records import Cell, Record
    from ditbench.run.server import Server
    from ditbench.store import Arm, Session, SessionWriter

    # A cell, and the reference method that is timed in turns with it, where one can be.
    Pair = tuple[Cell | None, Cell]


@dataclass(frozen=True)
class Request:
    """What is to be measured, and where it goes.

    ids: the cells; none for those that `select` finds. number: of the round, from 0; gates stand before the
    first one only, for the code stays the same.
    """

    suite: str
    to: str
    number: int
    ids: tuple[str, ...] = ()
    select: str = ""
    overrides: tuple[str, ...] = ()
    quick: bool = False
    gpu: str | None = None
    lock_clocks: str = ""

    def write(self, path: Path) -> None:
        """As the arm's process reads it."""
        path.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Request:
        """What another version asks beside these is not known here, and left aside."""
        plain = json.loads(path.read_text(encoding="utf-8"))
        known = {one.name: plain[one.name] for one in dataclasses.fields(cls) if one.name in plain}
        lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
        return cls(**known | lists)


def take(request: Request) -> None:
    """Measure what is asked for. Raises what planning and measuring raise."""
    from ditbench.cli.preparing import Choices, plan_of, session_of

    choices = Choices(
        suite=Path(request.suite),
        select=request.select,
        overrides=request.overrides,
        quick=request.quick,
        gpu=request.gpu,
        lock_clocks=request.lock_clocks,
    )
    with session_of(choices) as (server, devices):
        planned = plan_of(choices, server, devices[0])
        cells = tuple(_wanted(planned, request.ids))
        pairs = _beside(cells, server, devices[0])
        _measure(request, planned, pairs, server, devices)


def _wanted(planned: Plan, ids: Sequence[str]) -> Iterator[Cell]:
    """Cells that have a latency: neither counted nor searched for the largest batch."""
    for cell in planned.runnable:
        timed = not (planned.counts_only or cell.finds_batch)
        if timed and (not ids or cell.id in ids):
            yield cell


def _beside(cells: Sequence[Cell], server: Server, device: Device) -> tuple[Pair, ...]:
    """Each cell with the reference method that is timed in turns with it: sdpa, else softmax, else none."""
    offered = {cell.key: tuple(_references(cell)) for cell in cells}
    asked = {one.key: one for several in offered.values() for one in several}
    inspect = "ditbench.measure.catalog:inspect"
    found = server.call(inspect, tuple(asked.values()), device.kind, device=device.name)
    able = {one.key for one in found if not (one.broken or one.reasons)}
    return tuple(
        (next((one for one in offered[cell.key] if one.key in able), None), cell) for cell in cells
    )


def _references(cell: Cell) -> Iterator[Cell]:
    """The cell with another method: never itself."""
    from ditbench.records import Choice

    blocks = cell.blocks if cell.op else tuple(range(int(cell.model["depth"])))
    for name in ("sdpa", "softmax"):
        if name != cell.attention.name:
            yield dataclasses.replace(
                cell, attention=Choice(name), blocks=blocks, blocks_label="all", compile=False
            )


def _measure(
    request: Request,
    planned: Plan,
    pairs: Sequence[Pair],
    server: Server,
    devices: Sequence[Device],
) -> None:
    from ditbench import environment
    from ditbench.devices import nvml
    from ditbench.run import scheduler, telemetry
    from ditbench.run.display import display_of
    from ditbench.store import SessionWriter

    path, arm = Path(request.to), _arm(request, devices)
    jobs = tuple(_jobs(request, planned, pairs, devices[0]))
    logs = path.with_suffix(".logs")
    logs.mkdir()
    watch = telemetry.Telemetry(telemetry.watches(list(devices), nvml.load()), logs, output.warn)
    session = scheduler.Session(
        logs,
        arm.environment.id,
        environment.code_label(arm.code),
        watch=watch,
        devices=tuple(one.name for one in devices),
    )
    with SessionWriter.create(_session(path, planned, pairs, arm)) as writer:
        told = _Told(writer, {cell.key: reference for reference, cell in pairs})
        with watch, display_of(jobs) as display:
            scheduler.execute(jobs, server, session, told, display)
        writer.finish()


def _jobs(request: Request, planned: Plan, pairs: Sequence[Pair], device: Device) -> Iterator[Job]:
    """Gates before the first round; then each cell once, every other round backwards, and the canary."""
    from ditbench.jobs import Job
    from ditbench.records import CANARY, CANARY_PLACES, Stage

    suite, folder = planned.suite, Path(request.to).with_suffix(".logs")
    # As often as the suite says: beyond that a process only learns about itself.
    timing = dataclasses.replace(suite.timing, processes=1)
    asked = (timing, suite.quality, ("latency",), device.name, folder)
    if not request.number:
        yield from (Job(cell, Stage.GATE, 0, *asked) for _, cell in pairs)
    for reference, cell in pairs[:: -1 if request.number % 2 else 1]:
        yield Job(cell, Stage.TIME, request.number, *asked, beside=reference)
    if pairs:
        yield Job(CANARY, Stage.CANARY, CANARY_PLACES.index("middle"), *asked)


def _arm(request: Request, devices: Sequence[Device]) -> Arm:
    """What runs here: this interpreter's code and packages."""
    import os

    from ditbench import environment
    from ditbench.devices.device import facts_of
    from ditbench.store import Arm

    here = environment.collect(devices[0].kind, facts_of(tuple(devices)), os.environ)
    return Arm("", environment.code_identity(Path(request.suite)), here)


def _session(path: Path, planned: Plan, pairs: Sequence[Pair], arm: Arm) -> Session:
    """A file's head: A is the reference method, B the cell, both of this one arm."""
    from ditbench.store import Session

    suite = planned.suite
    return Session(
        path=path,
        suite=suite.name,
        suite_path=suite.path,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        arms=(arm, arm),
        inside=True,
        pairs=tuple((reference or cell, cell) for reference, cell in pairs),
        gate=dict(suite.gate),
        effort={"timing": dataclasses.asdict(suite.timing)},
    )


@dataclass(frozen=True)
class _Told:
    """Writes the canary, and the shares of a cell and of its reference (`beside`, by the cell's key)."""

    writer: SessionWriter
    beside: Mapping[str, Cell | None]

    def __call__(self, record: Record) -> None:
        from ditbench.records import Stage, Status
        from ditbench.store.sessions import ARMS, SHARES, WITNESS, share

        if record.stage is Stage.CANARY:
            self.writer.append(record)
            return
        if record.stage is not Stage.TIME and record.status is Status.OK:
            return  # a gate that was passed: its cell is timed
        a, b = ARMS
        self.writer.append(share(record, b, record.cell, {}))
        if reference := self.beside[record.cell.key] if SHARES in record.facts else None:
            self.writer.append(share(record, a, reference, {WITNESS: record.cell.key}))


def main(arguments: Sequence[str]) -> int:
    """Take the turn that a file asks for; the exit code, after one line of what went wrong."""
    from ditbench.run.interrupts import Interrupts

    with Interrupts(at_the_end=True):
        try:
            take(Request.read(Path(arguments[0])))
        except errors.DitbenchError as error:
            output.warn(str(error))
            return error.exit_code
        except KeyboardInterrupt:
            return errors.INTERRUPTED
    return errors.OK


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
