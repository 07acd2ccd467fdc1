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
        """The tokens whose band is whole all at once, a head at a time; those near an end one by one."""
        shape, tokens, reach = q.shape, q.shape[-2], self.reach
        q, k, v = (x.flatten(0, 1) for x in (q * q.shape[-1] ** -0.5, k, v))
        keys = k.transpose(
            1, 2
        )  # (batch x heads, head_dim, tokens), as v and q are (batch x heads, tokens, head_dim)

        def alone(token: int) -> torch.Tensor:
            seen = slice(max(0, token - reach), token + reach + 1)
            scores = torch.bmm(q[:, token : token + 1], keys[:, :, seen])
            return torch.bmm(scores.softmax(dim=-1), v[:, seen])

        first, last = min(reach, tokens), max(tokens - reach, min(reach, tokens))
        parts = [alone(token) for token in range(first)]
        if last > first:
            parts.append(_whole(q[:, first:last], k, v, 2 * reach + 1))
        parts += [alone(token) for token in range(last, tokens)]
        return torch.cat(parts, dim=1).view(shape)

    def macs(self, shape: Shape) -> int:
        """The scores in sight, and their product with v."""
        reach = min(self.reach, shape.tokens - 1)
        pairs = (2 * reach + 1) * shape.tokens - reach * (reach + 1)
        return 2 * shape.batch * shape.heads * pairs * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:  # noqa: ARG002 (any dtype, anywhere)
        """Tokens that do not lie in raster order."""
        return off_plane(shape, "a band over the raster order")


def _whole(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, width: int) -> torch.Tensor:
    """Each query of q (heads, runs, head_dim) on a run of so many tokens, the first query on the first run.

    Runs are views: copies would be `width` times as large as k.
    """
    heads = []
    for one, *seen in zip(q, k, v, strict=True):
        keys, values = (x.unfold(0, width, 1) for x in seen)  # (runs, head_dim, width)
        scores = torch.bmm(one.unsqueeze(1), keys)
        heads.append(torch.bmm(scores.softmax(dim=-1), values.transpose(1, 2)).squeeze(1))
    return torch.stack(heads)
