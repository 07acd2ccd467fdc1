"""Multiply-adds of one forward, exactly: the model on `meta` with an opaque core, the core by its formula.

torch's FlopCounterMode counts two operations per multiply-add and gives fused and custom attention zero on
some devices, so the core is never left to it: the method declares, a count on `meta` checks. Operators that
the counter does not know are counted by the method's own formula for them, if it has one, and told as such.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from ditbench.attention.base import AttentionMethod, CoreLayer, Layer, Shape, Site, core_at
from ditbench.measure.bench import make
from ditbench.measure.evidence import GateError
from ditbench.measure.operators import Watch, count, count_inside
from ditbench.models.base import Model, made, sites
from ditbench.models.seam import Denoiser, Placed, Placement, places
from ditbench.records import Cell, Choice

T = TypeVar("T")

# What a kernel that exists on one device only raises on `meta`: not counted, and said so.
_NO_KERNEL = (RuntimeError, ImportError, AttributeError)


@dataclass(frozen=True)
class Cost:
    """Multiply-adds of one step (one forward of all rows).

    attention: what the attention modules really cost, cores and projections, without what a method skips.
    embedders: what diffusers spends on embedders beyond the one that the paper's network has, repeated: the
    parameters that they hold. projections:
    what the model's attention modules cost outside their cores, whether or not the method skips some of it.
    counted_core: what the counter found in one site's core on `meta`, None where the core cannot run there;
    declared_core: what the method declares for it. uncounted: heavy operators without a formula.
    own_formulas: operators of the core that the method itself has a formula for. replaced: what softmax's
    cores cost at the sites where the method goes, and what the projections there do.
    """

    total: float
    core: float
    attention: float
    embedders: float
    projections: float
    parameters: int
    repeated: int
    counted_core: float | None
    declared_core: float
    uncounted: tuple[str, ...]
    own_formulas: tuple[str, ...] = ()
    replaced: tuple[float, float] = (0.0, 0.0)

    @property
    def metrics(self) -> dict[str, tuple[float, ...]]:
        """What a record holds of it, by metric name."""
        found = {
            "macs": self.total,
            "core_macs": self.core,
            "projection_macs": self.projections,
            "attention_macs": self.attention,
            "macs_shared_embedder": self.total - self.embedders,
            "parameters": float(self.parameters),
            "parameters_shared_embedder": float(self.parameters - self.repeated),
        }
        return {name: (value,) for name, value in found.items()}

    @property
    def facts(self) -> dict[str, Any]:
        """The evidence: what was declared, and what a counter could and could not see."""
        return {
            "parameters": self.parameters,
            "counted_core_macs": self.counted_core,
            "uncounted": list(self.uncounted),
            "own_formulas": list(self.own_formulas),
            "replaced_macs": dict(zip(("core", "projections"), self.replaced, strict=True)),
        }

    @property
    def disagreement(self) -> float:
        """Relative difference of declared and counted; 0 where not everything could be counted."""
        if self.counted_core is None or self.uncounted or self.counted_core == self.declared_core:
            return 0.0
        return abs(self.counted_core - self.declared_core) / max(
            self.counted_core, self.declared_core
        )


def cost(cell: Cell, taken: Collection[str] | None = None) -> Cost:
    """The cost of one step of a cell, from shapes alone; nothing is allocated.

    taken: names of the sites where the method goes; None for wherever one can stand. Raises GateError where
    the core fails on tensors without data, for another reason than that a kernel does not exist for them.
    """
    method = make(cell.attention)
    work = _Work(cell, method, _taken(cell, taken))
    shapes = dict.fromkeys(site.shape(cell.rows) for site in work.mine)
    counts = [_count_core(method, shape) for shape in shapes]
    uncounted = tuple(dict.fromkeys(name for _, names, _ in counts for name in names))
    try:
        around = work.around()
    except _NO_KERNEL:
        around = work.around_plain_cores()
        uncounted = (*uncounted, "layer not countable on meta")
    except Exception as error:  # a method may raise anything: it fails its gate in one line
        raise _failure(error) from error
    found = [counted for counted, *_ in counts if counted is not None]
    every = frozenset(site.name for site in sites(spec_of(cell.model)) if not site.refusal)
    projections = cell.rows * _of_one_row(cell.model, every)[1]
    outside = work.around_plain_cores() - projections
    return Cost(
        total=around + work.core(),
        core=work.core(),
        attention=around + work.core() - outside,
        embedders=_repeated(cell.model, cell.rows),
        projections=projections,
        parameters=parameters(cell.model),
        repeated=spec_of(cell.model).repeated(on_meta(cell.model).network),
        counted_core=sum(found) if len(found) == len(counts) else None,
        declared_core=float(sum(method.macs(shape) for shape in shapes)),
        uncounted=uncounted,
        own_formulas=tuple(dict.fromkeys(name for *_, names in counts for name in names)),
        replaced=work.replaced(),
    )


def core_cost(method: AttentionMethod, shape: Shape) -> Cost:
    """The cost of one call of a core by itself. Raises GateError as `cost` does."""
    declared = float(method.macs(shape))
    counted, uncounted, own_formulas = _count_core(method, shape)
    return Cost(
        total=declared,
        core=declared,
        attention=declared,
        embedders=0.0,
        projections=0.0,
        parameters=0,
        repeated=0,
        counted_core=counted,
        declared_core=declared,
        uncounted=uncounted,
        own_formulas=own_formulas,
        replaced=(float(make(Choice("softmax")).macs(shape)), 0.0),
    )


def step_macs(cell: Cell, taken: Collection[str] | None = None) -> tuple[float, float]:
    """Multiply-adds of one step, whole and core, as declared: what a plan needs, without the checks."""
    work = _Work(cell, make(cell.attention), _taken(cell, taken))
    try:
        around = work.around()
    except Exception:  # noqa: BLE001 (a layer may raise anything; the gate will name it)
        around = work.around_plain_cores()
    return around + work.core(), work.core()


@functools.cache
def parameters(model: Choice) -> int:
    """Trained numbers of a model."""
    return sum(parameter.numel() for parameter in on_meta(model).network.parameters())


def _taken(cell: Cell, taken: Collection[str] | None) -> frozenset[str]:
    if taken is None:
        return places(spec_of(cell.model), cell.blocks).taken
    return frozenset(taken)


@functools.cache
def spec_of(model: Choice) -> Model:
    """The model of a cell."""
    return made(model.name, dict(model.settings))


@functools.cache
def on_meta(model: Choice) -> Denoiser:
    """A network of shapes without data."""
    spec = spec_of(model)
    with torch.device("meta"):
        return Denoiser(spec.build().requires_grad_(requires_grad=False), spec)


@dataclass(frozen=True)
class _Work:
    """What one step of a cell computes: cores, and everything around them.

    Cores are those of the sites where methods can stand: the method's, and fused softmax's where it does not
    go. Another attention of the model's own, and one of other shapes, belongs to what is around.
    """

    cell: Cell
    method: AttentionMethod
    taken: frozenset[str]

    @property
    def mine(self) -> tuple[Site, ...]:
        """The sites where the method goes."""
        return tuple(site for site in sites(spec_of(self.cell.model)) if site.name in self.taken)

    def core(self) -> float:
        """The attention cores of all blocks."""
        rows, rest = self.cell.rows, make(Choice("sdpa"))
        ours = _tally(self.cell.model, self.taken, rows)
        others = _tally(self.cell.model, _softmax(self.cell.model) - self.taken, rows)
        return float(
            sum(n * self.method.macs(shape) for shape, n in ours)
            + sum(n * rest.macs(shape) for shape, n in others)
        )

    def replaced(self) -> tuple[float, float]:
        """Softmax's cores at the sites where the method goes, and the projections there."""
        model, rows = self.cell.model, self.cell.rows
        softmax = make(Choice("softmax"))
        cores = sum(n * softmax.macs(shape) for shape, n in _tally(model, self.taken, rows))
        return float(cores), rows * _of_one_row(model, self.taken)[1]

    def around(self) -> float:
        """Everything but cores; a layer that skips projections still skips them.

        A layer of the method's own may call `attend`, whose price is its formula: here it costs nothing. One
        that never calls it computes its core itself, which is counted here and so left out of the formula's.
        """
        cell = self.cell
        if not self.mine or isinstance(self.method.open(self.mine[0]), CoreLayer):
            return self.around_plain_cores()
        calls: list[None] = []

        def attend(_: object, _q: torch.Tensor, _k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            calls.append(None)
            return v

        plugin = type(self.method)
        free = type(plugin.__name__, (plugin,), {"attend": attend})(**dict(cell.attention.settings))
        layers = Placed(free, make(Choice("sdpa")), self.taken)
        counted = _count_around(
            cell.model, cell.rows, layers, lambda work: count(work, self.method.counted)
        )
        own = sum(self.method.macs(site.shape(cell.rows)) for site in self.mine)
        return counted - (0 if calls else own)

    def around_plain_cores(self) -> float:
        """The same for every method without memory, and no row of a forward knows of another."""
        model = self.cell.model
        return self.cell.rows * _of_one_row(model, self.taken | _softmax(model))[0]


@functools.cache
def _softmax(model: Choice) -> frozenset[str]:
    """The sites where a method can stand and the model's own attention is softmax."""
    every = sites(spec_of(model))
    return frozenset(site.name for site in every if not site.refusal and site.native == "softmax")


@functools.cache
def _tally(model: Choice, names: frozenset[str], rows: int) -> tuple[tuple[Shape, int], ...]:
    """How many of these sites have each shape."""
    every = sites(spec_of(model))
    return tuple(Counter(site.shape(rows) for site in every if site.name in names).items())


@functools.cache
def _of_one_row(model: Choice, opaque: frozenset[str]) -> tuple[float, float]:
    """Everything but the cores of these sites, and of it what is inside them: their projections.

    Counted once, so that a plan of ten thousand cells takes seconds.
    """
    network, identity = on_meta(model).network, make(Choice("identity"))
    modules = [network.get_submodule(name) for name in opaque]
    return _count_around(
        model,
        1,
        lambda site: identity.open(site) if site.name in opaque else None,
        lambda work: count_inside(modules, work),
    )


def _failure(error: Exception) -> GateError:
    told = next(iter(str(error).splitlines()), "")
    return GateError(f"raises {type(error).__name__} on tensors without data: {told}")


def _count_around(
    model: Choice,
    rows: int,
    layer_of: Placement,
    counted: Callable[[Callable[[], object]], T],
) -> T:
    denoiser = on_meta(model)
    opaque = CoreLayer(make(Choice("identity")))

    def open_at(site: Site) -> Layer | None:
        layer = layer_of(site)
        return opaque if isinstance(layer, CoreLayer) else layer

    spec = denoiser.spec
    latents = torch.empty(rows, *spec.latent, device="meta")
    times = torch.zeros(rows, dtype=torch.long, device="meta")
    conditions = (one.to("meta") for one in spec.conditions(0, range(rows)))
    denoiser.install(open_at)
    try:
        return counted(lambda: denoiser(latents, times, *conditions))
    finally:
        denoiser.uninstall()


@functools.cache
def _repeated(model: Choice, rows: int) -> float:
    """What the network evaluates beyond what its paper's needs."""
    denoiser = on_meta(model)
    return count(lambda: denoiser.spec.repeats(denoiser.network, rows))


def _count_core(
    method: AttentionMethod, shape: Shape
) -> tuple[float | None, tuple[str, ...], tuple[str, ...]]:
    """Multiply-adds of one core, operators that went uncounted, operators that its own formulas counted."""
    q, k, v = (
        torch.empty(shape.batch, shape.heads, shape.tokens, shape.head_dim, device="meta")
        for _ in range(3)
    )
    own = method.counted
    try:
        # First only watched: a package may make its operators when it is first used.
        core = core_at(method, shape, "meta", "float32")
        with torch.no_grad(), Watch() as watch:
            core.attend(q, k, v)
        counted = count(lambda: core.attend(q, k, v), own)
    except _NO_KERNEL:
        return None, ("core not countable on meta",), ()
    except Exception as error:  # a method may raise anything: it fails its gate in one line
        raise _failure(error) from error
    return counted, tuple(sorted(watch.unknown - own.keys())), tuple(sorted(watch.run & own.keys()))
