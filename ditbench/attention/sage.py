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

from ditbench.attention.base import AttentionMethod, Limits, Shape, register

_LIMITS = Limits(half=True, widest=128)
_COMMAND = "pip install --no-build-isolation git+https://github.com/thu-ml/SageAttention"


@register
@dataclass(frozen=True)
class Sage(AttentionMethod):
    """sageattention.sageattn, whichever of its kernels it picks."""

    name: ClassVar[str] = "sage"
    paper: ClassVar[str] = "Zhang et al. 2024, arXiv 2410.02367"
    formula: ClassVar[str] = "out = softmax(s_q s_k (q8 k8^T) / sqrt(d)) v"
    cost: ClassVar[str] = "2 N^2 d, in eight bits and fewer"
    needs: ClassVar[str] = f"sageattention 2 ({_COMMAND}); CUDA; half precision"

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """One call. Raises ImportError without the package."""
        from sageattention import sageattn  # noqa: PLC0415 (optional, and compiles kernels)

        if q.is_meta:
            raise NotImplementedError(  # told as not counted
                "the package asks for the GPU's generation: no kernel on meta"
            )
        out: torch.Tensor = sageattn(q, k, v, tensor_layout="HND")
        return out

    def macs(self, shape: Shape) -> int:
        """Q k^T and the product with v."""
        return 2 * shape.batch * shape.heads * shape.tokens**2 * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:
        """A missing package, the CPU, float32, wide heads."""
        refusals = _LIMITS.refusals(shape.head_dim, dtype, device)
        return [*self.unavailable(), *(f"sageattention {refusal}" for refusal in refusals)]

    @classmethod
    def unavailable(cls) -> list[str]:
        """The package, with the command."""
        try:
            from sageattention import sageattn  # noqa: F401, PLC0415 (optional)
        except (ImportError, OSError, RuntimeError) as error:  # a build for another torch, too
            return [f"no sageattention ({error}): {_COMMAND}"]
        return []
