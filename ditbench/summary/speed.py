"""Speed-ups: who is compared with whom, what bounds them, and what arithmetic alone would allow."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ditbench import stats
from ditbench.records import Cell, Choice
from ditbench.summary.evidence import Evidence
from ditbench.summary.rows import Estimate

SOFTMAX = "softmax"
# The yardsticks, which no bound judges: `identity` is the bound of methods that replace the core.
BOUND = "identity"
YARDSTICKS = frozenset({BOUND, "zero"})


@dataclass(frozen=True)
class Group:
    """Cells that differ in method and blocks alone, and may therefore stand in one ratio."""

    members: tuple[Evidence, ...]

    @cached_property
    def fastest(self) -> Evidence | None:
        """The fastest exact method; one whose times must not be used only where there is no other."""
        exact = [one for one in self.members if one.exact and "latency" in one.estimates]
        return min(
            exact,
            key=lambda one: (bool(one.unfit), one.estimates["latency"].value),
            default=None,
        )

    @cached_property
    def softmax(self) -> Evidence | None:
        """Explicit softmax, timed or not."""
        return next((one for one in self.members if one.cell.attention.name == SOFTMAX), None)

    def bound(self, blocks: tuple[int, ...]) -> Evidence | None:
        """`identity` in the same blocks."""
        return self._bounds.get(blocks)

    @cached_property
    def _bounds(self) -> Mapping[tuple[int, ...], Evidence]:
        named = [one for one in self.members if one.cell.attention.name == BOUND]
        return {one.cell.blocks: one for one in reversed(named)}  # the first of each stays


@dataclass(frozen=True)
class Speed:
    """A row's ratios."""

    speedup: Estimate | None
    against: str
    versus_softmax: Estimate | None
    bound: Estimate | None
    ceiling: float | None


def group_of(cell: Cell) -> str:
    """Equal for cells that differ in method and blocks alone."""
    return dataclasses.replace(cell, attention=Choice("any"), blocks=()).key


def groups(cells: Iterable[Evidence]) -> Mapping[str, Group]:
    """All groups by `group_of`."""
    found: dict[str, list[Evidence]] = defaultdict(list)
    for one in cells:
        found[group_of(one.cell)].append(one)
    return {key: Group(tuple(members)) for key, members in found.items()}


def speeds(group: Group) -> Mapping[str, Speed]:
    """The ratios of every member by its cell's key."""
    fastest, softmax = group.fastest, group.softmax
    found = {}
    for one in group.members:
        bound = group.bound(one.cell.blocks)
        found[one.cell.key] = Speed(
            speedup=_speedup(fastest, one),
            against=fastest.cell.attention.label if fastest and one.times else "",
            versus_softmax=_speedup(softmax, one),
            bound=_speedup(fastest, bound) if bound and one.times else None,
            ceiling=_ceiling(softmax, one),
        )
    return found


def _speedup(reference: Evidence | None, of: Evidence) -> Estimate | None:
    """Latency of the reference / latency of the cell: above 1 is faster."""
    if reference is None:
        return None
    above, below = reference.samples("latency"), of.samples("latency")
    if not above or not below:
        return None
    if reference is of:
        return Estimate(1.0, 1.0, 1.0, len(below), _size(below))
    found = stats.ratio(above, below)
    processes, samples = min(len(above), len(below)), min(_size(above), _size(below))
    return Estimate(found.value, found.low, found.high, processes, samples)


def _ceiling(softmax: Evidence | None, of: Evidence) -> float | None:
    """Multiply-adds of softmax / those of the cell if the core cost nothing in the cell's blocks.

    The other blocks keep an exact core, which costs what softmax's does.
    """
    parts = ("macs", "core_macs")
    if softmax is None or not all(part in one.estimates for part in parts for one in (softmax, of)):
        return None
    total, core = (softmax.estimates[part].value for part in parts)
    rest = of.estimates["macs"].value - of.estimates["core_macs"].value
    share = len(of.cell.blocks) / len(softmax.cell.blocks) if softmax.cell.blocks else 1.0
    left = rest + core * (1 - share)
    return total / left if left > 0 else None


def _size(groups_of_samples: Sequence[Sequence[float]]) -> int:
    return sum(map(len, groups_of_samples))
