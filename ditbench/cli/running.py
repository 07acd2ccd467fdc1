"""The verbs that measure: run, plan, train."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench import errors
from ditbench.cli import completion, failing, output
from ditbench.cli.measuring import Allowance, measure
from ditbench.cli.options import (
    BASELINES,
    RESULTS,
    Baselines,
    Gpu,
    Json,
    LockClocks,
    Out,
    Quick,
    Select,
    Set,
    SuiteFile,
)
from ditbench.cli.preparing import Choices, judged_plan_of, session_of

if TYPE_CHECKING:
    from ditbench.devices.device import Device
    from ditbench.plan import Plan
    from ditbench.records import Record
    from ditbench.store import Against, Run


def add_to(app: typer.Typer) -> None:
    """Register these verbs."""
    app.command("run")(run)
    app.command("plan")(plan)
    app.command("train")(train)


def run(
    suite: SuiteFile,
    select: Select = "",
    set_: Set = None,
    quick: Quick = False,
    gpu: Gpu = None,
    lock_clocks: LockClocks = "",
    resume: Annotated[
        str,
        typer.Option(
            "--resume",
            metavar="RUN",
            help="Go on with a run that was cut off.",
            autocompletion=completion.runs,
        ),
    ] = "",
    pictures: Annotated[
        str,
        typer.Option(
            "--pictures",
            metavar="RUN",
            help="Judge that run's pictures where this one would make the same; a new run.",
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
    fail_on: failing.FailOn = "",
    confirm: Annotated[
        bool,
        typer.Option(
            "--confirm",
            help="Measure what moved side by side with the baseline's code, and judge that.",
        ),
    ] = False,
    confirm_most: Annotated[
        int,
        typer.Option(
            "--confirm-most", metavar="N", help="So many cells, those that moved most.", min=1
        ),
    ] = 10,
    out: Out = RESULTS,
    baselines: Baselines = BASELINES,
    dry_run: Annotated[
        bool, typer.Option("-n", "--dry-run", help="The plan, and nothing else.")
    ] = False,
) -> int:
    """Measure a suite, then write and name its report."""
    let_pass = failing.passed(fail_on)
    source = _source(pictures, out, resume)
    if dry_run:
        return plan(suite, select, set_, quick, gpu, out)
    against = _required(baseline, out, baselines, resume)
    choices = Choices(suite, select, tuple(set_ or ()), quick, gpu, lock_clocks)
    allowed = Allowance.of(time_budget)
    begun: list[Path] = []
    try:
        with session_of(choices) as (server, devices):
            planned = judged_plan_of(choices, server, devices[0])
            folder = measure(
                planned, server, devices, out, resume, allowed, source=source, begun=begun.append
            )
        if confirm:
            _confirm(folder, against, choices, out, baselines, confirm_most)
    except Exception:  # whatever went wrong, what had ended is shown; it is raised again
        for there in begun:
            with contextlib.suppress(Exception):  # a failure of that too would hide the first
                _conclude(there, out, baselines, against)
        raise
    return failing.code_of(_conclude(folder, out, baselines, against), let_pass)


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
        planned = judged_plan_of(choices, server, device, may_be_idle=True)
        rate = server.call(
            "ditbench.measure.catalog:macs_per_second",
            device.name,
            device=device.name,
            alone=device.gpu is not None,  # a guess about processors is not worth waiting for
            hear=output.warn,
        )
    if json:
        output.as_json(planning.to_json(planned))
        planning.check_runs(planned)
        return errors.OK
    earlier = _records_of_last(out, planned.suite.name)
    overhead = summary.overhead(earlier) or planning.OVERHEAD_S
    machine = planning.Machine(rate, _memory(planned, device), overhead)
    estimate = planning.estimate(planned, _latency_seen(earlier), machine)
    output.show_plan(planned, estimate)
    planning.check_runs(planned)
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
        typer.Option("--data", metavar="DIR", help="Where the data are, instead of the file's."),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", metavar="DIR", help="Write what ships: float16 weights and a card."
        ),
    ] = None,
    arm: Annotated[
        str, typer.Option("--arm", metavar="NAME", help="Train this arm of the file alone.")
    ] = "",
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="cpu|cuda",
            help="Where to train; default: a GPU where there is one.",
        ),
    ] = "",
    out: Out = RESULTS / "train",
) -> int:
    """Train what a file says, arm by arm; what was killed goes on."""
    from ditbench.train import command

    return command.train(command.Asked(file, data, out, export, arm, device))


def _memory(planned: Plan, device: Device) -> float:
    """Bytes that a worker of this plan may hold."""
    from ditbench.devices import memory

    if device.gpu:
        return device.gpu.memory_total or 0
    return planned.suite.timing.memory_limit or memory.limit()


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


def _source(pictures: str, out: Path, resume: str) -> Run | None:
    """The run that --pictures names, read before anything is measured."""
    from ditbench import store

    if not pictures:
        return None
    if resume:
        raise errors.UsageError(
            "--pictures and --resume: a run that goes on has its own pictures: give one of them"
        )
    source = store.read(store.find(out, pictures))
    for problem in source.problems:
        output.warn(f"{problem}; what it held is made anew")
    return source


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


def _confirm(
    folder: Path,
    required: tuple[Run | None, Against] | None,
    choices: Choices,
    out: Path,
    baselines: Path,
    most: int,
) -> None:
    """Measure what moved once more."""
    from ditbench import store
    from ditbench.cli.confirming import Confirmation, confirm_moved

    found = store.read(folder)
    asked = Confirmation(choices, out, baselines, most)
    confirm_moved(asked, found, *(required or _before(found, out)))


def _conclude(
    folder: Path, out: Path, baselines: Path, required: tuple[Run | None, Against] | None
) -> frozenset[int]:
    """Summarise, compare, write the reports, and only then say which exit codes hold."""
    from ditbench import store
    from ditbench.cli.concluding import conclude, given_for

    found = store.read(folder)
    against, chosen = required or _before(found, out)
    given = given_for(found, chosen, out, baselines)
    summed, comparison, page = conclude(found, against, chosen, given, folder)
    output.show_summary(found, summed, comparison)
    print(page)
    return comparison.exit_codes


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
