"""SageAttention (Zhang et al., 2024, arXiv 2410.02367; version 2, arXiv 2411.10958) from its own package.

    out = softmax(s_q s_k (q8 k8^T) / sqrt(d)) v            cost 2 N^2 d

Scores from eight-bit (on some GPUs four-bit) integers, the product with v in float16 or float8: which of
its kernels runs is the package's choice by GPU. It takes (batch, heads, tokens, head_dim) when told so and
scales by itself. Not to be confused with `int8-qk`, which computes what the paper describes anywhere and is
no faster for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Shape, register

_WIDEST = 128


@register
@dataclass(frozen=True)
class Sage(AttentionMethod):
    """sageattention.sageattn, whichever of its kernels it picks."""

    name: ClassVar[str] = "sage"
    paper: ClassVar[str] = "Zhang et al. 2024, arXiv 2410.02367"
    formula: ClassVar[str] = "out = softmax(s_q s_k (q8 k8^T) / sqrt(d)) v"
    cost: ClassVar[str] = "2 N^2 d, in eight bits and fewer"
    needs: ClassVar[str] = (
        "sageattention (pip install sageattention --no-build-isolation); CUDA; half precision"
    )

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """One call. Raises ImportError without the package."""
        from sageattention import sageattn  # noqa: PLC0415 (optional, and compiles kernels)

        out: torch.Tensor = sageattn(q, k, v, tensor_layout="HND")
        return out

    def macs(self, shape: Shape) -> int:
        """Q k^T and the product with v."""
        return 2 * shape.batch * shape.heads * shape.tokens**2 * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:
        """A missing package, the CPU, float32, wide heads."""
        refusals = {
            "needs a CUDA device": device != "cuda",
            f"needs float16 or bfloat16, not {dtype}": dtype == "float32",
            f"takes a head_dim of at most {_WIDEST}, not {shape.head_dim}": shape.head_dim
            > _WIDEST,
        }
        told = [f"sageattention {why}" for why, holds in refusals.items() if holds]
        return [*self.unavailable(), *told]

    @classmethod
    def unavailable(cls) -> list[str]:
        """The package, with the command."""
        try:
            from sageattention import sageattn  # noqa: F401, PLC0415 (optional)
        except ImportError as error:
            return [f"no sageattention ({error}): pip install sageattention --no-build-isolation"]
        return []
