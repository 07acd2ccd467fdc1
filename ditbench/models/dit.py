"""Diffusion Transformers (Peebles & Xie, 2023, arXiv 2212.09748) as diffusers builds them.

tokens N = (size / patch)^2; one block costs 12 N D^2 + 2 N^2 D + 6 D^2 multiply-adds, of which the
attention core is 2 N^2 D. diffusers gives every block its own timestep and label embedder (77.8 M
parameters in XL), and its output layer calls block 0's once more; the paper's network has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from diffusers import DiTTransformer2DModel

from ditbench.attention.base import Site
from ditbench.models.adapters import Adapter, Older
from ditbench.models.base import (
    Conditions,
    Preset,
    cut,
    one_a_block,
    open_every_third,
    register,
    shared_out,
)
from ditbench.models.labelled import Labelled
from ditbench.registry import setting


@register
@dataclass(frozen=True)
class DiT(Labelled):
    """A transformer over patches of a latent, told class and time.

    size, channels: of the latent. out_channels: twice the channels where the network also learns a
    variance, which only the sampler ddpm uses.
    """

    name: ClassVar[str] = "dit"
    paper: ClassVar[str] = "Peebles & Xie 2023, arXiv 2212.09748"
    network: ClassVar[type[DiTTransformer2DModel]] = DiTTransformer2DModel
    adapter: ClassVar[type[Adapter]] = Older

    hidden: int = setting(384, least=8)
    depth: int = setting(12, least=1)
    heads: int = setting(6, least=1)
    patch: int = setting(2, least=1)
    size: int = setting(32, least=2)
    channels: int = setting(4, least=1)
    out_channels: int = setting(8, least=1)
    classes: int = setting(1000, least=1)
    prediction: Literal["epsilon", "v_prediction"] = "epsilon"
    betas: Literal["linear", "squaredcos_cap_v2"] = "linear"

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.hidden // self.heads

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens."""
        return self.size // self.patch, self.size // self.patch

    @property
    def tokens(self) -> int:
        """Tokens per image."""
        return self.grid[0] * self.grid[1]

    @property
    def learned_variance(self) -> bool:
        """Told by twice the channels."""
        return self.out_channels == 2 * self.channels

    def problems(self) -> list[str]:
        """What makes this architecture impossible, each as a clause; empty means it can be built."""
        found = [*shared_out(self.hidden, self.heads), *cut(self.size, self.patch)]
        if self.out_channels not in {self.channels, 2 * self.channels}:
            found.append(
                f"out_channels {self.out_channels} is neither channels nor twice channels ({self.channels})"
            )
        return found

    def config(self) -> dict[str, Any]:
        """As diffusers names it."""
        return {
            "num_attention_heads": self.heads,
            "attention_head_dim": self.head_dim,
            "in_channels": self.channels,
            "out_channels": self.out_channels,
            "num_layers": self.depth,
            "sample_size": self.size,
            "patch_size": self.patch,
            "num_embeds_ada_norm": self.classes,
        }

    def build(self) -> DiTTransformer2DModel:
        """The network on the current default device and dtype, in eval mode, weights as initialised.

        Label dropout is off: diffusers draws it in every block's own embedder, so that the blocks
        would see different labels; our training loop draws it once per sample.
        """
        network = super().build()
        for block in network.transformer_blocks:
            block.norm1.emb.class_embedder.dropout_prob = 0.0
        return network

    def sites(self) -> tuple[Site, ...]:
        """One self-attention a block."""
        name = "transformer_blocks.{}.attn1"
        return one_a_block(self.depth, self.heads, self.head_dim, self.grid, name)

    def inputs(
        self, latents: torch.Tensor, times: torch.Tensor, conditions: Conditions
    ) -> Mapping[str, Any]:
        """Latents (rows, channels, size, size) and labels (rows,), for (rows, out_channels, size, size)."""
        (labels,) = conditions
        return {"hidden_states": latents, "timestep": times, "class_labels": labels}

    @torch.no_grad()
    def open_gates(self, network: DiTTransformer2DModel) -> None:
        """Give random weights gates of about one, so that attention shows in the output.

        diffusers' own initialisation leaves them at a few per cent, where bfloat16 would hide a wrong
        method. Of the six chunks that adaLN makes, the third and the sixth are gates.
        """
        for block in network.transformer_blocks:
            open_every_third(block.norm1.linear)

    @torch.no_grad()
    def close_gates(self, network: DiTTransformer2DModel) -> None:
        """adaLN-Zero (arXiv 2212.09748, section 3.2): blocks start as the identity. For training only.

        Under closed gates every attention method gives the same picture.
        """
        zeroed = [block.norm1.linear for block in network.transformer_blocks]
        for layer in (*zeroed, network.proj_out_1, network.proj_out_2):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)

    def repeats(self, network: DiTTransformer2DModel, rows: int) -> None:
        """Each block evaluates an embedder of its own and the output layer block 0's again; one is needed."""
        ids = torch.zeros(rows, dtype=torch.long, device=network.device)
        for block in network.transformer_blocks:
            block.norm1.emb(ids, ids, hidden_dtype=torch.float32)

    def repeated(self, network: DiTTransformer2DModel) -> int:
        """Of the embedders of all blocks but one."""
        embedder = network.transformer_blocks[0].norm1.emb
        one: int = sum(parameter.numel() for parameter in embedder.parameters())
        return (self.depth - 1) * one

    @classmethod
    def presets(cls) -> Mapping[str, Preset]:
        """The twelve of the paper, at two resolutions, and the one that ships with us.

        `dit-xl/2` is `dit-xl/2-256`.
        """
        return {"fashion-dit": _FASHION, **_of_the_paper()}


FASHION = DiT(
    hidden=128,
    depth=6,
    heads=4,
    patch=2,
    size=32,
    channels=1,
    out_channels=1,
    classes=10,
    prediction="v_prediction",
    betas="squaredcos_cap_v2",
)
_FASHION = Preset(
    FASHION, "2.1 M parameters, trained on Fashion-MNIST, ships with ditbench", embedded=True
)
# depth, hidden, heads: table 1 of arXiv 2212.09748
_SIZES = {"s": (12, 384, 6), "b": (12, 768, 12), "l": (24, 1024, 16), "xl": (28, 1152, 16)}
_PATCHES = (2, 4, 8)
_RESOLUTIONS = (256, 512)


def _of_the_paper() -> dict[str, Preset]:
    found = {}
    for size, (depth, hidden, heads) in _SIZES.items():
        for patch in _PATCHES:
            base = DiT(hidden=hidden, depth=depth, heads=heads, patch=patch)
            for resolution in _RESOLUTIONS:
                hub = f"facebook/DiT-XL-2-{resolution}" if (size, patch) == ("xl", 2) else ""
                found[f"dit-{size}/{patch}-{resolution}"] = Preset(
                    replace(base, size=resolution // 8),
                    f"DiT-{size.upper()}/{patch} of the paper at {resolution} pixels",
                    hub,
                )
            found[f"dit-{size}/{patch}"] = found[f"dit-{size}/{patch}-256"]
    return found
