"""The verbs that measure: run, plan, train."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench import errors, units
from ditbench.cli import completion, output
from ditbench.cli.options import (
    BASELINES,
    RESULTS,
    Baselines,
    Gpu,
    Json,
    Out,
    Quick,
    Select,
    Set,
    SuiteFile,
)

if TYPE_CHECKING:
    from ditbench.devices.device import Device
    from ditbench.plan import Plan
    from ditbench.records import Record
    from ditbench.run.server import Server
    from ditbench.run.waiting import Budget
    from ditbench.store import Against, Run, RunWriter


def add_to(app: typer.Typer) -> None:
    """Register these verbs."""
    app.command("run")(run)
    app.command("plan")(plan)
    app.command("train")(train)


@dataclass(frozen=True)
class Choices:
    """What the command line adds to a suite."""

    suite: Path
    select: str = ""
    overrides: tuple[str, ...] = ()
    quick: bool = False
    gpu: str | None = None


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


def run(
    suite: SuiteFile,
    select: Select = "",
    set_: Set = None,
    quick: Quick = False,
    gpu: Gpu = None,
    resume: Annotated[
        str,
        typer.Option(
            "--resume",
            metavar="RUN",
            help="Go on with a run that was cut off.",
            autocompletion=completion.runs,
        ),
    ] = "",
    baseline: Annotated[
        str,
        typer.Option(
            "--baseline",
            metavar="NAME|RUN|none",
            help="Compare with a stored baseline or a run; default: the last finished run of this suite.",
            autocompletion=completion.baselines_and_runs,
        ),
    ] = "",
    time_budget: Annotated[
        str,
        typer.Option(
            "--time-budget",
            metavar="TIME",
            help="Start nothing that would not be done in time, as 30m or 2h; --resume goes on.",
        ),
    ] = "",
    out: Out = RESULTS,
    baselines: Baselines = BASELINES,
    dry_run: Annotated[
        bool, typer.Option("-n", "--dry-run", help="The plan, and nothing else.")
    ] = False,
) -> int:
    """Measure a suite, then write and name its report."""
    if dry_run:
        return plan(suite, select, set_, quick, gpu, out)
    against = _required(baseline, out, baselines, resume)
    choices = Choices(suite, select, tuple(set_ or ()), quick, gpu)
    allowed = Allowance.of(time_budget)
    with session_of(choices) as (server, devices):
        planned = plan_of(choices, server, devices[0])
        folder = _measure(planned, server, devices, out, resume, allowed)
    return _conclude(folder, out, against)


def plan(
    suite: SuiteFile,
    select: Select = "",
    set_: Set = None,
    quick: Quick = False,
    gpu: Gpu = None,
    out: Out = RESULTS,
    json: Json = False,
) -> int:
    """Say what would run, what would not and why, and how long it would take."""
    from ditbench import plan as planning
    from ditbench import summary

    choices = Choices(suite, select, tuple(set_ or ()), quick, gpu)
    with session_of(choices) as (server, (device, *_)):
        planned = plan_of(choices, server, device)
        rate = server.call(
            "ditbench.measure.catalog:macs_per_second",
            device.name,
            device=device.name,
            alone=device.gpu is not None,  # a guess about processors is not worth waiting for
            hear=output.warn,
        )
    if json:
        return output.as_json(planning.to_json(planned))
    earlier = _records_of_last(out, planned.suite.name)
    overhead = summary.overhead(earlier) or planning.OVERHEAD_S
    machine = planning.Machine(rate, _memory(planned, device), overhead)
    estimate = planning.estimate(planned, _latency_seen(earlier), machine)
    output.show_plan(planned, estimate)
    return errors.OK


def train(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A training file: see suites/train.",
            autocompletion=completion.yaml_files,
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="A folder of IDX files, instead of the file's."),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", metavar="DIR", help="Write what ships: float16 weights and a card."
        ),
    ] = None,
    out: Out = RESULTS / "train",
) -> int:
    """Train the model or the feature network that ships; a run that was killed goes on."""
    from ditbench.train import command

    command.train(file, data, out, export)
    return errors.OK


@contextmanager
def session_of(choices: Choices) -> Iterator[tuple[Server, tuple[Device, ...]]]:
    """A fork server, and the devices that were asked for; refused where the environment is not fit."""
    from ditbench import environment
    from ditbench.devices import device, nvml
    from ditbench.run.server import Server

    chosen = device.choose_all(choices.gpu, nvml.load(), os.environ)
    here = environment.collect(chosen[0].kind, device.facts_of(chosen), os.environ)
    if refusals := environment.refusals(here):
        raise errors.UnfitError("; ".join(refusals))
    with Server() as server:
        yield server, chosen


def plan_of(choices: Choices, server: Server, device: Device) -> Plan:
    """The plan of a suite for a device. Raises UsageError and SuiteError where nothing would run."""
    from ditbench import plan as planning
    from ditbench.suite import parse

    text = parse.read(choices.suite)
    overrides = _overrides(choices.overrides)
    told = [
        text,
        *(f"attention: [{value}\n]" for axis, value in overrides.items() if axis == "attention"),
    ]
    outside = [
        name for part in told for name in parse.methods_from_outside(part, str(choices.suite))
    ]
    catalog = server.call("ditbench.measure.catalog:catalog", outside)
    suite = parse.parse(text, str(choices.suite), catalog, overrides)
    if choices.quick:
        _check_quick(overrides)
        suite = planning.quick(suite)
    cells = planning.expand(suite)
    inspections = server.call(
        "ditbench.measure.catalog:inspect", cells, device.kind, device=device.name
    )
    return planning.assemble(suite, cells, inspections, choices.select)


def _memory(planned: Plan, device: Device) -> float:
    """Bytes that a worker of this plan may hold."""
    from ditbench.devices import memory

    if device.gpu:
        return device.gpu.memory_total or 0
    return planned.suite.timing.memory_limit or memory.limit()


def _overrides(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for axis, equals, _ in pairs:
        if not equals:
            raise errors.UsageError(f"--set {axis}: write --set axis=value or axis=v1,v2")
    axes = [axis.strip() for axis, _, _ in pairs]
    for axis in axes:
        if axes.count(axis) > 1:
            raise errors.UsageError(f"--set {axis} is given twice; write all values in one")
    return {axis: values for axis, (_, _, values) in zip(axes, pairs, strict=True)}


def _check_quick(overrides: Mapping[str, str]) -> None:
    """`--quick` says how often; what says otherwise beside it would be lost in silence."""
    lost = [axis for axis in overrides if axis.startswith("timing.") and axis != "timing.timeout_s"]
    if lost:
        raise errors.UsageError(f"--quick decides {lost[0]} itself: leave out one of the two")


def _measure(
    planned: Plan,
    server: Server,
    devices: Sequence[Device],
    out: Path,
    resume: str,
    allowed: Allowance | None,
) -> Path:
    """Run every job of the plan; the run's folder."""
    from ditbench import environment
    from ditbench.devices import nvml
    from ditbench.devices.device import facts_of
    from ditbench.run import fit, telemetry
    from ditbench.run.display import display_of
    from ditbench.run.order import jobs_of
    from ditbench.run.scheduler import Session, execute

    device = devices[0]
    watches = telemetry.watches(list(devices), nvml.load())
    here = environment.collect(device.kind, facts_of(devices), os.environ)
    code = environment.code_identity()
    head = _head(planned, here, code)
    with _writer(head, out, resume) as writer:
        done = writer.run.records
        _write_refused(writer, planned, head, done)
        limit = fit.limit(done) if device.kind == "cpu" else None
        jobs = jobs_of(planned.runnable, planned.suite, device.name, writer.images, limit)
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
        _close(writer, f"{why}: {left} of {len(jobs)} jobs left" if why else "")
    return writer.folder


