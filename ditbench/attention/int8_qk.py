"""Scores from eight-bit queries and keys (Zhang et al., 2024, SageAttention, arXiv 2410.02367), simulated.

    out = softmax(s_q s_k (q8 k8^T) / sqrt(d)) v,  x8 = round(x / s_x) in -127..127,  s_x = max |x| / 127
    k <- k - mean of k over tokens, which moves all scores of a row alike and so changes no weight
    cost 2 N^2 d

The integers are multiplied as float32, which holds every sum of 127^2 d exactly up to d = 1040: the answer
is that of an integer kernel, the speed is not. The scale is per token, or per head and sample. The product
with v stays in the dtype of v, as in the paper's own kernels. Not to be confused with `sage`, those
kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Shape, register
from ditbench.registry import setting

_LARGEST = 127
_WIDEST = 2**24 // _LARGEST**2  # float32 counts to 2^24 without a gap


@register
@dataclass(frozen=True)
class Int8Qk(AttentionMethod):
    """Eight-bit scores; one scale a `token` or a `head`, keys smoothed or not."""

    name: ClassVar[str] = "int8-qk"
    paper: ClassVar[str] = "Zhang et al. 2024, arXiv 2410.02367"
    formula: ClassVar[str] = (
        "out = softmax(s_q s_k (q8 k8^T) / sqrt(d)) v, x8 = round(x / s_x) in -127..127, "
        "s_x = max |x| / 127"
    )
    cost: ClassVar[str] = "2 N^2 d, half of it in eight bits"

    scale_per: str = setting("token", choices=("token", "head"))
    smooth: bool = setting(True)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Smooth, quantise, multiply integers, scale back."""
        wide_q, wide_k = q.float(), k.float()
        if self.smooth:
            wide_k = wide_k - wide_k.mean(dim=-2, keepdim=True)
        (q8, q_scale), (k8, k_scale) = self._quantised(wide_q), self._quantised(wide_k)
        scores = (q8 @ k8.transpose(-2, -1)) * (q_scale * k_scale.transpose(-2, -1))
        out: torch.Tensor = (scores * q.shape[-1] ** -0.5).softmax(dim=-1).to(v.dtype) @ v
        return out

    def _quantised(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Whole numbers, as float32, and their scale."""
        over = (-1,) if self.scale_per == "token" else (-2, -1)
        scale = x.abs().amax(dim=over, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny) / _LARGEST
        return (x / scale).round().clamp(-_LARGEST, _LARGEST), scale

    def macs(self, shape: Shape) -> int:
        """Q k^T and the product with v."""
        return 2 * shape.batch * shape.heads * shape.tokens**2 * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:  # noqa: ARG002 (any dtype, anywhere)
        """Heads so wide that float32 would round the integers."""
        if shape.head_dim <= _WIDEST:
            return []
        return [f"takes a head_dim of at most {_WIDEST}, not {shape.head_dim}"]
