"""Zero attention (ours): the output is zero, and neither the core nor the projections of q, k, v run.

    out = 0                                     cost 0

Not an approximation of softmax but a yardstick. The latency of softmax minus that of `zero`, in the same
model, is the measured upper bound of what any method can save, those included that reuse an old output and
so skip the projections too: a speed-up above it is implausible. The projection of the output, which belongs
to the block, still runs. Not to be confused with `identity`, which still projects q, k and v and bounds the
methods that only replace the core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Layer, Moment, Shape, Site, register

if TYPE_CHECKING:
    from ditbench.attention.base import Finish, Output, Project


@dataclass(frozen=True)
class ZeroLayer:
    """A layer that never projects."""

    stateless: ClassVar[bool] = True

    heads: int
    tokens: int
    head_dim: int

    def __call__(self, x: torch.Tensor, project: Project, finish: Finish, now: Moment) -> Output:  # noqa: ARG002 (that is the point)
        """Of zeros (batch, heads, tokens, head_dim); at a joint site x has fewer tokens than these."""
        return finish(x.new_zeros(len(x), self.heads, self.tokens, self.head_dim))


@register
@dataclass(frozen=True)
class Zero(AttentionMethod):
    """No attention at all: the bound of what skipping all of it can save."""

    name: ClassVar[str] = "zero"
    paper: ClassVar[str] = "none: the measured bound of methods that may skip the projections too"
    formula: ClassVar[str] = "out = 0"
    cost: ClassVar[str] = "0, and the projections of q, k, v are skipped"

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 (that is the point)
        """Zeros like v."""
        return torch.zeros_like(v)

    def macs(self, shape: Shape) -> int:  # noqa: ARG002 (whatever the shape)
        """None."""
        return 0

    def open(self, site: Site) -> Layer:
        """A layer that does not call `project`."""
        return ZeroLayer(site.heads, site.tokens, site.head_dim)
