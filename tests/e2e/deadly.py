"""Methods that die in the four ways that take a process with them."""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Shape


class Deadly(AttentionMethod):
    """Priced as softmax; `die` is called first."""

    paper: ClassVar[str] = "none"
    formula: ClassVar[str] = "softmax(q k^T / sqrt(d)) v"
    cost: ClassVar[str] = "2 N^2 d"

    def die(self) -> None:
        """However this one dies."""

    def attend(self, q, k, v):
        if q.device.type != "meta":
            self.die()
        scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-2, -1))
        return torch.matmul(scores.softmax(dim=-1), v)

    def macs(self, shape: Shape) -> int:
        return 2 * shape.batch * shape.heads * shape.tokens**2 * shape.head_dim


@dataclass(frozen=True)
class Allocates(Deadly):
    name: ClassVar[str] = "allocates"

    def die(self) -> None:
        kept = []
        while True:
            kept.append(torch.empty(2**30))


@dataclass(frozen=True)
class Sleeps(Deadly):
    name: ClassVar[str] = "sleeps"

    def die(self) -> None:
        time.sleep(3600)


@dataclass(frozen=True)
class Exits(Deadly):
    name: ClassVar[str] = "exits"

    def die(self) -> None:
        os._exit(7)


@dataclass(frozen=True)
class Segfaults(Deadly):
    name: ClassVar[str] = "segfaults"

    def die(self) -> None:
        ctypes.string_at(0)
