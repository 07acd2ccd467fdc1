"""What suites may name and what cells would cost, told to a parent that does not import torch."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterable
from inspect import cleandoc

import torch

from ditbench import sampling
from ditbench.attention.base import METHODS, AttentionMethod
from ditbench.catalog import Catalog, Inspection, Method, Model
from ditbench.measure.bench import make, place
from ditbench.measure.cost import parameters, step_macs
from ditbench.models import weights
from ditbench.models.dit import DiT
from ditbench.models.presets import Preset, presets
from ditbench.models.seam import shape_of
from ditbench.records import Cell, Choice
from ditbench.registry import settings_of


def catalog(outside: Iterable[str] = ()) -> Catalog:
    """Everything registered, and the methods of other packages that a suite names as `module:Class`."""
    methods = METHODS.discover() | {name: METHODS.get(name) for name in outside}
    broken = {name: Method(name, unavailable=(reason,)) for name, reason in METHODS.broken.items()}
    models = {name: _model(name, preset) for name, preset in presets().items()}
    models["dit"] = dataclasses.replace(
        _model("dit", Preset(DiT(), "any architecture: every setting may be given")),
        settings=settings_of(DiT),
    )
    return Catalog(
        methods={name: _method(name, plugin) for name, plugin in methods.items()} | broken,
        models=models,
        samplers=sampling.SAMPLERS,
    )


def inspect(cells: Iterable[Cell], device: str) -> list[Inspection]:
    """Why each cell may not run on a device of this kind ("cpu", "cuda"), and what a step would cost.

    Raises UsageError for a folder that does not hold the weights of its model.
    """
    cells = tuple(cells)
    pairs = dict.fromkeys((cell.model, cell.weights) for cell in cells)
    lacking = {pair: _weights(*pair) for pair in pairs}
    return [
        dataclasses.replace(found, reasons=(*found.reasons, *lacking[cell.model, cell.weights]))
        for cell in cells
        for found in [_inspect(cell, device)]
    ]


def macs_per_second(device: str) -> float:
    """What a device ("cpu", or a GPU's UUID) reaches in a plain matrix product: a plan's yardstick.

    Raises UnfitError where CUDA shows another GPU than that.
    """
    where = place(device)
    side, dtype = (768, torch.float32) if where.type == "cpu" else (4096, torch.bfloat16)
    left = torch.ones(side, side, device=where, dtype=dtype)
    torch.mm(left, left).sum().item()
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < 0.2:
        torch.mm(left, left).sum().item()  # `item` waits for the device
        done += 1
    return done * side**3 / (time.perf_counter() - started)


def _inspect(cell: Cell, device: str) -> Inspection:
    spec = DiT(**dict(cell.model.settings))  # type: ignore[arg-type]  # checked by the suite
    if problems := spec.problems():
        return Inspection(cell.key, tuple(problems))
    if cell.finds_batch:  # refused for what no batch would change, and priced for one picture
        return dataclasses.replace(_inspect(cell.of_batch(1), device), key=cell.key)
    method = make(cell.attention)
    shape = shape_of(spec, cell.rows)
    reasons = [
        *_missing(device),
        *method.unavailable(),
        *method.unsupported(shape, cell.sampling.dtype, device),
    ]
    total, core = step_macs(cell)
    return Inspection(cell.key, tuple(dict.fromkeys(reasons)), total, core, parameters(cell.model))


def _weights(model: Choice, named: str) -> list[str]:
    """Why weights cannot be had here. Raises UsageError where they can be had nowhere."""
    impossible = DiT(**dict(model.settings)).problems()  # type: ignore[arg-type]  # checked by the suite
    return [] if impossible else weights.check(model, named)


def _missing(device: str) -> list[str]:
    """What this torch lacks for the device, found without touching it."""
    built: bool = torch.backends.cuda.is_built()  # type: ignore[no-untyped-call]  # torch leaves it so
    if device == "cuda" and not built:
        return ["this torch is a build for CPUs: install the CUDA build, or measure with --gpu cpu"]
    return []


def _method(name: str, plugin: type[AttentionMethod]) -> Method:
    return Method(
        name=name,
        settings=settings_of(plugin),
        exact=plugin.exact,
        summary=(plugin.__doc__ or "").strip().splitlines()[0],
        paper=plugin.paper,
        formula=plugin.formula,
        cost=plugin.cost,
        needs=plugin.needs,
        unavailable=tuple(plugin.unavailable()),
        place=f"{plugin.__module__}:{plugin.__qualname__}",
        page=cleandoc(sys.modules[plugin.__module__].__doc__ or ""),
    )


def _model(name: str, preset: Preset) -> Model:
    return Model(
        name=name,
        settings=(),
        architecture=tuple(dataclasses.asdict(preset.model).items()),
        embedded=preset.embedded,
        hub=preset.hub,
        summary=preset.summary,
    )
