"""The bound of a method with memory: its own pattern of reuse, with nothing at all where it spared work.

Where the method computed, the core that it spares computes; where it spared projections, the core or the
output, zeros that cost nothing stand for what they would give. Whoever is faster than this did not only skip
what it says.
Not to be confused with the bound of `zero`, which spares every step.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from ditbench.accelerators.base import Accelerator, Handle, Host
from ditbench.accelerators.none import Idle
from ditbench.attention.base import AttentionMethod, Layer, Site
from ditbench.attention.memory import ALL, Decision, Sparing
from ditbench.measure.bench import Bench, make
from ditbench.measure.decisions import Decisions
from ditbench.models.seam import Placement
from ditbench.records import Choice

if TYPE_CHECKING:
    from ditbench.attention.base import Finish, Moment, Output, Project


@dataclass(frozen=True)
class Work:
    """What one forward of a site ran: shares of the rows that each projection ran for, and of the core."""

    projections: Mapping[str, float]
    core: bool

    @property
    def all(self) -> bool:
        """Whether nothing was spared."""
        return self.core and all(self.projections.get(part) == 1 for part in ALL)

    @classmethod
    def of(cls, told: list[Decision], full: int) -> Work:
        """From the decisions of a forward. full: multiply-adds of the core of all rows."""
        shares: dict[str, float] = defaultdict(float)
        for one in told:
            for part in one.ran:
                shares[part] += one.rows
        return cls(shares, sum(one.core for one in told) >= full)


def placement(bench: Bench, decisions: Decisions) -> Placement:
    """What replays these decisions at the cell's sites, or around its modules; elsewhere it is the cell's."""
    rest, method = bench.layers, bench.method
    if bench.cell.is_accelerated:
        return dataclasses.replace(rest, accelerator=_Skipped(decisions))
    core = method.spared if isinstance(method, Sparing) else make(Choice("sdpa"))
    own = {site.name: _works(bench, site, decisions) for site in bench.sites}

    def layer(site: Site) -> Layer | None:
        return _Replayed(core, core.open(site), own[site.name]) if site.name in own else rest(site)

    return layer


@dataclass(frozen=True)
class _Skipped(Accelerator):
    """Modules that do not run where they did not run, and give what they were given: no residual at all."""

    name: ClassVar[str] = "replay"
    paper: ClassVar[str] = "none"
    skips: ClassVar[str] = "what was skipped"

    decisions: Decisions

    def install(self, host: Host) -> Handle:
        """Around the forward of each module."""
        ran = {
            name: {one.step: one.rows if one.ran else 0.0 for one in told}
            for name, told in self.decisions.items()
        }
        modules = {name: host.network.get_submodule(name) for name in ran}
        for name, module in modules.items():
            vars(module)["forward"] = _Forward(module.forward, ran[name], host)
        return _Taken(modules)


@dataclass(frozen=True)
class _Taken(Idle):
    """Gives the modules their forwards back."""

    modules: Mapping[str, torch.nn.Module]

    def uninstall(self) -> None:
        """What stood on the object goes; that of its class is there again."""
        for module in self.modules.values():
            vars(module).pop("forward", None)


@dataclass
class _Forward:
    """A module's forward, for the share of the rows that it ran for at each step; else zeros."""

    forward: Callable[..., Any]
    ran: Mapping[int, float]
    host: Host
    kept: Any = None

    def __call__(self, *args: Any, **told: Any) -> Any:  # noqa: ANN401 (a module's own)
        """As the module is called."""
        share = self.ran.get(self.host.now().step, 1.0)
        if share == 1 or self.kept is None:
            out = self.forward(*args, **told)
            self.kept = _zeros(out) if self.kept is None else self.kept
            return out
        rows = max(
            len(one)
            for one in (*args, *told.values())
            if isinstance(one, torch.Tensor) and one.ndim
        )
        if first := round(share * rows):
            named = {name: _first(one, first, rows) for name, one in told.items()}
            self.forward(*(_first(one, first, rows) for one in args), **named)
        return self.kept


def _first(given: Any, rows: int, of: int) -> Any:  # noqa: ANN401 (what a module is given)
    """The first rows of what has one for each; else what was given."""
    rowed = isinstance(given, torch.Tensor) and given.ndim and len(given) == of
    return given[:rows] if rowed else given


def _works(bench: Bench, site: Site, decisions: Decisions) -> tuple[Work, ...]:
    by_step: dict[int, list[Decision]] = defaultdict(list)
    for one in decisions.get(site.name, ()):
        by_step[one.step].append(one)
    full = bench.method.macs(site.shape(bench.cell.rows))
    nothing_spared = Work(dict.fromkeys(ALL, 1.0), core=True)
    return tuple(
        Work.of(by_step[step], full) if step in by_step else nothing_spared
        for step in range(bench.cell.steps)
    )


@dataclass
class _Replayed:
    """At each step just what ran then. kept: zeros, made where nothing was spared yet."""

    stateless: ClassVar[bool] = False

    method: AttentionMethod
    core: Layer
    works: tuple[Work, ...]
    head: torch.Tensor | None = None
    kept: Output | None = None

    def __call__(self, x: torch.Tensor, project: Project, finish: Finish, now: Moment) -> Output:
        work = self.works[now.step]
        if work.all or self.kept is None or self.head is None:
            return self._whole(x, project, finish, now)
        found = {part: self._projected(x, project, part, work) for part in "qkv"}
        head = self.method.attend(found["q"], found["k"], found["v"]) if work.core else self.head
        if not (rows := round(work.projections.get("o", 0) * len(x))):
            return self.kept
        out = finish(head[:rows])
        return out if rows == len(x) else self.kept

    def _projected(self, x: torch.Tensor, project: Project, part: str, work: Work) -> torch.Tensor:
        """One of q, k and v for the rows that it ran for, and zeros where that was not all of them."""
        assert self.head is not None  # noqa: S101 (the caller's condition)
        rows = round(work.projections.get(part, 0) * len(x))
        made = project(x[:rows], part)[0] if rows else self.head
        return made if rows == len(x) else self.head

    def _whole(self, x: torch.Tensor, project: Project, finish: Finish, now: Moment) -> Output:
        heads: list[torch.Tensor] = []

        def watched(head: torch.Tensor) -> Output:
            heads.append(head)
            return finish(head)

        out = self.core(x, project, watched, now)
        if self.kept is None:
            self.head, self.kept = torch.zeros_like(heads[0]), _zeros(out)
        return out


def _zeros(out: Any) -> Any:  # noqa: ANN401 (a tensor, or several)
    if isinstance(out, tuple):
        return tuple(map(_zeros, out))
    return torch.zeros_like(out)
