"""Two sets of records beside each other, figure by figure: what became other, and no verdict on it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ditbench.records import Cell
from ditbench.store import Run
from ditbench.summary.evidence import DERIVED, Evidence, gather
from ditbench.summary.rows import Estimate, estimate_to_json, number_to_json


@dataclass(frozen=True)
class Beside:
    """One figure of one cell, then and now.

    only: "then" or "now" where no other side has the cell: metric is empty, and its latency stands there.
    """

    cell: Cell
    metric: str
    then: Estimate | None
    now: Estimate | None
    only: str = ""

    @property
    def change(self) -> float | None:
        """The change: now / then - 1, or None where that is no finite number."""
        if self.then is None or self.now is None:
            return None
        if self.then.value == self.now.value:
            return 0.0
        if self.then.value == 0 or not math.isfinite(self.then.value) or math.isinf(self.now.value):
            return None
        return self.now.value / self.then.value - 1


def beside(then: Run, now: Run) -> tuple[Beside, ...]:
    """Every figure of either side: cells that only one has first, then by the size of the change."""
    return tuple(sorted(_found(then, now), key=_order))


def beside_to_json(found: tuple[Beside, ...]) -> list[dict[str, Any]]:
    """One plain object a figure."""
    return [
        {
            "key": one.cell.key,
            "cell": one.cell.id,
            "metric": one.metric,
            "then": estimate_to_json(one.then),
            "now": estimate_to_json(one.now),
            "change": number_to_json(one.change),
            "only": one.only,
        }
        for one in found
    ]


def _found(then: Run, now: Run) -> Iterator[Beside]:
    before, after = (
        {one.cell.key: one for one in gather(run) if one.recorded} for run in (then, now)
    )
    for key in dict.fromkeys((*before, *after)):
        old, new = before.get(key), after.get(key)
        if old and new:
            yield from _figures(old, new)
        elif one := old or new:
            latency = one.estimates.get("latency")
            side = "then" if old else "now"
            yield Beside(one.cell, "", latency if old else None, latency if new else None, side)


def _figures(old: Evidence, new: Evidence) -> Iterator[Beside]:
    for name in dict.fromkeys((*old.estimates, *new.estimates)):
        if name not in DERIVED:
            yield Beside(new.cell, name, old.estimates.get(name), new.estimates.get(name))


def _order(one: Beside) -> tuple[bool, float, str, str]:
    effect = math.inf if one.change is None else abs(one.change)
    return bool(one.metric), -effect, one.cell.id, one.metric
