"""Whether verdicts hold on this machine: `make gate-real`; half an hour on two cores, alone on them.

    python benchmarks/gate_real.py [--json] [--comparisons N] [--runs N] [--out DIR] [--again DIR]

As `ditbench ab` times methods of one commit (fresh processes, both arms in each, call by call in turns), on
the ten cells of suites/gate-real.yaml:

floor     what equal arms differ by: N processes a cell (--runs), as `ditbench noise` does it
equal     N comparisons (--comparisons) of the ten cells with themselves: none regressed, none improved
planted   N comparisons of the ten cells, of which one does max(5 %, 2 x floor) more real work
          (suites/gate_real_methods.py, calibrated here in long series): 19 of 20 regressed
worth     what that work took in all of a cell's comparisons together: at most a third more than was asked
busy      equal and planted arms while another process keeps a core busy: each answer inconclusive, or exit
          code 6

Each comparison has five processes of its own a cell, and no three more where `ab` would want eight. A planted
cell stands among nine equal ones of an equal comparison, for all ten share one rate of false discoveries.
Exit code 1 where a promise is not kept. --again judges by today's rules what was measured into DIR before.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ditbench import environment, errors
from ditbench.cli import output
from ditbench.cli.ab import codes
from ditbench.cli.preparing import Choices, plan_of, session_of
from ditbench.compare import judge_session
from ditbench.compare.floors import floors
from ditbench.compare.verdicts import Finding, Verdict
from ditbench.devices.device import Device, facts_of
from ditbench.gating import PROCESSES
from ditbench.machine import session_unfit
from ditbench.records import Cell, Choice
from ditbench.run.duel import Match, duel
from ditbench.run.server import Server
from ditbench.store import Arm, Noise, Session, session_read
from ditbench.store.sessions import PROCESS
from ditbench.suite.spec import Suite
from ditbench.units import percent

SUITE = Path(__file__).parents[1] / "suites" / "gate-real.yaml"
HEAVIER = "gate_real_methods:Heavier"
# What must be found, and in which share of the comparisons.
PLANTED, FOUND = 0.05, 0.95
# Extra work whose time is measured on both sides of what will be planted, in so many processes of so many
# seconds: planted is what lies between on a line.
_SHARES, _LONG, _LONG_S = (0.5, 3.0), 4, 2.0
_LATENCY = "latency"
# Leaves a grandchild behind, which ends when the process of that id does.
_SPIN = """
import os, sys
if pid := os.fork():
    print(pid)
    sys.exit()
os.close(1)
while os.path.exists(f"/proc/{sys.argv[1]}"):
    for _ in range(1_000_000):
        pass
"""
# Of a long series against the line it was calibrated on: what two of them spread by.
_OVER = 4 / 3

Pairs = tuple[tuple[Cell, Cell], ...]
# Which answer is right, and how many must be.
Wanted = tuple[Callable[[Finding], bool], int]


class Source(Protocol):
    """Where sessions come from."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Of the suite."""
        ...

    @property
    def arm(self) -> Arm:
        """What ran."""
        ...

    def session(self, name: str, pairs: Pairs, processes: int, long_s: float = 0.0) -> Session:
        """So many processes of each pair. long_s: seconds of each, where not the suite's."""
        ...

    def beside_another(self) -> AbstractContextManager[object]:
        """While this holds, a program of somebody else's keeps a core busy."""
        ...


@dataclass(frozen=True)
class Machine:
    """Where processes run."""

    server: Server
    devices: tuple[Device, ...]
    suite: Suite
    cells: tuple[Cell, ...]
    arm: Arm
    folder: Path

    def session(self, name: str, pairs: Pairs, processes: int, long_s: float = 0.0) -> Session:
        """Measure them now."""
        suite = self.suite
        if long_s:
            # A gate that no series comes near: each is as long as it is said to be.
            timing = replace(suite.timing, cap_s=long_s)
            suite = replace(suite, timing=timing, gate={_LATENCY: 1e-4})
        begin = time.monotonic()
        path = _file(self.folder, name)
        match = Match(suite, pairs, (self.arm, self.arm), path, processes, processes)
        measured = duel(match, self.server, self.devices, output.warn)
        took = time.monotonic() - begin
        print(f"{name}: {processes} processes of {len(pairs)} pairs, {took:.0f} s", file=sys.stderr)
        return replace(measured, gate=dict(self.suite.gate))

    def beside_another(self) -> AbstractContextManager[object]:
        """One that does nothing else."""
        return a_busy_core()


