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

from ditbench.attention.base import AttentionMethod, Shape, register
from ditbench.registry import setting

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class _Kernel:
    """What torch's dispatcher demands before it runs a kernel.

    on_cpu: there is a CPU version, without the limits below. half: float16 or bfloat16 only. widest: largest
    head_dim on any GPU; some take less, and torch says so. row: bytes of which head_dim fills a multiple.
    """

    backend: SDPBackend
    on_cpu: bool = False
    half: bool = False
    widest: int | None = None
    row: int = 1

    def refusals(self, head_dim: int, dtype: str, device: str) -> list[str]:
        """Every reason why it cannot run there."""
        if self.on_cpu and device == "cpu":
            return []
        step = max(1, self.row // _BYTES[dtype])
        reasons = {
            "needs a CUDA device": device != "cuda",
            f"needs float16 or bfloat16 on CUDA, not {dtype}": self.half and _BYTES[dtype] != 2,
            f"takes a head_dim of at most {self.widest}, not {head_dim}": self.widest is not None
            and head_dim > self.widest,
            f"needs a head_dim that is a multiple of {step} in {dtype}, not {head_dim}": head_dim
            % step
            != 0,
        }
        return [reason for reason, holds in reasons.items() if holds]


# flash pads odd head_dims itself; efficient and cudnn load rows of 16 bytes.
_KERNELS = {
    "flash": _Kernel(SDPBackend.FLASH_ATTENTION, on_cpu=True, half=True, widest=256),
    "efficient": _Kernel(SDPBackend.EFFICIENT_ATTENTION, row=16),
    "cudnn": _Kernel(SDPBackend.CUDNN_ATTENTION, half=True, widest=256, row=16),
    "math": _Kernel(SDPBackend.MATH, on_cpu=True),
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

    backend: str = setting("auto", choices=("auto", *_KERNELS))

    @property
    def kernels(self) -> frozenset[str]:
        """The named backend; any for `auto`."""
        return frozenset() if self.backend == "auto" else frozenset({self.backend})

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """softmax(q k^T / sqrt(d)) v in one call, which scales q itself."""
        if self.backend == "auto":
            return scaled_dot_product_attention(q, k, v)
        with sdpa_kernel(_KERNELS[self.backend].backend):
            return scaled_dot_product_attention(q, k, v)

    def macs(self, shape: Shape) -> int:
        """Q k^T and the product with v."""
        return 2 * shape.batch * shape.heads * shape.tokens**2 * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:
        """What the named kernel cannot run; `auto` runs anywhere."""
        if self.backend == "auto":
            return []
        refusals = _KERNELS[self.backend].refusals(shape.head_dim, dtype, device)
        return [f"the {self.backend} kernel {refusal}" for refusal in refusals]
