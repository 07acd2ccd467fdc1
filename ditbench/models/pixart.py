"""PixArt-alpha (Chen et al., 2023, arXiv 2310.00426): a DiT that reads text by cross attention.

Each block: self-attention over N = (size / patch)^2 tokens, then cross attention of these to the text's, with
a mask. Cross attention stays the model's own, whatever the method: there q has another shape than k and v.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from diffusers import PixArtTransformer2DModel

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

# Latents of this size are told the picture's size and shape too.
_TOLD_ITS_SIZE = 128
_PIXELS = 8


@register
@dataclass(frozen=True)
class PixArt(Masked):
    """A DiT that reads text by cross attention.

    size: of the latent. words, word_width: tokens of text, and the width they come in.
    """

    name: ClassVar[str] = "pixart"
    paper: ClassVar[str] = "Chen et al. 2023, arXiv 2310.00426"
    network: ClassVar[type[PixArtTransformer2DModel]] = PixArtTransformer2DModel
    adapter: ClassVar[type[Adapter]] = Older
    told: ClassVar[str] = "prompts"

    hidden: int = setting(384, least=8)
    depth: int = setting(12, least=1)
    heads: int = setting(6, least=1)
    patch: int = setting(2, least=1)
    size: int = setting(32, least=2)
    channels: int = setting(4, least=1)
    words: int = setting(120, least=1)
    word_width: int = setting(4096, least=1)

    @property
    def latent(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.size, self.size

    @property
    def learned_variance(self) -> bool:
        """It was trained as DiT was."""
        return True

    def problems(self) -> list[str]:
        """Widths and sizes that do not divide."""
        return [*shared_out(self.hidden, self.heads), *cut(self.size, self.patch)]

    def config(self) -> dict[str, Any]:
        """As diffusers names it; a variance is learned too."""
        return {
            "num_attention_heads": self.heads,
            "attention_head_dim": self.hidden // self.heads,
            "in_channels": self.channels,
            "out_channels": 2 * self.channels,
            "num_layers": self.depth,
            "cross_attention_dim": self.hidden,
            "sample_size": self.size,
            "patch_size": self.patch,
            "caption_channels": self.word_width,
        }

    def sites(self) -> tuple[Site, ...]:
        """Self and cross attention in turn."""
        side = self.size // self.patch
        sizes = (self.depth, self.heads, self.hidden // self.heads, (side, side))
        return tuple(
            site
            for block in range(self.depth)
            for name in [f"transformer_blocks.{block}"]
            for site in (
                Site(block, *sizes, name=f"{name}.attn1"),
                Site(
                    block, *sizes, name=f"{name}.attn2", kind="cross", keys=self.words, masked=True
                ),
            )
        )

    def inputs(
        self, latents: torch.Tensor, times: torch.Tensor, conditions: Conditions
    ) -> Mapping[str, Any]:
        """Latents (rows, channels, size, size), for twice the channels: the second half is the variance."""
        text, mask = conditions
        return {
            "hidden_states": latents,
            "encoder_hidden_states": text,
            "timestep": times,
            "added_cond_kwargs": self._shape_of_the_picture(latents),
            "encoder_attention_mask": mask,
        }

    def _shape_of_the_picture(self, latents: torch.Tensor) -> dict[str, torch.Tensor | None]:
        if self.size != _TOLD_ITS_SIZE:
            return {"resolution": None, "aspect_ratio": None}
        rows, side = len(latents), float(_PIXELS * self.size)
        return {
            "resolution": latents.new_full((rows, 2), side),
            "aspect_ratio": latents.new_ones(rows, 1),
        }

    @classmethod
    def presets(cls) -> Mapping[str, Preset]:
        """The sizes that diffusers' own conversion of the published weights builds."""
        return {
            f"pixart-xl/2-{pixels}": Preset(
                cls(hidden=1152, depth=28, heads=16, size=pixels // _PIXELS),
                f"PixArt-alpha XL/2 at {pixels} pixels, random weights",
            )
            for pixels in (512, 1024)
        }
