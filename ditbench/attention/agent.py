"""Agent attention (Han et al., 2023, arXiv 2312.08874): a few agents look for all queries, and tell them.

    out = softmax(q a^T / sqrt(d)) softmax(a k^T / sqrt(d)) v,  a: the n = side^2 agents
    cost 4 N n d

The agents are means of q over side x side parts of the picture. The paper's bias and its convolution over v
need training and are left out, as in its own use on Stable Diffusion without training. Not to be confused
with `nystromformer`, whose landmarks of queries and of keys differ and which puts a pseudo-inverse between
the two softmaxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import adaptive_avg_pool2d

from ditbench.attention.base import PlaneMethod, Shape, off_plane, register
from ditbench.registry import setting


@register
@dataclass(frozen=True)
class Agent(PlaneMethod):
    """`side` x `side` agents."""

    name: ClassVar[str] = "agent"
    paper: ClassVar[str] = "Han et al. 2023, arXiv 2312.08874"
    formula: ClassVar[str] = (
        "out = softmax(q a^T / sqrt(d)) softmax(a k^T / sqrt(d)) v, a: the n = side^2 agents"
    )
    cost: ClassVar[str] = "4 N n d"

    side: int = setting(4, least=1)

    def on(
        self, grid: tuple[int, int], q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        """The agents' answers, then each query's mixture of them."""
        q = q * q.shape[-1] ** -0.5
        picture = torch.unflatten(q.flatten(0, 1).transpose(-2, -1), -1, grid)
        agents = adaptive_avg_pool2d(picture, self.side).flatten(-2).transpose(-2, -1)
        agents = torch.unflatten(agents, 0, q.shape[:2])  # (batch, heads, side^2, head_dim), scaled
        answers = (agents @ k.transpose(-2, -1)).softmax(dim=-1) @ v
        weights = (q @ agents.transpose(-2, -1) * q.shape[-1] ** 0.5).softmax(dim=-1)
        out: torch.Tensor = weights @ answers
        return out

    def macs(self, shape: Shape) -> int:
        """Two thin products for the agents, two for the queries."""
        return 4 * shape.batch * shape.heads * shape.tokens * self.side**2 * shape.head_dim

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:  # noqa: ARG002 (any dtype, anywhere)
        """More agents in a row or a column than tokens, and tokens that are not one picture's."""
        if reasons := off_plane(shape, "agent attention"):
            return reasons
        rows, columns = shape.places
        if self.side <= min(rows, columns):
            return []
        return [f"{self.side} x {self.side} agents are too many for {rows} x {columns} tokens"]
