"""Speed-ups: who is compared with whom, what bounds them, and what arithmetic alone would allow."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ditbench import stats
from ditbench.records import UNACCELERATED, Cell, Choice
from ditbench.summary.evidence import Evidence
from ditbench.summary.rows import Estimate

SOFTMAX = "softmax"
# The yardsticks, which no bound judges: what can be saved by methods that replace the core, and by those
# that may leave out the projections of q, k and v too.
CORE_BOUND, MODULE_BOUND = "identity", "zero"
YARDSTICKS = frozenset({CORE_BOUND, MODULE_BOUND})
# The bound of a method with memory: what its own pattern of reuse would take if what it spared cost nothing.
REPLAY_BOUND = "its own pattern of reuse, and nothing where it reused"
_COSTS = frozenset({"macs", "core_macs"})


@dataclass(frozen=True)
class Group:
    """Cells that differ in method, accelerator and blocks alone, and may therefore stand in one ratio."""

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
        return next((one for one in self.members if one.cell.family == SOFTMAX), None)

    @cached_property
    def counted(self) -> Evidence | None:
        """Whose multiply-adds a ceiling is over: softmax's, or another exact method's, which are equal."""
        exact = (one for one in self.members if one.exact)
        found = (one for one in (self.softmax, *exact) if one and one.estimates.keys() >= _COSTS)
        return next(found, None)

    def bound(self, of: Evidence) -> Evidence | None:
        """The yardstick of a cell, in the same blocks."""
        return self._yardsticks.get((yardstick(of), of.cell.blocks))

    def boundless(self, of: Evidence) -> str:
        """Why no bound stands beside a cell's speed-up, with the way out; empty where one does."""
        name, found = yardstick(of), self.bound(of)
        if found is not None:
            status = found.reason or found.status
            return "" if found.times else f"no bound: {name} has no speed ({status})"
        if any(name == known for known, _ in self._yardsticks):
            return f"no bound: {name} was not measured in the same blocks"
        why = "it may skip projections, and " if name == MODULE_BOUND else ""
        return f"no bound: {why}this run has no {name} (add `- {name}` under `attention`)"

    @cached_property
    def _yardsticks(self) -> Mapping[tuple[str, tuple[int, ...]], Evidence]:
        named = [one for one in self.members if one.cell.family in YARDSTICKS]
        # The first of each stays.
        return {(one.cell.family, one.cell.blocks): one for one in reversed(named)}


@dataclass(frozen=True)
class Speed:
    """A row's ratios, and what stands beside them; `Row` says what each is."""

    speedup: Estimate | None
    against: str
    versus_softmax: Estimate | None
    bound: Estimate | None
    softmax_bound: Estimate | None
    bound_by: str
    boundless: str
    ceiling: float | None
    module_ceiling: float | None


def yardstick(of: Evidence) -> str:
    """The method that bounds a cell's speed-up."""
    return CORE_BOUND if of.core_only else MODULE_BOUND


def group_of(cell: Cell) -> str:
    """Equal for cells that differ in method, accelerator and blocks alone."""
    return dataclasses.replace(
        cell, attention=Choice("any"), accelerator=UNACCELERATED, blocks=()
    ).key


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
        bound, speedup = group.bound(one), _speedup(fastest, one)
        # Of a core alone all can be saved.
        judged = speedup is not None and not one.cell.op
        replayed = judged and bool(one.replayed)
        # An accelerator saves what is no attention too: only its own pattern bounds it.
        judged = judged and (replayed or not one.cell.is_accelerated)
        if replayed:
            bound = one
        core, module = _ceilings(group.counted, one)
        found[one.cell.key] = Speed(
            speedup=speedup,
            against=fastest.cell.method if fastest and one.times else "",
            versus_softmax=_speedup(softmax, one),
            bound=_speedup(fastest, bound, replayed=replayed) if bound and judged else None,
            softmax_bound=_speedup(softmax, bound, replayed=replayed) if bound and judged else None,
            bound_by=(REPLAY_BOUND if replayed else yardstick(one)) if judged else "",
            boundless=group.boundless(one) if judged and not replayed else "",
            ceiling=core,
            module_ceiling=module,
        )
    return found


def _speedup(
    reference: Evidence | None, of: Evidence, *, replayed: bool = False
) -> Estimate | None:
    """Latency of the reference / that of the cell, or of its pattern of reuse: above 1 is faster.

    None where its times tell nothing.
    """
    if reference is None or of.facts.get("simulated"):
        return None
    above, below = reference.samples("latency"), of.replayed if replayed else of.samples("latency")
    if not above or not below:
        return None
    if reference is of and not replayed:
        return Estimate(1.0, 1.0, 1.0, len(below), _size(below))
    found = stats.ratio(above, below)
    processes, samples = min(len(above), len(below)), min(_size(above), _size(below))
    return Estimate(found.value, found.low, found.high, processes, samples)


def _ceilings(counted: Evidence | None, of: Evidence) -> tuple[float | None, float | None]:
    """Multiply-adds of softmax / those left where a cell's sites have no core, or no attention at all.

    At all: neither core nor projections, that of the output included. The other sites keep all of theirs. A
    record that does not tell what its sites cost is taken to be of blocks that are all alike. An accelerator
    has no such ceiling: it skips what is no attention.
    """
    if counted is None or not counted.cell.blocks or of.cell.is_accelerated:
        return None, None
    share = len(of.cell.blocks) / len(counted.cell.blocks)
    macs = {name: one.value for name, one in counted.estimates.items()}
    total, core = macs["macs"], macs["core_macs"]
    projections = macs.get("projection_macs")
    alike = {"core": share * core, "projections": projections and share * projections}
    saved: Mapping[str, float | None] = of.facts.get("replaced_macs", alike)
    free, rest = saved["core"] or 0.0, saved["projections"]
    return _over(total, free), None if rest is None else _over(total, free + rest)


def _over(total: float, saved: float) -> float | None:
    return total / (total - saved) if total > saved else None


def _size(groups_of_samples: Sequence[Sequence[float]]) -> int:
    return sum(map(len, groups_of_samples))