@dataclass(frozen=True)
class Stored:
    """What was measured before."""

    folder: Path

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Of the sessions of equal arms."""
        return tuple(cell for cell, _same in session_read(_file(self.folder, "floor")).pairs)

    @property
    def arm(self) -> Arm:
        """As it was then."""
        return session_read(_file(self.folder, "floor")).arms[0]

    def session(self, name: str, _pairs: Pairs, _processes: int, _long_s: float = 0.0) -> Session:
        """Of that name, whatever pairs today's rules would plant."""
        return session_read(_file(self.folder, name))

    def beside_another(self) -> AbstractContextManager[object]:
        """It was there when they were measured."""
        return nullcontext()


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.session.jsonl"


@dataclass(frozen=True)
class Promise:
    """What was to hold, and what was found. worst: the comparisons against it, in words."""

    name: str
    said: str
    found: str
    kept: bool
    verdicts: dict[str, int]
    worst: tuple[str, ...] = ()


def comparisons(session: Session, number: int) -> Iterator[Session]:
    """Cut a session into so many of PROCESSES processes each, in the order of time."""
    for first in range(0, number * PROCESSES, PROCESSES):
        mine = range(first, first + PROCESSES)
        yield replace(
            session, records=tuple(one for one in session.records if one.facts[PROCESS] in mine)
        )


def one_among(planted: Session, equal: Session, which: int) -> Session:
    """A comparison of equal pairs, of which one is a planted one."""
    pair = planted.pairs[which]
    cell, slowed = (one.key for one in pair)
    beside = [one for one in equal.records if one.key != cell]
    own = [one for one in planted.records if one.key in {cell, slowed}]
    pairs = tuple(pair if one[0].key == cell else one for one in equal.pairs)
    return replace(equal, pairs=pairs, records=(*beside, *own))


def heavier(cell: Cell, share: float) -> Cell:
    """The cell with more work in its attention."""
    settings = (("method", cell.attention.name), ("share", round(share, 4)))
    label = f"{cell.attention.name} + {share:.2f} softmax"
    return replace(cell, attention=Choice(HEAVIER, settings, label))


def noise_of(source: Source, runs: int) -> Noise:
    """The floors of the machine as it is now."""
    session = source.session("floor", _equal(source), runs)
    if unfit := session_unfit(session.records):
        output.warn(f"{unfit}: this machine is not at rest, and most answers will be inconclusive")
    arm = source.arm
    return Noise(session.suite, session.started, arm.environment, arm.code, floors(session))


def _equal(source: Source) -> Pairs:
    """Each cell beside itself."""
    return tuple((cell, cell) for cell in source.cells)


def _heavier(source: Source, shares: Sequence[float]) -> Pairs:
    return tuple((cell, heavier(cell, s)) for cell, s in zip(source.cells, shares, strict=True))


def effects(session: Session) -> list[float]:
    """What more work is worth in each cell: B / A - 1 over all processes."""
    found = {one.cell.key: one.change for one in judge_session(session)}
    if lacking := [b.attention.label for _a, b in session.pairs if found[b.key] is None]:
        raise SystemExit(f"{', '.join(lacking)} could not be timed; logs lie beside {session.path}")
    return [found[b.key] or 0.0 for _a, b in session.pairs]


