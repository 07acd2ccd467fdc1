"""The network of an arm: built, its attention placed, and whether every weight of it can learn."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from ditbench.attention.base import METHODS
from ditbench.errors import UsageError, one_line
from ditbench.models.base import Conditions, Model, sites
from ditbench.models.seam import Denoiser, Placed, Placement, places
from ditbench.train.spec import Arm

_ROUNDING = 1e-4  # relative, of a whole network in float32
_ROWS = 2  # of the pictures that gradients are tried on


def build(arm: Arm, seed: int, device: torch.device) -> Any:  # noqa: ANN401 (of the model's class)
    """The network as training begins, from this seed, on the CPU first: the same on every device."""
    torch.manual_seed(seed)
    spec = arm.spec
    network = spec.build()
    spec.close_gates(network)
    return network.to(device)


def placement(arm: Arm, device: torch.device, rows: int, dtype: str) -> Placement:
    """The layer of each site of an arm. Raises UsageError where its method can stand nowhere.

    Sites that the method refuses keep the model's own attention, as in an arm without a method.
    """
    method, spec = arm.method, arm.spec
    if method is None:
        return lambda _site: None
    blocks = {site.block for site in sites(spec)}
    found = places(
        spec, blocks, lambda site: method.unsupported(site.shape(rows), dtype, device.type)
    )
    reasons = [*method.unavailable(), *(() if found.taken else found.reasons)]
    if reasons:
        raise UsageError(f"{told(arm)}: {method.name} cannot be trained here: {'; '.join(reasons)}")
    own = Placed(method, METHODS.get("sdpa")(), found.taken)
    return lambda site: own(site) if site.name in found.taken else None


def told(arm: Arm) -> str:
    """An arm as an error names it."""
    return f"arms.{arm.name}" if arm.name else "model"


@dataclass(frozen=True)
class Nature:
    """What an arm's network is, found by asking it. hears: whether its output follows time, and class."""

    parameters: int
    repeated: int
    hears_time: bool
    hears_class: bool


def try_out(arm: Arm, device: torch.device, dtype: str) -> Nature:
    """What the network is. Raises UsageError where the arm's attention lets weights learn nothing.

    A weight that learns under the model's own attention and not under the method's is one that the method
    cuts off: rounding, hard choices, an output that ignores q and k. Gates are open: closed ones hide it.
    """
    torch.manual_seed(0)
    spec = arm.spec
    network = spec.build().to(device)
    spec.open_gates(network)
    denoiser = Denoiser(network, spec)
    nature = _nature(denoiser, device)
    place = placement(arm, device, _ROWS, dtype)
    if arm.method is None:
        return nature
    layers = [layer for site in denoiser.sites() if (layer := place(site))]
    if not all(layer.stateless for layer in layers):
        raise UsageError(f"{_refused(arm)}: it remembers earlier steps of a sampling run")
    own = _learning(denoiser, device)
    denoiser.install(place)
    try:
        under = _learning(denoiser, device)
    except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
        raise UsageError(f"{_refused(arm)}: {one_line(str(error))}") from error
    if lost := [name for name in own if own[name] and not under[name]]:
        more = f" and {len(lost) - 1} more" if lost[1:] else ""
        raise UsageError(f"{_refused(arm)}: no gradient reaches {lost[0]}{more}")
    return nature


def _refused(arm: Arm) -> str:
    return f"{told(arm)}: {arm.method.name if arm.method else ''} cannot be trained"


def _inputs(spec: Model, device: torch.device) -> tuple[torch.Tensor, Conditions]:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn((_ROWS, *spec.latent), generator=generator)
    return latents.to(device), tuple(one.to(device) for one in spec.conditions(0, range(_ROWS)))


@torch.no_grad()
def _nature(denoiser: Denoiser, device: torch.device) -> Nature:
    spec, network = denoiser.spec, denoiser.network
    latents, conditions = _inputs(spec, device)
    times = torch.tensor([500] * _ROWS, device=device)
    asked = denoiser(latents, times, *conditions)
    later = denoiser(latents, times + 400, *conditions)
    other = denoiser(latents, times, *(one.roll(1) for one in conditions))
    return Nature(
        sum(parameter.numel() for parameter in network.parameters()),
        spec.repeated(network),
        _differ(asked, later),
        _differ(asked, other),
    )


def _differ(one: torch.Tensor, other: torch.Tensor) -> bool:
    """By more than rounding: a norm over single channels takes out again what the time has added to them."""
    return bool((one - other).norm() > _ROUNDING * one.norm())


def _learning(denoiser: Denoiser, device: torch.device) -> Mapping[str, bool]:
    """Whether a gradient that is not zero reaches each weight."""
    network = denoiser.network.train()
    latents, conditions = _inputs(denoiser.spec, device)
    times = torch.tensor([100, 800], device=device)
    network.zero_grad(set_to_none=True)
    loss = denoiser(latents, times, *conditions).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    return {
        name: weight.grad is not None and bool((weight.grad != 0).any())
        for name, weight in network.named_parameters()
    }


def save_activations(denoiser: Denoiser) -> None:
    """Keep none of a block's activations for the backward pass: it computes them once more (1604.06174)."""
    network = denoiser.network
    if getattr(network, "_supports_gradient_checkpointing", False):
        network.enable_gradient_checkpointing()
        return
    for block in denoiser.blocks().values():
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
