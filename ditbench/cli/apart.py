"""Arms that are commits or package sets: each in a worktree and an environment of its own, A B B A.

`git:REV` is a commit of the repository that holds the suite's file; `pip:SPEC,SPEC` is this code with other
packages; `.` is what lies here. Their interpreters are started anew for every turn (cli/turn.py) and answer
with a file. A commit from before there were turns is measured by its own `run`, without the reference method
beside each cell.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench import arms, errors
from ditbench.cli import output
from ditbench.cli.pairing import AS_IT_IS, GIT, PIP
from ditbench.gating import MOST, PROCESSES

if TYPE_CHECKING:
    from ditbench.cli.preparing import Choices
    from ditbench.run.apart import Take, Turn
    from ditbench.store import Session

_NO_TURNS = "No module named ditbench.cli.turn"


@dataclass(frozen=True)
class Source:
    """Where an arm's code is from. said: as a person wrote it.

    commits: by the checkout that each is another commit of. packages: requirements beside what is installed.
    Without either it is what lies here.
    """

    said: str
    commits: Mapping[Path, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """A session that is to be made.

    path: of its file. ids: the cells; none for those that `choices` selects. processes: of each arm; most: of
    a cell in whose processes two modes show.
    """

    choices: Choices
    a: Source
    b: Source
    path: Path
    ids: tuple[str, ...] = ()
    processes: int = PROCESSES
    most: int = MOST


def source(said: str, suite: Path) -> Source:
    """The arm that a person means. Raises UsageError where there is no such commit or requirement."""
    if said == AS_IT_IS:
        return Source(said)
    if said.startswith(PIP):
        return Source(said, packages=arms.requirements(said.removeprefix(PIP)))
    if not said.startswith(GIT):
        raise errors.UsageError(
            f"{said}: an arm beside a commit or a package set is git:REV, pip:SPEC[,SPEC], or . for "
            "what lies here"
        )
    repository = arms.Repository.of(suite)
    if repository is None:
        raise errors.UsageError(f"{said}: {suite.resolve()} lies in no git repository")
    revision = said.removeprefix(GIT)
    commit = repository.commit(revision)
    path = suite.resolve().relative_to(repository.root)
    if not repository.holds(commit, path):
        raise errors.UsageError(
            f"{said}: commit {commit[:12]} has no {path}; name one that has, or commit the suite"
        )
    if repository.changed and commit == repository.commit("HEAD"):
        output.warn(
            f"{said} is commit {commit[:12]}: what has changed since in {repository.changed} files of "
            f"{repository.root} is no part of it; `.` is what lies here"
        )
    return Source(said, {repository.root: commit})


def apart(asked: Asked) -> Session:
    """Measure both arms in turns; the session as it is on disk.

    Nothing of the checkout is touched, and what is made for the arms goes again, however this ends. Raises
    UsageError where an arm cannot be made, and what a turn's process says where it fails as a whole.
    """
    from ditbench.run import apart as running
    from ditbench.store.sessions import ARMS

    if asked.path.exists():  # said now, and not after the first processes
        raise errors.StoreError(f"{asked.path}: is there already: name another place, or remove it")
    for root in {*asked.a.commits, *asked.b.commits}:
        arms.Repository(root).clear()
    order = running.Asked(
        path=asked.path,
        suite_path=str(asked.choices.suite),
        said=(asked.a.said, asked.b.said),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        processes=asked.processes,
        most=max(asked.processes, asked.most),
        tell=output.warn,
    )
    with contextlib.ExitStack() as stack:
        den = stack.enter_context(arms.den())
        sides = {
            side: stack.enter_context(_arm(one, side, den, asked.choices.suite))
            for side, one in zip(ARMS, (asked.a, asked.b), strict=True)
        }
        session = running.alternate(order, _taker(asked, sides, den))
    for line in running.differences(session):
        output.warn(f"the arms differ in {line}")
    return session


@dataclass(frozen=True)
class _Arm:
    """An arm that can be started.

    said: for messages. known: what is recorded of its code beside what it says itself.
    """

    said: str
    python: Path
    folder: Path
    suite: Path
    environ: Mapping[str, str]
    known: Mapping[str, Any]


@contextlib.contextmanager
def _arm(one: Source, side: str, den: Path, suite: Path) -> Iterator[_Arm]:
    """The arm's worktrees and environment, until the end."""
    place = suite.resolve()
    if not (one.commits or one.packages):
        yield _Arm(one.said, Path(sys.executable), Path.cwd(), place, arms.environ(), {})
        return
    trees: dict[Path, Path] = {}
    with contextlib.ExitStack() as stack:
        for number, (root, commit) in enumerate(one.commits.items()):
            folder = den / f"{arms.PREFIX}{side}{number or ''}"
            made = arms.worktree(arms.Repository(root), commit, folder)
            trees[root] = stack.enter_context(made)
        wanted = [*one.packages]
        for root, tree in trees.items():
            wanted += arms.lacking(tree, root)
        if wanted:
            output.warn(f"{one.said}: installing {', '.join(wanted)} for this arm alone")
        layer = arms.layer(den / f"packages-{side}", trees, wanted)
        known = _known(one, place) | _listed(layer.packages)
        there = arms.counterpart(place, trees) or place
        yield _Arm(one.said, layer.python, _folder(trees), there, arms.environ(), known)


