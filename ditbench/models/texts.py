"""Texts that samples show, each read once: the encoder comes and goes, and its embeddings stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import torch

from ditbench.errors import UsageError
from ditbench.models import t5


@dataclass
class Texts:
    """folder: where encoder and tokenizer lie. words, width: of what the network is told."""

    folder: Path
    words: int
    width: int
    kept: dict[str, t5.Read] = field(default_factory=dict)

    def read(self, texts: Sequence[str]) -> None:
        """Read those that have not been, all at once. Raises UsageError."""
        wanted = [text for text in dict.fromkeys(texts) if text not in self.kept]
        if not wanted:
            return
        embeddings, mask = t5.read(self.folder, wanted, self.words)
        if embeddings.shape[-1] != self.width:
            raise UsageError(
                f"{self.folder}: its encoder makes words {embeddings.shape[-1]} wide, and not the "
                f"{self.width} that the network takes"
            )
        for text, *parts in zip(wanted, embeddings, mask, strict=True):
            self.kept[text] = t5.Read(*parts)

    def of(self, texts: Sequence[str]) -> t5.Read:
        """Embeddings (texts, words, width), float32 on the CPU, and their mask (texts, words)."""
        self.read(texts)
        found = [self.kept[text] for text in texts]
        return t5.Read(*(torch.stack(parts) for parts in zip(*found, strict=True)))

    def length(self, texts: Sequence[str]) -> float:
        """Words of these texts in the mean, as the encoder tells them apart, with the mark of the end."""
        self.read(texts)
        return fmean(int(self.kept[text].mask.sum()) for text in texts)

    @property
    def identity(self) -> str:
        """Of what reads them."""
        return t5.identity(self.folder)
