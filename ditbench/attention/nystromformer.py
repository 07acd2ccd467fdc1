"""Nystromformer (Xiong et al., 2021, arXiv 2102.03902): softmax through m landmark queries and keys.

    out = F Z (B v),  F = softmax(q k~^T),  A = softmax(q~ k~^T),  B = softmax(q~ k^T),  Z ~ pinv(A)
    Z <- Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4,  from Z = A^T / (|A|_1 |A|_inf)
    cost 4 N m d + 2 m^2 d + 4 m^3 an iteration (6 m^3 without reuse_az)

q is scaled once by 1 / sqrt(d). The landmarks q~, k~ are means of m runs of neighbouring tokens whose lengths
differ by one at most, the longer ones first, so every token counts where m does not divide N; the authors'
code drops the tail. With as many landmarks as tokens this is softmax, where the iteration has come to its
end. The iteration starts from each matrix's own norms, so a sample's result does not depend on its
neighbours. `normalised_by: batch` is the authors' code, which takes the largest of the whole batch: the gates
refuse it, and say by how much a sample's result moves.

The authors count 36 m^3 for six iterations, A Z being multiplied out at each of its three places; once is
enough, and gives 24 m^3. `reuse_az: false` is their count (eager only: a compiler finds the repetition). With
64 landmarks it is above softmax's own at N = 256. The paper's convolution over v needs training and is left
out, as in every zero-shot use. Not to be confused with Linformer, whose projection does not look at the keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Shape, register
from ditbench.registry import setting


@register
@dataclass(frozen=True)
class Nystromformer(AttentionMethod):
    """`rank` landmarks, and so many `iterations` towards the pseudo-inverse."""

    name: ClassVar[str] = "nystromformer"
    paper: ClassVar[str] = "Xiong et al. 2021, arXiv 2102.03902"
    formula: ClassVar[str] = (
        "out = F Z (B v), F = softmax(q k~^T), A = softmax(q~ k~^T), "
        "B = softmax(q~ k^T), Z ~ pinv(A)"
    )
    cost: ClassVar[str] = "4 N m d + 2 m^2 d + 4 m^3 an iteration"

    rank: int = setting(32, least=1)
    iterations: int = setting(6, least=1)
    reuse_az: bool = setting(True)
    normalised_by: str = setting("matrix", choices=("matrix", "batch"))

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """F (Z (B v)), all products thin."""
        q = q * q.shape[-1] ** -0.5
        q_mean, k_mean = _landmarks(q, self.rank), _landmarks(k, self.rank)
        F = (q @ k_mean.transpose(-2, -1)).softmax(dim=-1)  # (batch, heads, tokens, rank)
        A = (q_mean @ k_mean.transpose(-2, -1)).softmax(dim=-1)  # (batch, heads, rank, rank)
        B = (q_mean @ k.transpose(-2, -1)).softmax(dim=-1)  # (batch, heads, rank, tokens)
        return F @ (self._pseudo_inverse(A) @ (B @ v))

    def _pseudo_inverse(self, A: torch.Tensor) -> torch.Tensor:
        # Rows of A sum to one, so |A|_inf = 1 and only the largest column sum is left to divide by.
        largest = A.sum(dim=-2).amax(dim=-1)[..., None, None]
        Z = A.transpose(-2, -1) / (largest if self.normalised_by == "matrix" else largest.max())
        one = torch.eye(self.rank, dtype=A.dtype, device=A.device)
        for _ in range(self.iterations):
            Z = self._closer(A, Z, one)
        return Z

    def _closer(self, A: torch.Tensor, Z: torch.Tensor, one: torch.Tensor) -> torch.Tensor:
        """One iteration: four products, or six."""
        if self.reuse_az:
            AZ = A @ Z
            return Z @ (13 * one - AZ @ (15 * one - AZ @ (7 * one - AZ))) / 4
        return Z @ (13 * one - (A @ Z) @ (15 * one - (A @ Z) @ (7 * one - A @ Z))) / 4

    def macs(self, shape: Shape) -> int:
        """F, B and their products with v; A and Z's product with (B v); the iterations."""
        m = self.rank
        thin = 4 * shape.tokens * m * shape.head_dim
        small = 2 * m**2 * shape.head_dim
        inverse = self.iterations * (4 if self.reuse_az else 6) * m**3
        return shape.batch * shape.heads * (thin + small + inverse)

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:  # noqa: ARG002 (any dtype, anywhere)
        """More landmarks than tokens."""
        if self.rank <= shape.tokens:
            return []
        return [f"rank {self.rank} is more than the {shape.tokens} tokens"]


def _landmarks(x: torch.Tensor, rank: int) -> torch.Tensor:
    """Means (..., rank, head_dim) of `rank` runs of tokens: first those with one token more, if any."""
    length, longer = x.shape[-2] // rank, x.shape[-2] % rank
    cut = longer * (length + 1)
    runs = ((x[..., :cut, :], length + 1), (x[..., cut:, :], length))
    means = [
        torch.unflatten(part, -2, (-1, size)).mean(dim=-2) for part, size in runs if part.shape[-2]
    ]
    return torch.cat(means, dim=-2)
