"""Extractors of other packages: one that keeps the contract, and some that do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.extractors.base import Comparing, Extractor, Identity, Seeing


@dataclass(frozen=True)
class Means(Extractor):
    """The mean of each channel, in a scale that is a setting."""

    name: ClassVar[str] = "means"
    paper: ClassVar[str] = "none"
    dim: ClassVar[int] = 3

    scale: float = 1.0

    def open(self, device="cpu"):
        def look(pictures):
            pool = pictures.float().mean(dim=(1, 2)) * self.scale
            return pool.expand(-1, 3), None, None

        return Seeing(Identity(self.name, "ab" * 32, 3, "none", 0), look, device, most=4)


@dataclass(frozen=True)
class Apart(Extractor):
    """The mean distance of grey levels."""

    name: ClassVar[str] = "apart"
    paper: ClassVar[str] = "none"
    dim: ClassVar[int] = 0
    pairs: ClassVar[bool] = True

    def open(self, device="cpu"):
        def between(one, other):
            return (one.float() - other.float()).abs().mean(dim=(1, 2, 3))

        return Comparing(Identity(self.name, "cd" * 32, 0, "none", 0), between, device, most=4)


@dataclass
class Thawed(Extractor):
    """May be changed after it was named."""

    name: ClassVar[str] = "thawed"
    paper: ClassVar[str] = "none"
    dim: ClassVar[int] = 3

    def open(self):
        return torch.zeros(1)


@dataclass(frozen=True)
class Lacking(Extractor):
    """Asks for what nobody has."""

    name: ClassVar[str] = "lacking"
    paper: ClassVar[str] = "none"
    dim: ClassVar[int] = 1

    def open(self, device="cpu"):
        raise NotImplementedError  # one that lacks something is never opened

    def unavailable(self):
        raise OSError("no such disk")
