"""Identity attention (ours): each token keeps its own value, so the core costs nothing.

    out = v                                     cost 0

Not an approximation of softmax but a yardstick. The latency of softmax minus that of `identity`, in the same
model, is the measured upper bound of what any method that only replaces the core can save: a speed-up above
it is implausible. q, k and v are still projected. Not to be confused with `zero`, which skips the projections
too. A compiler may drop the projections of q and k, which nobody reads here; in compiled cells the bound is
then looser, never too tight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Shape, register


@register
@dataclass(frozen=True)
class Identity(AttentionMethod):
    """No mixing of tokens: the bound of what replacing the core can save."""

    name: ClassVar[str] = "identity"
    paper: ClassVar[str] = "none: the measured bound of methods that replace the core"
    formula: ClassVar[str] = "out = v"
    cost: ClassVar[str] = "0"

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 (that is the point)
        """V itself, not a copy."""
        return v

    def macs(self, shape: Shape) -> int:  # noqa: ARG002 (whatever the shape)
        """None."""
        return 0
