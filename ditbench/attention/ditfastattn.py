"""DiTFastAttn (Yuan et al., 2024, arXiv 2406.08552): a plan of what each block spares at each step.

    window      out(t) = W(t) + R(s),  R(s) = O(s) - W(s),  s the last step in full, W a band of raster order
    one branch  out = [O_c, O_c], O_c of the rows with their condition
    shared step out(t) = out(t - 1), projections and all
    cost 2 N^2 d in full; 2 P d in a window, P = (2 r + 1) N - r (r + 1), r = reach; both where R is kept

A plan says for each block and step which of these, a window on one branch, or none; docs/ditfastattn.md tells
its file. With `plan` it is read; else it is searched for under `threshold`, greedily: step 0 is in full, and
at each later step each block in order takes the first of shared step, window on one branch, window, one
branch under which the network's prediction changes by less than its share of the threshold (reuse/search.py
has the loss, and what the published one leaves out). Threshold 0 spares nothing; with `window: 0`, for where
a band is slower than all pairs, no window is tried. The steps of the first `warmup` share are in full and
cost no search. Without guidance there is one branch.

A residual is kept before the output projection, and only where a later window asks for it; an output only for
the step after it. In a run of another length than its plan's, as in the gates, each step goes by the one at
the same share of the plan. Neither calibrated nor given a plan, it is in full throughout. Not to be confused
with `static-reuse`, whose schedule looks at nothing, nor with `band`, which adds no residual.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import torch

from ditbench import digests
from ditbench.attention.base import (
    CoreLayer,
    Layer,
    Moment,
    Shape,
    Site,
    Trial,
    off_plane,
    register,
)
from ditbench.attention.memory import Decision, Sparing
from ditbench.errors import UsageError
from ditbench.registry import setting
from ditbench.reuse import band, plans
from ditbench.reuse.gating import NOTHING_KEPT
from ditbench.reuse.plans import GUIDED, UNGUIDED, WORDS, Plan, Task, Way
from ditbench.reuse.search import Terms, decided

if TYPE_CHECKING:
    from ditbench.attention.base import Core, Finish, Output, Project
    from ditbench.records import Cell

# What a layer does at a moment.
Score = Callable[[Moment], Task]


@register
@dataclass(frozen=True)
class DiTFastAttn(Sparing):
    """By a plan, which is searched for on the model or read from a file."""

    name: ClassVar[str] = "ditfastattn"
    paper: ClassVar[str] = "Yuan et al. 2024, arXiv 2406.08552"
    formula: ClassVar[str] = "out(t) = W(t) + R(s), R(s) = O(s) - W(s)"
    cost: ClassVar[str] = (
        "2 N^2 d in full; 2 P d in a window, P = (2 r + 1) N - r (r + 1), r = reach"
    )
    calibrated: ClassVar[bool] = True

    core: str = setting("sdpa", method=True)
    threshold: float = setting(0.05, least=0)
    window: float = setting(0.125, least=0)
    plan: str = setting("", file=True, reader="ditbench.reuse.plans:read")
    samples: int = setting(8, least=1)
    warmup: float = setting(0.0, least=0, most=1)

    def reach(self, tokens: int) -> int:
        """How many tokens before and after its own a token sees."""
        return int(self.window if self.window >= 1 else self.window * tokens)

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:
        """Whatever the core has against it, a core of another kind, tokens out of order, half a token."""
        reasons = super().unsupported(shape, dtype, device)
        site = Site(0, 1, shape.heads, shape.head_dim, shape.places, device, dtype)
        if not reasons and not isinstance(self.spared.open(site), CoreLayer):
            reasons.append(f"core {self.core} has no attention of which a window could be a part")
        if self.window > 1 and self.window != int(self.window):
            reasons.append(
                f"window {self.window:g} is no share of the tokens and no number of them"
            )
        return reasons + off_plane(shape, "a window over the raster order")

    def misfits(self, cell: Cell) -> list[str]:
        """What a plan that is named was made for, where this cell is another."""
        if not self.plan:
            return []
        try:
            wrong = plan_at(self.plan).misfits(cell)
        except UsageError as error:
            return [str(error)]
        place = self.plan.rpartition("#")[0]
        return [f"plan {place} is for {'; '.join(wrong)}"] if wrong else []

    def calibrate(self, trial: Trial) -> Mapping[str, Any]:
        """The plan that is named, or what is found under the threshold."""
        return (plan_at(self.plan) if self.plan else Search(self, trial).plan()).as_json()

    def with_calibration(self, found: Mapping[str, Any]) -> Self:
        """One that goes by this plan. Raises ValueError where it is none."""
        plans.of_json(found)
        return super().with_calibration(found)

    def open(self, site: Site) -> Layer:
        """A layer that goes by its block's letters, and remembers nothing yet."""
        plan = self._played

        def score(now: Moment) -> Task:
            return plan.task(site.block, now.step, now.steps) if plan else Task(Way.FULL)

        return self.scored(site, score)

    @functools.cached_property
    def _played(self) -> Plan | None:
        """The plan that was found, or that is named."""
        if self.found:
            return plans.of_json(self.found)
        return plan_at(self.plan) if self.plan else None

    def scored(self, site: Site, score: Score) -> PlannedLayer:
        """A layer that does what it is told at each step."""
        opened = self.spared.open(site)
        core = opened.method if isinstance(opened, CoreLayer) else self.spared
        return PlannedLayer(
            core, lambda rows: self.macs(site.shape(rows)), self.reach(site.tokens), score
        )


