"""An attention core by itself, on its device: no model around it, one call and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ditbench.attention.base import AttentionMethod, Shape, core_at
from ditbench.measure import flags
from ditbench.measure.bench import dtype_of, make, place
from ditbench.measure.core import QKV, SPREAD, drawn
from ditbench.records import Cell, Op

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass
class Core:
    """A cell's method with the q, k and v that it is called on.

    They lie in memory as a model's adapter hands them over. attend: the method as it stands at a site, with
    what it prepares before its first call.
    """

    cell: Cell
    device: torch.device
    method: AttentionMethod
    attend: Attend
    qkv: QKV

    @property
    def shape(self) -> Shape:
        """Sizes of q, k and v."""
        return shape_of(self.cell)

    def __call__(self) -> torch.Tensor:
        """One call."""
        return self.attend(*self.qkv)

    def draw(self, generator: torch.Generator) -> None:
        """Other numbers in the place of the queries: what a method remembers of a call saves nothing."""
        self.qkv[0].normal_(std=SPREAD, generator=generator)

    def compile(self) -> None:
        """Compile the core whole, or raise where it is called: no part may fall back to eager unseen."""
        self.attend = torch.compile(self.attend, fullgraph=True, dynamic=False)


def set_up(cell: Cell, device: str) -> Core:
    """A cell of an op on its device, not compiled yet. device: "cpu" or the UUID of the only GPU there is."""
    where = place(device)
    flags.settle()
    method, shape = make(cell.attention), shape_of(cell)
    qkv = drawn(shape, dtype_of(cell), where)
    attend = core_at(method, shape, str(where), cell.sampling.dtype).attend
    return Core(cell, where, method, attend, qkv)


def shape_of(cell: Cell) -> Shape:
    """Sizes of q, k and v of a cell of an op."""
    op = sizes_of(cell)
    return Shape(cell.rows, op.heads, op.tokens, op.head_dim)


def sizes_of(cell: Cell) -> Op:
    """The op of a cell that has one. Raises ValueError for a cell with a model."""
    if cell.op is None:
        raise ValueError(f"{cell.id}: is no op")
    return cell.op
