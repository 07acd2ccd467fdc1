"""What the layers of a cell are once they are opened: what they may leave out, what they bring along."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ditbench.attention.base import CoreLayer, Layer
from ditbench.attention.memory import alive
from ditbench.measure.bench import Bench

_PLAIN = {bool, int, float, str, type(None)}


def facts(bench: Bench) -> dict[str, Any]:
    """`core_only`: whether the method projects q, k and v at every call, so that only its core can be faster.

    `own_numbers`: how many numbers its layers hold beside the model's own before the first call.
    """
    layers = [bench.method.open(site) for site in bench.sites]
    return {
        "core_only": all(isinstance(layer, CoreLayer) for layer in layers),
        "own_numbers": numbers(layers),
    }


def numbers(layers: Iterable[Layer]) -> int:
    """Elements of all tensors that these layers hold, each tensor once."""
    found: dict[int, torch.Tensor] = {}
    for layer in layers:
        _gather(layer, found)
    return sum(tensor.numel() for tensor in found.values())


def size(layers: Iterable[Layer]) -> int:
    """Bytes of memory that these layers keep alive, each block once: all of it where a view is held."""
    found: dict[int, torch.Tensor] = {}
    for layer in layers:
        _gather(layer, found)
    return alive(found.values())


def _gather(held: object, found: dict[int, torch.Tensor]) -> None:
    waiting: list[object] = [held]
    seen: dict[int, object] = {}  # kept alive, so that no number is given twice
    while waiting:
        one = waiting.pop()
        if id(one) in seen:  # what holds itself would have no end
            continue
        seen[id(one)] = one
        if isinstance(one, torch.Tensor):
            found[id(one)] = one
        # Most of what is held are the fields of decisions, thousands in a long run.
        waiting.extend(part for part in _parts(one) if type(part) not in _PLAIN)


def _parts(held: object) -> Iterable[object]:
    """What something is made of, as far as a layer may be expected to keep tensors in it."""
    if isinstance(held, torch.nn.Module):
        return (*held.parameters(), *held.buffers())
    if isinstance(held, Mapping):
        return tuple(held.values())
    if isinstance(held, list | tuple):
        return held
    if dataclasses.is_dataclass(held) and not isinstance(held, type):
        return tuple(vars(held).values())
    return ()
