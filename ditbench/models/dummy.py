"""The toy of the DQAR project: a transformer so small that a sweep of reuse takes seconds.

tokens N = 8, dim D = 32, 6 blocks; a block costs 12 N D^2 + 2 N^2 D + 6 D^2 multiply-adds. Its weights are
random and stay so: it shows when a method reuses, and nothing of what that does to pictures. Entropies of its
attention lie just below ln N = 2.08, as those of all random rows do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import get_timestep_embedding
from torch import nn

from ditbench.attention.base import Site
from ditbench.models.adapters import Adapter, Grouped
from ditbench.models.base import (
    Conditions,
    one_a_block,
    open_every_third,
    register,
    shared_out,
)
from ditbench.models.gqa_network import Block
from ditbench.models.worded import Worded
from ditbench.registry import setting

_ROWS = 2


class DummyTransformer(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers' classes are untyped
    """A prediction (rows, 1, 2, tokens / 2) from pictures of that shape, times (rows,) and words.

    Each pixel is a token; of the words (rows, words, word_width) all blocks are told the mean.
    """

    @register_to_config  # type: ignore[untyped-decorator]  # likewise
    def __init__(
        self, *, hidden: int, depth: int, heads: int, tokens: int, word_width: int
    ) -> None:
        super().__init__()
        self.enter = nn.Linear(1, hidden)
        self.places = nn.Parameter(torch.randn(1, tokens, hidden))
        self.time = nn.Linear(hidden, hidden)
        self.text = nn.Linear(word_width, hidden, bias=False)
        self.blocks = nn.ModuleList(Block(hidden, heads, heads) for _ in range(depth))
        self.leave = nn.Linear(hidden, 1)

    def forward(
        self,
        latents: torch.Tensor,
        times: torch.Tensor,
        words: torch.Tensor,
        return_dict: bool = False,  # noqa: ARG002, FBT001, FBT002 (as diffusers' networks are called)
    ) -> tuple[torch.Tensor]:
        """Times go from 999 down to 0."""
        waves = get_timestep_embedding(times, self.time.in_features, flip_sin_to_cos=True)
        condition = self.time(waves.to(latents.dtype)) + self.text(words.mean(dim=1))  # (rows, dim)
        x = self.enter(latents.flatten(1)[..., None]) + self.places  # (rows, tokens, dim)
        for block in self.blocks:
            x = block(x, condition)
        return (self.leave(x).reshape(latents.shape),)


@register
@dataclass(frozen=True)
class Dummy(Worded):
    """A transformer over a picture of a few pixels, told a few words.

    tokens: pixels, in two rows. words, word_width: of the text that it is told.
    """

    name: ClassVar[str] = "dqar-dummy"
    paper: ClassVar[str] = "none: the toy that the DQAR project swept"
    network: ClassVar[type[DummyTransformer]] = DummyTransformer
    adapter: ClassVar[type[Adapter]] = Grouped
    # Random numbers in the place of this prediction leave states as large as they were.
    prediction = "v_prediction"

    hidden: int = setting(32, least=8)
    depth: int = setting(6, least=1)
    heads: int = setting(2, least=1)
    tokens: int = setting(8, least=2)
    words: int = setting(12, least=1)
    word_width: int = setting(16, least=1)

    @property
    def latent(self) -> tuple[int, int, int]:
        """One channel, two rows, and columns."""
        return 1, _ROWS, self.tokens // _ROWS

    @property
    def pixels(self) -> bool:
        """Grey ones."""
        return True

    def problems(self) -> list[str]:
        """Widths that do not divide."""
        told = shared_out(self.hidden, self.heads)
        told += (
            [f"tokens {self.tokens} is odd: they lie in two rows"] if self.tokens % _ROWS else []
        )
        odd = f"hidden {self.hidden} is odd: times are told by pairs of waves"
        return told + ([odd] if self.hidden % 2 else [])

    def remarks(self) -> list[str]:
        """Its pictures are of nothing."""
        return ["a toy with random weights: its reuse can be counted, its pictures mean nothing"]

    def config(self) -> dict[str, Any]:
        """As its own configuration file says it."""
        return {
            "hidden": self.hidden,
            "depth": self.depth,
            "heads": self.heads,
            "tokens": self.tokens,
            "word_width": self.word_width,
        }

    def sites(self) -> tuple[Site, ...]:
        """One self-attention a block."""
        grid = (_ROWS, self.tokens // _ROWS)
        return one_a_block(
            self.depth, self.heads, self.hidden // self.heads, grid, "blocks.{}.attn"
        )

    def inputs(
        self, latents: torch.Tensor, times: torch.Tensor, conditions: Conditions
    ) -> Mapping[str, Any]:
        """Pictures (rows, 1, 2, tokens / 2) and words, for a prediction of the pictures' shape."""
        (words,) = conditions
        return {"latents": latents, "times": times, "words": words}

    def conditions(self, seed: int, indices: Sequence[int]) -> Conditions:
        """A text."""
        return (self.text(seed, indices),)

    @torch.no_grad()
    def open_gates(self, network: Any) -> None:  # noqa: ANN401 (a DummyTransformer)
        """Gates of about one, and shifts and scales that depend on text and time."""
        for block in network.blocks:
            made: torch.nn.Linear = block.modulation
            made.reset_parameters()
            open_every_third(made)
