"""Performer (Choromanski et al., 2021, arXiv 2009.14794): softmax's kernel by random positive features.

    out = phi(q) (phi(k)^T v) / (phi(q) sum phi(k)),  phi(x) = exp(w x - |x|^2 / 2) / sqrt(m)
    w: m random directions, so that phi(q) phi(k)^T is exp(q k^T) on average
    cost 4 N m d + N m

q and k are divided by d^(1/4) each. Orthogonal directions (FAVOR+) vary less than independent ones.
Stabilised, the largest exponent is taken off, of each query and of all keys of a head: both cancel in the
quotient, and without it the features overflow or vanish, as in code that gave black pictures. The
directions are drawn once for each block from `seed`, before the first call and never again. Not to be
confused with `linear`, whose phi is not random and does not approach softmax.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, CoreLayer, Layer, Shape, Site, register
from ditbench.registry import setting


@register
@dataclass(frozen=True)
class Performer(AttentionMethod):
    """So many random `features`."""

    name: ClassVar[str] = "performer"
    paper: ClassVar[str] = "Choromanski et al. 2021, arXiv 2009.14794"
    formula: ClassVar[str] = (
        "out = phi(q) (phi(k)^T v) / (phi(q) sum phi(k)), phi(x) = exp(w x - |x|^2 / 2) / sqrt(m)"
    )
    cost: ClassVar[str] = "4 N m d + N m"

    features: int = setting(32, least=1)
    orthogonal: bool = setting(True)
    stabilised: bool = setting(True)
    seed: int = setting(0, least=0)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """With the directions of block 0."""
        drawn = _directions(self.features, q.shape[-1], self.orthogonal, (self.seed, 0))
        return self.along(drawn.to(q), q, k, v)

    def along(
        self, w: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        """Attention with these directions (head_dim, features)."""
        scale = q.shape[-1] ** -0.25
        phi_q, phi_k = self._phi(q * scale, w, (-1,)), self._phi(k * scale, w, (-2, -1))
        phi_k = (
            phi_k / k.shape[-2]
        )  # a mean for the sum, above the line and below: no overflow with N
        total = phi_q @ phi_k.sum(dim=-2).unsqueeze(-1)
        return (
            phi_q @ (phi_k.transpose(-2, -1) @ v) / total.clamp_min(torch.finfo(total.dtype).tiny)
        )

    def _phi(self, x: torch.Tensor, w: torch.Tensor, over: tuple[int, ...]) -> torch.Tensor:
        """Features in the dtype of x; exponents in float32. over: what shares one largest exponent.

        The factor 1 / sqrt(m) cancels in the quotient.
        """
        exponent = (x @ w).float() - x.float().square().sum(dim=-1, keepdim=True) / 2
        if self.stabilised:
            exponent = exponent - exponent.amax(dim=over, keepdim=True)
        return exponent.exp().to(x.dtype)

    def macs(self, shape: Shape) -> int:
        """Features of q and k, both products, the denominator."""
        each = 4 * self.features * shape.head_dim + self.features
        return shape.batch * shape.heads * shape.tokens * each

    def open(self, site: Site) -> Layer:
        """With directions of the block's own, ready on its device."""
        drawn = _directions(self.features, site.head_dim, self.orthogonal, (self.seed, site.block))
        return CoreLayer(
            _Drawn(self, site.block, drawn.to(site.device, getattr(torch, site.dtype)))
        )


@dataclass(frozen=True)
class _Drawn:
    """Equal to another of the same method and block: the directions follow from these."""

    method: Performer
    block: int
    w: torch.Tensor = field(compare=False, repr=False)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return self.method.along(self.w, q, k, v)


@lru_cache(maxsize=1024)
def _directions(
    features: int,
    head_dim: int,
    orthogonal: bool,  # noqa: FBT001 (a setting, passed on)
    seeds: tuple[int, int],
) -> torch.Tensor:
    """(head_dim, features) on the CPU; orthogonal in groups of head_dim, as long as independent ones are.

    Kept, and so no tensor of inference alone: training may ask for it later.
    """
    with torch.inference_mode(mode=False):
        generator = torch.Generator().manual_seed(seeds[0] * 2**16 + seeds[1])
        groups = -(-features // head_dim)
        drawn = torch.randn(groups, head_dim, head_dim, generator=generator, device="cpu")
        if orthogonal:
            turned, _ = torch.linalg.qr(drawn)
            drawn = turned * drawn.norm(dim=-1, keepdim=True).transpose(-2, -1)
        return drawn.transpose(0, 1).flatten(1)[:, :features]
