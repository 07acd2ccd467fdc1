"""What suites may name and what cells would cost, told to a parent that does not import torch."""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import cleandoc
from statistics import median
from typing import Any, Generic, TypeVar

import torch

from ditbench import sampling
from ditbench.accelerators.base import ACCELERATORS
from ditbench.accelerators.base import Accelerator as Around
from ditbench.attention.base import METHODS, AttentionMethod, Moment, Shape
from ditbench.catalog import Accelerator, Catalog, Extractor, Inspection, Method, Model
from ditbench.errors import PluginError, UsageError
from ditbench.extractors.base import EXTRACTORS
from ditbench.extractors.base import Extractor as Network
from ditbench.measure.bench import accelerator_of, make, place, places_of
from ditbench.measure.ceilings import matrix_rates
from ditbench.measure.cost import on_meta, parameters, spec_of, step_macs
from ditbench.measure.flush import cpu_cache_bytes
from ditbench.measure.op import shape_of as shape_of_op
from ditbench.measure.op import sizes_of
from ditbench.models import decoding, weights
from ditbench.models.base import MODELS, Preset, attention, presets, sites
from ditbench.models.base import Model as Architecture
from ditbench.models.seam import Places, notes
from ditbench.records import UNACCELERATED, Cell, Choice
from ditbench.registry import Registry, asked, settings_of

T = TypeVar("T", bound=type[Any])
# Multiply-adds of one step of a cell whose method goes to these sites: whole and core.
_Price = Callable[[Cell, frozenset[str] | None], tuple[float, float]]


def catalog(
    outside: Iterable[str] = (),
    outside_models: Iterable[str] = (),
    outside_accelerators: Iterable[str] = (),
    outside_extractors: Iterable[str] = (),
) -> Catalog:
    """Everything registered, and what a suite names of other packages as `module:Class`."""
    fixed = {name: _model(name, preset) for name, preset in presets().items()}
    methods, models = _known(METHODS, outside), _known(MODELS, outside_models)
    extractors = _known(EXTRACTORS, outside_extractors)
    around = _known(ACCELERATORS, outside_accelerators)
    return Catalog(
        methods={name: _method(name, plugin) for name, plugin in methods.sound.items()}
        | {name: Method(name, broken=reason) for name, reason in methods.broken.items()},
        models={name: _free(name, plugin) for name, plugin in models.sound.items()}
        | fixed
        | {name: Model(name, broken=reason) for name, reason in models.broken.items()},
        extractors={name: _extractor(name, plugin) for name, plugin in extractors.sound.items()}
        | {name: Extractor(name, broken=reason) for name, reason in extractors.broken.items()},
        accelerators={name: _accelerator(name, plugin) for name, plugin in around.sound.items()}
        | {name: Accelerator(name, broken=reason) for name, reason in around.broken.items()},
        nowhere=methods.nowhere | models.nowhere | extractors.nowhere | around.nowhere,
        samplers=sampling.SAMPLERS,
    )


@dataclass(frozen=True)
class _Known(Generic[T]):
    """Plug-ins by name; why others are broken; why some names are names of nothing."""

    sound: dict[str, T]
    broken: dict[str, str]
    nowhere: dict[str, str]


def _known(registry: Registry[T], outside: Iterable[str]) -> _Known[T]:
    found = _Known(registry.discover(), dict(registry.broken), {})
    for name in outside:
        try:
            found.sound[name] = registry.get(name)
        except PluginError as error:
            found.broken[name] = str(error)
        except UsageError as error:
            found.nowhere[name] = str(error)
    return found


def inspect(cells: Iterable[Cell], device: str, vae: str = "") -> list[Inspection]:
    """Why each cell may not run on a device of this kind ("cpu", "cuda"), and what a step would cost.

    vae: what is to make pictures of latents, empty where nothing looks at pictures. Raises UsageError for a
    folder that does not hold the weights of its model.
    """
    cells = tuple(cells)
    price = functools.cache(step_macs)  # once for all accelerators, which change nothing about it
    pairs = {(cell.model, cell.weights): cell for cell in cells if not cell.op}
    lacking = {pair: _weights(*pair) for pair in pairs}
    for pair, cell in pairs.items():
        if cell.shown and cell.shown.kind == "prompts":
            lacking[pair] += weights.unread(cell.model.name, cell.weights)
    unseen = {pair: _unseen(cell, vae) for pair, cell in pairs.items() if vae and not lacking[pair]}
    return [
        dataclasses.replace(
            found,
            reasons=(*found.reasons, *lacking.get((cell.model, cell.weights), ())),
            notes=(*found.notes, *unseen.get((cell.model, cell.weights), ())),
        )
        for cell in cells
        for found in [_inspected(cell, device, price)]
    ]


def _unseen(cell: Cell, vae: str) -> list[str]:
    """Why there will be no pictures, said before hours go into their latents."""
    try:
        why = asked(lambda: decoding.foreseen(cell, vae))
    except PluginError:  # told with the cell
        return []
    return [f"no pictures: {why}"] if why else []


