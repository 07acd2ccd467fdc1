"""Memory-efficient attention (Rabe and Staats, 2021, arXiv 2112.05682) from the package xformers.

    out = softmax(q k^T / sqrt(d)) v            cost 2 N^2 d

The same numbers as `softmax` up to rounding. On a recent torch the package mostly calls the kernels that
`sdpa` calls: not to be confused with it for its layout, (batch, tokens, heads, head_dim). Fed (batch, heads,
tokens, head_dim) it attends over the heads of each token, far less work and a wrong answer of the right
shape; fed a scaled q it scales twice. A published speed-up has both, so both are pinned by tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Shape, register


@register
@dataclass(frozen=True)
class Xformers(AttentionMethod):
    """xformers.ops.memory_efficient_attention, whichever of its kernels it picks."""

    name: ClassVar[str] = "xformers"
    paper: ClassVar[str] = "Rabe and Staats 2021, arXiv 2112.05682"
    formula: ClassVar[str] = "out = softmax(q k^T / sqrt(d)) v"
    cost: ClassVar[str] = "2 N^2 d"
    needs: ClassVar[str] = "xformers (pip install ditbench[xformers])"
    exact: ClassVar[bool] = True

    @property
    def kernels(self) -> frozenset[str]:
        """FlashAttention, or the package's own CUTLASS kernel, which torch calls efficient."""
        return frozenset({"flash", "efficient"})

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """One call, which scales q itself, in its own layout. Raises ImportError without the package."""
        from xformers.ops import memory_efficient_attention  # noqa: PLC0415 (optional, and slow)

        q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # (batch, tokens, heads, head_dim)
        out: torch.Tensor = memory_efficient_attention(q, k, v)
        return out.transpose(1, 2)

    def macs(self, shape: Shape) -> int:
        """Q k^T and the product with v."""
        return 2 * shape.batch * shape.heads * shape.tokens**2 * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:  # noqa: ARG002 (any shape, any dtype)
        """The missing package, and the CPU, for which it has no kernel."""
        no_kernel = (
            ["xformers has no kernel for the CPU: use sdpa there"] if device == "cpu" else []
        )
        return self.unavailable() + no_kernel

    @classmethod
    def unavailable(cls) -> list[str]:
        """Whether the function can be imported: some wheels of the package come without it.

        The import may open the GPU, so a process that must not touch one asks a child.
        """
        try:
            from xformers.ops import memory_efficient_attention  # noqa: F401, PLC0415 (optional)
        except ImportError as error:
            return [f"no memory_efficient_attention ({error}): pip install ditbench[xformers]"]
        return []
