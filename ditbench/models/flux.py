"""Flux (Black Forest Labs, 2024, arXiv 2506.15742): joint attention with rotary embeddings, text first.

`double` blocks keep projections for text and for the picture's N = size^2 tokens, the others run both through
one; all attend over both at once, after a norm and a rotation of q and k. In the latter attention and the
feed-forward part stand side by side, and share their output projection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from diffusers import FluxTransformer2DModel
from diffusers.models.embeddings import apply_rotary_emb

from ditbench.attention.base import Site, squarest
from ditbench.models.adapters import Adapter, Newer, Rotary
from ditbench.models.base import (
    Conditions,
    Preset,
    open_every_third,
    register,
    shared_out,
)
from ditbench.models.worded import Joint
from ditbench.registry import setting

# At 1024 pixels, 4096 tokens, diffusers' pipeline bends the schedule of FLUX.1-dev by so much: e^1.15.
_DEV_SHIFT = 3.1582


class FluxAdapter(Newer):
    """Rotates each head, text and picture together."""

    def turn(self, x: torch.Tensor, rotary: Rotary) -> torch.Tensor:
        """(batch, tokens, heads, head_dim)."""
        turned: torch.Tensor = apply_rotary_emb(x, rotary, sequence_dim=1)
        return turned


@register
@dataclass(frozen=True)
class Flux(Joint):
    """FLUX.1: joint attention with rotary embeddings, text first.

    size: tokens on a side of the picture, each of 2 x 2 places of a latent. depth: all blocks, of which
    `double` come first. words, word_width, whole_width: tokens of text, the width they come in, and
    that of the text as a whole. guidance: what a network that was distilled to follow it is told, 0 for
    one that was not; guidance_scale 1 runs it without a second half of rows.
    """

    name: ClassVar[str] = "flux"
    paper: ClassVar[str] = "Black Forest Labs 2024, arXiv 2506.15742"
    network: ClassVar[type[FluxTransformer2DModel]] = FluxTransformer2DModel
    adapter: ClassVar[type[Adapter]] = FluxAdapter
    prediction = "flow"

    hidden: int = setting(384, least=8)
    depth: int = setting(9, least=1)
    double: int = setting(3, least=1)
    heads: int = setting(6, least=1)
    size: int = setting(16, least=1)
    channels: int = setting(64, least=1)
    words: int = setting(512, least=1)
    word_width: int = setting(4096, least=1)
    whole_width: int = setting(768, least=1)
    guidance: float = setting(0.0, least=0.0)
    shift: float = setting(1.0, least=0.01)

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.hidden // self.heads

    @property
    def latent(self) -> tuple[int, int]:
        """Tokens, channels: packed, as the pipeline packs latents once before the first step."""
        return self.size**2, self.channels

    @property
    def canvas_sizes(self) -> tuple[int, int, int] | None:
        """A token holds squares of 2 x 2, where its channels can be shared out among four."""
        return None if self.channels % 4 else (self.channels // 4, 2 * self.size, 2 * self.size)

    def canvas(self, latents: torch.Tensor) -> torch.Tensor:
        """Unpacked: channel by channel, each token's square of four is put where it belongs."""
        squares = latents.view(-1, self.size, self.size, self.channels // 4, 2, 2)
        return squares.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)

    def problems(self) -> list[str]:
        """A width that does not divide, a head too narrow to be rotated, more double blocks than blocks."""
        told = shared_out(self.hidden, self.heads)
        if not told and (self.head_dim < 8 or self.head_dim % 2):
            told.append(
                f"heads of {self.head_dim} cannot be rotated: an even number from 8 is needed"
            )
        if self.double > self.depth:
            told.append(f"double {self.double} is more than the {self.depth} blocks")
        return told

    def config(self) -> dict[str, Any]:
        """As diffusers names it; of a head of 128, 16 numbers turn by the picture, 56 by row and column."""
        place = 2 * (7 * self.head_dim // 32)
        return {
            "patch_size": 1,
            "in_channels": self.channels,
            "num_layers": self.double,
            "num_single_layers": self.depth - self.double,
            "attention_head_dim": self.head_dim,
            "num_attention_heads": self.heads,
            "joint_attention_dim": self.word_width,
            "pooled_projection_dim": self.whole_width,
            "guidance_embeds": self.guidance > 0,
            "axes_dims_rope": (self.head_dim - 2 * place, place, place),
        }

    def sites(self) -> tuple[Site, ...]:
        """Joint attention in every block."""
        single = [f"single_transformer_blocks.{n}" for n in range(self.depth - self.double)]
        names = [*(f"transformer_blocks.{n}" for n in range(self.double)), *single]
        tokens = squarest(self.words + self.size**2)
        return tuple(
            Site(
                block,
                self.depth,
                self.heads,
                self.head_dim,
                tokens,
                name=f"{name}.attn",
                kind="joint",
                rotary=True,
                plane=False,
            )
            for block, name in enumerate(names)
        )

    def inputs(
        self, latents: torch.Tensor, times: torch.Tensor, conditions: Conditions
    ) -> Mapping[str, Any]:
        """Latents (rows, tokens, channels), their places, and a time from 1 down to 0."""
        text, whole = conditions
        told = latents.new_full((len(latents),), self.guidance) if self.guidance else None
        return {
            "hidden_states": latents,
            "encoder_hidden_states": text,
            "pooled_projections": whole,
            "timestep": (times / 1000).to(latents.dtype),
            "img_ids": self._places(latents),
            "txt_ids": latents.new_zeros(self.words, 3),
            "guidance": told,
        }

    def _places(self, latents: torch.Tensor) -> torch.Tensor:
        """(tokens, 3): nothing, row and column of each."""
        side = torch.arange(self.size, device=latents.device, dtype=latents.dtype)
        rows, columns = torch.meshgrid(side, side, indexing="ij")
        return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).flatten(0, 1)

    @torch.no_grad()
    def open_gates(self, network: FluxTransformer2DModel) -> None:
        """Every third chunk that adaLN makes is a gate."""
        for block in network.transformer_blocks:
            open_every_third(block.norm1.linear)
            open_every_third(block.norm1_context.linear)
        for block in network.single_transformer_blocks:
            open_every_third(block.norm.linear)

    @classmethod
    def presets(cls) -> Mapping[str, Preset]:
        """The sizes that diffusers' class has by itself, at 1024 pixels; dev is told the guidance."""
        sizes = {"hidden": 3072, "depth": 57, "double": 19, "heads": 24, "size": 64}
        return {
            "flux.1-schnell": Preset(
                cls(**sizes), "FLUX.1-schnell at 1024 pixels, random weights (12 billion)"
            ),
            "flux.1-dev": Preset(
                cls(**sizes, guidance=3.5, shift=_DEV_SHIFT),
                "FLUX.1-dev at 1024 pixels, guidance distilled, random weights (12 billion)",
            ),
        }
