"""Plans of what attention spares: for each step a line, in it a letter for each block.

    F  full               all pairs of tokens, all rows
    W  window             a band of them, and what full attention gave more at an earlier step
    f  one branch         full, of the rows with their condition alone, given to the others too
    w  window one branch  both
    =  shared step        the output of the step before again

A plan is a file in JSON that people can read, write and name in a suite. It says what it was made for, and is
refused anywhere else.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ditbench.errors import UsageError, one_line
from ditbench.records import Cell


class Way(StrEnum):
    """How one block attends at one step."""

    FULL = "F"
    WINDOW = "W"
    BRANCH = "f"
    WINDOW_BRANCH = "w"
    SHARED = "="

    @property
    def one_branch(self) -> bool:
        """Whether the rows with their condition stand for the others."""
        return self in {Way.BRANCH, Way.WINDOW_BRANCH}

    @property
    def windowed(self) -> bool:
        """Whether only a band is attended to, and a residual added."""
        return self in {Way.WINDOW, Way.WINDOW_BRANCH}

    @property
    def unguided(self) -> Way:
        """The same where there are no two branches."""
        return Way.WINDOW if self.windowed else Way.FULL if self.one_branch else self


# What is tried in the place of full attention, in this order, as published. By multiply-adds one branch is
# cheaper than a window until the window spares half of the module; a window is tried before it all the same.
GUIDED = (Way.SHARED, Way.WINDOW_BRANCH, Way.WINDOW, Way.BRANCH)
UNGUIDED = (Way.SHARED, Way.WINDOW)

WORDS = {
    Way.FULL: "full",
    Way.WINDOW: "window",
    Way.BRANCH: "one branch",
    Way.WINDOW_BRANCH: "window one branch",
    Way.SHARED: "shared step",
}


@dataclass(frozen=True)
class Task:
    """What a layer does at one step, and what it keeps for the next ones.

    residual: what full attention gives more than the window. output: the finished output. tried: neither kept
    nor dropped, because the step will be run again.
    """

    way: Way
    residual: bool = False
    output: bool = False
    tried: bool = False


@dataclass(frozen=True)
class Plan:
    """What each of some blocks does at each step.

    model, guidance_scale: of the cells that it is for. window: reach of the band to each side, as a share of
    the tokens below 1, else in tokens. threshold: under which it was found, None of one made by hand. lines:
    a step each, a letter for each of `blocks`. forwards: of the network, that the search took; samples: of a
    batch in each of them.
    """

    model: str
    guidance_scale: float
    window: float
    blocks: tuple[int, ...]
    lines: tuple[str, ...]
    threshold: float | None = None
    forwards: int = 0
    samples: int = 0

    @property
    def steps(self) -> int:
        """Of a sampling run."""
        return len(self.lines)

    def task(self, block: int, step: int, steps: int) -> Task:
        """What a block does at a step of so many; in a run of another length, at the same share of it.

        A block that the plan does not name attends in full.
        """
        return _tasks(self, steps)[block][step] if block in self.blocks else Task(Way.FULL)

    def misfits(self, cell: Cell) -> list[str]:
        """What it was made for that this cell is not, each as a clause."""
        pairs = {
            "model": (self.model, cell.model.label),
            "steps": (self.steps, cell.steps),
            "guidance_scale": (self.guidance_scale, cell.sampling.guidance_scale),
            "window": (self.window, cell.attention["window"]),
        }
        if self.threshold is not None:
            pairs["threshold"] = (self.threshold, cell.attention["threshold"])
        if not set(self.blocks) <= set(cell.blocks):
            pairs["blocks"] = (_listed(self.blocks), _listed(cell.blocks))
        return [
            f"{name} {ours}, not {theirs}"
            for name, (ours, theirs) in pairs.items()
            if ours != theirs
        ]

    def as_json(self) -> dict[str, Any]:
        """As a file holds it; the legend is for people."""
        return {
            "model": self.model,
            "steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "window": self.window,
            "threshold": self.threshold,
            "blocks": list(self.blocks),
            "legend": {way.value: words for way, words in WORDS.items()},
            "plan": list(self.lines),
            "forwards": self.forwards,
            "samples": self.samples,
        }


@functools.cache
def _tasks(plan: Plan, steps: int) -> dict[int, list[Task]]:
    """Of each block, a step each."""
    played = [plan.lines[step * plan.steps // steps] for step in range(steps)]
    return {
        block: _kept([Way(line[place]) for line in played])
        for place, block in enumerate(plan.blocks)
    }


def _kept(ways: Sequence[Way]) -> list[Task]:
    """The tasks of one block: it keeps what a later step asks for, and no longer than that."""
    return [
        Task(
            way,
            residual=_asked(ways[step + 1 :]),
            output=ways[step + 1 : step + 2] == [Way.SHARED],
        )
        for step, way in enumerate(ways)
    ]


def _asked(later: Sequence[Way]) -> bool:
    """Whether a window comes before the next step that attends in full."""
    own = (way for way in later if way is not Way.SHARED)
    return next(own, Way.FULL).windowed


def read(content: bytes, place: str) -> Plan:
    """The plan in a file, or in what a calibration kept. Raises UsageError, one line, where there is none."""
    try:
        plain = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _none(place, f"is no JSON ({error})") from error
    if isinstance(plain, dict) and isinstance(plain.get("found"), dict):
        plain = plain["found"]
    try:
        return of_json(plain)
    except (ValueError, OverflowError, RecursionError) as error:
        raise _none(place, f"is no plan: {error}") from error


def _none(place: str, cause: str) -> UsageError:
    told = one_line(cause)
    return UsageError(
        f"{place}: {told}; name a calibration.json of a run, or write one as docs/ditfastattn.md tells"
    )


def of_json(plain: Any) -> Plan:  # noqa: ANN401 (whatever a file holds)
    """The inverse of `as_json`. Raises ValueError with the first thing that is wrong."""
    told = _Told(plain)
    threshold = plain.get("threshold")
    plan = Plan(
        model=told.of("model", str, "a name"),
        guidance_scale=told.number("guidance_scale"),
        window=told.number("window"),
        blocks=told.blocks(),
        lines=tuple(told.list_of("plan", str, "a line for each step")),
        threshold=None if threshold is None else told.number("threshold"),
        forwards=told.count("forwards"),
        samples=told.count("samples"),
    )
    if told.whole("steps") != plan.steps:
        raise ValueError(f"it says {plain['steps']} steps and has a line for {plan.steps}")
    for step, line in enumerate(plan.lines):
        _check(line, step, plan)
    return plan


@dataclass(frozen=True)
class _Told:
    """What a file says, kind by kind."""

    plain: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.plain, dict):
            raise ValueError(f"it is {_said(self.plain)}, not a table")  # noqa: TRY004 (a mistake of whoever wrote the file)

    def of(self, name: str, kind: type, words: str) -> Any:  # noqa: ANN401 (of that kind)
        """The value of a key. Raises ValueError where it is missing or of another kind."""
        if name not in self.plain:
            raise ValueError(f"{name!r} is missing")
        value = self.plain[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{name} is {_said(value)}, not {words}")  # noqa: TRY004 (likewise)
        return value

    def number(self, name: str) -> float:
        """A value that is at least 0."""
        value = self.of(name, int | float, "a number")  # type: ignore[arg-type]  # isinstance takes a union
        if not value >= 0:
            raise ValueError(f"{name} is {value}, not at least 0")
        return float(value)

    def count(self, name: str) -> int:
        """A whole number of at least 0; a key that may be missing."""
        return self.whole(name) if name in self.plain else 0

    def whole(self, name: str) -> int:
        """A whole number of at least 0."""
        value: int = self.of(name, int, "a whole number")
        if value < 0:
            raise ValueError(f"{name} is {value}, not at least 0")
        return value

    def blocks(self) -> tuple[int, ...]:
        """Numbers of blocks, each once and ascending."""
        found = self.list_of("blocks", int, "block numbers")
        if (
            any(isinstance(one, bool) for one in found)
            or [*sorted({*found})] != found
            or found[0] < 0
        ):
            raise ValueError(
                f"blocks is {_said(found)}, not block numbers, each once and ascending"
            )
        return tuple(found)

    def list_of(self, name: str, kind: type, words: str) -> list[Any]:
        """Of one kind, not empty."""
        values = self.of(name, list, words)
        if not values or not all(isinstance(one, kind) for one in values):
            raise ValueError(f"{name} is {_said(values)}, not {words}")
        return list(values)


def _listed(blocks: Sequence[int]) -> str:
    return ", ".join(map(str, blocks))


def _said(value: object) -> str:
    told = json.dumps(value)
    return told if len(told) < 40 else f"{told[:37]}..."


def _check(line: str, step: int, plan: Plan) -> None:
    """Raises ValueError where a line is none of this plan."""
    place = f"step {step}"
    known = "".join(Way)
    if len(line) != len(plan.blocks):
        raise ValueError(f"{place} has {len(line)} letters for {len(plan.blocks)} blocks")
    if foreign := [letter for letter in line if letter not in known]:
        raise ValueError(f"{place} has {foreign[0]!r}, which is none of {known}")
    ways = [Way(letter) for letter in line]
    if step == 0 and not all(way in {Way.FULL, Way.BRANCH} for way in ways):
        raise ValueError("step 0 has nothing to share: write F or f for every block")
    if plan.guidance_scale <= 1 and any(way.one_branch for way in ways):
        raise ValueError(f"{place} attends on one branch, and without guidance there is only one")
