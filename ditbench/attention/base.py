"""The contract of an attention method, and the place in a model where one is opened.

q, k, v and the output are (batch, heads, tokens, head_dim) everywhere; a method whose kernel wants another
layout transposes inside `attend`, so that the cost is timed. Scores are scaled once, by 1/sqrt(head_dim),
inside `attend`; q arrives unscaled.

A new method is one new file: the paper in the first line, the formula, the cost, then a frozen dataclass
whose fields are its settings.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, cast

from ditbench.registry import Registry, unlike

if TYPE_CHECKING:
    import torch

    from ditbench.records import Cell

    # What the site gives its block: of (batch, tokens, dim); at a joint site the text's beside it.
    Output = torch.Tensor | tuple[torch.Tensor, torch.Tensor]
    # The output projection, of (batch, heads, tokens, head_dim).
    Finish = Callable[[torch.Tensor], Output]


@dataclass(frozen=True)
class Shape:
    """Sizes of q, k and v. batch counts rows of a forward: guidance doubles it.

    grid: rows and columns of tokens, for methods that look at neighbours; None for the squarest there is.
    plane: whether the tokens are those of one picture, so that the grid's neighbours are neighbours in it;
    not where text stands among them, nor where they are of several frames.
    """

    batch: int
    heads: int
    tokens: int
    head_dim: int
    grid: tuple[int, int] | None = None
    plane: bool = True

    @property
    def places(self) -> tuple[int, int]:
        """Rows and columns of tokens."""
        return self.grid or squarest(self.tokens)


@dataclass(frozen=True)
class Site:
    """One place in a model where attention happens: which block (from 0), and how tokens lie in 2-D.

    device, dtype: as torch says them, for what a method prepares before the first call.
    name: of the attention module in its network, which tells the sites of a model apart.
    kind: `self`; `joint`, where text stands among the tokens; `cross`, where k and v are of text alone.
    keys: tokens of k and v, 0 for as many as of q. masked: whether the model gives a mask. rotary: whether
    q and k arrive turned by their places. native: what the model computes here by itself, "softmax" or
    another attention in words. plane: see `Shape`.
    """

    block: int
    depth: int
    heads: int
    head_dim: int
    grid: tuple[int, int]
    device: str = "cpu"
    dtype: str = "float32"
    name: str = ""
    kind: Literal["self", "joint", "cross"] = "self"
    keys: int = 0
    masked: bool = False
    rotary: bool = False
    native: str = "softmax"
    plane: bool = True

    @property
    def tokens(self) -> int:
        """Tokens of q."""
        return self.grid[0] * self.grid[1]

    @property
    def refusal(self) -> str:
        """Why no method at all can stand here, which takes q, k and v of one shape; empty where it can."""
        told = [f"of {self.tokens} queries to {self.keys} keys"] if self.keys else []
        told += ["with a mask"] if self.masked else []
        return f"{self.kind} attention {' '.join(told)}" if told else ""

    def shape(self, rows: int) -> Shape:
        """Sizes of q, k and v in a forward of so many rows."""
        return Shape(rows, self.heads, self.tokens, self.head_dim, self.grid, self.plane)


@dataclass(frozen=True)
class Moment:
    """Where a sampling run stands when its network is asked.

    step: from 0, of `steps`. log_snr: natural logarithm of the data's variance over the noise's in the state
    that the network is given; it grows from step to step. guided: whether the rows are two halves of the
    same samples, those with their condition first. prompt: words of the samples' texts in the mean, 1 for a
    class. time: what the network is told, from 1000 of noise to 0 of data.
    """

    step: int = 0
    steps: int = 1
    log_snr: float = -math.inf
    guided: bool = False
    prompt: float = 1.0
    time: float = 1000.0


class Project(Protocol):
    """A site's projections, with its norms and its rotary embedding."""

    def __call__(self, x: torch.Tensor, /, parts: str = "qkv") -> tuple[torch.Tensor, ...]:
        """Of the block's input x (batch, tokens, dim) those that `parts` names, in its order.

        Each (batch, heads, tokens, head_dim); only what is asked for is computed.
        """
        ...


