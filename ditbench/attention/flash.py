"""FlashAttention (Dao, 2024, arXiv 2307.08691; Shah et al., 2024, arXiv 2407.08608) from its own packages.

    out = softmax(q k^T / sqrt(d)) v            cost 2 N^2 d

Release 2 is the package flash-attn, 3 (Hopper) is flash_attn_interface, 4 (Hopper, Blackwell) is
flash_attn.cute. Each has one kernel for what is asked here and falls back on nothing. All want (batch,
tokens, heads, head_dim) and scale by themselves. Releases 2 and 3 are operators of torch, whose cost is given
here; 4 is none, so its multiply-adds are declared and not counted. Not to be confused with
`sdpa: {backend: flash}`, the release that torch was built with.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Limits, Shape, register
from ditbench.registry import setting

_HOPPER = (
    'pip install --no-build-isolation "git+https://github.com/Dao-AILab/flash-attention'
    '#subdirectory=hopper"'
)
# The newest first: where to import it from, and the command that installs it.
_RELEASES = {
    "4": ("flash_attn.cute", "pip install flash-attn-4"),
    "3": ("flash_attn_interface", _HOPPER),
    "2": ("flash_attn", "pip install flash-attn --no-build-isolation"),
}
# A build for another torch or without its libraries raises any of these.
_BROKEN = (ImportError, AttributeError, OSError, RuntimeError)
_LIMITS = Limits(half=True, widest=256)


def _macs(q: tuple[int, ...], k: tuple[int, ...], *_rest: object, **_more: object) -> int:
    """Q k^T and the product with v, of (batch, tokens, heads, head_dim)."""
    batch, tokens, heads, head_dim = q
    return 2 * batch * heads * tokens * k[1] * head_dim


@register
@dataclass(frozen=True)
class Flash(AttentionMethod):
    """The newest release that is installed, or the one that is named."""

    name: ClassVar[str] = "flash"
    paper: ClassVar[str] = "Dao 2024, arXiv 2307.08691"
    formula: ClassVar[str] = "out = softmax(q k^T / sqrt(d)) v"
    cost: ClassVar[str] = "2 N^2 d"
    needs: ClassVar[str] = (
        "flash-attn 2, 3 or 4 (pip install flash-attn --no-build-isolation); CUDA; half precision"
    )
    exact: ClassVar[bool] = True
    operator_macs: ClassVar[Mapping[str, Callable[..., int]]] = {
        "flash_attn._flash_attn_forward": _macs,
        "flash_attn_3._flash_attn_forward": _macs,
    }

    release: str = setting("auto", choices=("auto", *_RELEASES))

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """One call in the package's own layout. Raises ImportError without the package."""
        attention = _imported(self._wanted())
        if q.is_meta and attention.__module__.startswith("flash_attn.cute"):
            raise NotImplementedError("release 4 has no kernel on meta")  # told as not counted
        out = attention(*(x.transpose(1, 2) for x in (q, k, v)))
        # Some releases give the logarithms of the sums beside the output.
        whole: torch.Tensor = out[0] if isinstance(out, tuple) else out
        return whole.transpose(1, 2)

    def _wanted(self) -> tuple[str, ...]:
        return tuple(_RELEASES) if self.release == "auto" else (self.release,)

    def macs(self, shape: Shape) -> int:
        """Q k^T and the product with v."""
        return 2 * shape.batch * shape.heads * shape.tokens**2 * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:
        """A missing package, the CPU, float32, wide heads."""
        refusals = _LIMITS.refusals(shape.head_dim, dtype, device)
        return [*_missing(self._wanted()), *(f"flash-attn {refusal}" for refusal in refusals)]

    @classmethod
    def unavailable(cls) -> list[str]:
        """No release at all, with the commands."""
        return _missing(tuple(_RELEASES))


def _imported(releases: tuple[str, ...]) -> Callable[..., torch.Tensor]:
    """flash_attn_func of the first release that can be imported. Raises ImportError with every reason."""
    told = []
    for release in releases:
        module, command = _RELEASES[release]
        try:
            return importlib.import_module(module).flash_attn_func  # type: ignore[no-any-return]  # not typed
        except _BROKEN as error:
            why = "" if isinstance(error, ModuleNotFoundError) else f", {error}"
            told.append(f"no flash-attn release {release}{why} ({command})")
    raise ImportError("; ".join(told))


def _missing(releases: tuple[str, ...]) -> list[str]:
    try:
        _imported(releases)
    except ImportError as error:
        return [str(error)]
    return []
