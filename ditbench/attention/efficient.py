"""Efficient attention (Shen et al., 2018, arXiv 1812.01243): two softmaxes, neither of them over all pairs.

    out = a(q) (b(k)^T v),  a: softmax over the entries of each query,  b: over the tokens, for each entry
    cost 2 N d^2

Each entry of the keys is one map over the picture, and a query mixes the d means of v under these maps. No
scale: the paper has none. It is the linear attention of many diffusion U-Nets; put into a network trained
with softmax it blurs. Not to be confused with `sdpa: {backend: efficient}`, a kernel for softmax, nor with
`linear`, whose quotient comes after the products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Shape, register


@register
@dataclass(frozen=True)
class Efficient(AttentionMethod):
    """d maps over the picture, mixed by each query."""

    name: ClassVar[str] = "efficient"
    paper: ClassVar[str] = "Shen et al. 2018, arXiv 1812.01243"
    formula: ClassVar[str] = (
        "out = a(q) (b(k)^T v), a: softmax over the entries of each query, "
        "b: over the tokens, for each entry"
    )
    cost: ClassVar[str] = "2 N d^2"

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """The keys' maps and the values first, into one d x d matrix a head."""
        out: torch.Tensor = q.softmax(dim=-1) @ (k.softmax(dim=-2).transpose(-2, -1) @ v)
        return out

    def macs(self, shape: Shape) -> int:
        """Both products."""
        return 2 * shape.batch * shape.heads * shape.tokens * shape.head_dim**2
