"""Whether verdicts hold on this machine: `make gate-real`; about 25 minutes on two cores, alone on them.

    python benchmarks/gate_real.py [--json] [--comparisons N] [--runs N] [--out DIR]

With the protocol of `ditbench ab` inside one process (fresh processes, both arms in each, call by call in
turns), on the ten cells of suites/gate-real.yaml:

floor     what equal arms differ by: N processes a cell (--runs), as `ditbench noise` does it
equal     N comparisons (--comparisons) of the ten cells with themselves: none regressed, none improved
planted   N comparisons with arms that do max(5 %, 2 x floor) more real work (suites/gate_real_methods.py; the
          share is calibrated here in long series, and what it is worth is measured again): 19 of 20 regressed
busy      the same while another process keeps a core busy: nothing regressed, equal or planted

Each comparison has five processes of its own a cell: no sample is used twice. Exit code 1 where a promise is
not kept.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ditbench import environment
from ditbench.cli import output
from ditbench.cli.preparing import Choices, plan_of, session_of
from ditbench.compare import judge_session
from ditbench.compare.floors import floors
from ditbench.compare.verdicts import Finding, Verdict
from ditbench.devices.device import Device, facts_of
from ditbench.machine import session_unfit
from ditbench.records import Cell, Choice
from ditbench.run.duel import PROCESSES, Match, duel
from ditbench.run.server import Server
from ditbench.store import Arm, Noise, Session
from ditbench.store.sessions import PROCESS
from ditbench.suite.spec import Suite
from ditbench.units import percent

SUITE = Path(__file__).parents[1] / "suites" / "gate-real.yaml"
HEAVIER = "gate_real_methods:Heavier"
# What must be found, and in which share of the comparisons.
PLANTED, FOUND = 0.05, 0.95
# Where the line of extra work against time is looked at first, and the seconds of each long series.
_SHARE, _LONG_S, _LONG = 0.5, 2.0, 2
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
_WRONG = (Verdict.REGRESSED, Verdict.IMPROVED)

Pairs = tuple[tuple[Cell, Cell], ...]


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
        """So many processes of each pair. long_s: seconds of each, where not the suite's."""
        suite = self.suite
        if long_s:
            # A gate that no series comes near: each is as long as it is said to be.
            timing = replace(suite.timing, cap_s=long_s)
            suite = replace(suite, timing=timing, gate={_LATENCY: 1e-4})
        begin = time.monotonic()
        path = self.folder / f"{name}.session.jsonl"
        match = Match(suite, pairs, (self.arm, self.arm), path, processes, processes)
        measured = duel(match, self.server, self.devices, output.warn)
        took = time.monotonic() - begin
        print(f"{name}: {processes} processes of {len(pairs)} pairs, {took:.0f} s", file=sys.stderr)
        return replace(measured, gate=dict(self.suite.gate))

    @property
    def equal(self) -> Pairs:
        """Each cell beside itself."""
        return tuple((cell, cell) for cell in self.cells)


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


def each_alone(session: Session) -> Iterator[Session]:
    """One comparison of several pairs as one a pair."""
    for pair in session.pairs:
        keys = {cell.key for cell in pair}
        yield replace(
            session,
            pairs=(pair,),
            records=tuple(one for one in session.records if one.key in keys),
        )


def heavier(cell: Cell, share: float) -> Cell:
    """The cell with more work in its attention."""
    settings = (("method", cell.attention.name), ("share", round(share, 4)))
    label = f"{cell.attention.name} + {share:.2f} softmax"
    return replace(cell, attention=Choice(HEAVIER, settings, label))


def noise_of(machine: Machine, runs: int) -> Noise:
    """The floors of the machine as it is now."""
    session = machine.session("floor", machine.equal, runs)
    if unfit := session_unfit(session.records):
        output.warn(f"{unfit}: this machine is not at rest, and most answers will be inconclusive")
    arm = machine.arm
    return Noise(session.suite, session.started, arm.environment, arm.code, floors(session))


def effects(machine: Machine, name: str, shares: Sequence[float]) -> list[float]:
    """What so much more work is worth in each cell: B / A - 1 of long series."""
    pairs = tuple((cell, heavier(cell, s)) for cell, s in zip(machine.cells, shares, strict=True))
    found = {
        one.cell.key: one.change
        for one in judge_session(machine.session(name, pairs, _LONG, _LONG_S))
    }
    if lacking := [b.attention.label for _a, b in pairs if found[b.key] is None]:
        raise SystemExit(f"{name}: {', '.join(lacking)} could not be timed; logs: {machine.folder}")
    return [found[b.key] or 0.0 for _a, b in pairs]


