"""Softmax (Vaswani et al., 2017, arXiv 1706.03762) by diffusers' dispatcher, a backend named for each call.

    out = softmax(q k^T / sqrt(d)) v            cost 2 N^2 d

The backend is named in each call and holds for that call: diffusers' own switch for a whole model holds for
every model of the process, the reference's too, and does nothing in models that do not dispatch. The names
are diffusers'; those of SageAttention compute in eight bits and are not exact. Kernels that diffusers
fetches from the Hugging Face Hub at run time are refused, as nothing here runs fetched code. `flex` is called
uncompiled in eager code, where torch writes all scores out and traces anew at every call: so it is with
diffusers itself. Not to be confused with `sdpa`, `flash`, `sage`, `flex` and `xformers`, which call the same
kernels without diffusers in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Limits, Shape, register
from ditbench.registry import setting

_FLASH = "pip install flash-attn --no-build-isolation"
_FLASH_3 = (
    'pip install --no-build-isolation "git+https://github.com/Dao-AILab/flash-attention'
    '#subdirectory=hopper"'
)
_SAGE = "pip install --no-build-isolation git+https://github.com/thu-ml/SageAttention"


@dataclass(frozen=True)
class _Backend:
    """One name of diffusers'. kernels: of which one must be seen running. command: installs its package.

    never: why it cannot run in any cell, with the way out.
    """

    limits: Limits
    kernels: frozenset[str] = frozenset()
    exact: bool = True
    command: str = ""
    never: str = ""

    @property
    def is_torchs(self) -> bool:
        """Whether torch's own scaled_dot_product_attention runs, which can be counted on `meta`."""
        return not (self.command or self.never)


def _hub(instead: str, *, exact: bool = True) -> _Backend:
    never = "is fetched from the Hugging Face Hub and run: nothing here runs fetched code; take "
    return _Backend(Limits(), exact=exact, never=never + instead)


_ANYWHERE = Limits(on_cpu=True)
_HALF = Limits(half=True, widest=256)
_EIGHT_BITS = Limits(half=True, widest=128)
_SEEN_FLASH = frozenset({"flash"})
_BACKENDS = {
    "native": _Backend(_ANYWHERE),
    "_native_math": _Backend(_ANYWHERE, frozenset({"math"})),
    "_native_flash": _Backend(Limits(on_cpu=True, half=True, widest=256), _SEEN_FLASH),
    "_native_efficient": _Backend(Limits(row=16), frozenset({"efficient"})),
    "_native_cudnn": _Backend(Limits(half=True, widest=256, row=16), frozenset({"cudnn"})),
    "flex": _Backend(_ANYWHERE, command="pip install 'torch>=2.5'"),
    "flash": _Backend(_HALF, _SEEN_FLASH, command=_FLASH),
    "flash_varlen": _Backend(_HALF, _SEEN_FLASH, command=_FLASH),
    "_flash_3": _Backend(_HALF, _SEEN_FLASH, command=_FLASH_3),
    "_flash_varlen_3": _Backend(_HALF, _SEEN_FLASH, command=_FLASH_3),
    "xformers": _Backend(
        Limits(), frozenset({"flash", "efficient"}), command="pip install ditbench[xformers]"
    ),
    "sage": _Backend(_EIGHT_BITS, exact=False, command=_SAGE),
    "sage_varlen": _Backend(_EIGHT_BITS, exact=False, command=_SAGE),
    "_sage_qk_int8_pv_fp8_cuda": _Backend(_EIGHT_BITS, exact=False, command=_SAGE),
    "_sage_qk_int8_pv_fp8_cuda_sm90": _Backend(_EIGHT_BITS, exact=False, command=_SAGE),
    "_sage_qk_int8_pv_fp16_cuda": _Backend(_EIGHT_BITS, exact=False, command=_SAGE),
    "_sage_qk_int8_pv_fp16_triton": _Backend(_EIGHT_BITS, exact=False, command=_SAGE),
    "flash_hub": _hub("flash"),
    "flash_varlen_hub": _hub("flash_varlen"),
    "_flash_3_hub": _hub("_flash_3"),
    "_flash_3_varlen_hub": _hub("_flash_varlen_3"),
    "flash_4_hub": _hub("the method flash: {release: 4}"),
    "aiter_fa2_hub": _hub("native"),
    "sage_hub": _hub("sage", exact=False),
    "sage_blackwell_hub": _hub("sage", exact=False),
    "_native_npu": _Backend(Limits(), never="needs an Ascend NPU, which is no device here"),
    "_native_xla": _Backend(Limits(), never="needs an XLA device, which is none here"),
}


@register
@dataclass(frozen=True)
class Diffusers(AttentionMethod):
    """diffusers.models.attention_dispatch with this backend, for one call."""

    name: ClassVar[str] = "diffusers"
    paper: ClassVar[str] = "Vaswani et al. 2017, arXiv 1706.03762"
    formula: ClassVar[str] = "out = softmax(q k^T / sqrt(d)) v"
    cost: ClassVar[str] = "2 N^2 d"
    needs: ClassVar[str] = "what the named backend needs; native, _native_math and flex: torch"

    backend: str = setting("native", choices=tuple(_BACKENDS))

    @property
    def _chosen(self) -> _Backend:
        return _BACKENDS[self.backend]

    @property
    def kernels(self) -> frozenset[str]:
        """Those of the backend."""
        return self._chosen.kernels

    @property
    def is_exact(self) -> bool:
        """All but those of SageAttention."""
        return self._chosen.exact

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """One call, in diffusers' layout. Raises RuntimeError where the backend cannot run."""
        from diffusers.models.attention_dispatch import (  # noqa: PLC0415 (imports what is installed)
            AttentionBackendName,
            dispatch_attention_fn,
        )

        if q.is_meta and not self._chosen.is_torchs:
            # The gate tells it as not counted.
            raise NotImplementedError(f"{self.backend} has no kernel on meta")
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # (batch, tokens, heads, head_dim)
        out: torch.Tensor = dispatch_attention_fn(
            q, k, v, backend=AttentionBackendName(self.backend)
        )
        return out.transpose(1, 2)

    def macs(self, shape: Shape) -> int:
        """Q k^T and the product with v."""
        return 2 * shape.batch * shape.heads * shape.tokens**2 * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:
        """A missing package; then device, dtype and head_dim."""
        chosen = self._chosen
        if chosen.never:
            return [f"{self.backend} {chosen.never}"]
        refusals = chosen.limits.refusals(shape.head_dim, dtype, device)
        return [*_missing(self.backend), *(f"{self.backend} {refusal}" for refusal in refusals)]


def _missing(backend: str) -> list[str]:
    """Why diffusers itself says that it cannot call this backend, and the command that mends it."""
    from diffusers.models.attention_dispatch import (  # noqa: PLC0415 (imports what is installed)
        AttentionBackendName,
        _check_attention_backend_requirements,
    )

    try:
        _check_attention_backend_requirements(AttentionBackendName(backend))
    except (RuntimeError, ValueError) as error:  # ValueError: a name that this diffusers has not
        return [f"{str(error).rstrip('.')}: {_BACKENDS[backend].command}"]
    return []
