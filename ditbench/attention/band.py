"""Banded attention (Yuan et al., 2024, arXiv 2406.08552): each token sees those near it in raster order.

    out_n = softmax(q_n K_B^T / sqrt(d)) V_B,  B = the tokens m with |n - m| <= reach
    cost 2 ((2 r + 1) N - r (r + 1)) d, r = reach

At both ends the band is cut and not moved, so that fewer keys are seen there and the cost is that of the
pairs in sight and of no others. DiTFastAttn takes an eighth of the tokens for the reach, and adds what full
attention gave more at an earlier step (`ditfastattn`); here is the band alone, without a kernel made for it.
A reach of all tokens is softmax. Not to be confused with `window`, which is a square on the picture: a band
sees far along the row and whole rows above and below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Shape, off_plane, register
from ditbench.registry import setting
from ditbench.reuse import band


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
        """See `reuse.band`."""
        return band.attend(q, k, v, self.reach)

    def macs(self, shape: Shape) -> int:
        """The scores in sight, and their product with v."""
        pairs = band.pairs(shape.tokens, self.reach)
        return 2 * shape.batch * shape.heads * pairs * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:  # noqa: ARG002 (any dtype, anywhere)
        """Tokens that do not lie in raster order."""
        return off_plane(shape, "a band over the raster order")