def calibrated(source: Source, targets: Sequence[float]) -> list[float]:
    """The shares of more work that are worth so much, on the line through two measured points."""
    little, much = (
        effects(
            source.session(
                f"calibration-{at}", _heavier(source, [share] * len(targets)), _LONG, _LONG_S
            )
        )
        for at, share in enumerate(_SHARES, 1)
    )
    low, high = _SHARES
    return [
        max(0.01, low + (high - low) * (target - few) / (many - few))
        for few, many, target in zip(little, much, targets, strict=True)
    ]


def told(name: str, said: str, findings: Sequence[Finding], wanted: Wanted) -> Promise:
    """A promise about verdicts on latency. wanted: which answers are right, and how many there must be."""
    right, least = wanted
    counts = Counter(str(one.verdict) for one in findings)
    against = [one for one in findings if not right(one)]
    found = ", ".join(f"{number} {verdict}" for verdict, number in sorted(counts.items()))
    worst = tuple(f"{_name(one.cell)}: {one.reason}" for one in against)
    kept = bool(findings) and len(findings) - len(against) >= least
    return Promise(name, said, found, kept, dict(counts), worst)


def _innocent(one: Finding) -> bool:
    return one.verdict not in {Verdict.REGRESSED, Verdict.IMPROVED}


def _caught(one: Finding) -> bool:
    return one.verdict is Verdict.REGRESSED


def _name(cell: Cell) -> str:
    return f"{cell.attention.label} x{cell.batch_size}"


def worth_told(names: Sequence[str], targets: Sequence[float], worth: Sequence[float]) -> Promise:
    """That no more work was planted than is said: a slow-down of 8 % proves nothing about 5 %."""
    over = [
        f"{name}: {percent(value)} where {percent(target)} was to be planted"
        for name, target, value in zip(names, targets, worth, strict=True)
        if value > target * _OVER
    ]
    most = max(value / target for target, value in zip(targets, worth, strict=True))
    said = f"at most {_OVER:.2f} of what was to be planted"
    return Promise("worth", said, f"{most:.2f} at most", not over, {}, tuple(over))


