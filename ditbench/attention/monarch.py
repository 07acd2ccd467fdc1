"""MonarchAttention (Yaras et al., 2025, arXiv 2505.18698): softmax, restricted to Monarch matrices.

    softmax(S) = argmax of f(A) = <A, S> + H(A) over row-stochastic A,  S = q k^T / sqrt(d),  H the entropy
    out = A v,  A[(l, j), (k, i)] = L[j, k, l] R[k, j, i],  sum_k L = 1,  sum_i R = 1
    cost (T-1) 2 N' d (b + M) + N' d (3 b + 2 M)

Token (l, j) is number j of block l; there are M = ceil(N / b) blocks of b tokens, N' = M b. f is maximised by
turns, each in closed form, T times: R for a fixed L, a softmax within blocks; then L for a fixed R, a softmax
across them. What a turn hands on is small: to L a mean key and an entropy for each (k, j), to R a mean query.
Neither A nor S exists in memory, and nothing is trained.

With one block, or with blocks of one token, A is any matrix and the result is softmax itself; otherwise it is
an approximation, so the method is not declared exact. In raster order, with b tokens a row, R looks along a
row of the picture and L along a column. Not to be confused with Monarch Mixer, which learns its matrices.

Written from the paper's mathematics. Softmaxes, logits and entropies are in float32 at least, products in the
dtype of q. The N' - N tokens of padding are never attended to and never attend.

`kernel: triton` fuses each half of a turn into one launch on an NVIDIA GPU: not even L and R exist in memory.
Where there are more than 128 blocks it computes the logits across them twice in all but the last turn, which
is (T-1) N' d M more. With TRITON_INTERPRET=1 it runs on the CPU too, thousands of times slower, to be
tried out.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Limits, Shape, register
from ditbench.kernels import MOST_BLOCKS, interpreted
from ditbench.registry import setting


def _kernel_limits() -> Limits:
    """A tile of wider heads is not held in a GPU's registers; Triton's interpreter has no such limit."""
    return Limits(on_cpu=interpreted(), widest=128)


def _operator_macs(
    q: tuple[int, int, int, int],
    _k: object,
    _v: object,
    block_size: int,
    num_steps: int,
    _before: int,
) -> int:
    return Monarch(block_size, num_steps, kernel="triton").macs(Shape(*q))


@register
@dataclass(frozen=True)
class Monarch(AttentionMethod):
    """Alternating maximisation over the two factors; `pad` says at which end tokens are added.

    kernel: torch's operators, on any device, or fused in Triton.
    """

    name: ClassVar[str] = "monarch"
    paper: ClassVar[str] = "Yaras et al. 2025, arXiv 2505.18698"
    formula: ClassVar[str] = (
        "out = A v, A[(l, j), (k, i)] = L[j, k, l] R[k, j, i], sum_k L = 1, sum_i R = 1"
    )
    cost: ClassVar[str] = "(T-1) 2 N' d (b + M) + N' d (3 b + 2 M), N' = M b"
    needs: ClassVar[str] = "kernel triton: pip install triton; an NVIDIA GPU"
    operator_macs: ClassVar[Mapping[str, Callable[..., int]]] = {"ditbench.monarch": _operator_macs}

    block_size: int = setting(16, least=1)
    num_steps: int = setting(3, least=1)
    pad: str = setting("pre", choices=("pre", "post"))
    kernel: str = setting("torch", choices=("torch", "triton"))

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """L (R v), from the identity as the first L: the first mean queries are the queries."""
        if self.kernel == "triton":
            return self._fused(q, k, v)
        tokens = q.shape[-2]
        real = self._real(q)
        q, k, v = (self._fold(x) for x in (q * q.shape[-1] ** -0.5, k, v))  # (B, H, M, b, d)
        mean_q = q
        for _ in range(self.num_steps - 1):
            R, mean_k = _within(mean_q, k, real)
            mean_q = _mean_queries(_across(q, mean_k, R).log_softmax(dim=-1), q, real)
        R, mean_k = _within(mean_q, k, real)
        L = _across(q, mean_k, R).softmax(dim=-1).to(v.dtype)
        out = L @ (R.to(v.dtype) @ v).transpose(-3, -2)  # (B, H, b, M, d)
        return out.transpose(-3, -2).flatten(-3, -2).narrow(-2, self._before(tokens), tokens)

    def _fused(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """The same. Raises ImportError without Triton."""
        from ditbench.kernels.monarch import monarch  # noqa: PLC0415 (optional)

        q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
        before = self._before(q.shape[-2])
        out: torch.Tensor = monarch(q, k, v, self.block_size, self.num_steps, before)
        return out

    def macs(self, shape: Shape) -> int:
        """Two products within and two across blocks a turn; the last turn has one more, with v.

        The fused kernel has no memory for the logits across blocks, and of many blocks needs them again.
        """
        blocks = -(-shape.tokens // self.block_size)
        row = blocks * self.block_size * shape.head_dim
        again = self.kernel == "triton" and blocks > MOST_BLOCKS
        turn = 2 * row * (self.block_size + blocks) + (row * blocks if again else 0)
        last = row * (3 * self.block_size + 2 * blocks)
        return shape.batch * shape.heads * ((self.num_steps - 1) * turn + last)

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:
        """A block that no sequence fills; of the kernel: a missing package, the CPU, wide heads."""
        told = []
        if self.block_size > shape.tokens:
            told.append(f"block_size {self.block_size} is more than the {shape.tokens} tokens")
        if self.kernel == "triton":
            if importlib.util.find_spec("triton") is None:
                told.append("no triton: pip install triton")
            refusals = _kernel_limits().refusals(shape.head_dim, dtype, device)
            told += [f"kernel triton {why}" for why in refusals]
        return told

    def _padding(self, tokens: int) -> int:
        return -tokens % self.block_size

    def _before(self, tokens: int) -> int:
        return self._padding(tokens) if self.pad == "pre" else 0

    def _fold(self, x: torch.Tensor) -> torch.Tensor:
        """(..., tokens, d) -> (..., M, b, d), with zeros for the tokens that are missing."""
        tokens = x.shape[-2]
        before = self._before(tokens)
        if padding := self._padding(tokens):
            x = torch.nn.functional.pad(x, (0, 0, before, padding - before))
        return torch.unflatten(x, -2, (-1, self.block_size))

    def _real(self, q: torch.Tensor) -> torch.Tensor | None:
        """(M, b, 1), true for tokens that are not padding; None where there is none."""
        tokens = q.shape[-2]
        if not self._padding(tokens):
            return None
        return self._fold(q.new_ones(tokens, 1)) > 0


def _wide(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _within(
    mean_q: torch.Tensor, k: torch.Tensor, real: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """R (B, H, M, b, b), each mean query's softmax over its block's keys; mean keys (B, H, M, b, d)."""
    logits = _wide(mean_q @ k.transpose(-2, -1))
    if real is not None:
        # Fewer than b tokens are padding, so no block is without a real key.
        logits = logits.masked_fill(~real.transpose(-2, -1), -torch.inf)
    R = logits.softmax(dim=-1)
    return R, R.to(k.dtype) @ k


def _across(q: torch.Tensor, mean_k: torch.Tensor, R: torch.Tensor) -> torch.Tensor:
    """L's logits (B, H, b, M, M): for offset j those of query (l, j) over the blocks k."""
    logits = _wide(q.transpose(-3, -2) @ mean_k.permute(0, 1, 3, 4, 2))
    entropy = -torch.xlogy(R, R).sum(dim=-1)  # (B, H, M, b), and 0 log 0 = 0
    return logits + entropy.transpose(-2, -1).unsqueeze(-2)


def _mean_queries(log_L: torch.Tensor, q: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    """(B, H, M, b, d): for each (k, j) the queries at offset j, weighted by how much they look at block k.

    Weights in proportion to L over l are a softmax, which also knows the mean where L itself is too small.
    """
    if real is not None:
        log_L = log_L.masked_fill(~real.transpose(0, 1), -torch.inf)
    weights = log_L.softmax(dim=-2)
    return (weights.transpose(-2, -1).to(q.dtype) @ q.transpose(-3, -2)).transpose(-3, -2)
