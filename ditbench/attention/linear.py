"""Linear attention (Katharopoulos et al., 2020, arXiv 2006.16236): a kernel of finite width for softmax's.

    out = phi(q) (phi(k)^T v) / (phi(q) sum phi(k)),  phi(x) = 1 + elu(x)
    cost 2 N d^2 + N d

q and k are divided by d^(1/4) each. A mean stands for the sum over keys, in numerator and denominator
alike, so that half precision does not overflow with N. Meant for networks trained with it: put into one
trained with softmax it blurs. Not to be confused with `cosformer`, another phi, nor with `performer`, whose
random phi approaches softmax's own kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import elu

from ditbench.attention.base import AttentionMethod, Shape, register


@register
@dataclass(frozen=True)
class Linear(AttentionMethod):
    """Kernel attention with phi(x) = 1 + elu(x)."""

    name: ClassVar[str] = "linear"
    paper: ClassVar[str] = "Katharopoulos et al. 2020, arXiv 2006.16236"
    formula: ClassVar[str] = "out = phi(q) (phi(k)^T v) / (phi(q) sum phi(k)), phi(x) = 1 + elu(x)"
    cost: ClassVar[str] = "2 N d^2 + N d"

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """The keys and values first, into one d x d matrix a head."""
        scale = q.shape[-1] ** -0.25
        q, k = 1 + elu(q * scale), (1 + elu(k * scale)) / k.shape[-2]
        total = k.sum(dim=-2).unsqueeze(
            -1
        )  # (batch, heads, head_dim, 1); phi is above zero, so this is too
        return q @ (k.transpose(-2, -1) @ v) / (q @ total)

    def macs(self, shape: Shape) -> int:
        """Both products, and the denominator's."""
        each = 2 * shape.head_dim**2 + shape.head_dim
        return shape.batch * shape.heads * shape.tokens * each