def spreads(findings: Sequence[Finding]) -> dict[str, float]:
    """How far the ratios of equal arms lie from 1, over all comparisons."""
    changes = sorted(abs(one.change) for one in findings if one.change is not None)
    if not changes:
        return {}
    return {"median": changes[len(changes) // 2], "largest": changes[-1]}


@contextmanager
def a_busy_core() -> Iterator[int]:
    """The id of another process that keeps one core busy; nobody's child, so that it is a stranger here."""
    spin = [sys.executable, "-c", _SPIN, str(os.getpid())]
    spinning = int(subprocess.run(spin, check=True, stdout=subprocess.PIPE).stdout)
    try:
        yield spinning
    finally:
        os.kill(spinning, signal.SIGKILL)


def judged(sessions: Iterable[Session], noise: Noise) -> tuple[Finding, ...]:
    """The findings of all comparisons."""
    return tuple(one for session in sessions for one in judge_session(session, noise))


def judged_planted(
    slowed: Session, everything: Session, number: int, noise: Noise
) -> tuple[Finding, ...]:
    """The finding of the planted cell of each comparison; the others' are told of by `equal`."""
    many = len(slowed.pairs)
    rounds = list(comparisons(slowed, -(-number // many)))
    found = []
    for at, beside in enumerate(comparisons(everything, number)):
        session = one_among(rounds[at // many], beside, at % many)
        key = session.pairs[at % many][1].key
        found += [one for one in judge_session(session, noise) if one.cell.key == key]
    return tuple(found)


def told_busy(sessions: Sequence[Session], noise: Noise) -> Promise:
    """Where the exit code says that the machine was not fit, a single cell may have been left alone."""
    each = [judge_session(one, noise) for one in sessions]
    six = all(errors.ENVIRONMENT in codes(*pair) for pair in zip(sessions, each, strict=True))
    right = {Verdict.INCONCLUSIVE, Verdict.UNCHANGED} if six else {Verdict.INCONCLUSIVE}
    findings = [one for found in each for one in found]
    all_of_them = (lambda one: one.verdict in right, len(findings))
    promise = told("busy", "all inconclusive, or exit code 6", findings, all_of_them)
    return replace(promise, found=f"{promise.found}; exit code 6") if six else promise


def tried(source: Source, asked: argparse.Namespace) -> dict[str, Any]:
    """All of it: floors, what the planted work is worth, and the promises."""
    number, names = asked.comparisons, [_name(cell) for cell in source.cells]
    noise = noise_of(source, asked.runs)
    inside = [noise.floors[cell.key][_LATENCY].inside for cell in source.cells]
    targets = [max(PLANTED, 2 * floor) for floor in inside]
    shares = calibrated(source, targets)
    heavy = _heavier(source, shares)
    slowed = source.session("planted", heavy, -(-number // len(heavy)) * PROCESSES)
    worth = effects(slowed)
    everything = source.session("equal", _equal(source), number * PROCESSES)
    with source.beside_another():
        busy = [
            source.session("busy-equal", _equal(source), PROCESSES),
            source.session("busy-planted", heavy, PROCESSES),
        ]
    equal = judged(comparisons(everything, number), noise)
    found = judged_planted(slowed, everything, number, noise)
    least = math.ceil(FOUND * number)
    promises = (
        told("equal", "0 regressed, 0 improved", equal, (_innocent, len(equal))),
        told("planted", f"at least {least} of {number} regressed", found, (_caught, least)),
        worth_told(names, targets, worth),
        told_busy(busy, noise),
    )
    cells = [
        {
            "cell": name,
            "floor": floor,
            "planted": target,
            "share": round(share, 4),
            "worth": value,
        }
        for name, floor, target, share, value in zip(
            names, inside, targets, shares, worth, strict=True
        )
    ]
    return {"cells": cells, "equal": spreads(equal), "promises": [asdict(one) for one in promises]}


def show(found: dict[str, Any]) -> None:
    """Tables for people."""
    output.table(
        "floors, and the work that was planted",
        ["cell", "floor", "to plant", "share", "worth"],
        (
            [one["cell"], percent(one["floor"]), percent(one["planted"]),
             f"{one['share']:.3f}", percent(one["worth"], signed=True)]
            for one in found["cells"]
        ),
    )  # fmt: skip
    print()
    output.table(
        "promises",
        ["", "promised", "found", ""],
        (
            [one["name"], one["said"], one["found"], "kept" if one["kept"] else "NOT KEPT"]
            for one in found["promises"]
        ),
    )
    spread = found["equal"]
    if spread:
        middle, most = percent(spread["median"]), percent(spread["largest"])
        print(f"equal arms: |B/A - 1| {middle} in the middle, {most} at most")
    for one in found["promises"]:
        for line in one["worst"][:5]:
            print(f"{one['name']}: {line}")
    print(f"on {os.cpu_count()} processors, {found['seconds']:.0f} s")


@contextmanager
def _source(asked: argparse.Namespace) -> Iterator[Source]:
    if asked.again:
        yield Stored(asked.again)
        return
    # Of two threads on shared cores the slower is waited for, and spins meanwhile: one is steadier by far.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    choices = Choices(SUITE, asked.select)
    with session_of(choices) as (server, devices):
        planned = plan_of(choices, server, devices[0])
        here = environment.collect(devices[0].kind, facts_of(devices), os.environ)
        arm = Arm("the suite as it is", environment.code_identity(), here)
        folder = asked.out / time.strftime("%Y%m%dT%H%M%S")
        yield Machine(server, devices, planned.suite, planned.runnable, arm, folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and judge; 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--comparisons", type=int, default=20)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("results") / "gate-real")
    parser.add_argument("--again", type=Path, help="a folder that --out named, to be judged anew")
    parser.add_argument("-k", dest="select", default="", help="only cells whose id matches")
    asked = parser.parse_args(arguments)
    begin = time.monotonic()
    with _source(asked) as source:
        found = tried(source, asked) | {"seconds": time.monotonic() - begin}
    if asked.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)
    return 0 if all(one["kept"] for one in found["promises"]) else 1


if __name__ == "__main__":
    sys.exit(main())
