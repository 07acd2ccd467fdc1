"""A small DiT with grouped-query attention of its own (Ainslie et al., 2023, arXiv 2305.13245).

tokens N = (size / patch)^2, dim D, head_dim d; a block costs 10 N D^2 + 2 N D d kv_heads + 2 N^2 D + 6 D^2
multiply-adds and holds 16 D^2 + 2 D d kv_heads weights. Its keys and values have projections of `kv_heads`
heads that are trained with the rest: as many as `heads` is plain attention, one is multi-query attention. The
method `gqa` is another thing: it pools keys and values of a network that was trained with one for every head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from ditbench.attention.base import Site
from ditbench.models.adapters import Adapter, Grouped
from ditbench.models.base import (
    Conditions,
    cut,
    one_a_block,
    open_every_third,
    register,
    shared_out,
)
from ditbench.models.gqa_network import GqaTransformer
from ditbench.models.labelled import Labelled
from ditbench.registry import setting


@register
@dataclass(frozen=True)
class GqaDiT(Labelled):
    """A DiT on small pictures whose heads share keys and values.

    As it stands, 26.56 M parameters on 28 x 28 grey pictures in 49 tokens. kv_heads: heads of keys and
    values, each shared by heads / kv_heads heads of queries. null_class: one more row in the table of
    classes, for guidance; the network this one is written after has none. What swapping the core measures
    includes copying keys and values to every head; what the fewer heads save is in the projections.
    """

    name: ClassVar[str] = "gqa-dit"
    paper: ClassVar[str] = "Ainslie et al. 2023, arXiv 2305.13245, in a DiT (arXiv 2212.09748)"
    network: ClassVar[type[GqaTransformer]] = GqaTransformer
    adapter: ClassVar[type[Adapter]] = Grouped

    hidden: int = setting(512, least=8)
    depth: int = setting(6, least=1)
    heads: int = setting(8, least=1)
    kv_heads: int = setting(2, least=1)
    patch: int = setting(4, least=1)
    size: int = setting(28, least=2)
    channels: int = setting(1, least=1)
    classes: int = setting(10, least=1)
    null_class: bool = setting(default=False)
    prediction: Literal["epsilon", "v_prediction"] = "epsilon"
    betas: Literal["linear", "squaredcos_cap_v2"] = "linear"

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.hidden // self.heads

    def problems(self) -> list[str]:
        """Widths and sizes that do not divide; heads that do not fall into equal groups."""
        told = [*shared_out(self.hidden, self.heads), *cut(self.size, self.patch)]
        if self.heads % self.kv_heads:
            told.append(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}")
        if self.hidden % 2:
            told.append(f"hidden {self.hidden} is odd: times are told by pairs of waves")
        return told

    def config(self) -> dict[str, Any]:
        """As its own configuration file says it."""
        return {
            "hidden": self.hidden,
            "depth": self.depth,
            "heads": self.heads,
            "kv_heads": self.kv_heads,
            "patch": self.patch,
            "size": self.size,
            "channels": self.channels,
            "labels": self.labels,
        }

    def sites(self) -> tuple[Site, ...]:
        """One self-attention a block."""
        side = self.size // self.patch
        grid = (side, side)
        return one_a_block(self.depth, self.heads, self.head_dim, grid, "blocks.{}.attn")

    def inputs(
        self, latents: torch.Tensor, times: torch.Tensor, conditions: Conditions
    ) -> Mapping[str, Any]:
        """Latents (rows, channels, size, size) and labels (rows,), for a prediction of the latents' shape."""
        (labels,) = conditions
        return {"latents": latents, "times": times, "labels": labels}

    @torch.no_grad()
    def open_gates(self, network: Any) -> None:  # noqa: ANN401 (a GqaTransformer)
        """Gates of about one, and shifts and scales that depend on class and time.

        As initialised every block is the identity: adaLN-Zero. Of the six chunks that it makes, the third and
        the sixth are gates.
        """
        for block in network.blocks:
            made: torch.nn.Linear = block.modulation
            made.reset_parameters()
            open_every_third(made)
