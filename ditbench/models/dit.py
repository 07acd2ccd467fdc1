"""Diffusion Transformers (Peebles & Xie, 2023, arXiv 2212.09748) as diffusers builds them.

tokens N = (size / patch)^2; one block costs 12 N D^2 + 2 N^2 D + 6 D^2 multiply-adds, of which the
attention core is 2 N^2 D. diffusers gives every block its own timestep and label embedder (77.8 M
parameters in XL); the paper's network has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from diffusers import DiTTransformer2DModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffusers.models.attention_processor import Attention


@dataclass(frozen=True)
class DiT:
    """The architecture and the diffusion process it predicts; every field may stand in YAML."""

    hidden: int = 384
    depth: int = 12
    heads: int = 6
    patch: int = 2
    size: int = 32
    channels: int = 4
    out_channels: int = 8
    classes: int = 1000
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

    def problems(self) -> list[str]:
        """What makes this architecture impossible, each as a clause; empty means it can be built."""
        found = []
        if self.hidden % self.heads:
            found.append(f"hidden {self.hidden} is not a multiple of heads {self.heads}")
        if self.size % self.patch:
            found.append(f"size {self.size} is not a multiple of patch {self.patch}")
        if self.out_channels not in {self.channels, 2 * self.channels}:
            found.append(
                f"out_channels {self.out_channels} is neither channels nor twice channels "
                f"({self.channels})"
            )
        return found

    def build(self) -> DiTTransformer2DModel:
        """The network on the current default device and dtype, in eval mode, weights as initialised.

        Label dropout is off: diffusers draws it in every block's own embedder, so that the blocks
        would see different labels; our training loop draws it once per sample.
        """
        network = DiTTransformer2DModel(
            num_attention_heads=self.heads,
            attention_head_dim=self.head_dim,
            in_channels=self.channels,
            out_channels=self.out_channels,
            num_layers=self.depth,
            sample_size=self.size,
            patch_size=self.patch,
            num_embeds_ada_norm=self.classes,
        )
        disable_label_dropout(network)
        return network.eval()


def disable_label_dropout(network: DiTTransformer2DModel) -> None:
    """Set the dropout of every block's label embedder to 0; the null row of the table stays."""
    for block in network.transformer_blocks:
        block.norm1.emb.class_embedder.dropout_prob = 0.0


def attentions(network: DiTTransformer2DModel) -> Iterator[Attention]:
    """The self-attention module of each block, from block 0."""
    for block in network.transformer_blocks:
        yield block.attn1


@torch.no_grad()
def zero_gates(network: DiTTransformer2DModel) -> None:
    """adaLN-Zero (arXiv 2212.09748, section 3.2): blocks start as the identity. For training only.

    Under zero gates every attention method gives the same picture, so no gate may run on such a
    network.
    """
    for block in network.transformer_blocks:
        torch.nn.init.zeros_(block.norm1.linear.weight)
        torch.nn.init.zeros_(block.norm1.linear.bias)
    for layer in (network.proj_out_1, network.proj_out_2):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