def _folder(trees: Mapping[Path, Path]) -> Path:
    """Where an arm's process works: the counterpart of where this one does."""
    here = Path.cwd().resolve()
    there = arms.counterpart(here, trees)
    if there is None:
        return here
    return there if there.is_dir() else next(iter(trees.values()))


def _known(one: Source, suite: Path) -> dict[str, Any]:
    """The commit of the suite's repository: an older ditbench does not say it."""
    for root, commit in one.commits.items():
        if suite.is_relative_to(root):
            return {"suite_commit": commit, "suite_dirty": False}
    return {}


def _listed(packages: Mapping[str, str]) -> dict[str, str]:
    """What was installed for this arm alone, as one fact."""
    told = ", ".join(f"{name} {version}" for name, version in sorted(packages.items()))
    return {"packages": told} if told else {}


def _taker(asked: Asked, sides: Mapping[str, _Arm], den: Path) -> Take:
    """How a turn is taken: by the arm's own turns, or by its `run` where its ditbench has none."""
    numbers = {side: itertools.count() for side in sides}
    ways: dict[str, Callable[[_Started], Turn]] = dict.fromkeys(sides, _turn)

    def take(side: str, ids: Sequence[str]) -> Turn:
        started = _Started(
            asked.choices, sides[side], tuple(ids) or asked.ids, next(numbers[side]), side, den
        )
        try:
            turn = ways[side](started)
        except _NoTurnsError:
            output.warn(
                f"{sides[side].said}: its ditbench takes no turns: measured by its `run`, without a "
                "reference method beside each cell"
            )
            ways[side] = _run
            turn = _run(started)
        return dataclasses.replace(turn, code={**turn.code, **sides[side].known})

    return take


class _NoTurnsError(Exception):
    """An arm's ditbench is of before there were turns."""


@dataclass(frozen=True)
class _Started:
    """One turn: which cells of which arm, in which round."""

    choices: Choices
    arm: _Arm
    ids: tuple[str, ...]
    number: int
    side: str
    den: Path

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.side}-{self.number}"

    def start(self, *words: str) -> int:
        """Have the arm's interpreter do it; its exit code."""
        from ditbench.run import abroad

        command = [str(self.arm.python), "-m", *words]
        return abroad.ran(command, self.arm.folder, self.arm.environ, self.log)

    @property
    def log(self) -> Path:
        """What it said."""
        return self.den / f"{self.name}.log"

    def failure(self, code: int) -> errors.DitbenchError:
        """What it said when it failed as a whole, as this process's own failure."""
        from ditbench.run import abroad

        kinds = {errors.USAGE: errors.UsageError, errors.ENVIRONMENT: errors.UnfitError}
        kind = kinds.get(code, errors.DitbenchError)
        return kind(f"{self.arm.said}: exit {code}: {abroad.last_words(self.log)}")


def _turn(one: _Started) -> Turn:
    """A turn of an arm that knows turns."""
    from ditbench import store
    from ditbench.cli.turn import (
        Request,  # and not above: Python warns of running what is imported already
    )
    from ditbench.run.apart import Turn

    asked, to = one.den / f"{one.name}.json", one.den / f"{one.name}.session.jsonl"
    choices = one.choices
    Request(
        suite=str(one.arm.suite),
        to=str(to),
        number=one.number,
        ids=one.ids,
        select=choices.select,
        overrides=choices.overrides,
        quick=choices.quick,
        gpu=choices.gpu,
        lock_clocks=choices.lock_clocks,
    ).write(asked)
    if code := one.start("ditbench.cli.turn", str(asked)):
        if _NO_TURNS in one.log.read_text(encoding="utf-8", errors="replace"):
            raise _NoTurnsError
        raise one.failure(code)
    found = store.session_read(to)
    return Turn(
        cells=tuple(cell for _, cell in found.pairs),
        records=found.records,
        code=found.arms[1].code,
        environment=found.arms[1].environment,
        suite=found.suite,
        gate=found.gate,
        effort=found.effort,
    )


def _run(one: _Started) -> Turn:
    """A turn of an arm whose ditbench knows `run` alone."""
    from ditbench import store
    from ditbench.records import Stage, Status
    from ditbench.run.apart import Turn

    out, choices = one.den / f"{one.name}.results", one.choices
    exact = "|".join(re.escape(name) for name in one.ids)
    words = ["run", str(one.arm.suite), "--out", str(out), "-k", exact and f"^(?:{exact})$"]
    sets = [*choices.overrides, *([] if choices.quick else ["timing.processes=1"])]
    words += [word for pair in sets for word in ("--set", pair)]
    words += [
        *(["--quick"] if choices.quick else []),
        *(["--gpu", choices.gpu] if choices.gpu else []),
    ]
    code = one.start("ditbench", *words)
    entries = store.runs(out)
    if not entries or not entries[0].finished:
        raise one.failure(code)
    run = store.read(entries[0].folder)
    refused = {record.key for record in run.records if record.stage is Stage.PLAN}
    failed = [r for r in run.records if r.stage is Stage.GATE and r.status is not Status.OK]
    timed = [record for record in run.records if record.stage is Stage.TIME]
    return Turn(
        cells=tuple(c for c in run.planned if c.key not in refused and not c.finds_batch),
        records=(
            *(dataclasses.replace(one, stage=Stage.TIME, metrics={}) for one in failed),
            *timed,
        ),
        code=run.code,
        environment=run.environment,
        suite=run.suite,
        gate=run.gate,
        effort={"timing": run.effort.get("timing", {})},
    )
