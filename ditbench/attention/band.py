"""Banded attention (Yuan et al., 2024, arXiv 2406.08552): each token sees those near it in raster order.

    out_n = softmax(q_n K_B^T / sqrt(d)) V_B,  B = the tokens m with |n - m| <= reach
    cost 2 ((2 r + 1) N - r (r + 1)) d, r = reach

At both ends the band is cut and not moved, so that fewer keys are seen there and the cost is that of the
pairs in sight and of no others. DiTFastAttn takes an eighth of the tokens for the reach, and adds what full
attention gave more at an earlier step (its WA-RS); here is the band alone. Written out with strided views and
one product for each token near an end: its multiply-adds are those of the formula, its speed is not that of
a kernel made for it. A reach of all tokens is softmax. Not to be confused with `window`, which is a square on
the picture: a band sees far along the row and whole rows above and below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Shape, off_plane, register
from ditbench.registry import setting


@register
@dataclass(frozen=True)
class Band(AttentionMethod):
    """So many tokens before and after each, in raster order: its `reach`."""

    name: ClassVar[str] = "band"
    paper: ClassVar[str] = "Yuan et al. 2024, arXiv 2406.08552"
    formula: ClassVar[str] = (
        "out_n = softmax(q_n K_B^T / sqrt(d)) V_B, B = the tokens m with |n - m| <= reach"
    )
    cost: ClassVar[str] = "2 ((2 r + 1) N - r (r + 1)) d, r = reach"

    reach: int = setting(8, least=0)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """The tokens whose band is whole all at once, a head at a time; the others one by one."""
        tokens, reach, q = q.shape[-2], self.reach, q * q.shape[-1] ** -0.5
        inner = range(reach, tokens - reach)
        ends = [n for n in range(tokens) if n not in inner]
        near = {n: slice(max(0, n - reach), n + reach + 1) for n in ends}
        out = {
            n: _softmax(q[..., n : n + 1, :], k[..., at, :], v[..., at, :])
            for n, at in near.items()
        }
        first, last = ([out[n] for n in ends if (n < reach) == before] for before in (True, False))
        whole = [self._whole(q, k, v, inner)] if inner else []
        return torch.cat([*first, *whole, *last], dim=-2)

    def _whole(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, inner: range
    ) -> torch.Tensor:
        """(batch, heads, len(inner), head_dim), by views: copies would be 2 reach + 1 times as large as k."""
        width = 2 * self.reach + 1
        rows = zip(q[..., inner.start : inner.stop, :], k, v, strict=True)
        return torch.stack(
            [
                torch.stack(
                    [
                        _softmax(one.unsqueeze(1), *(_windows(x, width) for x in seen)).squeeze(1)
                        for one, *seen in zip(*row, strict=True)
                    ]
                )
                for row in rows
            ]
        )

    def macs(self, shape: Shape) -> int:
        """The scores in sight, and their product with v."""
        reach = min(self.reach, shape.tokens - 1)
        pairs = (2 * reach + 1) * shape.tokens - reach * (reach + 1)
        return 2 * shape.batch * shape.heads * pairs * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:  # noqa: ARG002 (any dtype, anywhere)
        """Tokens that do not lie in raster order."""
        return off_plane(shape, "a band over the raster order")


def _windows(x: torch.Tensor, width: int) -> torch.Tensor:
    """Each run of so many tokens of x (tokens, head_dim), as a view (runs, width, head_dim)."""
    return x.unfold(0, width, 1).transpose(1, 2)


def _softmax(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Of queries scaled already."""
    return (q @ k.transpose(-2, -1)).softmax(dim=-1) @ v
