"""Linformer (Wang et al., 2020, arXiv 2006.04768): keys and values projected along the tokens, untrained.

    out = softmax(q (R k)^T / sqrt(d)) (R v),  R: r x N, independent N(0, 1 / r)
    cost 4 r N d

One R a block for keys and values of all heads, drawn once from `seed` before the first call and never
again. The paper trains its projections; random ones, as in every zero-shot table, average the values away:
R^T R is the identity in the mean, but R v alone has mean zero. So this is a lower bound, not a contender.
Not to be confused with `nystromformer`, whose short keys are made from the keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, CoreLayer, Layer, Shape, Site, register
from ditbench.registry import setting


@register
@dataclass(frozen=True)
class Linformer(AttentionMethod):
    """Keys and values shortened to `rank` random mixtures of tokens."""

    name: ClassVar[str] = "linformer"
    paper: ClassVar[str] = "Wang et al. 2020, arXiv 2006.04768"
    formula: ClassVar[str] = (
        "out = softmax(q (R k)^T / sqrt(d)) (R v), R: r x N, independent N(0, 1 / r)"
    )
    cost: ClassVar[str] = "4 r N d"

    rank: int = setting(32, least=1)
    seed: int = setting(0, least=0)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """With the projection of block 0."""
        return self.through(_projection(self.rank, k.shape[-2], (self.seed, 0)).to(q), q, k, v)

    def through(
        self, R: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        """Attention through this projection (rank, tokens)."""
        scores = (q * q.shape[-1] ** -0.5) @ (R @ k).transpose(-2, -1)
        out: torch.Tensor = scores.softmax(dim=-1) @ (R @ v)
        return out

    def macs(self, shape: Shape) -> int:
        """Two projections, two thin products."""
        return 4 * shape.batch * shape.heads * self.rank * shape.tokens * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:  # noqa: ARG002 (any dtype, anywhere)
        """As many mixtures as tokens, or more: nothing is shortened."""
        if self.rank < shape.tokens:
            return []
        return [f"rank {self.rank} must be less than the {shape.tokens} tokens"]

    def open(self, site: Site) -> Layer:
        """With a projection of the block's own, ready on its device."""
        tokens = site.grid[0] * site.grid[1]
        R = _projection(self.rank, tokens, (self.seed, site.block))
        return CoreLayer(_Drawn(self, site.block, R.to(site.device, getattr(torch, site.dtype))))


@dataclass(frozen=True)
class _Drawn:
    """Equal to another of the same method and block: the projection follows from these."""

    method: Linformer
    block: int
    R: torch.Tensor = field(compare=False, repr=False)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return self.method.through(self.R, q, k, v)


@lru_cache(maxsize=1024)
def _projection(rank: int, tokens: int, seeds: tuple[int, int]) -> torch.Tensor:
    """(rank, tokens) on the CPU; kept, and so no tensor of inference alone: training may ask for it later."""
    with torch.inference_mode(mode=False):
        generator = torch.Generator().manual_seed(seeds[0] * 2**16 + seeds[1])
        drawn = torch.randn(rank, tokens, generator=generator, device="cpu")
        return drawn / math.sqrt(rank)
