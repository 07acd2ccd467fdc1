"""Symmetric integers for keys and values that are kept: (rows, heads, tokens, head_dim) and a few scales.

    code = round(x / s),  s = max |x| / (2^(bits - 1) - 1) over a group of numbers,  x' = code s
    |x - x'| <= s / 2

A tie is rounded to the even code, and the largest number of a group becomes the largest code: nothing is
clipped, -2^(bits - 1) is never used, and x = 0 stays 0. A group never spans two rows, so that no sample's
keys are rounded by another's. Numbers that are not finite stay told: every number of their group is
restored as NaN. It is not an error, because to ask would make a GPU wait at every step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch

from ditbench.errors import UsageError

# The dimensions that share a scale: `tensor` is all of a row, `head` all tokens of a head, `channel` a
# channel of a head over tokens, `token` one vector of a head.
GRANULARITIES = {"tensor": (1, 2, 3), "head": (2, 3), "channel": (2,), "token": (3,)}
# How keys and how values are kept: as they came, in two bytes, as codes.
PRECISIONS = {
    "own": ("own", "own"),
    "half": ("half", "half"),
    "int8": ("int8", "int8"),
    "mixed": ("half", "int8"),
}
_BITS = range(2, 9)


@dataclass(frozen=True)
class Stored:
    """A tensor as it is kept.

    codes: int8, a byte for each, also where they need fewer than eight bits; or the numbers themselves, where
    `scales` is None. scales: float32 (float64 of float64), which no maximum of a narrower dtype overflows or
    underflows. dtype: of what was stored.
    """

    codes: torch.Tensor
    scales: torch.Tensor | None
    dtype: torch.dtype

    def restored(self) -> torch.Tensor:
        """In the shape and dtype of what was stored."""
        if self.scales is None:
            return self.codes.to(self.dtype)
        # The largest code times its scale may round to beyond the largest number of the dtype.
        most = torch.finfo(self.dtype).max
        return (self.codes * self.scales).clamp_(-most, most).to(self.dtype)


class Storage(Protocol):
    """A way to keep a tensor."""

    def store(self, tensor: torch.Tensor) -> Stored:
        """Kept; `restored` gives it back."""
        ...


@dataclass(frozen=True)
class Quantiser:
    """Integers of so many bits, one scale a group. Raises UsageError for bits that no int8 holds."""

    granularity: str = "head"
    bits: int = 8

    def __post_init__(self) -> None:
        if self.bits not in _BITS:
            raise UsageError(
                f"bits {self.bits}: codes are kept in int8, write {_BITS[0]} to {_BITS[-1]}"
            )
        if self.granularity not in GRANULARITIES:
            raise UsageError(
                f"granularity {self.granularity!r}: write one of {', '.join(GRANULARITIES)}"
            )

    @property
    def most(self) -> int:
        """The largest code."""
        return (1 << (self.bits - 1)) - 1

    def store(self, tensor: torch.Tensor) -> Stored:
        """Codes and scales of a tensor (rows, heads, tokens, head_dim)."""
        wide = tensor.to(torch.promote_types(tensor.dtype, torch.float32))
        largest = wide.abs().amax(dim=GRANULARITIES[self.granularity], keepdim=True)
        # A group of zeros has a scale too, and so needs no case of its own; NaN and infinity pass.
        scales = (largest / self.most).clamp_min_(torch.finfo(wide.dtype).tiny)
        # Below a scale that is not finite every quotient is 0 or NaN: as code 0 it is restored as NaN.
        codes = (wide / scales).nan_to_num_(0.0).round_().clamp_(-self.most, self.most)
        return Stored(codes.to(torch.int8), scales, tensor.dtype)


@dataclass(frozen=True)
class Plain:
    """The numbers themselves, or in two bytes each: their own dtype where it has two, else float16.

    What float16 cannot hold, above 65504, becomes infinite, and so is told.
    """

    half: bool = False

    def store(self, tensor: torch.Tensor) -> Stored:
        """No copy is made where nothing is narrowed: a projection's output is nobody else's."""
        narrow = self.half and tensor.dtype.itemsize > 2
        return Stored(tensor.to(torch.float16) if narrow else tensor, None, tensor.dtype)


def storages(precision: str, quantiser: Quantiser) -> tuple[Storage, Storage]:
    """How keys and how values are kept, which need not be one way: keys bear less, for softmax amplifies.

    Raises UsageError for what is none of PRECISIONS.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r}: write one of {', '.join(PRECISIONS)}")
    ways: dict[str, Storage] = {"own": Plain(), "half": Plain(half=True), "int8": quantiser}
    keys, values = PRECISIONS[precision]
    return ways[keys], ways[values]


def sqnr(true: torch.Tensor, restored: torch.Tensor) -> float:
    """In dB, of the true numbers' mean square over the error's, in float64; waits for the device.

    inf where there is no error, NaN where a number is.
    """
    signal, error = true.double(), restored.double() - true.double()
    return decibels(signal.square().mean().item(), error.square().mean().item())


def decibels(signal: float, noise: float) -> float:
    """10 log10 of the ratio of two powers: inf without noise, -inf where there is nothing but noise."""
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf
