"""Token merging (Bolya et al., 2023, arXiv 2210.09461) of keys and values: alike ones are averaged.

    A, B = keys at even and odd places;  r = round(ratio N) of A, those most alike to any of B, join that one
    out = softmax(q k'^T / sqrt(d) + log n) v',  k', v' means and n sizes of the N - r groups
    cost N_A N_B d + 2 N (N - r) d

Likeness is the cosine of two keys; each head of each sample merges for itself. log n makes a group count as
often as it has members: keys merged with equals change nothing. Only keys and values are merged, because a
Diffusion Transformer needs an output for every token. Not to be confused with merging whole tokens before a
block, which saves its projections and its MLP too, and has to be undone after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import normalize, scaled_dot_product_attention

from ditbench.attention.base import AttentionMethod, Shape, register
from ditbench.registry import setting


@register
@dataclass(frozen=True)
class TokenMerge(AttentionMethod):
    """The share `ratio` of the keys merged into others; half at most."""

    name: ClassVar[str] = "token-merge"
    paper: ClassVar[str] = "Bolya et al. 2023, arXiv 2210.09461"
    formula: ClassVar[str] = (
        "out = softmax(q k'^T / sqrt(d) + log n) v', k', v' means and n sizes of the N - r groups"
    )
    cost: ClassVar[str] = "N^2 d / 4 + 2 N (N - r) d, r = ratio N"

    ratio: float = setting(0.25, least=0.0)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Match, merge, attend."""
        near, order = _matches(k)
        merged = self._merged(k.shape[-2])
        k, size = _joined(k, near, order, merged)
        v, _ = _joined(v, near, order, merged)
        return scaled_dot_product_attention(q, k, v, attn_mask=size.log().transpose(-2, -1))

    def _merged(self, tokens: int) -> int:
        return round(self.ratio * tokens)

    def macs(self, shape: Shape) -> int:
        """The cosines, then attention over what is left."""
        tokens, odd = shape.tokens, shape.tokens // 2
        left = tokens - self._merged(tokens)
        each = (tokens - odd) * odd + 2 * tokens * left
        return shape.batch * shape.heads * each * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:  # noqa: ARG002 (any dtype, anywhere)
        """More than every other token, or none."""
        if 1 <= self._merged(shape.tokens) <= shape.tokens // 2:
            return []
        told = f"ratio {self.ratio:g} merges {self._merged(shape.tokens)} of {shape.tokens} tokens"
        return [f"{told}: at least one, at most every other"]


def _matches(k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each even key the odd one most like it; the even keys, best matched first: (..., A, 1)."""
    even, odd = normalize(k[..., ::2, :], dim=-1), normalize(k[..., 1::2, :], dim=-1)
    likeness, near = (even @ odd.transpose(-2, -1)).max(dim=-1, keepdim=True)
    return near, likeness.argsort(dim=-2, descending=True, stable=True)


def _joined(
    x: torch.Tensor, near: torch.Tensor, order: torch.Tensor, merged: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Means (..., N - merged, head_dim), even keys that stay alone first, and sizes (..., N - merged, 1)."""
    even, odd = x[..., ::2, :], x[..., 1::2, :]
    wide = (*order.shape[:-1], x.shape[-1])
    going, staying = order[..., :merged, :], order[..., merged:, :]
    target = near.gather(-2, going)
    moved = even.gather(-2, going.expand(*wide[:-2], merged, wide[-1]))
    alone = even.gather(-2, staying.expand(*wide[:-2], wide[-2] - merged, wide[-1]))
    ones = torch.ones_like(odd[..., :1])
    size = ones.scatter_add(-2, target, torch.ones_like(moved[..., :1]))
    total = odd.scatter_add(-2, target.expand(moved.shape), moved)
    sizes = torch.cat([torch.ones_like(alone[..., :1]), size], dim=-2)
    return torch.cat([alone, total / size], dim=-2), sizes
