"""What methods with memory share: a core that they spare, and a word for every decision.

A layer with memory keeps what an earlier step gave, and gives it again or computes anew. Each forward of a
site is one decision with its reason and with what it still ran, so that nobody need believe a speed-up: the
decisions are as many as the forwards, and a counter finds the multiply-adds that they tell.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from ditbench.attention.base import METHODS, AttentionMethod, Layer, Moment, Shape, Site
from ditbench.reuse.gating import NOTHING_KEPT

if TYPE_CHECKING:
    import torch

    from ditbench.attention.base import Finish, Output, Project

ALL = "qkvo"


@dataclass(frozen=True)
class Decision:
    """Of one forward at one site.

    reused: whether anything was spared. reason: a few words, of a small set that its method names. of: the
    share of the forward's rows that it is about, where parts of them are decided apart. ran: which of the
    projections ran, "o" that of the output; rows: for what share of the forward's rows. core: multiply-adds
    of the core that ran, and of what was looked at. seen: what the decision looked at, by name.
    """

    step: int
    reused: bool
    reason: str
    ran: str = ALL
    rows: float = 1.0
    core: int = 0
    of: float = 1.0
    seen: Mapping[str, float] = field(default_factory=dict)


def alive(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of memory that these keep, each block once: all of it where a view is held."""
    blocks = (one.untyped_storage() for one in tensors)
    # Not their addresses: of memory without data these are all zero.
    return sum({block._cdata: block.nbytes() for block in blocks}.values())  # noqa: SLF001 (torch's own way to tell them apart)


class Sparing(AttentionMethod):
    """A method that spares some of the forwards of another, its `core`."""

    compiles: ClassVar[bool] = False

    core: str

    @property
    def spared(self) -> AttentionMethod:
        """The method that computes, with its own default settings."""
        return METHODS.get(self.core)()

    @property
    def counted(self) -> Mapping[str, Callable[..., int]]:
        """Those of the core."""
        return {**self.spared.counted, **self.operator_macs}

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """What is computed where nothing is spared."""
        return self.spared.attend(q, k, v)

    def macs(self, shape: Shape) -> int:
        """Of one forward that spares nothing."""
        return self.spared.macs(shape)

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:
        """Whatever the core has against it, a memory of its own, and that nobody can watch it."""
        core = self.spared
        reasons = {
            "spares forwards itself: name a method that computes every one": isinstance(
                core, Sparing
            ),
            "cannot be counted at work, and nobody could say what was spared": not core.audited,
        }
        own = [f"core {self.core} {reason}" for reason, holds in reasons.items() if holds]
        return core.unsupported(shape, dtype, device) + own

    @abstractmethod
    def open(self, site: Site) -> Layer:
        """A layer that remembers nothing yet."""


@dataclass
class OutputKeeper:
    """Gives the site's whole output again: no projection, no core, no output projection.

    layer: computes, at a cost of `macs` multiply-adds for so many rows. rule: whether the output of that
    step (-1 for none) serves at this moment, and why. later: whether what is computed at a
    moment may serve at a later one; else it is not kept at all.
    """

    stateless: ClassVar[bool] = False

    layer: Layer
    macs: Callable[[int], int]
    rule: Callable[[Moment, int], tuple[bool, str]]
    later: Callable[[Moment], bool] = lambda _now: True
    kept: Output | None = None
    kept_at: int = -1
    decisions: list[Decision] = field(default_factory=list)

    def __call__(self, x: torch.Tensor, project: Project, finish: Finish, now: Moment) -> Output:
        """What is kept, or anew."""
        serves, reason = self.rule(now, self.kept_at)
        if serves and self.kept is None:
            serves, reason = False, NOTHING_KEPT
        if self.kept is not None and serves:
            self.decisions.append(Decision(now.step, reused=True, reason=reason, ran=""))
            return self.kept
        self.decisions.append(
            Decision(now.step, reused=False, reason=reason, core=self.macs(len(x)))
        )
        out = self.layer(x, project, finish, now)
        self.kept, self.kept_at = (out if self.later(now) else None), now.step
        return out
