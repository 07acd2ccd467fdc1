"""FlexAttention (Dong et al., 2024, arXiv 2412.05496): torch's compiler writes a kernel for the mask.

    out = softmax(q k^T / sqrt(d) + mask) v,  mask: 0 for a key in sight, else -infinity
    cost 2 P d, P pairs of tokens in the 128 x 128 blocks that hold a pair in sight

window = 0 is dense: nothing is masked, P = N^2, and the result is softmax. Otherwise a token sees the
window x window tokens nearest to it, moved inwards at the border, as in `window`; the kernel skips the
blocks in which nothing is in sight and masks the others. In raster order a block is whole rows of the
picture, so little is skipped where it has few: all 2 x 2 blocks of 256 tokens are computed.

On a GPU the kernel is compiled by itself, also where the model is not. On the CPU torch has a fused kernel in
compiled cells only, for contiguous q, k and v, which are copied there; in eager cells all scores are computed
and masked: the record names the kernel, "math", and the time is not that of flex. torch's counter cannot see
flex, so an operator stands for it where multiply-adds are counted, and its formula is given here. Not to be
confused with `window`, which gathers what is in sight and computes nothing else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch.nn.attention.flex_attention import (
    BlockMask,
    create_block_mask,
    flex_attention,
    noop_mask,
)

from ditbench.attention.base import (
    AttentionMethod,
    CoreLayer,
    Layer,
    Shape,
    Site,
    off_plane,
    register,
    squarest,
)
from ditbench.registry import setting

_BLOCK = 128
_NARROWEST = 16


@torch.library.custom_op("ditbench::flex_attention", mutates_args=())
def _counted(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, pairs: int) -> torch.Tensor:
    """Stands for flex_attention on `meta`, where torch refuses it. pairs: of tokens, in computed blocks."""
    raise NotImplementedError  # only its shape and its count are ever asked for


@_counted.register_fake
def _(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, pairs: int) -> torch.Tensor:  # noqa: ARG001 (its signature)
    return torch.empty_like(q)


def _macs(q: tuple[int, ...], _k: tuple[int, ...], _v: tuple[int, ...], pairs: int) -> int:
    batch, heads, _tokens, head_dim = q
    return 2 * batch * heads * pairs * head_dim


@register
@dataclass(frozen=True)
class Flex(AttentionMethod):
    """Dense, or each token with the `window` x `window` tokens around it."""

    name: ClassVar[str] = "flex"
    paper: ClassVar[str] = "Dong et al. 2024, arXiv 2412.05496"
    formula: ClassVar[str] = (
        "out = softmax(q k^T / sqrt(d) + mask) v, mask: 0 for a key in sight, else -infinity"
    )
    cost: ClassVar[str] = (
        "2 P d, P pairs of tokens in the 128 x 128 blocks that hold a pair in sight"
    )
    audited: ClassVar[bool] = False
    operator_macs: ClassVar[Mapping[str, Callable[..., int]]] = {"ditbench.flex_attention": _macs}

    window: int = setting(0, least=0)

    @property
    def is_exact(self) -> bool:
        """Where nothing is masked."""
        return self.window == 0

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """On the squarest grid of so many tokens."""
        return self.through(self._mask(squarest(q.shape[-2]), q.device), q, k, v)

    def through(
        self, mask: BlockMask | None, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        """Attention with this mask, on q's device; None for none."""
        if q.is_meta:
            counted: torch.Tensor = _counted(q, k, v, _pairs_computed(mask, q.shape[-2]))
            return counted
        if torch.compiler.is_compiling():
            if (
                not q.is_cuda
            ):  # torch's kernel for the CPU does not take the views of a model's projections
                q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
            whole: torch.Tensor = flex_attention(q, k, v, block_mask=mask)
            return whole
        if q.is_cuda:
            return _fused()(q, k, v, block_mask=mask)
        # flex_attention itself would trace a graph anew at every such call; this is what it comes to.
        mask = mask or _everything(q.shape[-2])
        out: torch.Tensor = torch.ops.higher_order.flex_attention(
            q, k, v, _as_it_is, mask.as_tuple(), q.shape[-1] ** -0.5, {}
        )[0]
        return out

    def _mask(self, grid: tuple[int, int], device: torch.device) -> BlockMask | None:
        if not self.window:
            return None
        return _neighbours(grid, self.window, "cpu" if device.type == "meta" else str(device))

    def macs(self, shape: Shape) -> int:
        """The scores of the computed blocks, and their product with v."""
        pairs = _pairs_in_blocks(shape.places, self.window) if self.window else shape.tokens**2
        return 2 * shape.batch * shape.heads * pairs * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:  # noqa: ARG002 (any dtype)
        """A window that the grid cannot hold, or on no picture; narrow heads on a GPU."""
        rows, columns = shape.places
        size = f"{self.window} x {self.window}"
        reasons = {
            f"a window of {size} does not fit the {rows} x {columns} tokens": self.window
            > min(rows, columns),
            f"flex needs a head_dim of at least {_NARROWEST} on CUDA, not {shape.head_dim}": device
            == "cuda"
            and shape.head_dim < _NARROWEST,
        }
        windowed = off_plane(shape, "a window") if self.window else []
        return [*windowed, *(reason for reason, holds in reasons.items() if holds)]

    def open(self, site: Site) -> Layer:
        """With the mask of the site's own grid, made before the first call."""
        return CoreLayer(_Masked(self, site.grid, self._mask(site.grid, torch.device(site.device))))


