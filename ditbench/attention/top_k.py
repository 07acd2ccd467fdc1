"""Top-k attention (Gupta et al., 2021, arXiv 2106.06899): each query keeps its largest scores only.

    out = softmax(top(q k^T / sqrt(d))) v,  top keeps n = max(1, round(keep N)) scores of each row
    cost 2 N^2 d

Says what pictures lose when scores are dropped, and nothing about speed: all scores are computed to find
the largest, and the dropped weights are multiplied as zeros. keep = 1 is softmax. Not to be confused with
methods that guess where the large scores are, which is where sparse attention saves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Shape, register
from ditbench.registry import setting


@register
@dataclass(frozen=True)
class TopK(AttentionMethod):
    """The share `keep` of each query's scores, the largest ones."""

    name: ClassVar[str] = "top-k"
    paper: ClassVar[str] = "Gupta et al. 2021, arXiv 2106.06899"
    formula: ClassVar[str] = (
        "out = softmax(top(q k^T / sqrt(d))) v, top keeps n = max(1, "
        "round(keep N)) scores of each row"
    )
    cost: ClassVar[str] = "2 N^2 d"

    keep: float = setting(0.25, least=0.0)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Scores, the largest of each row, their softmax put back where they stood."""
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        largest, places = scores.topk(max(1, round(self.keep * k.shape[-2])), dim=-1)
        weights = torch.zeros_like(scores).scatter(-1, places, largest.softmax(dim=-1))
        return weights @ v

    def macs(self, shape: Shape) -> int:
        """All scores, and a product with v in which most weights are zero."""
        return 2 * shape.batch * shape.heads * shape.tokens**2 * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:  # noqa: ARG002 (anywhere)
        """A share that is none."""
        return [] if 0 < self.keep <= 1 else [f"keep {self.keep:g} is no share: above 0, at most 1"]
