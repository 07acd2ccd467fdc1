"""Two arms as a person writes them, and which cell of one is held against which cell of the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ditbench import errors
from ditbench.cli.preparing import Choices, plan_of

if TYPE_CHECKING:
    from ditbench.devices.device import Device
    from ditbench.plan import Entry, Plan
    from ditbench.records import Cell
    from ditbench.run.server import Server

AS_IT_IS = "."
# Arms of other code, or other packages, than this process has.
GIT, PIP = "git:", "pip:"

_Place = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Side:
    """One arm: the option's name, "a" or "b", and what was said."""

    name: str
    said: str

    def __post_init__(self) -> None:
        if not (self.abroad or self.said == AS_IT_IS or ("=" in self.said and self.axis)):
            raise errors.UsageError(
                f"--{self.name} {self.said}: write AXIS=VALUE as attention=sdpa, `.` for the suite as it "
                "is, git:REV for another commit, or pip:SPEC for other packages"
            )

    @property
    def abroad(self) -> bool:
        """Whether it needs processes of its own."""
        return self.said.startswith((GIT, PIP))

    @property
    def axis(self) -> str:
        """What it puts a value in the place of, as `--set` names it; empty for the suite as it is."""
        return "" if self.said == AS_IT_IS else self.said.partition("=")[0].strip()

    def choices(self, given: Choices) -> Choices:
        """The command line with this arm's value in it, in the place of what --set says of its axis."""
        if not self.axis:
            return given
        others = (one for one in given.overrides if one.partition("=")[0].strip() != self.axis)
        return dataclasses.replace(given, overrides=(*others, self.said))


@dataclass(frozen=True)
class Paired:
    """What is held against what. alone: lines about cells that only one arm has, or can run."""

    plan: Plan
    pairs: tuple[tuple[Cell, Cell], ...]
    alone: tuple[str, ...]


def paired(given: Choices, sides: tuple[Side, Side], server: Server, device: Device) -> Paired:
    """The pairs of two arms of this code; `-k` chooses among arm A's cells.

    Raises UsageError where an arm names several values, or nothing is left to pair.
    """
    a, b = sides
    plans = (
        _plan(given, a, server, device),
        _plan(dataclasses.replace(given, select=""), b, server, device),
    )
    axes = frozenset(_short(side.axis) for side in sides if side.axis)
    for side in sides:
        _check_axis(side, plans[0])
    places = [_places(plan, side, axes) for plan, side in zip(plans, sides, strict=True)]
    both = [place for place in places[0] if place in places[1]]
    pairs = tuple(
        (places[0][place].cell, places[1][place].cell)
        for place in both
        if all(_refusal(one[place]) == "" for one in places)
    )
    alone = tuple(_alone(places, narrowed=bool(given.select)))
    if not pairs:
        told = f": {alone[0]}" if alone else ""
        differ = " and ".join(sorted(axes)) or "no axis"
        raise errors.UsageError(
            f"{given.suite}: no cell of --a {a.said} can be held against one of --b {b.said}{told}; "
            f"cells are paired where all axes but {differ} agree: see `ditbench plan` with either as --set"
        )
    return Paired(plans[1], pairs, alone)


def _plan(given: Choices, side: Side, server: Server, device: Device) -> Plan:
    """An arm's plan; what is wrong with its value is told of the arm's option."""
    try:
        return plan_of(side.choices(given), server, device, may_be_idle=True)
    except errors.SuiteError as error:
        own = f"--{side.name} {side.axis}"
        raise errors.SuiteError(
            [problem.replace(f"--set {side.axis}", own) for problem in error.problems]
        ) from error


def _short(axis: str) -> str:
    """An axis as cells name it: `sampling.dtype` is `dtype` there."""
    return axis.rpartition(".")[2]


def _check_axis(side: Side, plan: Plan) -> None:
    """What is no axis says how often or how well, and would change no cell."""
    known = {*plan.entries[0].cell.axes, "guidance_channels", "accelerator"}
    if side.axis and _short(side.axis) not in known:
        raise errors.UsageError(
            f"--{side.name} {side.said}: {side.axis} is the same for both arms: give it with --set"
        )


def _places(plan: Plan, side: Side, axes: frozenset[str]) -> dict[_Place, Entry]:
    """An arm's cells by their values on all other axes. Raises UsageError where two have the same ones."""
    found: dict[_Place, list[Entry]] = {}
    for entry in plan.entries:
        place = tuple((name, value) for name, value in entry.cell.axes.items() if name not in axes)
        found.setdefault(place, []).append(entry)
    for entries in found.values():
        if len(entries) > 1:
            raise _several(side, [entry.cell for entry in entries], axes)
    return {place: entries[0] for place, entries in found.items()}


def _several(side: Side, cells: list[Cell], axes: frozenset[str]) -> errors.UsageError:
    axis = next(axis for axis in sorted(axes) if len({cell.axes.get(axis) for cell in cells}) > 1)
    values = ", ".join(dict.fromkeys(str(cell.axes.get(axis)) for cell in cells))
    return errors.UsageError(
        f"--{side.name} {side.said}: has several values of {axis} ({values}), and one is held against one: "
        f"name it, as --{side.name} {axis}=VALUE"
    )


def _refusal(entry: Entry) -> str:
    """Why a cell cannot be timed in turns; empty where it can."""
    if entry.status is not None:
        return f"{entry.status}: {entry.reason}"
    if entry.cell.finds_batch:
        return "batch_size: max is a search, and no call to time"
    return ""


def _alone(places: list[dict[_Place, Entry]], *, narrowed: bool) -> Iterator[str]:
    """A line for each place that is no pair. narrowed: whether A's cells were chosen among."""
    for place in dict.fromkeys((*places[0], *places[1])):
        entries = [one.get(place) for one in places]
        if narrowed and entries[0] is None:
            continue
        told = [
            f"{name} has no such cell" if entry is None else f"{name} {_refusal(entry)}"
            for name, entry in zip("AB", entries, strict=True)
            if entry is None or _refusal(entry)
        ]
        if told:
            cell = next(entry.cell for entry in entries if entry)
            yield f"left out: {cell.id}: {'; '.join(told)}"
