"""FlashAttention (Dao, 2024, arXiv 2307.08691; Shah et al., 2024, arXiv 2407.08608) from its own packages.

    out = softmax(q k^T / sqrt(d)) v            cost 2 N^2 d

Release 2 is the package flash-attn, 3 (Hopper) is flash_attn_interface, 4 (Hopper, Blackwell) is
flash_attn.cute. Each has one kernel for what is asked here and falls back on nothing. All want (batch,
tokens, heads, head_dim) and scale by themselves. Not to be confused with `sdpa: {backend: flash}`, the
release that torch was built with.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Shape, register
from ditbench.registry import setting

# The newest first: where to import it from, and how it comes.
_RELEASES = {
    "4": ("flash_attn.cute", "pip install flash-attn-4"),
    "3": ("flash_attn_interface", "build it from the hopper folder of Dao-AILab/flash-attention"),
    "2": ("flash_attn", "pip install flash-attn --no-build-isolation"),
}
_WIDEST = 256


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

    release: str = setting("auto", choices=("auto", *_RELEASES))

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """One call in the package's own layout. Raises ImportError without the package."""
        attention = _imported(self._wanted())
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
        missing = _missing(self._wanted())
        refusals = {
            "needs a CUDA device": device != "cuda",
            f"needs float16 or bfloat16, not {dtype}": dtype == "float32",
            f"takes a head_dim of at most {_WIDEST}, not {shape.head_dim}": shape.head_dim
            > _WIDEST,
        }
        return [*missing, *(f"flash-attn {why}" for why, holds in refusals.items() if holds)]

    @classmethod
    def unavailable(cls) -> list[str]:
        """No release at all, with the commands."""
        return _missing(tuple(_RELEASES))


def _imported(releases: tuple[str, ...]) -> Callable[..., torch.Tensor]:
    """flash_attn_func of the first release that can be imported. Raises ImportError."""
    for release in releases:
        with contextlib.suppress(ImportError, AttributeError):
            module = importlib.import_module(_RELEASES[release][0])
            return module.flash_attn_func  # type: ignore[no-any-return]  # not typed there
    raise ImportError("; ".join(_told(releases)))


def _missing(releases: tuple[str, ...]) -> list[str]:
    try:
        _imported(releases)
    except ImportError as error:
        return [str(error)]
    return []


def _told(releases: tuple[str, ...]) -> list[str]:
    return [f"no flash-attn release {one} ({_RELEASES[one][1]})" for one in releases]
