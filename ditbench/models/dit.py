"""Diffusion Transformers (Peebles & Xie, 2023, arXiv 2212.09748) as diffusers builds them.

tokens N = (size / patch)^2; one block costs 12 N D^2 + 2 N^2 D + 6 D^2 multiply-adds, of which the
attention core is 2 N^2 D. diffusers gives every block its own timestep and label embedder (77.8 M
parameters in XL), and its output layer calls block 0's once more; the paper's network has one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from diffusers import DiTTransformer2DModel
from diffusers.models.attention_processor import Attention

from ditbench.registry import setting


@dataclass(frozen=True)
class DiT:
    """The architecture and the diffusion process it predicts; every field may stand in YAML.

    size, channels: of the latent. out_channels: twice the channels where the network also learns a
    variance, which our samplers do not use.
    """

    name: ClassVar[str] = "dit"

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

    def problems(self) -> list[str]:
        """What makes this architecture impossible, each as a clause; empty means it can be built."""
        found = []
        if self.hidden % self.heads:
            found.append(f"hidden {self.hidden} is not a multiple of heads {self.heads}")
        if self.size % self.patch:
            found.append(f"size {self.size} is not a multiple of patch {self.patch}")
        if self.out_channels not in {self.channels, 2 * self.channels}:
            found.append(
                f"out_channels {self.out_channels} is neither channels nor twice channels ({self.channels})"
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
        for block in network.transformer_blocks:
            block.norm1.emb.class_embedder.dropout_prob = 0.0
        return network.eval()


def attentions(network: DiTTransformer2DModel) -> Iterator[Attention]:
    """The self-attention module of each block, from block 0."""
    for block in network.transformer_blocks:
        yield block.attn1


@torch.no_grad()
def close_gates(network: DiTTransformer2DModel) -> None:
    """adaLN-Zero (arXiv 2212.09748, section 3.2): blocks start as the identity. For training only.

    Under closed gates every attention method gives the same picture.
    """
    for block in network.transformer_blocks:
        torch.nn.init.zeros_(block.norm1.linear.weight)
        torch.nn.init.zeros_(block.norm1.linear.bias)
    for layer in (network.proj_out_1, network.proj_out_2):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)


@torch.no_grad()
def open_gates(network: DiTTransformer2DModel) -> None:
    """Give random weights gates of about one, so that attention shows in the output.

    diffusers' own initialisation leaves them at a few per cent, where bfloat16 would hide a wrong
    method. Of the six chunks that adaLN makes, the third and the sixth are gates.
    """
    for block in network.transformer_blocks:
        for chunk in (2, 5):
            block.norm1.linear.bias.chunk(6)[chunk].fill_(1.0)
