"""Stand-ins for the attention tests: an xformers of a few lines, and methods with a mistake in them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType

import torch

from ditbench.attention.base import Shape
from ditbench.attention.nystromformer import Nystromformer
from ditbench.attention.softmax import Softmax
from ditbench.attention.xformers import Xformers


def memory_efficient_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> torch.Tensor:
    """The package's convention: (batch, tokens, heads, head_dim) in and out, and it scales by itself."""
    scores = torch.einsum("bnhd,bmhd->bhnm", query, key) * query.shape[-1] ** -0.5
    return torch.einsum("bhnm,bmhd->bnhd", scores.softmax(dim=-1), value)


def install_xformers(monkeypatch, *, whole=True):
    """Put a package called xformers where imports find it; not `whole` is a wheel without the function."""
    package, ops = ModuleType("xformers"), ModuleType("xformers.ops")
    if whole:
        ops.memory_efficient_attention = memory_efficient_attention
    monkeypatch.setitem(sys.modules, "xformers", package)
    monkeypatch.setitem(sys.modules, "xformers.ops", ops)


class OverHeads(Xformers):
    """Mistake 1: our layout given to a kernel that reads the heads as tokens."""

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return memory_efficient_attention(q, k, v)


class ScaledTwice(Xformers):
    """Mistake 2: q scaled before a kernel that scales."""

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return super().attend(q * q.shape[-1] ** -0.5, k, v)


class CountsHalf(Softmax):
    """Mistake 5: declares the product with k only."""

    def macs(self, shape: Shape) -> int:
        return super().macs(shape) // 2


@dataclass(frozen=True)
class NormalisedOverBatch(Nystromformer):
    """Mistake 26: the pseudo-inverse starts from the largest column sum of the whole batch."""

    def _pseudo_inverse(self, A: torch.Tensor) -> torch.Tensor:
        Z = A.transpose(-2, -1) / A.sum(dim=-2).max()
        one = torch.eye(self.rank, dtype=A.dtype)
        for _ in range(self.iterations):
            Z = self._closer(A, Z, one)
        return Z
