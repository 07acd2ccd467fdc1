"""Grouped-query attention (Ainslie et al., 2023, arXiv 2305.13245) in a network trained without it.

    out_h = softmax(q_h K_g^T / sqrt(d)) V_g,  g = floor(h kv_heads / heads)
    K_g, V_g = means of the keys and values of the heads in group g
    cost 2 N^2 d

The mean over the heads of a group is the paper's own way to convert a trained model, without the training
that it wants after that. As many kv_heads as heads is softmax; one is multi-query attention. The core's
multiply-adds stay as they are: what this saves is keys and values to project, hold and read, and a swap of
the core alone saves only the reading. Not to be confused with a network trained with grouped queries, whose
projections are smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import scaled_dot_product_attention

from ditbench.attention.base import AttentionMethod, Shape, register
from ditbench.registry import setting


@register
@dataclass(frozen=True)
class Gqa(AttentionMethod):
    """Keys and values pooled over groups of heads, `kv_heads` of them left."""

    name: ClassVar[str] = "gqa"
    paper: ClassVar[str] = "Ainslie et al. 2023, arXiv 2305.13245"
    formula: ClassVar[str] = (
        "out_h = softmax(q_h K_g^T / sqrt(d)) V_g, g = floor(h kv_heads / heads)"
    )
    cost: ClassVar[str] = "2 N^2 d"

    kv_heads: int = setting(1, least=1)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """The queries of a group stand in one long sequence, so nothing is copied to each head."""
        groups = (self.kv_heads, q.shape[1] // self.kv_heads)
        pooled_k, pooled_v = (torch.unflatten(x, 1, groups).mean(dim=2) for x in (k, v))
        together = torch.unflatten(q, 1, groups).flatten(
            2, 3
        )  # (batch, kv_heads, group x tokens, head_dim)
        out = scaled_dot_product_attention(together, pooled_k, pooled_v)
        return torch.unflatten(out, 2, (groups[1], q.shape[2])).flatten(1, 2)

    def macs(self, shape: Shape) -> int:
        """Every query still meets every key."""
        return 2 * shape.batch * shape.heads * shape.tokens**2 * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:  # noqa: ARG002 (any dtype, anywhere)
        """Groups of unequal size."""
        if shape.heads % self.kv_heads == 0:
            return []
        return [f"the {shape.heads} heads do not fall into {self.kv_heads} equal groups"]
