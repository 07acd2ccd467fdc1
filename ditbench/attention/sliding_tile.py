"""Sliding tile attention (Zhang et al., 2025, arXiv 2502.04507): a window that moves by whole tiles.

    out_p = softmax(q_p K_W^T / sqrt(d)) V_W,  W = the window x window tiles nearest to the tile of p
    cost 2 N (window tile)^2 d

Tiles are tile x tile tokens. All queries of a tile see the same keys, so a kernel never computes a score
that it masks: each tile is one small dense attention. At the border the tiles are moved inwards, so every
query sees as many. As many tiles as the side of a square grid has is softmax. The paper's is for videos, in
three dimensions and with a window for each head from a search; this is for pictures, one window for all. Not
to be confused with `window`, which moves by single tokens, nor with windows that do not overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import scaled_dot_product_attention

from ditbench.attention.base import PlaneMethod, Shape, off_plane, register
from ditbench.registry import setting


@register
@dataclass(frozen=True)
class SlidingTile(PlaneMethod):
    """Tiles of `tile` x `tile` tokens; each sees `window` x `window` of them."""

    name: ClassVar[str] = "sliding-tile"
    paper: ClassVar[str] = "Zhang et al. 2025, arXiv 2502.04507"
    formula: ClassVar[str] = (
        "out_p = softmax(q_p K_W^T / sqrt(d)) V_W, "
        "W = the window x window tiles nearest to the tile of p"
    )
    cost: ClassVar[str] = "2 N (window tile)^2 d"

    tile: int = setting(4, least=1)
    window: int = setting(3, least=1)

    def on(
        self, grid: tuple[int, int], q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        """One dense attention for each tile, all of them at once."""
        tiles = (grid[0] // self.tile, grid[1] // self.tile)
        q, k, v = (self._cut(x, tiles) for x in (q, k, v))
        k, v = (self._around(x, tiles) for x in (k, v))
        out = scaled_dot_product_attention(q.flatten(1, 3), k.flatten(1, 3), v.flatten(1, 3))
        out = torch.unflatten(out, 1, (-1, *tiles))
        return torch.unflatten(out, -2, (self.tile, self.tile)).transpose(-4, -3).flatten(-5, -2)

    def _cut(self, x: torch.Tensor, tiles: tuple[int, int]) -> torch.Tensor:
        """(..., tokens, head_dim) -> (..., tile rows, tile columns, tokens of a tile, head_dim)."""
        x = torch.unflatten(x, -2, (tiles[0], self.tile, tiles[1], self.tile))
        return x.transpose(-4, -3).flatten(-3, -2)

    def _around(self, x: torch.Tensor, tiles: tuple[int, int]) -> torch.Tensor:
        """For each tile the tokens of those that it sees: (..., rows, columns, seen tokens, head_dim)."""
        rows, columns = (self._nearest(side, x.device) for side in tiles)
        seen = x[..., rows[:, None, :, None], columns[None, :, None, :], :, :]
        return seen.flatten(-4, -2)

    def _nearest(self, side: int, device: torch.device) -> torch.Tensor:
        """(side, window): the tiles that each tile of a row or a column sees."""
        middle = torch.arange(side, device=device) - self.window // 2
        return middle.clamp(0, side - self.window).unsqueeze(-1) + torch.arange(
            self.window, device=device
        )

    def macs(self, shape: Shape) -> int:
        """The scores in sight, and their product with v."""
        seen = (self.window * self.tile) ** 2
        return 2 * shape.batch * shape.heads * shape.tokens * seen * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:  # noqa: ARG002 (any dtype, anywhere)
        """Tiles that do not fill the grid, a window that it cannot hold, tokens of no one picture."""
        if reasons := off_plane(shape, "sliding tiles"):
            return reasons
        rows, columns = shape.places
        if rows % self.tile or columns % self.tile:
            size = f"{self.tile} x {self.tile}"
            return [f"tiles of {size} do not fill the {rows} x {columns} tokens"]
        if self.window * self.tile <= min(rows, columns):
            return []
        size = f"{self.window} x {self.window}"
        return [f"{size} tiles of side {self.tile} do not fit the {rows} x {columns} tokens"]
