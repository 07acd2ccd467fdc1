"""Softmax attention (Vaswani et al., 2017, arXiv 1706.03762), written out.

    out = softmax(q k^T / sqrt(d)) v            cost 2 N^2 d

The reference method: numbers and pictures of all others are judged against it. Two explicit matrix products
with the scores in memory between them, as in the DiT paper's own code: not to be confused with `sdpa`, the
fused kernels that the model would use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Shape, register


@register
@dataclass(frozen=True)
class Softmax(AttentionMethod):
    """Explicit softmax attention."""

    name: ClassVar[str] = "softmax"
    paper: ClassVar[str] = "Vaswani et al. 2017, arXiv 1706.03762"
    formula: ClassVar[str] = "out = softmax(q k^T / sqrt(d)) v"
    cost: ClassVar[str] = "2 N^2 d"
    exact: ClassVar[bool] = True

    @property
    def kernels(self) -> frozenset[str]:
        """Explicit means explicit: a compiler that swaps in a fused kernel is caught."""
        return frozenset({"math"})

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """softmax(q k^T / sqrt(d)) v."""
        scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-2, -1))
        return torch.matmul(scores.softmax(dim=-1), v)

    def macs(self, shape: Shape) -> int:
        """Q k^T and the product with v."""
        return 2 * shape.batch * shape.heads * shape.tokens**2 * shape.head_dim
