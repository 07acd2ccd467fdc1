"""A DiT whose heads share keys and values: adaLN-Zero (arXiv 2212.09748) with grouped queries (2305.13245).

    x <- x + gate * attention(scale * norm(x) + shift),  then the same with a feed-forward part for attention
    head h attends with q_h to k_g and v_g,  g = floor(h kv_heads / heads)

Written from a description of one: learned places, norms without weights in the blocks and one with them at
the end, a class and a time added up to the one condition of all blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import get_timestep_embedding
from torch import nn
from torch.nn.functional import scaled_dot_product_attention, silu

from ditbench.models.adapters import spread

_EPSILON = 1e-6
_PLACES_SPREAD = 0.02


class Fused:
    """What the network computes by itself: torch's fused softmax, keys and values copied to each head."""

    def __call__(self, attn: GroupedAttention, x: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, dim) from the same."""
        q, k, v = (spread(attn, part, x).transpose(1, 2) for part in "qkv")
        out: torch.Tensor = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return attn.to_out[0](out)  # type: ignore[no-any-return]  # a module's call is untyped


class GroupedAttention(nn.Module):
    """Self attention with `kv_heads` keys and values for `heads` queries, no biases."""

    def __init__(self, dim: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, dim // heads
        narrow = kv_heads * self.head_dim
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(dim, narrow, bias=False)
        self.to_v = nn.Linear(dim, narrow, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim, bias=False)])
        self.processor: Callable[..., torch.Tensor] = Fused()

    def set_processor(self, processor: Callable[..., torch.Tensor]) -> None:
        """Put another core in its place."""
        self.processor = processor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, dim) from the same."""
        return self.processor(self, x)


class Block(nn.Module):
    """Attention and a feed-forward part, each shifted, scaled and gated by the condition."""

    def __init__(self, dim: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, _EPSILON, elementwise_affine=False)
        self.attn = GroupedAttention(dim, heads, kv_heads)
        self.norm2 = nn.LayerNorm(dim, _EPSILON, elementwise_affine=False)
        self.ff = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.modulation = nn.Linear(dim, 6 * dim)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, dim) from the same, under a condition (batch, dim)."""
        made = self.modulation(silu(condition))[:, None]  # (batch, 1, 6 dim)
        shift, scale, gate, shift2, scale2, gate2 = made.chunk(6, dim=-1)
        x = x + gate * self.attn(self.norm1(x) * (1 + scale) + shift)
        return x + gate2 * self.ff(self.norm2(x) * (1 + scale2) + shift2)  # type: ignore[no-any-return]  # likewise


class GqaTransformer(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers' classes are untyped
    """A prediction (rows, channels, size, size) from pictures of that shape, times and labels (rows,)."""

    _supports_gradient_checkpointing = True

    @register_to_config  # type: ignore[untyped-decorator]  # likewise
    def __init__(  # noqa: PLR0913 (as its configuration file says it)
        self,
        *,
        hidden: int,
        depth: int,
        heads: int,
        kv_heads: int,
        patch: int,
        size: int,
        channels: int,
        labels: int,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        self.patches = nn.Conv2d(channels, hidden, patch, stride=patch)
        self.places = nn.Parameter(torch.empty(1, (size // patch) ** 2, hidden))
        nn.init.trunc_normal_(self.places, std=_PLACES_SPREAD)
        self.time = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.label = nn.Embedding(labels, hidden)
        self.blocks = nn.ModuleList(Block(hidden, heads, kv_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(hidden)
        self.leave = nn.Linear(hidden, patch * patch * channels)

    def forward(
        self,
        latents: torch.Tensor,
        times: torch.Tensor,
        labels: torch.Tensor,
        return_dict: bool = False,  # noqa: ARG002, FBT001, FBT002 (as diffusers' networks are called)
    ) -> tuple[torch.Tensor]:
        """Times go from 999 down to 0."""
        waves = get_timestep_embedding(times, self.label.embedding_dim, flip_sin_to_cos=True)
        condition = self.time(waves.to(latents.dtype)) + self.label(labels)  # (rows, dim)
        x = self.patches(latents).flatten(2).mT + self.places  # (rows, tokens, dim)
        for block in self.blocks:
            x = self._through(block, x, condition)
        return (self._picture(self.leave(self.norm(x)), latents),)

    def _through(self, block: Any, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 (a Block)
        """Under gradient checkpointing what is inside a block is computed again on the way back."""
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            out: torch.Tensor = self._gradient_checkpointing_func(block, x, condition)
            return out
        return block(x, condition)  # type: ignore[no-any-return]  # a module's call is untyped

    def _picture(self, x: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """(rows, tokens, patch^2 channels) as patches of a picture."""
        rows, channels, height, width = latents.shape
        patch: int = self.config.patch
        cut = x.reshape(rows, height // patch, width // patch, patch, patch, channels)
        return cut.permute(0, 5, 1, 3, 2, 4).reshape(rows, channels, height, width)
