"""The attention of "Accelerating DiT with xFormers" as printed, and each of its two faults alone.

`memory_efficient_attention` takes q, k and v as (batch, tokens, heads, head_dim) and scales the scores by
1/sqrt(head_dim) itself. The published module hands it (batch, heads, tokens, head_dim), so that every token
attends over its own heads and never looks at another token, and scales q before: 1/head_dim in all. Shapes
fit, nothing crashes, and the layout fault saves the work of tokens/heads.

The faults lie in what the kernel is fed, so the kernel here is a right one, written out, that runs without
the package. All three say that they are exact, as the publication does; the numeric gate must refuse them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Shape


def kernel(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Softmax attention of (batch, tokens, heads, head_dim), which scales by itself."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-2, -1))
    return torch.matmul(scores.softmax(dim=-1), v).transpose(1, 2)


class XformersFault(AttentionMethod):
    """What the faults share: they call themselves exact."""

    paper: ClassVar[str] = 'the README "Accelerating DiT with xFormers Attention"'
    exact: ClassVar[bool] = True


@dataclass(frozen=True)
class OverHeads(XformersFault):
    """(batch, heads, tokens, head_dim) to a kernel that reads heads as tokens."""

    name: ClassVar[str] = "over-heads"
    formula: ClassVar[str] = "out = softmax over the H heads of each token"
    cost: ClassVar[str] = "2 H d N"

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """No transpose, where one is needed."""
        return kernel(q, k, v)

    def macs(self, shape: Shape) -> int:
        """Scores among the heads of each token: tokens/heads less than softmax's."""
        return 2 * shape.batch * shape.tokens * shape.heads**2 * shape.head_dim


@dataclass(frozen=True)
class ScaledTwice(XformersFault):
    """A q that is scaled already, to a kernel that scales."""

    name: ClassVar[str] = "scaled-twice"
    formula: ClassVar[str] = "out = softmax(q k^T / d) v"
    cost: ClassVar[str] = "2 N^2 d"

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """The right layout, and 1/head_dim in all."""
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return kernel(q * q.shape[-1] ** -0.5, k, v).transpose(1, 2)

    def macs(self, shape: Shape) -> int:
        """As softmax's: a scale is no product of matrices."""
        return 2 * shape.batch * shape.heads * shape.tokens**2 * shape.head_dim


@dataclass(frozen=True)
class AsPrinted(OverHeads):
    """Both faults, as in the publication."""

    name: ClassVar[str] = "as-printed"
    formula: ClassVar[str] = "out = softmax over the H heads of each token, of q k^T / d"

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Over heads, and scaled twice."""
        return kernel(q * q.shape[-1] ** -0.5, k, v)
