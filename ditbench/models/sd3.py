"""Stable Diffusion 3 (Esser et al., 2024, arXiv 2403.03206): joint attention of picture and text.

Each block: one softmax over N = (size / patch)^2 tokens of the picture and then those of the text, each with
projections of its own. The first `dual` blocks of version 3.5 attend a second time, within the picture alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from diffusers import SD3Transformer2DModel

from ditbench.attention.base import Site, squarest
from ditbench.models.adapters import Adapter, Older
from ditbench.models.base import (
    Conditions,
    Preset,
    cut,
    open_every_third,
    register,
    shared_out,
)
from ditbench.models.worded import Joint
from ditbench.registry import setting


@register
@dataclass(frozen=True)
class SD3(Joint):
    """Stable Diffusion 3 and 3.5: joint attention of picture and text.

    size: of the latent. places: side of the table of positions. words, word_width, whole_width: tokens
    of text, the width they come in, and that of the text as a whole. dual: so many blocks attend twice.
    norm: whether q and k are normed; both as in 3.5.
    """

    name: ClassVar[str] = "sd3"
    paper: ClassVar[str] = "Esser et al. 2024, arXiv 2403.03206"
    network: ClassVar[type[SD3Transformer2DModel]] = SD3Transformer2DModel
    adapter: ClassVar[type[Adapter]] = Older
    prediction = "flow"

    hidden: int = setting(384, least=8)
    depth: int = setting(6, least=1)
    heads: int = setting(6, least=1)
    patch: int = setting(2, least=1)
    size: int = setting(32, least=2)
    channels: int = setting(16, least=1)
    words: int = setting(333, least=1)
    word_width: int = setting(4096, least=1)
    whole_width: int = setting(2048, least=1)
    places: int = setting(192, least=1)
    dual: int = setting(0, least=0)
    norm: bool = setting(default=False)
    shift: float = setting(3.0, least=0.01)

    @property
    def latent(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.size, self.size

    @property
    def _side(self) -> int:
        return self.size // self.patch

    def problems(self) -> list[str]:
        """Widths and sizes that do not divide, and a table too small."""
        told = [*shared_out(self.hidden, self.heads), *cut(self.size, self.patch)]
        if self._side > self.places:
            told.append(f"{self._side} tokens on a side are more than the {self.places} places")
        if self.dual > self.depth:
            told.append(f"dual {self.dual} is more than the {self.depth} blocks")
        return told

    def config(self) -> dict[str, Any]:
        """As diffusers names it."""
        return {
            "sample_size": self.size,
            "patch_size": self.patch,
            "in_channels": self.channels,
            "out_channels": self.channels,
            "num_layers": self.depth,
            "attention_head_dim": self.hidden // self.heads,
            "num_attention_heads": self.heads,
            "joint_attention_dim": self.word_width,
            "caption_projection_dim": self.hidden,
            "pooled_projection_dim": self.whole_width,
            "pos_embed_max_size": self.places,
            "dual_attention_layers": tuple(range(self.dual)),
            "qk_norm": "rms_norm" if self.norm else None,
        }

    def sites(self) -> tuple[Site, ...]:
        """Joint attention in every block, and after it self-attention in the first `dual`."""
        return tuple(site for block in range(self.depth) for site in self._of(block))

    def _of(self, block: int) -> tuple[Site, ...]:
        sizes = (block, self.depth, self.heads, self.hidden // self.heads)
        tokens = squarest(self._side**2 + self.words)
        name = f"transformer_blocks.{block}"
        joint = Site(*sizes, tokens, name=f"{name}.attn", kind="joint", plane=False)
        alone = Site(*sizes, (self._side, self._side), name=f"{name}.attn2")
        return (joint, alone) if block < self.dual else (joint,)

    def inputs(
        self, latents: torch.Tensor, times: torch.Tensor, conditions: Conditions
    ) -> Mapping[str, Any]:
        """Latents (rows, channels, size, size), and the text in words and as a whole."""
        text, whole = conditions
        return {
            "hidden_states": latents,
            "encoder_hidden_states": text,
            "pooled_projections": whole,
            "timestep": times,
        }

    @torch.no_grad()
    def open_gates(self, network: SD3Transformer2DModel) -> None:
        """Every third chunk that adaLN makes is a gate; the last block's for text has none."""
        for block in network.transformer_blocks:
            open_every_third(block.norm1.linear)
            if not block.context_pre_only:
                open_every_third(block.norm1_context.linear)

    @classmethod
    def presets(cls) -> Mapping[str, Preset]:
        """The size that diffusers' class has by itself: 18 blocks of 18 heads of 64."""
        return {
            "sd3-d18": Preset(
                cls(hidden=1152, depth=18, heads=18, size=128),
                "Stable Diffusion 3 of 18 blocks at 1024 pixels, random weights",
            )
        }
