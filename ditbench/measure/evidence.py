"""How a gate refuses, what gates write down, and the distance they all measure in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import torch

from ditbench.records import Status


class GateError(Exception):
    """A gate that refused; status says what kind of not-ok the cell is."""

    def __init__(self, reason: str, status: Status = Status.FAILED_GATE) -> None:
        super().__init__(reason)
        self.status = status


@dataclass
class Evidence:
    """What the gates saw, for the record."""

    facts: dict[str, Any] = field(default_factory=dict)


def fingerprint(made: torch.Tensor) -> str:
    """16 hex digits: equal for equal bits. Those of cells that differ in a setting show a dead knob."""
    return hashlib.sha256(made.float().contiguous().cpu().numpy().tobytes()).hexdigest()[:16]


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    """|one - other| / |other| in L2 over all elements; infinite where only the reference is zero."""
    distance = float((one.double() - other.double()).norm())
    size = float(other.double().norm())
    return distance / size if size else (0.0 if distance == 0 else float("inf"))
