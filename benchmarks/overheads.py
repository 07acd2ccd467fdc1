"""What ditbench itself costs: `make bench` prints one table and fails where a target is missed.

Ratios are of things measured in turn, so that a busy machine slows both; what is given in seconds is the
time that the processor worked where one process does it all, and the shortest of a few where several do.
RUN=<folder of a quickstart run> says whose time is accounted for; without it one is made first.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import fakes_scale
import nothing

from ditbench import plan, store, summary
from ditbench.jobs import Job, Quality, Timing
from ditbench.records import Cell, Choice, Stage
from ditbench.run.server import Server

DITBENCH = (sys.executable, "-m", "ditbench")
TINY = "{name: dit, hidden: 32, depth: 2, heads: 2, size: 8, channels: 1, out_channels: 1, classes: 10}"
MIB = 2**20


@dataclass(frozen=True)
class Row:
    """One line of the table. good: None where nothing is promised."""

    what: str
    found: str
    target: str = ""
    good: bool | None = None


def main() -> int:
    """Print the table; 1 where a target is missed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["DITBENCH_LOCKS"] = name  # locks of our own: we wait for nobody
        parts = (processes, helping, planning, lambda _at: comparing(folder), lambda _at: account())
        good = [_printed(row) for part in parts for row in part(folder)]
    return int(False in good)


def processes(folder: Path) -> Iterator[Row]:
    """A worker of the fork server against a spawned process with the same imports."""
    job = Job(
        Cell(Choice("none"), Choice("none")), Stage.TIME, 0, Timing(), Quality(), (), "cpu", folder
    )
    forks, spawns = [], []
    with Server(measure="nothing:measure") as server:
        server.run_job(job, folder / "log")  # the first one waits for the imports
        for _ in range(3):
            spawns.append(_seconds(_spawn))
            forks += [_seconds(lambda: server.run_job(job, folder / "log")) for _ in range(10)]
    times = median(spawns) / median(forks)
    yield Row("a worker, order to answer", f"{1e3 * median(forks):.0f} ms")
    yield Row("a spawned process with its imports", f"{median(spawns):.2f} s")
    yield Row("spawned / forked", f"{times:.0f} x", "at least 15 x", times >= 15)


def _spawn() -> None:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=nothing.spawned, args=(sender,))
    process.start()
    receiver.recv()
    process.join()


def helping(_folder: Path) -> Iterator[Row]:
    """`--help` against a Python that does nothing."""
    commands = {
        "pass": (sys.executable, "-c", "pass"),
        "typer": (sys.executable, "-c", "import typer"),
        "help": (*DITBENCH, "--help"),
    }
    shortest = dict.fromkeys(commands, float("inf"))
    for _ in range(7):
        for name, command in commands.items():
            shortest[name] = min(shortest[name], _run(*command)[0])
    units = {name: seconds / shortest["pass"] for name, seconds in shortest.items()}
    yield Row("python -c pass", f"{1e3 * shortest['pass']:.0f} ms")
    yield Row("import typer", f"{units['typer']:.1f} x that")
    ours = units["help"] - units["typer"]
    yield Row("--help", f"{units['help']:.1f} x that")
    yield Row("--help beyond typer", f"{ours:.1f} x that", "at most 8 x", ours <= 8)


def planning(folder: Path) -> Iterator[Row]:
    """A plan of ten thousand cells against a plan of one."""
    many, one = folder / "many.yaml", folder / "one.yaml"
    axes = (list(range(1, 51)), list(range(1, 101)), "[softmax, sdpa]")
    for path, (batches, steps, methods) in ((many, axes), (one, (1, 1, "[softmax]"))):
        path.write_text(
            f"name: {path.stem}\nmodel: {TINY}\nattention: {methods}\n"
            f"batch_size: {batches}\nsteps: {steps}\nmetrics: [latency, macs]\n"
        )
    shortest = {many: float("inf"), one: float("inf")}
    common = ("--gpu", "cpu", "--out", str(folder / "none"))
    for _ in range(3):
        for path, before in shortest.items():
            shortest[path] = min(before, _run(*DITBENCH, "plan", str(path), *common)[0])
    beyond = shortest[many] - shortest[one]
    yield Row("plan of one cell", f"{shortest[one]:.1f} s")
    yield Row("plan of 10,000 cells, beyond that", f"{beyond:.1f} s", "under 5 s", beyond < 5)


def comparing(folder: Path) -> Iterator[Row]:
    """The reading verbs on runs of ten thousand records."""
    out = folder / "results"
    then = fakes_scale.write(out, fakes_scale.many("20261120-100000-aaaa"))
    now = fakes_scale.write(out, fakes_scale.many("20261121-100000-bbbb", slower=1.15))
    reading = time.process_time()
    runs = [store.read(one) for one in (then, now)]
    reading = time.process_time() - reading
    number = len(runs[1].records)
    yield Row(f"reading two runs of {number} records", f"{reading:.1f} s of processor")
    common = ("--out", str(out), "--baselines", str(folder))
    _, seconds = _run(*DITBENCH, "compare", then.name, now.name, *common)
    beyond = seconds - reading
    yield Row(f"compare of {number} records, read", f"{beyond:.1f} s", "under 5 s", beyond < 5)
    page = ("--baseline", then.name, "--to", str(folder / "page"))
    _, seconds = _run(*DITBENCH, "report", now.name, *page, *common)
    size = (folder / "page" / "report.html").stat().st_size
    yield Row(f"report of {number} records", f"{seconds:.1f} s", "under 20 s", seconds < 20)
    yield Row("its page", f"{size / MIB:.1f} MiB", "under 10 MB", size < 10e6)


def account() -> Iterator[Row]:
    """Where the time of a quickstart run went."""
    run = store.read(_quickstart())
    spent = summary.spent(run)
    if spent is None:
        yield Row(
            f"share of {run.id} spent measuring", "its records do not tell", "60 %", good=False
        )
        return
    told = f"{spent.share:.0%} of {spent.wall:.0f} s"
    yield Row("quickstart's time spent measuring", told, "at least 60 %", spent.share >= 0.6)
    yield Row("- in workers, not measuring", f"{spent.workers / spent.wall:.0%}")
    yield Row("- without a worker", f"{spent.between / spent.wall:.0%}")
    overhead = summary.overhead(run.records) or 0.0
    yield Row("a worker beside its measuring", f"{overhead:.2f} s; plan says {plan.OVERHEAD_S} s")


def _quickstart() -> Path:
    """The run that RUN names, or one made now."""
    if named := os.environ.get("RUN"):
        return Path(named)
    subprocess.run((*DITBENCH, "run", "suites/quickstart.yaml", "--baseline", "none"), check=True)
    return store.find(Path("results"), "latest")


def _run(*command: str) -> tuple[float, float]:
    """Seconds on the clock and of processor that a command took. Raises where it did not end well."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - begin
        output.seek(0)
        text = output.read().decode()
    # 3 and 4 are verdicts on the synthetic runs, which hold crashed cells
    if process.returncode not in {0, 3, 4}:
        raise SystemExit(f"{' '.join(command)}: exit {process.returncode}\n{text}")
    return seconds, usage.ru_utime + usage.ru_stime


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _printed(row: Row) -> bool | None:
    verdict = {True: "ok", False: "MISSED", None: ""}[row.good]
    print(f"{row.what:38} {row.found:>28}   {row.target:15} {verdict}", flush=True)
    return row.good


if __name__ == "__main__":
    sys.exit(main())
