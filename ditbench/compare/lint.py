"""Gates that guard less than they seem to, each its own finding: what nothing judges must not look green.

No figure and no verdict changes by what stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from ditbench import stats, units
from ditbench.compare.provisional import provisional
from ditbench.compare.rules import usual
from ditbench.compare.verdicts import Lint
from ditbench.gating import GATE
from ditbench.metrics import known
from ditbench.records import Status
from ditbench.store import Noise, Run
from ditbench.summary import Evidence

# A threshold above so many floors lets slow-downs pass that the machine could tell.
WIDE = 5


@dataclass(frozen=True)
class Gathered:
    """A run, and what each of its cells came to."""

    run: Run
    cells: tuple[Evidence, ...]


def lint(
    candidate: Gathered, baseline: Gathered | None, noise: Noise | None, now: datetime
) -> tuple[Lint, ...]:
    """Everything of that kind, of the whole suite first. now: when the run is judged."""
    after = candidate.cells
    if not any(one.status is Status.OK for one in after):
        ran = f"none of {len(after)} cells has a result" if after else "it has no cells"
        return (Lint("nothing ran", f"the suite ran nothing: {ran}"),)
    if baseline is None:
        return (
            Lint("no baseline", "the run was compared with nothing: --baseline names something"),
        )
    before = {one.cell.key: one for one in baseline.cells}
    return (
        *_terms(baseline.run, baseline.cells, now),
        *_floors(candidate.run, after, noise),
        *_unguarded(after, before, baseline.run),
        *_zeros(after, before),
    )


def _terms(baseline: Run, before: Iterable[Evidence], now: datetime) -> Iterator[Lint]:
    """What speaks against the baseline as a whole; a run that is compared with has no terms."""
    if baseline.admission is None:
        return
    if expired := baseline.admission.expired(now):
        yield Lint("expired", f"{expired}, so that nothing is judged against it: set it anew")
    if told := provisional(baseline, before):
        yield Lint("provisional", told)


def _floors(candidate: Run, after: Iterable[Evidence], noise: Noise | None) -> Iterator[Lint]:
    """Whether this machine's noise is known, and thresholds that are wider than it needs."""
    timed = [one for one in after if one.times]
    way = f"`ditbench noise {candidate.suite_path}` measures it"
    if not timed:
        return
    if noise is None:
        yield Lint("no floor", f"the noise of this machine was not measured: {way}")
        return
    if told := noise.elsewhere(candidate.environment):
        yield Lint("no floor", f"the noise was measured elsewhere ({'; '.join(told)}): {way}")
        return
    without = [one for one in timed if noise.floor(one.cell.key, "latency") is None]
    if without:
        of = f"{len(without)} of {len(timed)} cells"
        yield Lint("no floor", f"the noise of {of} was not measured: {way}", without[0].cell)
    yield from _wide(timed, candidate.gate, noise)


def _wide(timed: Iterable[Evidence], gate: Mapping[str, float], noise: Noise) -> Iterator[Lint]:
    """One finding a metric, on the quietest of its cells, be the gate the suite's or the usual one.

    A floor of zero is of processes too few or too equal to tell one.
    """
    cells = {one.cell.key: one.cell for one in timed}
    for metric in dict.fromkeys(name for key in cells for name in noise.floors.get(key, {})):
        floors = {
            key: floor.apart
            for key in cells
            if (floor := noise.floor(key, metric)) is not None and floor.apart > 0
        }
        asked, whose = _threshold(metric, gate)
        wide = [key for key, floor in floors.items() if asked > WIDE * floor]
        if wide:
            key = min(wide, key=floors.__getitem__)
            yield Lint(
                "wide threshold",
                f"{whose} of {units.percent(asked)} is above {WIDE} x the measured floor in "
                f"{len(wide)} of {len(floors)} cells, of which one has {units.percent(floors[key])}",
                cells[key],
            )


def _threshold(metric: str, gate: Mapping[str, float]) -> tuple[float, str]:
    """What is let pass of a metric, and whose word that is."""
    if metric in gate:
        return gate[metric], f"gate.{metric}"
    row = known(metric)
    return usual(row) if row else GATE, f"the usual gate on {metric}"


def _unguarded(
    after: Iterable[Evidence], before: Mapping[str, Evidence], baseline: Run
) -> Iterator[Lint]:
    what = "baseline" if baseline.admission else "run"
    for one in after:
        old = before.get(one.cell.key)
        if one.status is Status.OK and (old is None or old.status is not Status.OK):
            how = "is not in it" if old is None else f"was {old.status} in it"
            yield Lint("no baseline", f"no {what} guards this cell: it {how}", one.cell)


def _zeros(after: Iterable[Evidence], before: Mapping[str, Evidence]) -> Iterator[Lint]:
    """Times, memory and energy cannot be zero: such a baseline is a hole, not a number."""
    for one in after:
        old = before.get(one.cell.key)
        for name, medians in (old.per_process if old else {}).items():
            value = stats.middle(medians)
            if known(name) and not value > 0:
                told = f"the baseline's {name} is {value:g}, against which nothing can be judged"
                yield Lint("zero", f"{told}: set it anew", one.cell)
