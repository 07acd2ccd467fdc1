"""Linear layers that round as integers would, in floating point: what a quantised network would answer.

    x^ = s (clamp(round(x / s) + z, 0, m) - z),  s = (high - low) / m,  z = round(-low / s),  m = 2^bits - 1
    y = x^ W^^T + bias,  x of the layer's input divided by b, W of its weight multiplied by b (see `salience`)

A weight has low and high of each output channel, an input one low and one high that a calibration has seen,
both the extremes themselves: no search for narrower ones, and no weight is learned anew. low <= 0 <= high,
so that zero stays zero. The input is divided by b at run time, not by what comes before it. Products are
made in float32 whatever the network's dtype, as an integer kernel adds up without rounding. It is slower
than the layer that it stands for: it tells the quality of such a network and nothing of its speed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn
from torch.nn.functional import linear

from ditbench.errors import DitbenchError
from ditbench.reuse import salience


@dataclass(frozen=True)
class Group:
    """Linear layers of one input, by their names in the network. balanced: whether by b, else b = 1."""

    names: tuple[str, ...]
    balanced: bool = True

    @property
    def name(self) -> str:
        """The first layer's, under which what was found is kept."""
        return self.names[0]

    def layers(self, network: nn.Module) -> list[nn.Linear]:
        """The modules themselves, as they are now."""
        return [cast("nn.Linear", network.get_submodule(name)) for name in self.names]


@dataclass(frozen=True)
class Widths:
    """Bits of weights and of inputs, 2 to 8 each."""

    weights: int = 8
    inputs: int = 8


def rounded(x: torch.Tensor, low: torch.Tensor, high: torch.Tensor, bits: int) -> torch.Tensor:
    """x^ of x, float32, between bounds that x's shape takes. What is not finite becomes NaN."""
    low, high = low.clamp_max(0), high.clamp_min(0)
    most = (1 << bits) - 1
    scale = ((high - low) / most).clamp_min(torch.finfo(torch.float32).tiny)
    zero = (-low / scale).round()
    codes = ((x / scale).round() + zero).clamp(0, most)
    # Infinity would be clipped to the largest code, and nobody would know: x - x is 0 of all that is finite.
    return (codes - zero) * scale + (x - x)


def rounded_weight(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """W^ of a weight (outputs, inputs), float32, between the extremes of each output channel."""
    return rounded(weight, *weight.aminmax(dim=1, keepdim=True), bits)


class FakeLinear(nn.Module):
    """A linear layer that rounds. factors: b (inputs,). bounds: low and high of the input divided by b."""

    factors: torch.Tensor
    bounds: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(
        self, layer: nn.Linear, widths: Widths, factors: torch.Tensor, bounds: torch.Tensor
    ) -> None:
        super().__init__()
        self.bits = widths.inputs
        b = factors.to(layer.weight.device)
        kept = {
            "factors": b,
            "bounds": bounds.to(b.device),
            "weight": rounded_weight(layer.weight.detach().float() * b, widths.weights),
            "bias": None if layer.bias is None else layer.bias.detach().float(),
        }
        for name, tensor in kept.items():
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., outputs) from (..., inputs), in the dtype of x."""
        low, high = self.bounds
        inputs = rounded(x.float() / self.factors, low, high, self.bits)
        return linear(inputs, self.weight, self.bias).to(x.dtype)


@dataclass
class Seen:
    """Extremes of a group's input at each step of a calibration: (channels,) each."""

    lows: list[torch.Tensor] = field(default_factory=list)
    highs: list[torch.Tensor] = field(default_factory=list)

    def add(self, x: torch.Tensor) -> None:
        """One more forward's input (..., channels)."""
        flat = x.detach().flatten(0, -2).float()
        self.lows.append(flat.amin(dim=0))
        self.highs.append(flat.amax(dim=0))


@contextlib.contextmanager
def watched(network: nn.Module, groups: Sequence[Group]) -> Iterator[Mapping[str, Seen]]:
    """Within, what each group is given, by its name; nothing is left on the network."""
    seen = {group.name: Seen() for group in groups}

    def watching(one: Seen) -> Any:  # noqa: ANN401 (what torch calls before a forward)
        return lambda _layer, given: one.add(given[0])

    hooks = [
        group.layers(network)[0].register_forward_pre_hook(watching(seen[group.name]))
        for group in groups
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def found(
    network: nn.Module, groups: Sequence[Group], seen: Mapping[str, Seen], *, balance: bool
) -> dict[str, Any]:
    """Of each group b and the bounds of its input divided by b, as JSON holds them. balance: else b = 1.

    Raises DitbenchError where an input was not finite: no bounds would be those of the others.
    """
    for group in groups:
        told = (*seen[group.name].lows, *seen[group.name].highs)
        if not all(bool(torch.isfinite(one).all()) for one in told):
            raise DitbenchError(f"the input of {group.name} is not finite in the calibration")
    return {
        group.name: _found(group.layers(network), seen[group.name], balance and group.balanced)
        for group in groups
    }


def _found(layers: Sequence[nn.Linear], seen: Seen, balanced: bool) -> dict[str, Any]:  # noqa: FBT001 (private)
    lows, highs = torch.stack(seen.lows), torch.stack(seen.highs)  # (steps, channels)
    b = torch.ones_like(lows[0])
    if balanced:
        of_w = salience.of_weights(torch.cat([one.weight.detach().float() for one in layers]))
        of_x = salience.over_time(torch.maximum(lows.abs(), highs.abs()), of_w)
        b = salience.factors(of_x, of_w)
    low, high = float((lows / b).amin()), float((highs / b).amax())
    return {"factors": b.tolist(), "low": low, "high": high}


def install(
    network: nn.Module, groups: Sequence[Group], told: Mapping[str, Any], widths: Widths
) -> contextlib.ExitStack:
    """Put rounding layers in the place of each group's; closing the stack puts the very layers back.

    told: what `found` gave.
    """
    with contextlib.ExitStack() as stack:
        for group in groups:
            of_group = told[group.name]
            factors = torch.tensor(of_group["factors"])
            bounds = torch.tensor([of_group["low"], of_group["high"]])
            for name, layer in zip(group.names, group.layers(network), strict=True):
                stack.callback(_put, network, name, layer)
                _put(network, name, FakeLinear(layer, widths, factors, bounds))
        return stack.pop_all()


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    around, _, own = name.rpartition(".")
    setattr(network.get_submodule(around), own, module)
