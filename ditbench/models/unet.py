"""A UNet with attention (Ho et al., 2020, arXiv 2006.11239) as diffusers' `UNet2DModel` builds it.

Attention is over the places of a feature map: size^2 tokens after every residual layer on the way up at full
size, and (size / 2^(levels - 1))^2 in the middle. Its scores, held explicitly, are heads x tokens^2 numbers a
picture: at 28 x 28 with two heads 1.17 GiB for 256 pictures in float32. Those of `gqa-dit` are 19 MiB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from diffusers import UNet2DModel

from ditbench.attention.base import Site
from ditbench.models.adapters import Adapter, Spatial
from ditbench.models.base import Conditions, Preset, register, shared_out
from ditbench.models.labelled import Labelled
from ditbench.registry import setting

# Channels are normed in so many groups.
_GROUPS = 8


@register
@dataclass(frozen=True)
class UNet(Labelled):
    """A convolutional network on small pictures, with self-attention at full size and in the middle.

    hidden: channels at full size; each of the other levels, half as large, has `growth` times those of the
    one before. depth: attention modules, numbered in the order of a forward: block 0 is the middle, all
    others are at full size, one after each of the depth - 1 residual layers on the way up (depth - 2 on the
    way down, as diffusers has it). heads: at full size; deeper ones have more, of the same width. sees_time:
    whether the network is told the time. Where it is not, it is told 0 at every step: a planted fault, which
    a network compared elsewhere has, and no fair arm of a comparison.
    """

    name: ClassVar[str] = "unet"
    paper: ClassVar[str] = "Ho et al. 2020, arXiv 2006.11239"
    network: ClassVar[type[UNet2DModel]] = UNet2DModel
    adapter: ClassVar[type[Adapter]] = Spatial

    hidden: int = setting(56, least=_GROUPS)
    growth: int = setting(1, least=1)
    levels: int = setting(2, least=2)
    depth: int = setting(3, least=3)
    heads: int = setting(2, least=1)
    size: int = setting(28, least=2)
    channels: int = setting(1, least=1)
    classes: int = setting(10, least=1)
    null_class: bool = setting(default=False)
    sees_time: bool = setting(default=True)
    prediction: Literal["epsilon", "v_prediction"] = "epsilon"
    betas: Literal["linear", "squaredcos_cap_v2"] = "linear"

    @property
    def head_dim(self) -> int:
        """Width of one head, at every level."""
        return self.hidden // self.heads

    def problems(self) -> list[str]:
        """Channels that cannot be shared out; a size that cannot be halved so often."""
        told = shared_out(self.hidden, self.heads)
        if self.hidden % _GROUPS:
            told.append(
                f"hidden {self.hidden} is not a multiple of {_GROUPS}, the groups of its norms"
            )
        if self.size % 2 ** (self.levels - 1):
            told.append(
                f"size {self.size} cannot be halved {self.levels - 1} times for {self.levels} levels"
            )
        return told

    def remarks(self) -> list[str]:
        """The planted fault, where it is."""
        return [] if self.sees_time else ["the network is not told the time"]

    def config(self) -> dict[str, Any]:
        """As diffusers names it."""
        return {
            "sample_size": self.size,
            "in_channels": self.channels,
            "out_channels": self.channels,
            "down_block_types": ["DownBlock2D"] * self.levels,
            "up_block_types": [*["UpBlock2D"] * (self.levels - 1), "AttnUpBlock2D"],
            "block_out_channels": [
                self.hidden * self.growth**level for level in range(self.levels)
            ],
            "layers_per_block": self.depth - 2,
            "attention_head_dim": self.head_dim,
            "norm_num_groups": _GROUPS,
            "num_class_embeds": self.labels,
        }

    def sites(self) -> tuple[Site, ...]:
        """The middle, and then full size."""
        factor = self.levels - 1
        small = self.size // 2**factor
        middle = (self.heads * self.growth**factor, (small, small), "mid_block.attentions.0")
        full = (
            (self.heads, (self.size, self.size), f"up_blocks.{factor}.attentions.{number}")
            for number in range(self.depth - 1)
        )
        return tuple(
            Site(block, self.depth, heads, self.head_dim, grid, name=name)
            for block, (heads, grid, name) in enumerate((middle, *full))
        )

    def inputs(
        self, latents: torch.Tensor, times: torch.Tensor, conditions: Conditions
    ) -> Mapping[str, Any]:
        """Latents (rows, channels, size, size) and labels (rows,), for a prediction of the latents' shape."""
        (labels,) = conditions
        told = times if self.sees_time else torch.zeros_like(times)
        return {"sample": latents, "timestep": told, "class_labels": labels}

    @classmethod
    def presets(cls) -> Mapping[str, Preset]:
        """As it stands, and with as many parameters as `gqa-dit`."""
        return {
            "unet-small": Preset(
                cls(), "0.86 M parameters on 28 x 28 grey pictures: 784, 784 and 196 tokens"
            ),
            "unet-matched": Preset(
                cls(hidden=104, growth=2, levels=3),
                "26.81 M parameters, 1 % more than `gqa-dit`: 784, 784 and 49 tokens",
            ),
        }