class Layer(Protocol):
    """An opened method at one site, for one sampling run.

    stateless: keeps nothing between calls, so that an equal layer may stay when a run opens anew.
    """

    @property
    def stateless(self) -> bool:
        """Whether nothing is kept between calls."""
        ...

    def __call__(self, x: torch.Tensor, project: Project, finish: Finish, now: Moment) -> Output:
        """What the site gives its block, from the block's input x (batch, tokens, dim).

        `project(x)` gives q, k, v and `finish` makes the output of what attention gave; a layer that need not
        do either does not call it. At a joint site x is the picture's tokens alone, and q, k, v are of the
        text too.
        """
        ...


# What a calibration makes of one step: it is given the network's forward on that step's inputs, with the
# layers that are in place, to call as often as it likes, and gives the prediction that the run goes on with.
Around = Callable[[Callable[[], "torch.Tensor"], Moment], "torch.Tensor"]


class Trial(Protocol):
    """A cell's model, for a method to try things on before anything is gated or timed.

    steps: of the cell's own sampling runs. network: the module itself.
    """

    @property
    def cell(self) -> Cell:
        """What is to be measured."""
        ...

    @property
    def steps(self) -> int:
        """Of a sampling run."""
        ...

    @property
    def network(self) -> torch.nn.Module:
        """As it was loaded; what is hung on it must be taken off again."""
        ...

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where the method goes."""
        ...

    def sample(
        self, layer_of: Callable[[Site], Layer], samples: int, around: Around = ...
    ) -> torch.Tensor:
        """Final latents (samples, ...) of samples that no figure is ever made of."""
        ...


class Calibrates:
    """A plug-in that may find something out about the cell's model before it is measured.

    calibrated: whether it must. found: what it found out, empty before; not a setting.
    """

    calibrated: ClassVar[bool] = False
    found: Mapping[str, Any] = MappingProxyType({})

    def calibrate(self, trial: Trial) -> Mapping[str, Any]:
        """What it finds out, as JSON would hold it; only asked where `calibrated`."""
        raise NotImplementedError  # whoever says `calibrated` defines it: see `problems`

    def with_calibration(self, found: Mapping[str, Any]) -> Self:
        """One of the same settings that knows what it found."""
        calibrated: Self = dataclasses.replace(cast("Any", self))
        object.__setattr__(calibrated, "found", found)  # of a frozen dataclass
        return calibrated


class AttentionMethod(Calibrates, ABC):
    """One way to compute attention.

    name: as suites say it. exact: equals softmax up to rounding. kernels: for an exact method, the kinds of
    kernel of which one must be seen running ("flash", "efficient", "cudnn", "math"); empty
    means any.
    paper, formula, cost: one line each for people, in plain letters; the cost in multiply-adds a head.
    compiles: whether a network with it can be compiled whole; not where what runs depends on the step.
    audited: whether counters may watch it at work; torch's have no way through some of its operators.
    needs: the package, with the command that installs it, and the hardware; empty where torch will do.
    operator_macs: for operators that torch's counter does not know, each by its name ("aten._int_mm"): the
    multiply-adds of one call from its arguments, a shape in the place of each tensor.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    formula: ClassVar[str]
    cost: ClassVar[str]
    needs: ClassVar[str] = ""
    exact: ClassVar[bool] = False
    compiles: ClassVar[bool] = True
    audited: ClassVar[bool] = True
    operator_macs: ClassVar[Mapping[str, Callable[..., int]]] = {}

    @property
    def kernels(self) -> frozenset[str]:
        """The kernels of which one must be seen running; empty where any will do."""
        return frozenset()

    @property
    def counted(self) -> Mapping[str, Callable[..., int]]:
        """`operator_macs` of whatever these settings run."""
        return self.operator_macs

    @property
    def is_exact(self) -> bool:
        """Whether these settings give softmax up to rounding; most methods say so of all settings."""
        return self.exact

    @abstractmethod
    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """The core: (batch, heads, tokens, head_dim) from three of the same shape, in their dtype."""

    @abstractmethod
    def macs(self, shape: Shape) -> int:
        """Multiply-adds of one `attend`, matrix products only."""

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:  # noqa: ARG002 (most methods run anywhere)
        """Why this cannot run there, every reason; empty means it can.

        dtype: "float32", "bfloat16", "float16". device: "cpu" or "cuda".
        """
        return []

    @classmethod
    def unavailable(cls) -> list[str]:
        """What is missing on this machine whatever the shape, each with the command that installs it."""
        return []

    def misfits(self, cell: Cell) -> list[str]:  # noqa: ARG002 (most settings fit any cell)
        """What its settings were made for, where this cell is another: a file of a search, say."""
        return []

    def remarks(self, cell: Cell) -> list[str]:  # noqa: ARG002 (most settings fit any cell)
        """What to know of its settings on this cell, which can run; each clause stands beside the figures."""
        return []

    def open(self, site: Site) -> Layer:  # noqa: ARG002 (stateless methods need no site)
        """A layer for one site and one sampling run; methods with memory return a fresh one each time."""
        return CoreLayer(self)