@dataclass(frozen=True)
class _Masked:
    """Equal to another of the same method and grid: the mask follows from these."""

    method: Flex
    grid: tuple[int, int]
    mask: BlockMask | None = field(compare=False, repr=False)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return self.method.through(self.mask, q, k, v)


@lru_cache
def _fused() -> Callable[..., torch.Tensor]:
    """flex_attention compiled by itself; each shape of q, k and v that it meets may be one compilation."""
    known = inspect.signature(torch.compile).parameters
    more: dict[str, Any] = {"recompile_limit": 64} if "recompile_limit" in known else {}
    compiled: Callable[..., torch.Tensor] = torch.compile(flex_attention, fullgraph=True, **more)
    return compiled


def _as_it_is(score: torch.Tensor, *_where: torch.Tensor) -> torch.Tensor:
    return score


@lru_cache(maxsize=64)
def _everything(tokens: int) -> BlockMask:
    """No mask, as the operator wants it."""
    return create_block_mask(noop_mask, None, None, tokens, tokens, device="cpu")


@lru_cache(maxsize=64)
def _neighbours(grid: tuple[int, int], window: int, device: str) -> BlockMask:
    """Which blocks hold a pair in sight, and the rule for pairs."""
    rows, columns = grid

    def in_sight(
        _batch: torch.Tensor, _head: torch.Tensor, query: torch.Tensor, key: torch.Tensor
    ) -> torch.Tensor:
        top = (query // columns - window // 2).clamp(0, rows - window)
        left = (query % columns - window // 2).clamp(0, columns - window)
        down, right = key // columns - top, key % columns - left
        return (down >= 0) & (down < window) & (right >= 0) & (right < window)

    tokens = rows * columns
    return create_block_mask(in_sight, None, None, tokens, tokens, device=device, BLOCK_SIZE=_BLOCK)


def _lengths(tokens: int) -> list[int]:
    """Tokens of each block; the last may have fewer."""
    return [min(_BLOCK, tokens - start) for start in range(0, tokens, _BLOCK)]


def _pairs_computed(mask: BlockMask | None, tokens: int) -> int:
    """Pairs of tokens in the blocks that torch's own mask says are computed."""
    if mask is None:
        return tokens**2
    lengths = _lengths(tokens)
    computed = mask.to_dense()[0, 0].tolist()  # query blocks x key blocks, 1 where it is
    return sum(
        mine * sum(theirs for theirs, one in zip(lengths, row, strict=True) if one)
        for mine, row in zip(lengths, computed, strict=True)
    )


@lru_cache(maxsize=1024)
def _pairs_in_blocks(grid: tuple[int, int], window: int) -> int:
    """The same from the geometry alone, as a price needs it before anything is made."""
    rows, columns = grid
    lengths = _lengths(rows * columns)
    seen: list[set[int]] = [set() for _ in lengths]
    for token in range(rows * columns):
        row, column = divmod(token, columns)
        top = min(max(row - window // 2, 0), rows - window)
        left = min(max(column - window // 2, 0), columns - window)
        for start in range(top * columns + left, (top + window) * columns + left, columns):
            seen[token // _BLOCK].update(range(start // _BLOCK, (start + window - 1) // _BLOCK + 1))
    return sum(
        mine * sum(lengths[block] for block in blocks)
        for mine, blocks in zip(lengths, seen, strict=True)
    )
