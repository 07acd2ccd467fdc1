"""Accelerators that each tell something else than they did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.accelerators.base import Accelerator
from ditbench.accelerators.none import Idle
from ditbench.attention.memory import Decision


@dataclass(frozen=True)
class _Boasting(Idle):
    name: str
    told: list[Decision]

    def at(self, now):
        self.told.append(Decision(now.step, reused=True, reason="its turn", ran=""))

    def decisions(self):
        return {self.name: tuple(self.told)}


@dataclass(frozen=True)
class Loud(Accelerator):
    """Skips nothing, and says that it skipped a feed-forward layer in every step."""

    name: ClassVar[str] = "loud"
    paper: ClassVar[str] = "none"
    skips: ClassVar[str] = "nothing"

    def install(self, host):
        return _Boasting(f"{next(iter(host.blocks))}.ff", [])


@dataclass(frozen=True)
class _Skipping(Idle):
    layers: tuple[torch.nn.Module, ...]

    def uninstall(self):
        for layer in self.layers:
            vars(layer).pop("forward", None)


@dataclass(frozen=True)
class Quiet(Accelerator):
    """Leaves out every feed-forward layer, and says nothing of it."""

    name: ClassVar[str] = "quiet"
    paper: ClassVar[str] = "none"
    skips: ClassVar[str] = "feed-forward layers"

    def install(self, host):
        layers = tuple(block.ff for block in host.blocks.values())
        for layer in layers:
            vars(layer)["forward"] = torch.zeros_like
        return _Skipping(layers)