def _writer(head: Run, out: Path, resume: str) -> RunWriter:
    """A new run, or the one that goes on."""
    from ditbench import store

    if not resume:
        return store.RunWriter.create(out, head)
    earlier = store.read(store.find(out, resume))
    _check_same(earlier, head)
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
        claims=tuple(dataclasses.asdict(claim) for claim in suite.claims),
        effort={
            "timing": dataclasses.asdict(suite.timing),
            "quality": dataclasses.asdict(suite.quality),
            "metrics": list(suite.metrics),
        },
    )


def _check_same(earlier: Run, head: Run) -> None:
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


def _required(
    baseline: str, out: Path, baselines: Path, resume: str
) -> tuple[Run | None, Against] | None:
    """What --baseline names, or None where it names nothing and the run before is to be found.

    Read before anything is measured: a name that is none shall not cost a night, what is removed meanwhile
    shall not either, and "latest" is the latest before this run.
    """
    from ditbench import store
    from ditbench.cli.concluding import either

    if not baseline:
        return None
    if baseline == "none":
        return None, store.Against()
    of = store.read_head(store.find(out, resume)).id if resume else ""
    return either(baseline, out, baselines, of=of, required=True)


def _before(run: Run, out: Path) -> tuple[Run | None, Against]:
    """The run before this one; nothing where what lies there cannot be read, for it was not asked for."""
    from ditbench import store
    from ditbench.cli.concluding import previous

    try:
        against = previous(run, out)
    except errors.StoreError as error:
        output.warn(f"compared with nothing: {error}")
        against = None
    return against, store.Against(against.id, against.id) if against else store.Against()


def _conclude(folder: Path, out: Path, required: tuple[Run | None, Against] | None) -> int:
    """Summarise, compare, write the reports, and only then decide the exit code."""
    from ditbench import store
    from ditbench.cli.concluding import conclude

    found = store.read(folder)
    against, chosen = required or _before(found, out)
    summed, comparison, page = conclude(found, against, chosen, folder)
    output.show_summary(found, summed, comparison)
    print(page)
    return errors.first_of(set(comparison.exit_codes))


def _records_of_last(out: Path, suite: str) -> tuple[Record, ...]:
    """Those of the newest run of this suite on disk."""
    from ditbench import store

    for entry in store.runs(out):
        if entry.suite == suite and not entry.problem:
            return store.read(entry.folder).records
    return ()


def _latency_seen(earlier: tuple[Record, ...]) -> dict[str, float]:
    """Median latency by cell key, of a search its seconds."""
    from statistics import median

    from ditbench.records import Stage

    timed = [r for r in earlier if r.stage is Stage.TIME and r.metrics.get("latency")]
    searched = [r for r in earlier if r.stage is Stage.FIT]
    return {record.key: median(record.metrics["latency"]) for record in timed} | {
        record.key: record.seconds for record in searched
    }
