"""Fused softmax attention (Dao et al., 2022, arXiv 2205.14135) through torch's scaled_dot_product_attention.

    out = softmax(q k^T / sqrt(d)) v            cost 2 N^2 d

The same numbers as `softmax` up to rounding, without the N x N scores in memory: what a model would use, and
the method that a speed-up is against. Not to be confused with `softmax`, the explicit one, nor its speed with
that of one kernel: `auto` lets torch choose, a named backend allows that one and no other, so what it cannot
run raises RuntimeError instead of falling back. Naming one costs some ten microseconds of Python a call in
eager code, which shows where the GPU waits for the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from ditbench.attention.base import AttentionMethod, Limits, Shape, register
from ditbench.registry import setting

_BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}
# flash pads odd head_dims itself; efficient and cudnn load rows of 16 bytes.
_LIMITS = {
    "flash": Limits(on_cpu=True, half=True, widest=256),
    "efficient": Limits(row=16),
    "cudnn": Limits(half=True, widest=256, row=16),
}


@register
@dataclass(frozen=True)
class Sdpa(AttentionMethod):
    """torch's own fused attention; `backend` allows one kernel only."""

    name: ClassVar[str] = "sdpa"
    paper: ClassVar[str] = "Dao et al. 2022, arXiv 2205.14135"
    formula: ClassVar[str] = "out = softmax(q k^T / sqrt(d)) v"
    cost: ClassVar[str] = "2 N^2 d"
    exact: ClassVar[bool] = True

    backend: str = setting("auto", choices=("auto", *_BACKENDS))

    @property
    def kernels(self) -> frozenset[str]:
        """The named backend; any for `auto`."""
        return frozenset() if self.backend == "auto" else frozenset({self.backend})

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """softmax(q k^T / sqrt(d)) v in one call, which scales q itself."""
        if self.backend == "auto":
            return scaled_dot_product_attention(q, k, v)
        with sdpa_kernel(_BACKENDS[self.backend]):
            return scaled_dot_product_attention(q, k, v)

    def macs(self, shape: Shape) -> int:
        """Q k^T and the product with v."""
        return 2 * shape.batch * shape.heads * shape.tokens**2 * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:
        """What the named kernel cannot run; `auto` and `math` run anywhere."""
        if self.backend not in _LIMITS:
            return []
        refusals = _LIMITS[self.backend].refusals(shape.head_dim, dtype, device)
        return [f"the {self.backend} kernel {refusal}" for refusal in refusals]