class Core(Protocol):
    """What a layer without memory calls: a method, or one made ready for its site."""

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """(batch, heads, tokens, head_dim) from three of the same shape, in their dtype."""
        ...


@dataclass(frozen=True)
class CoreLayer:
    """A layer without memory: it projects, and leaves the rest to a core whose cost its method declares."""

    stateless: ClassVar[bool] = True

    method: Core

    def __call__(self, x: torch.Tensor, project: Project, finish: Finish, now: Moment) -> Output:  # noqa: ARG002 (no memory)
        """Project, attend, finish."""
        q, k, v = project(x)
        return finish(self.method.attend(q, k, v))


def core_at(method: AttentionMethod, shape: Shape, device: str, dtype: str) -> Core:
    """The core as it stands at a site of this shape: on its grid, with what is made before the first call.

    The bare method where its layers are of another kind.
    """
    site = Site(0, 1, shape.heads, shape.head_dim, shape.places, device, dtype, plane=shape.plane)
    layer = method.open(site)
    return layer.method if isinstance(layer, CoreLayer) else method


def off_plane(shape: Shape, what: str) -> list[str]:
    """Why what looks at neighbours in 2-D cannot stand there; empty where it can."""
    among = f"{what} needs the tokens of one picture, without text or other frames among them"
    return [] if shape.plane else [among]


class PlaneMethod(AttentionMethod):
    """A method whose core depends on how tokens lie in 2-D: on each site's own grid."""

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """On the squarest grid of so many tokens."""
        return self.on(squarest(q.shape[-2]), q, k, v)

    @abstractmethod
    def on(
        self, grid: tuple[int, int], q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        """(batch, heads, tokens, head_dim), tokens in raster order on this grid."""

    def open(self, site: Site) -> Layer:
        """On the site's own grid."""
        return CoreLayer(OnGrid(self, site.grid))


@dataclass(frozen=True)
class OnGrid:
    """The core of such a method at a site."""

    method: PlaneMethod
    grid: tuple[int, int]

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """What the method gives on this grid."""
        return self.method.on(self.grid, q, k, v)


BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Limits:
    """What a kernel demands before it runs.

    on_cpu: there is a CPU version, without the limits below. half: float16 or bfloat16 only. widest:
    largest head_dim on any GPU; some take less, and the kernel says so. row: bytes of which head_dim fills
    a multiple.
    """

    on_cpu: bool = False
    half: bool = False
    widest: int | None = None
    row: int = 1

    def refusals(self, head_dim: int, dtype: str, device: str) -> list[str]:
        """Every reason why it cannot run there, each as a clause."""
        if self.on_cpu and device == "cpu":
            return []
        step = max(1, self.row // BYTES[dtype])
        reasons = {
            "needs a CUDA device": device != "cuda",
            f"needs float16 or bfloat16 on CUDA, not {dtype}": self.half and BYTES[dtype] != 2,
            f"takes a head_dim of at most {self.widest}, not {head_dim}": self.widest is not None
            and head_dim > self.widest,
            f"needs a head_dim that is a multiple of {step} in {dtype}, not {head_dim}": head_dim
            % step
            != 0,
        }
        return [reason for reason, holds in reasons.items() if holds]


def squarest(tokens: int) -> tuple[int, int]:
    """The most square grid of so many tokens, no more rows than columns: 40 is 5 x 8."""
    rows = next(n for n in range(math.isqrt(tokens), 0, -1) if tokens % n == 0)
    return rows, tokens // rows


_SIGNATURES = {
    "attend": ("q", "k", "v"),
    "macs": ("shape",),
    "unsupported": ("shape", "dtype", "device"),
    "open": ("site",),
}


def problems(plugin: object) -> list[str]:
    """Why a class cannot be an attention method, each as a clause; empty where it can."""
    return unlike(plugin, AttentionMethod, ("name", "paper", "formula", "cost"), _SIGNATURES)


METHODS: Registry[type[AttentionMethod]] = Registry(
    "attention method", "ditbench.attention", "ditbench.attention", problems
)
register = METHODS.register