def macs_per_second(device: str) -> float:
    """What a device ("cpu", or a GPU's UUID) reaches in a plain matrix product: a plan's yardstick.

    Raises UnfitError where CUDA shows another GPU than that.
    """
    where = place(device)
    dtype = torch.float32 if where.type == "cpu" else torch.bfloat16
    return median(matrix_rates(where, dtype, seconds=0.2))


def _inspected(cell: Cell, device: str, price: _Price) -> Inspection:
    try:
        return _inspect(cell, device, price)
    except PluginError as error:
        return Inspection(cell.key, broken=str(error))


def _inspect_op(cell: Cell, device: str) -> Inspection:
    """The core alone: as the method declares it, and nothing around it."""
    shape = shape_of_op(cell)
    untold = sizes_of(cell).cache == "cold" and device == "cpu" and not cpu_cache_bytes()
    reasons = [
        *_refusals(cell, shape, device),
        *(
            ["cache: cold: this system does not tell how large the last-level cache is"]
            if untold
            else []
        ),
    ]
    macs = float(make(cell.attention).macs(shape))
    return Inspection(cell.key, tuple(dict.fromkeys(reasons)), macs, macs)


def _inspect(cell: Cell, device: str, price: _Price) -> Inspection:
    if cell.op:
        return _inspect_op(cell, device)
    spec: Architecture = asked(lambda: spec_of(cell.model))
    if problems := asked(spec.problems, "problems raises "):
        return Inspection(cell.key, tuple(problems))
    if cell.finds_batch:  # refused for what no batch would change, and priced for one picture
        return dataclasses.replace(_inspect(cell.of_batch(1), device, price), key=cell.key)
    method: AttentionMethod = asked(lambda: make(cell.attention))
    asked(lambda: sites(spec), "sites raises ")
    found = places_of(spec, cell, lambda shape: _against(method, cell, shape, device))
    reasons = [
        *_missing(device),
        *_reasons("unavailable", method.unavailable),
        *sampling.unsuited(spec, cell.sampling.sampler, cell.sampling.guidance_channels),
        *spec.unguided(cell.sampling.guidance_scale),
        *_reasons("misfits", lambda: method.misfits(cell)),
        *(() if found.taken else found.reasons),
        *_uncompiled(method, cell),
        *(_unaccelerated(cell, method) if cell.is_accelerated else ()),
    ]
    plain = dataclasses.replace(cell, accelerator=UNACCELERATED)
    total, core = asked(lambda: price(plain, found.taken or None), "the model raises ")
    return Inspection(
        cell.key,
        tuple(dict.fromkeys(reasons)),
        total,
        core,
        parameters(cell.model),
        values=math.prod(spec.latent),
        decoded=_decoded(spec),
        widest=max(site.tokens * site.heads * site.head_dim for site in sites(spec)),
        notes=_notes(spec, found, cell, method) if found.taken else (),
    )


def _notes(
    spec: Architecture, found: Places, cell: Cell, method: AttentionMethod
) -> tuple[str, ...]:
    simulated = asked(lambda: accelerator_of(cell)).simulated
    remarks = _reasons("remarks", lambda: method.remarks(cell))
    return tuple(filter(None, (*notes(spec, found), *remarks, simulated)))


def _uncompiled(method: AttentionMethod, cell: Cell) -> list[str]:
    """Compiled code is one for all steps: what looks at the step would fall back to eager code unseen."""
    if method.compiles or not cell.compile:
        return []
    return [
        f"{cell.attention.name} looks at the step, which compiled code cannot: write compile: off"
    ]


def _unaccelerated(cell: Cell, method: AttentionMethod) -> list[str]:
    """What speaks against the cell's accelerator, each with its name. Raises PluginError as above."""
    around: Around = asked(lambda: accelerator_of(cell))
    denoiser = on_meta(cell.model)
    host = denoiser.host()
    guided = cell.sampling.guidance_scale > 1
    first = Moment(steps=cell.steps, guided=guided)
    told = _reasons("unavailable", around.unavailable)
    told = told or _reasons("unsupported", lambda: around.unsupported(host, first))
    if cell.compile and not around.compiles:
        told.append(
            "what runs depends on the step, so it cannot be compiled whole: write compile: off"
        )
    if not (around.composes or asked(lambda: method.open(host.sites[0]).stateless, "open raises ")):
        told.append(
            f"skips forwards that {method.name}, which has a memory of its own, would count on"
        )
    if not method.audited:
        told.append(
            f"{method.name} cannot be counted at work, and nobody could say what was skipped"
        )
    return [f"accelerator {cell.accelerator.name}: {reason}" for reason in told]


def _decoded(spec: Architecture) -> int:
    """Three channels and eight times each side, as of Stable Diffusion's autoencoder."""
    if spec.pixels or spec.canvas_sizes is None:
        return 0
    _, height, width = spec.canvas_sizes
    return 3 * 8 * height * 8 * width


