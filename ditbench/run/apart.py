"""Two arms, each in processes of its own, in the order A B B A A B B A: one session, written as it goes.

A turn is one start of an arm's interpreter, which measures every cell that is asked for. What a turn is made
of is not known here: another commit answers it in another environment, and a test from a table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ditbench.environment import Environment
from ditbench.errors import UsageError
from ditbench.gating import MOST, PROCESSES
from ditbench.records import Cell, Record, Stage, Status
from ditbench.run.duel import Pairs
from ditbench.store import Arm, Session, SessionWriter, session_read
from ditbench.store.sessions import ARM, ARMS, PROCESS, WITNESS
from ditbench.summary.sides import two_modes


@dataclass(frozen=True)
class Turn:
    """What one start of an arm came to.

    cells: what its plan holds of what was asked for. records: stage `time`, one a cell, and one a reference
    method beside a cell, whose fact `witness` is that cell's key; and the canary of the turn. suite, gate,
    effort: as its suite says.
    """

    cells: tuple[Cell, ...]
    records: tuple[Record, ...]
    code: Mapping[str, Any]
    environment: Environment
    suite: str = ""
    gate: Mapping[str, float] = dataclasses.field(default_factory=dict)
    effort: Mapping[str, Any] = dataclasses.field(default_factory=dict)


# Have one arm, "a" or "b", measure the cells of these ids; of none, all that it was set up for.
Take = Callable[[str, Sequence[str]], Turn]


@dataclass(frozen=True)
class Asked:
    """A session that is to be made.

    path: its file. said: the arms as a person wrote them. processes: of each arm; most: of the pairs that
    `wants_more` names when all have had theirs. tell: hears what happens, for people.
    """

    path: Path
    suite_path: str
    said: tuple[str, str]
    started: str
    tell: Callable[[str], None]
    processes: int = PROCESSES
    most: int = MOST
    wants_more: Callable[[Session], Pairs] = two_modes


def alternate(asked: Asked, take: Take) -> Session:
    """Measure both arms in turns. Raises UsageError where they have no cell in common.

    The file begins when both arms have said what they hold, and a kill costs the turn in flight.
    """
    turns = [_take(asked, take, number, ()) for number in range(2)]
    pairs = pairs_of(*(turn.cells for turn in turns))
    _tell_unpaired(asked, turns, pairs)
    session = _session(asked, turns, pairs)
    with SessionWriter.create(session) as writer:
        state = _State(writer, session)
        for number, turn in enumerate(turns):
            state.add(number, turn)
        _go_on(asked, take, state, range(2, 2 * asked.processes))
        state.narrow(asked.wants_more(state.session))
        _go_on(asked, take, state, range(2 * asked.processes, 2 * asked.most))
        writer.finish()
    return session_read(asked.path)


def side_of(number: int) -> str:
    """The arm of a process: 0, 1, 2, 3 are A, B, B, A, and so on."""
    return ARMS[(number + 1) // 2 % 2]


def pairs_of(a: Iterable[Cell], b: Iterable[Cell]) -> Pairs:
    """The cells of both arms that are the same to a person, in B's order.

    By key, else by id: a commit that gives a method one more setting gives all its cells other keys.
    """
    cells = tuple(a)
    by_key, by_id = {one.key: one for one in cells}, {one.id: one for one in cells}
    found = ((by_key.get(one.key) or by_id.get(one.id), one) for one in b)
    return tuple((then, now) for then, now in found if then)


@dataclass
class _State:
    """A session on its way. alive: pairs of which no arm has failed yet."""

    writer: SessionWriter
    session: Session
    alive: Pairs = ()

    def __post_init__(self) -> None:
        self.alive = self.session.pairs

    def narrow(self, pairs: Pairs) -> None:
        """Go on with these alone."""
        keys = {pair[1].key for pair in pairs}
        self.alive = tuple(pair for pair in self.alive if pair[1].key in keys)

    def ids(self, side: str) -> tuple[str, ...]:
        """What an arm is still asked for."""
        return tuple(pair[ARMS.index(side)].id for pair in self.alive)

    def add(self, number: int, turn: Turn) -> None:
        """Write what a turn came to; a cell that failed, or that it has no word of, is not tried again."""
        side, place = side_of(number), ARMS.index(side_of(number))
        wanted = {pair[place].key for pair in self.session.pairs}
        tagged = tuple(
            _tagged(one, side, number)
            for one in turn.records
            if one.stage is Stage.CANARY or one.facts.get(WITNESS, one.key) in wanted
        )
        for record in tagged:
            self.writer.append(record)
        self.session = dataclasses.replace(self.session, records=(*self.session.records, *tagged))
        sound = {one.key for one in tagged if one.status is Status.OK and WITNESS not in one.facts}
        self.alive = tuple(pair for pair in self.alive if pair[place].key in sound)


def _go_on(asked: Asked, take: Take, state: _State, numbers: Iterable[int]) -> None:
    for number in numbers:
        if not state.alive:
            return
        state.add(number, _take(asked, take, number, state.ids(side_of(number))))


def _take(asked: Asked, take: Take, number: int, ids: Sequence[str]) -> Turn:
    side = side_of(number)
    asked.tell(f"process {number + 1}: {side.upper()}, {asked.said[ARMS.index(side)]}")
    return take(side, ids)


def _tagged(record: Record, side: str, number: int) -> Record:
    """The record with its place in the session; rounds are its replicates."""
    facts = {**record.facts, ARM: side, PROCESS: number}
    return dataclasses.replace(record, replicate=number // 2, facts=facts)


def _session(asked: Asked, turns: Sequence[Turn], pairs: Pairs) -> Session:
    judged = turns[1]
    a, b = (
        Arm(said, turn.code, turn.environment) for said, turn in zip(asked.said, turns, strict=True)
    )
    return Session(
        path=asked.path,
        suite=judged.suite,
        suite_path=asked.suite_path,
        started=asked.started,
        arms=(a, b),
        inside=False,
        pairs=pairs,
        gate=judged.gate,
        effort=judged.effort,
    )


def _tell_unpaired(asked: Asked, turns: Sequence[Turn], pairs: Pairs) -> None:
    """What only one arm has. Raises UsageError where that is everything."""
    for place, turn in enumerate(turns):
        paired = {pair[place].key for pair in pairs}
        alone = [one.id for one in turn.cells if one.key not in paired]
        if alone:
            more = f" and {len(alone) - 1} more" if len(alone) > 1 else ""
            asked.tell(f"only {asked.said[place]} has {alone[0]}{more}")
    if not pairs:
        raise UsageError(
            f"{asked.said[0]} and {asked.said[1]} have no cell in common: nothing to compare"
        )


def differences(session: Session) -> Iterator[str]:
    """What the arms differ in beside what was measured, "torch: 2.12.0 -> 2.13.0"."""
    a, b = ({**arm.environment.facts, **arm.code} for arm in session.arms)
    for name in dict.fromkeys((*a, *b)):
        if a.get(name) != b.get(name):
            yield f"{name}: {a.get(name, 'none')} -> {b.get(name, 'none')}"
