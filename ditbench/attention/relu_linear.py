"""ReLU linear attention (Cai et al., 2022, arXiv 2205.14756), and Sana's (Xie et al., 2024, 2410.10629).

    out = phi(q) (phi(k)^T v) / (phi(q) sum phi(k)),  phi(x) = max(x, 0)
    cost 2 N d^2 + N d

No scale is needed: it cancels in the quotient. A mean stands for the sum over keys, above the line and
below, so that half precision does not overflow with N. A query without a positive entry sees nothing and
gives zero. What Sana's blocks add, a convolution in the MLP, is the network's and not the core's. Not to be
confused with `linear`, whose phi is never zero, nor with `cosformer`, the same phi with a cosine over places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Shape, register


@register
@dataclass(frozen=True)
class ReluLinear(AttentionMethod):
    """Kernel attention with phi(x) = max(x, 0)."""

    name: ClassVar[str] = "relu-linear"
    paper: ClassVar[str] = "Cai et al. 2022, arXiv 2205.14756"
    formula: ClassVar[str] = "out = phi(q) (phi(k)^T v) / (phi(q) sum phi(k)), phi(x) = max(x, 0)"
    cost: ClassVar[str] = "2 N d^2 + N d"

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """The keys and values first, into one d x d matrix a head."""
        q, k = q.relu(), k.relu() / k.shape[-2]
        total = k.sum(dim=-2).unsqueeze(-1)  # (batch, heads, head_dim, 1)
        seen = (q @ total).clamp_min(torch.finfo(q.dtype).tiny)
        return q @ (k.transpose(-2, -1) @ v) / seen

    def macs(self, shape: Shape) -> int:
        """Both products, and the denominator's."""
        each = 2 * shape.head_dim**2 + shape.head_dim
        return shape.batch * shape.heads * shape.tokens * each
