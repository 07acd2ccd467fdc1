"""Approximations that cost more than what they approximate: a finding that no chart of times shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ditbench import units
from ditbench.records import Cell


@dataclass(frozen=True)
class Cost:
    """The multiply-adds of all attention cores of a cell, in one step."""

    cell: Cell
    core: float
    exact: bool

    @property
    def row(self) -> float:
        """Of one row: guidance and batch multiply it."""
        return self.core / self.cell.rows


def dearer(costs: Iterable[Cost]) -> Iterator[str]:
    """One line for each approximate method and model where a core of its own costs more than softmax's.

    An exact method is in all blocks, so that its own tells what a block's core costs.
    """
    costs = [one for one in costs if not one.cell.finds_batch and one.cell.blocks]
    exact = {one.cell.model: one for one in costs if one.exact}
    told: dict[tuple[str, str], float] = {}
    for one in costs:
        softmax = exact.get(one.cell.model)
        if one.exact or softmax is None or not softmax.core:
            continue
        depth, inside = len(softmax.cell.blocks), len(one.cell.blocks)
        each = softmax.row / depth
        own = (one.row - (depth - inside) * each) / inside  # the other blocks keep softmax's cost
        told[one.cell.method, one.cell.model.label] = own / each
    for (method, model), ratio in sorted(told.items(), key=lambda pair: -pair[1]):
        if ratio > 1:
            yield (
                f"{method} costs more multiply-adds than the softmax that it approximates: its core "
                f"{units.digits(ratio)} times as many, on {model}."
            )
