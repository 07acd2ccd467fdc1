"""LTX-Video (HaCohen et al., 2024, arXiv 2501.00103): video; self-attention over all frames, cross to text.

Each block: self-attention over N = frames x height x width tokens, q and k normed and rotated over all heads
at once, then cross attention of these to the text's, with a mask, which stays the model's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from diffusers import LTXVideoTransformer3DModel
from diffusers.models.transformers.transformer_ltx import apply_rotary_emb

from ditbench.attention.base import Site
from ditbench.models.adapters import Adapter, Newer, Rotary
from ditbench.models.base import (
    Conditions,
    Preset,
    register,
    shared_out,
)
from ditbench.models.worded import Masked
from ditbench.registry import setting

# Seconds and pixels from one token to the next: 8 frames at 25 a second, 32 pixels.
_STEP = (8 / 25, 32, 32)
# Of its pipeline's own video, 7392 tokens: e^(0.95 + 1.1 (7392 - 1024) / 3072).
_SHIFT = 25.28


class LTXAdapter(Newer):
    """Norms and rotates all heads at once."""

    across: ClassVar[bool] = True

    def turn(self, x: torch.Tensor, rotary: Rotary) -> torch.Tensor:
        """(batch, tokens, dim)."""
        turned: torch.Tensor = apply_rotary_emb(x, rotary)
        return turned


@register
@dataclass(frozen=True)
class LTX(Masked):
    """LTX-Video: self-attention over all frames, cross attention to text.

    frames, height, width: of the latent, each place a token of `channels` numbers. words, word_width:
    tokens of text, and the width they come in. The schedule's shift is a setting, which the pipeline
    takes from the number of tokens; its stretch to a last sigma of 0.1 is left out.
    """

    name: ClassVar[str] = "ltx"
    paper: ClassVar[str] = "HaCohen et al. 2024, arXiv 2501.00103"
    network: ClassVar[type[LTXVideoTransformer3DModel]] = LTXVideoTransformer3DModel
    adapter: ClassVar[type[Adapter]] = LTXAdapter
    prediction = "flow"

    hidden: int = setting(384, least=8)
    depth: int = setting(6, least=1)
    heads: int = setting(6, least=1)
    frames: int = setting(3, least=1)
    height: int = setting(8, least=1)
    width: int = setting(8, least=1)
    channels: int = setting(128, least=1)
    words: int = setting(128, least=1)
    word_width: int = setting(4096, least=1)
    shift: float = setting(1.0, least=0.01)

    @property
    def latent(self) -> tuple[int, int]:
        """Tokens, channels: packed, as the pipeline packs latents once before the first step."""
        return self.frames * self.height * self.width, self.channels

    def problems(self) -> list[str]:
        """A width that does not divide, and one whose numbers cannot be rotated in pairs."""
        odd = [f"hidden {self.hidden} is odd"] if self.hidden % 2 else []
        return [*shared_out(self.hidden, self.heads), *odd]

    def config(self) -> dict[str, Any]:
        """As diffusers names it."""
        return {
            "in_channels": self.channels,
            "out_channels": self.channels,
            "num_attention_heads": self.heads,
            "attention_head_dim": self.hidden // self.heads,
            "cross_attention_dim": self.hidden,
            "num_layers": self.depth,
            "caption_channels": self.word_width,
        }

    def sites(self) -> tuple[Site, ...]:
        """Self and cross attention in turn."""
        return tuple(site for block in range(self.depth) for site in self._of(block))

    def _of(self, block: int) -> tuple[Site, Site]:
        sizes = (block, self.depth, self.heads, self.hidden // self.heads)
        grid, name = (self.frames * self.height, self.width), f"transformer_blocks.{block}"
        own = Site(*sizes, grid, name=f"{name}.attn1", rotary=True, plane=self.frames == 1)
        cross = Site(*sizes, grid, name=f"{name}.attn2", kind="cross", keys=self.words, masked=True)
        return own, cross

    def inputs(
        self, latents: torch.Tensor, times: torch.Tensor, conditions: Conditions
    ) -> Mapping[str, Any]:
        """Latents (rows, tokens, channels), how they lie in space and time, and the text with its mask."""
        text, mask = conditions
        return {
            "hidden_states": latents,
            "encoder_hidden_states": text,
            "timestep": times,
            "encoder_attention_mask": mask,
            "num_frames": self.frames,
            "height": self.height,
            "width": self.width,
            "rope_interpolation_scale": _STEP,
        }

    @classmethod
    def presets(cls) -> Mapping[str, Preset]:
        """The size that diffusers' class has by itself, and its pipeline's own 161 frames of 704 x 512."""
        sizes = {"hidden": 2048, "depth": 28, "heads": 32, "frames": 21, "height": 16, "width": 22}
        return {
            "ltx-video": Preset(
                cls(**sizes, shift=_SHIFT),
                "LTX-Video 2B, 161 frames of 704 x 512, random weights",
            )
        }
