"""cosFormer (Qin et al., 2022, arXiv 2202.08791): linear attention that weighs near tokens more.

    out_i = sum_j s_ij v_j / sum_j s_ij,  s_ij = relu(q_i) relu(k_j) cos(pi (i - j) / 2N)
    cost 4 N d^2 + 2 N d

The cosine of a difference is a sum of two products, so a key is twice as wide, [relu(x) cos, relu(x) sin]
at the angle pi i / 2N, and nothing is N x N. q and k are divided by d^(1/4) each. i and j run over tokens
in raster order, so "near" is near in the row. A query without a positive entry sees nothing and gives zero.
Not to be confused with `linear`, which knows no places.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Shape, register


@register
@dataclass(frozen=True)
class Cosformer(AttentionMethod):
    """Kernel attention with a cosine over the distance of tokens."""

    name: ClassVar[str] = "cosformer"
    paper: ClassVar[str] = "Qin et al. 2022, arXiv 2202.08791"
    formula: ClassVar[str] = (
        "out_i = sum_j s_ij v_j / sum_j s_ij, s_ij = relu(q_i) relu(k_j) cos(pi (i - j) / 2N)"
    )
    cost: ClassVar[str] = "4 N d^2 + 2 N d"

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """As `linear`, at twice the width; a mean stands for the sum over keys, so half precision holds."""
        scale = q.shape[-1] ** -0.25
        q, k = _placed(q * scale), _placed(k * scale) / k.shape[-2]
        total = k.sum(dim=-2).unsqueeze(-1)  # (batch, heads, 2 head_dim, 1)
        seen = (q @ total).clamp_min(torch.finfo(q.dtype).tiny)
        return q @ (k.transpose(-2, -1) @ v) / seen

    def macs(self, shape: Shape) -> int:
        """Both products at twice the width, and the denominator's."""
        each = 4 * shape.head_dim**2 + 2 * shape.head_dim
        return shape.batch * shape.heads * shape.tokens * each


def _placed(x: torch.Tensor) -> torch.Tensor:
    """(..., tokens, 2 head_dim): relu(x) by the cosine and the sine of each token's angle, from 1 to N."""
    tokens = x.shape[-2]
    place = torch.arange(1, tokens + 1, device=x.device, dtype=torch.float32)
    angle = (math.pi / (2 * tokens) * place).unsqueeze(-1)
    x = x.relu()
    return torch.cat([x * angle.cos().to(x.dtype), x * angle.sin().to(x.dtype)], dim=-1)
