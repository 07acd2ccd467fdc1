"""Sana (Xie et al., 2024, arXiv 2410.10629): linear attention by ReLU, and cross attention to text.

    out = relu(q) (relu(k)^T v) / (relu(q) relu(k)^T 1)        the model's own, cost about 2 N d^2 a head

A method takes the place of this linear attention, which is no softmax, in the blocks that a suite chooses; in
the others it stays, and so does cross attention everywhere. So softmax here is not the model's reference but
what it was designed to do without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from diffusers import SanaTransformer2DModel

from ditbench.attention.base import Site
from ditbench.models.adapters import Adapter, Older
from ditbench.models.base import (
    Conditions,
    Preset,
    cut,
    register,
    shared_out,
)
from ditbench.models.worded import Masked
from ditbench.registry import setting


class SanaAdapter(Older):
    """Where q and k are normed, all heads are at once."""

    across: ClassVar[bool] = True


@register
@dataclass(frozen=True)
class Sana(Masked):
    """Linear attention by ReLU, and cross attention to text.

    size: of the latent, a thirty-second of the picture. cross_heads: of its attention to text. words,
    word_width: tokens of text, and the width they come in. norm: whether q and k are normed (1.5).
    """

    name: ClassVar[str] = "sana"
    paper: ClassVar[str] = "Xie et al. 2024, arXiv 2410.10629"
    network: ClassVar[type[SanaTransformer2DModel]] = SanaTransformer2DModel
    adapter: ClassVar[type[Adapter]] = SanaAdapter
    prediction = "flow"

    hidden: int = setting(384, least=8)
    depth: int = setting(6, least=1)
    heads: int = setting(12, least=1)
    cross_heads: int = setting(6, least=1)
    patch: int = setting(1, least=1)
    size: int = setting(16, least=1)
    channels: int = setting(32, least=1)
    words: int = setting(300, least=1)
    word_width: int = setting(2304, least=1)
    norm: bool = setting(default=False)
    shift: float = setting(3.0, least=0.01)

    @property
    def latent(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.size, self.size

    def problems(self) -> list[str]:
        """Widths and sizes that do not divide."""
        told = [*shared_out(self.hidden, self.heads), *cut(self.size, self.patch)]
        if self.hidden % self.cross_heads:
            told.append(f"hidden {self.hidden} is not a multiple of cross_heads {self.cross_heads}")
        return told

    def config(self) -> dict[str, Any]:
        """As diffusers names it."""
        return {
            "in_channels": self.channels,
            "out_channels": self.channels,
            "num_attention_heads": self.heads,
            "attention_head_dim": self.hidden // self.heads,
            "num_layers": self.depth,
            "num_cross_attention_heads": self.cross_heads,
            "cross_attention_head_dim": self.hidden // self.cross_heads,
            "cross_attention_dim": self.hidden,
            "caption_channels": self.word_width,
            "sample_size": self.size,
            "patch_size": self.patch,
            "qk_norm": "rms_norm_across_heads" if self.norm else None,
        }

    def sites(self) -> tuple[Site, ...]:
        """Linear self-attention and cross attention in turn."""
        return tuple(site for block in range(self.depth) for site in self._of(block))

    def _of(self, block: int) -> tuple[Site, Site]:
        side = self.size // self.patch
        name, grid = f"transformer_blocks.{block}", (side, side)
        own = Site(
            block,
            self.depth,
            self.heads,
            self.hidden // self.heads,
            grid,
            name=f"{name}.attn1",
            native="linear attention by ReLU",
        )
        cross = Site(
            block,
            self.depth,
            self.cross_heads,
            self.hidden // self.cross_heads,
            grid,
            name=f"{name}.attn2",
            kind="cross",
            keys=self.words,
            masked=True,
        )
        return own, cross

    def inputs(
        self, latents: torch.Tensor, times: torch.Tensor, conditions: Conditions
    ) -> Mapping[str, Any]:
        """Latents (rows, channels, size, size), and the text with its mask."""
        text, mask = conditions
        return {
            "hidden_states": latents,
            "encoder_hidden_states": text,
            "timestep": times,
            "encoder_attention_mask": mask,
        }

    @classmethod
    def presets(cls) -> Mapping[str, Preset]:
        """The two sizes of diffusers' own conversion of the published weights, at 1024 pixels."""
        large = cls(hidden=2240, depth=20, heads=70, cross_heads=20, size=32)
        small = cls(hidden=1152, depth=28, heads=36, cross_heads=16, size=32)
        return {
            "sana-1.6b": Preset(large, "Sana 1.6B at 1024 pixels, random weights"),
            "sana-0.6b": Preset(small, "Sana 0.6B at 1024 pixels, random weights"),
        }