def _refusals(cell: Cell, shape: Shape, device: str) -> list[str]:
    """What device and method say against running. Raises PluginError where it raises or answers nonsense."""
    method: AttentionMethod = asked(lambda: make(cell.attention))
    unavailable = _reasons("unavailable", method.unavailable)
    return [*_missing(device), *unavailable, *_against(method, cell, shape, device)]


def _against(method: AttentionMethod, cell: Cell, shape: Shape, device: str) -> list[str]:
    """What a method says against these sizes. Raises PluginError as above."""
    told = _reasons("unsupported", lambda: method.unsupported(shape, cell.sampling.dtype, device))
    macs = asked(lambda: method.macs(shape), "macs raises ")
    if not isinstance(macs, int | float):
        raise PluginError(f"macs gives {macs!r}, which is no number")
    return told


def _reasons(called: str, asking: Callable[[], object]) -> list[str]:
    answer = asked(asking, f"{called} raises ")
    if not (isinstance(answer, list | tuple) and all(isinstance(one, str) for one in answer)):
        raise PluginError(f"{called} gives {answer!r}, which is no list of reasons")
    return list(answer)


def _weights(model: Choice, named: str) -> list[str]:
    """Why weights cannot be had here. Raises UsageError where they can be had nowhere."""
    try:
        impossible = asked(lambda: spec_of(model).problems())
    except PluginError:  # told with the cell
        return []
    return [] if impossible else weights.check(model, named)


def _missing(device: str) -> list[str]:
    """What this torch lacks for the device, found without touching it."""
    built: bool = torch.backends.cuda.is_built()  # type: ignore[no-untyped-call]  # torch leaves it so
    if device == "cuda" and not built:
        return ["this torch is a build for CPUs: install the CUDA build, or measure with --gpu cpu"]
    return []


def _method(name: str, plugin: type[AttentionMethod]) -> Method:
    try:
        unavailable = tuple(_reasons("unavailable", plugin.unavailable))
        exact_by_default: bool = asked(lambda: plugin().is_exact, "is_exact raises ")
    except PluginError as error:
        return Method(name, broken=f"{_place(plugin)}: {error}")
    return Method(
        name=name,
        settings=settings_of(plugin),
        exact=plugin.exact,
        summary=_first_line(plugin),
        paper=plugin.paper,
        formula=plugin.formula,
        cost=plugin.cost,
        needs=plugin.needs,
        unavailable=unavailable,
        operators=tuple(plugin.operator_macs),
        exact_by_default=exact_by_default,
        place=_place(plugin),
        page=cleandoc(sys.modules[plugin.__module__].__doc__ or ""),
    )


def _accelerator(name: str, plugin: type[Around]) -> Accelerator:
    try:
        unavailable = tuple(_reasons("unavailable", plugin.unavailable))
    except PluginError as error:
        return Accelerator(name, broken=f"{_place(plugin)}: {error}")
    return Accelerator(
        name=name,
        settings=settings_of(plugin),
        summary=_first_line(plugin),
        paper=plugin.paper,
        skips=plugin.skips,
        needs=plugin.needs,
        unavailable=unavailable,
        place=_place(plugin),
        page=cleandoc(sys.modules[plugin.__module__].__doc__ or ""),
    )


def _extractor(name: str, plugin: type[Network]) -> Extractor:
    try:
        unavailable = tuple(_reasons("unavailable", lambda: plugin().unavailable()))
    except PluginError as error:
        return Extractor(name, broken=f"{_place(plugin)}: {error}")
    return Extractor(
        name=name,
        settings=settings_of(plugin),
        dim=plugin.dim,
        spatial=plugin.spatial,
        headless=plugin.headless,
        pairs=plugin.pairs,
        summary=_first_line(plugin),
        paper=plugin.paper,
        needs=plugin.needs,
        unavailable=unavailable,
        place=_place(plugin),
        page=cleandoc(sys.modules[plugin.__module__].__doc__ or ""),
    )


def _place(plugin: type) -> str:
    return f"{plugin.__module__}:{plugin.__qualname__}"


def _free(name: str, plugin: type[Architecture]) -> Model:
    """A model that takes settings, as it is without any; one that fails at that is broken."""
    told = f"{_first_line(plugin)} Every setting may be given."
    try:
        found: Model = asked(lambda: _model(name, Preset(plugin(), told)))
    except PluginError as error:
        return Model(name, broken=f"{_place(plugin)} cannot be used: {error}")
    return dataclasses.replace(found, settings=settings_of(plugin))


def _first_line(plugin: type) -> str:
    return (plugin.__doc__ or "").strip().partition("\n")[0]


def _model(name: str, preset: Preset) -> Model:
    model = preset.model
    return Model(
        name=name,
        settings=(),
        architecture=tuple(
            (one.name, getattr(model, one.name)) for one in settings_of(type(model))
        ),
        embedded=preset.embedded,
        hub=preset.hub,
        summary=preset.summary,
        paper=model.paper,
        predicts=model.prediction,
        attention=attention(model),
        told=model.told,
    )