@functools.cache
def plan_at(named: str) -> Plan:
    """The plan in a file, named with the digest of what it says. Raises UsageError where it is none."""
    return plans.read(digests.content(named), named.rpartition("#")[0])


@dataclass
class PlannedLayer:
    """Attends as it is told, and keeps what it is told.

    core: full attention, at a cost of `macs` multiply-adds for so many rows. residual: (rows, heads, tokens,
    head_dim), rows those with their condition alone where the step that made it had one branch. output:
    finished.
    """

    stateless: ClassVar[bool] = False

    core: Core
    macs: Callable[[int], int]
    reach: int
    score: Score
    residual: torch.Tensor | None = None
    output: Output | None = None
    decisions: list[Decision] = field(default_factory=list)

    def __call__(self, x: torch.Tensor, project: Project, finish: Finish, now: Moment) -> Output:
        """What the site gives its block."""
        task, reason = self._possible(now)
        if task.way is Way.SHARED and self.output is not None:
            given, residual = self.output, self.residual
            self.decisions.append(Decision(now.step, reused=True, reason=reason, ran=""))
        else:
            rows = x[: len(x) // 2] if task.way.one_branch else x
            attended, residual, core = self._attended(project(rows), task)
            given = finish(attended)
            if task.way.one_branch:
                given = torch.cat([cast("torch.Tensor", given)] * 2)
            share = len(rows) / len(x)
            spared = share < 1 or core < self.macs(len(x))  # a window of everything spares nothing
            self.decisions.append(Decision(now.step, spared, reason, rows=share, core=core))
        if not task.tried:
            self.residual = residual if task.residual else None
            self.output = given if task.output else None
        return given

    def _possible(self, now: Moment) -> tuple[Task, str]:
        """What is to be done, in full where what it takes is not there; and the decision's reason."""
        task = self.score(now)
        way = task.way if now.guided else task.way.unguided
        lacking = self.output if way is Way.SHARED else self.residual
        if lacking is None and (way is Way.SHARED or way.windowed):
            return replace(task, way=Way.FULL), NOTHING_KEPT
        kept = " with residual" if task.residual and way in {Way.FULL, Way.BRANCH} else ""
        return replace(task, way=way), f"{WORDS[way]}{kept}"

    def _attended(
        self, qkv: tuple[torch.Tensor, ...], task: Task
    ) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        """Output, residual, and multiply-adds of the cores that ran."""
        q, k, v = qkv
        rows, heads, tokens, head_dim = q.shape
        of_band = 2 * rows * heads * band.pairs(tokens, self.reach) * head_dim
        if task.way.windowed and self.residual is not None:
            near = band.attend(q, k, v, self.reach)
            beyond = self.residual[:rows]  # of one branch alone, it serves both
            beyond = torch.cat([beyond] * (rows // len(beyond)))
            return near + beyond, self.residual, of_band
        full = self.core.attend(q, k, v)
        if not task.residual:
            return full, None, self.macs(rows)
        return full, full - band.attend(q, k, v, self.reach), self.macs(rows) + of_band


@dataclass
class Search:
    """The greedy search of one method on one model; see `reuse.search`.

    tasks: what each block does in the forward that is asked next. forwards: so many were.
    """

    method: DiTFastAttn
    trial: Trial
    tasks: dict[int, Task] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    forwards: int = 0

    @property
    def blocks(self) -> tuple[int, ...]:
        """Where the method goes."""
        return tuple(sorted({site.block for site in self.trial.sites}))

    def plan(self) -> Plan:
        """What is found; nothing is run where nothing may be spared."""
        method, cell = self.method, self.trial.cell
        if method.threshold:
            self.trial.sample(self._layer, method.samples, self._step)
        return Plan(
            model=cell.model.label,
            guidance_scale=cell.sampling.guidance_scale,
            window=method.window,
            blocks=self.blocks,
            lines=tuple(self.lines) or (Way.FULL * len(self.blocks),) * self.trial.steps,
            threshold=method.threshold,
            forwards=self.forwards,
            samples=method.samples,
        )

    def _layer(self, site: Site) -> Layer:
        return self.method.scored(site, lambda _now: self.tasks[site.block])

    def _step(self, forward: Callable[[], torch.Tensor], now: Moment) -> torch.Tensor:
        """Decide a step, and take it, keeping whatever a later one could ask for."""

        def predict(ways: Sequence[Way], **kept: bool) -> torch.Tensor:
            self.forwards += 1
            self.tasks = {
                block: Task(way, **kept) for block, way in zip(self.blocks, ways, strict=True)
            }
            return forward()

        ways = [Way.FULL] * len(self.blocks)
        if now.step and now.step >= self.method.warmup * (now.steps - 1):
            terms = Terms(self._tried(guided=now.guided), self.method.threshold)
            ways = decided(lambda tried: predict(tried, tried=True), len(self.blocks), terms)
        self.lines.append("".join(ways))
        return predict(ways, residual=self.method.window > 0, output=True)

    def _tried(self, *, guided: bool) -> tuple[Way, ...]:
        """Without a width there are no windows to try."""
        ways = GUIDED if guided else UNGUIDED
        return tuple(way for way in ways if self.method.window or not way.windowed)