def calibrated(machine: Machine, targets: Sequence[float]) -> list[float]:
    """The shares of more work that are worth so much: the line through two measured points of each cell."""
    first = [_SHARE] * len(targets)
    far = effects(machine, "calibration-1", first)
    second = [
        max(0.02, share * target / effect)
        for share, target, effect in zip(first, targets, far, strict=True)
    ]
    near = effects(machine, "calibration-2", second)
    points = zip(first, second, far, near, targets, strict=True)
    return [
        max(0.01, s2 + (target - e2) * (s1 - s2) / (e1 - e2)) if s1 != s2 else s2
        for s1, s2, e1, e2, target in points
    ]


def told(
    name: str, said: str, findings: Sequence[Finding], kept: Callable[[Counter[str]], bool]
) -> Promise:
    """A promise about verdicts on latency."""
    counts = Counter(str(one.verdict) for one in findings)
    against = [one for one in findings if one.verdict in _WRONG]
    if name == "planted":
        against = [one for one in findings if one.verdict is not Verdict.REGRESSED]
    found = ", ".join(f"{number} {verdict}" for verdict, number in sorted(counts.items()))
    worst = tuple(
        f"{one.cell.attention.label} x{one.cell.batch_size}: {one.reason}" for one in against
    )
    return Promise(name, said, found, kept(counts), dict(counts), worst)


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


def judged(session: Session, number: int, noise: Noise, *, alone: bool) -> tuple[Finding, ...]:
    """The findings of all comparisons; where pairs stand alone, no more than `number` of them."""
    cut = comparisons(session, -(-number // len(session.pairs)) if alone else number)
    sessions = [one for found in cut for one in (each_alone(found) if alone else (found,))]
    return tuple(one for found in sessions[:number] for one in judge_session(found, noise))


def tried(machine: Machine, asked: argparse.Namespace) -> dict[str, Any]:
    """All of it: floors, what the planted work is worth, and the promises."""
    number = asked.comparisons
    noise = noise_of(machine, asked.runs)
    inside = [noise.floors[cell.key][_LATENCY].inside for cell in machine.cells]
    targets = [max(PLANTED, 2 * floor) for floor in inside]
    shares = calibrated(machine, targets)
    worth = effects(machine, "worth", shares)
    planted = tuple((cell, heavier(cell, s)) for cell, s in zip(machine.cells, shares, strict=True))
    rounds = -(-number // len(planted)) * PROCESSES
    slowed = judged(machine.session("planted", planted, rounds), number, noise, alone=True)
    everything = machine.session("equal", machine.equal, number * PROCESSES)
    equal = judged(everything, number, noise, alone=False)
    with a_busy_core():
        beside = judged(
            machine.session("busy-equal", machine.equal, PROCESSES), 1, noise, alone=False
        )
        hidden = judged(
            machine.session("busy-planted", planted, PROCESSES), len(planted), noise, alone=True
        )
    needed = math.ceil(FOUND * number)
    promises = (
        told("equal", "0 regressed, 0 improved", equal, lambda c: not any(c[str(v)] for v in _WRONG)),
        told("planted", f"at least {needed} of {number} regressed", slowed,
             lambda c: c[str(Verdict.REGRESSED)] >= needed),
        told("busy", "0 regressed, 0 improved", (*beside, *hidden),
             lambda c: not any(c[str(v)] for v in _WRONG)),
    )  # fmt: skip
    cells = [
        {
            "cell": f"{cell.attention.label} x{cell.batch_size}",
            "floor": floor,
            "planted": target,
            "share": round(share, 4),
            "worth": value,
        }
        for cell, floor, target, share, value in zip(
            machine.cells, inside, targets, shares, worth, strict=True
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and judge; 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--comparisons", type=int, default=20)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("results") / "gate-real")
    parser.add_argument("-k", dest="select", default="", help="only cells whose id matches")
    asked = parser.parse_args(arguments)
    # Of two threads on shared cores the slower is waited for, and spins meanwhile: one is steadier by far.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    begin = time.monotonic()
    choices = Choices(SUITE, asked.select)
    with session_of(choices) as (server, devices):
        planned = plan_of(choices, server, devices[0])
        here = environment.collect(devices[0].kind, facts_of(devices), os.environ)
        arm = Arm("the suite as it is", environment.code_identity(), here)
        folder = asked.out / time.strftime("%Y%m%dT%H%M%S")
        machine = Machine(server, devices, planned.suite, planned.runnable, arm, folder)
        found = tried(machine, asked) | {"seconds": time.monotonic() - begin}
    if asked.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)
    return 0 if all(one["kept"] for one in found["promises"]) else 1


if __name__ == "__main__":
    sys.exit(main())
