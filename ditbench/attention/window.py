"""Neighbourhood attention (Hassani et al., 2023, arXiv 2204.07143): each token sees a square around it.

    out_p = softmax(q_p K_W^T / sqrt(d)) V_W,  W = the size x size tokens nearest to p on the grid
    cost 2 N size^2 d

At the border the square is moved inwards and not cut, so every token sees as many, and the cost is exact
with nothing masked. Written out with one gather for each row of tokens: its multiply-adds are those of the
formula, its speed is not that of a kernel made for it. A size equal to the side of a square grid is
softmax. Not to be confused with a band over the raster order, which sees far in the row and little across,
nor with windows that do not overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import PlaneMethod, Shape, off_plane, register
from ditbench.registry import setting


@register
@dataclass(frozen=True)
class Window(PlaneMethod):
    """A square of `size` x `size` tokens around each."""

    name: ClassVar[str] = "window"
    paper: ClassVar[str] = "Hassani et al. 2023, arXiv 2204.07143"
    formula: ClassVar[str] = (
        "out_p = softmax(q_p K_W^T / sqrt(d)) V_W, "
        "W = the size x size tokens nearest to p on the grid"
    )
    cost: ClassVar[str] = "2 N size^2 d"

    size: int = setting(5, least=1)

    def on(
        self, grid: tuple[int, int], q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        """Attention on this grid, one row of tokens after the other."""
        rows, columns = grid
        q, k, v = (torch.unflatten(x, -2, grid) for x in (q * q.shape[-1] ** -0.5, k, v))
        near = self._nearest(columns, q.device)
        first = [min(max(row - self.size // 2, 0), rows - self.size) for row in range(rows)]
        out = [self._row(q[..., row, :, :], k, v, (first[row], near)) for row in range(rows)]
        return torch.cat(out, dim=-2)

    def _row(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, seen: tuple[int, torch.Tensor]
    ) -> torch.Tensor:
        """Output (..., columns, head_dim) of one row. seen: the first row in sight, and columns by column."""
        first, near = seen

        def around(x: torch.Tensor) -> torch.Tensor:
            """(..., columns, size^2, head_dim): what each token of the row sees."""
            strip = x[..., first : first + self.size, :, :][..., near, :]
            return strip.transpose(-4, -3).flatten(-3, -2)

        scores = q.unsqueeze(-2) @ around(k).transpose(-2, -1)  # (..., columns, 1, size^2)
        return (scores.softmax(dim=-1) @ around(v)).squeeze(-2)

    def _nearest(self, columns: int, device: torch.device) -> torch.Tensor:
        """(columns, size): the columns that each column sees."""
        middle = torch.arange(columns, device=device) - self.size // 2
        start = middle.clamp(0, columns - self.size).unsqueeze(-1)
        return start + torch.arange(self.size, device=device)

    def macs(self, shape: Shape) -> int:
        """The scores in sight, and their product with v."""
        seen = self.size**2
        return 2 * shape.batch * shape.heads * shape.tokens * seen * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:  # noqa: ARG002 (any dtype, anywhere)
        """A square that the grid cannot hold, and tokens that are not one picture's."""
        if reasons := off_plane(shape, "a window"):
            return reasons
        rows, columns = shape.places
        if self.size <= min(rows, columns):
            return []
        return [f"a window of {self.size} x {self.size} does not fit the {rows} x {columns} tokens"]
