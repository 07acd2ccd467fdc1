"""What models that read a text share: random embeddings, unless a suite gives texts to be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ditbench.models.base import Conditions, Model, drawn

# Streams of a sample beside its noise: embeddings of words, and the one that sums them up.
_WORDS, _WHOLE = 1, 2


class Worded(Model):
    """A model whose first input is a text: (rows, words, word_width)."""

    words: int
    word_width: int

    def text(self, seed: int, indices: Sequence[int]) -> torch.Tensor:
        """Random embeddings of the words of these samples."""
        return drawn(seed, indices, (self.words, self.word_width), _WORDS)

    def prompt(self, indices: Sequence[int]) -> float:  # noqa: ARG002 (all are as long)
        """Random texts fill all of the words that the model reads."""
        return float(self.words)

    def null(self, conditions: Conditions) -> Conditions:
        """The same with every embedding zero; masks stay."""
        return tuple(
            torch.zeros_like(one) if one.is_floating_point() else one for one in conditions
        )


class Masked(Worded):
    """Read by cross attention under a mask (rows, words); each block's gates stand in a table."""

    def conditions(self, seed: int, indices: Sequence[int]) -> Conditions:
        """A text, and its mask, which counts all words: pipelines give it even then."""
        return self.text(seed, indices), torch.ones(len(indices), self.words, dtype=torch.long)

    def of_texts(self, embeddings: torch.Tensor, mask: torch.Tensor) -> Conditions:
        """Of given texts: (rows, words, word_width) and (rows, words)."""
        return embeddings, mask

    @torch.no_grad()
    def open_gates(self, network: Any) -> None:  # noqa: ANN401 (of the class `network`)
        """Of the six rows of a block's table, the third and the sixth are gates."""
        for block in network.transformer_blocks:
            block.scale_shift_table[[2, 5]] = 1.0


class Joint(Worded):
    """Attended to together with the picture, and given as a whole too: (rows, whole_width)."""

    whole_width: int

    def conditions(self, seed: int, indices: Sequence[int]) -> Conditions:
        """A text, and the same as a whole."""
        return self.text(seed, indices), drawn(seed, indices, (self.whole_width,), _WHOLE)
