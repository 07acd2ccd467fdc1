"""Stand-ins for the attention tests: an xformers of a few lines, and methods with a mistake in them."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import ClassVar

import torch

from ditbench.attention.base import Shape
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


class Integers(Softmax):
    """Scores of one head from integers, by an operator that torch's counter does not know."""

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        scores = torch._int_mm(q[0, 0].to(torch.int8), k[0, 0].to(torch.int8).T)
        return (scores.float().softmax(dim=-1) @ v[0, 0])[None, None]


class CountedIntegers(Integers):
    """The same, with its formula."""

    operator_macs: ClassVar = {"aten._int_mm": lambda one, other: one[0] * one[1] * other[1]}


class LosesBits(Softmax):
    """Right in float32; in half precision its weights have four bits."""

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        if q.dtype == torch.float32:
            return super().attend(q, k, v)
        weights = (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1)
        return (weights * 16).round() / 16 @ v


_SEEN = {}


class Keeps:
    """Mistake 16: keeps what it saw, in its module or in its class."""

    last = None

    def __init__(self, keep):
        self._keep = keep

    def attend(self, q, k, v):
        self._keep(self, v)
        return Softmax().attend(q, k, v)

    def in_a_dict(self, v):
        _SEEN["v"] = [v]

    def in_the_class(self, v):
        type(self).last = v

    @classmethod
    def forget(cls):
        _SEEN.clear()
        cls.last = None
