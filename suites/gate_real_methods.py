"""A method that does more work than another, by a share that a person sets: what a gate must find.

    out = what `method` gives, and softmax(q k^T / sqrt(d)) v of the first `share` N queries once more
    cost of `method` + 2 share N^2 d

Beside `gate-real.yaml`, for `make gate-real` alone: the work is real multiply-adds on the cell's own q, k and
v, whose result is dropped; nobody sleeps. A share above one goes through all queries more than once.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional

from ditbench.attention.base import METHODS, AttentionMethod, Shape, register
from ditbench.registry import setting


@register
@dataclass(frozen=True)
class Heavier(AttentionMethod):
    """Another method with its own default settings, and more work beside it."""

    name: ClassVar[str] = "gate_real_methods:Heavier"
    paper: ClassVar[str] = "none: a planted slow-down"
    formula: ClassVar[str] = "out = method(q, k, v); softmax(q' k^T / sqrt(d)) v is dropped"
    cost: ClassVar[str] = "of the method + 2 share N^2 d"

    method: str = "softmax"
    share: float = setting(0.1, least=0)

    @property
    def is_exact(self) -> bool:
        """As exact as the method that it repeats."""
        return self._core.is_exact

    @functools.cached_property
    def _core(self) -> AttentionMethod:
        return METHODS.get(self.method)()

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """The method's own output, bit for bit."""
        for rows in self._rows(q.shape[-2]):
            # One operator: what it costs to be called at all must lie far below what is to be planted.
            functional.scaled_dot_product_attention(q[..., :rows, :], k, v)
        return self._core.attend(q, k, v)

    def macs(self, shape: Shape) -> int:
        """The method's, and two products for the queries that are gone through again."""
        again = sum(self._rows(shape.tokens)) * shape.tokens * shape.head_dim
        return self._core.macs(shape) + 2 * shape.batch * shape.heads * again

    def _rows(self, tokens: int) -> list[int]:
        """How many queries each time, all but the last time all of them."""
        rows = round(self.share * tokens)
        return [tokens] * (rows // tokens) + ([rows % tokens] if rows % tokens else [])
