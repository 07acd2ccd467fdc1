"""Methods with memory that each carry one mistake that people have published."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.memory import Decision, OutputKeeper, Sparing
from ditbench.registry import setting


@dataclass(frozen=True)
class EveryOther(Sparing):
    """Computes at even steps, and says so. The mistakes below change one thing each."""

    name: ClassVar[str] = "every-other"
    paper: ClassVar[str] = "none"
    formula: ClassVar[str] = "none"
    cost: ClassVar[str] = "none"
    keeper: ClassVar[type] = OutputKeeper

    core: str = setting("sdpa")

    def open(self, site):
        return self.keeper(
            self.spared.open(site),
            lambda rows: self.macs(site.shape(rows)),
            lambda now, _at: (now.step % 2 == 1, "odd" if now.step % 2 else "even"),
        )


@dataclass
class _Fickle(OutputKeeper):
    """What it reuses hangs on the noise. No mistake."""

    every: int = 2

    def __call__(self, x, project, finish, now):
        if now.step == 0:
            self.every = 2 + int(1e4 * float(x.abs().sum())) % 4
            self.rule = lambda now, _at: (now.step % self.every > 0, "as the noise falls")
        return super().__call__(x, project, finish, now)


class Fickle(EveryOther):
    keeper = _Fickle


class _ComputesAll(OutputKeeper):
    """Says that it reused, and computed nevertheless."""

    def __call__(self, x, project, finish, now):
        if now.step % 2:
            project(x)
        return super().__call__(x, project, finish, now)


class ClaimsToSkip(EveryOther):
    keeper = _ComputesAll


@dataclass
class _Boasts(OutputKeeper):
    """Computes always, and calls every other step reused."""

    def __call__(self, x, project, finish, now):
        self.kept = None
        out = super().__call__(x, project, finish, now)
        self.decisions[-1] = dataclasses.replace(self.decisions[-1], reused=now.step % 2 > 0)
        return out


class Boasts(EveryOther):
    keeper = _Boasts


class _Modest(OutputKeeper):
    """Gives the old output, and calls it computed."""

    def __call__(self, x, project, finish, now):
        out = super().__call__(x, project, finish, now)
        self.decisions[-1] = dataclasses.replace(self.decisions[-1], reused=False)
        return out


class Modest(EveryOther):
    keeper = _Modest


class _TellsHalf(OutputKeeper):
    def __call__(self, x, project, finish, now):
        out = super().__call__(x, project, finish, now)
        self.decisions = [one for one in self.decisions if one.reused]
        return out


class TellsReusesAlone(EveryOther):
    """Forgets to tell the forwards that it computed."""

    keeper = _TellsHalf


@dataclass
class _Silent:
    layer: object
    macs: object
    rule: object
    stateless: ClassVar[bool] = False
    kept: torch.Tensor | None = None

    def __call__(self, x, project, finish, now):
        if self.kept is None:
            self.kept = self.layer(x, project, finish, now)
        return self.kept


class TellsNothing(EveryOther):
    keeper = _Silent


@dataclass
class _Leaks(OutputKeeper):
    """What a batch of that size was first given at its last step is given again to later batches."""

    first: ClassVar[dict[tuple[int, ...], torch.Tensor]] = {}

    def __call__(self, x, project, finish, now):
        out = super().__call__(x, project, finish, now)
        if now.step + 1 < now.steps or now.steps <= 4:
            return out
        self.first.setdefault(tuple(x.shape), out)
        return self.first[tuple(x.shape)] if len(self.seen()) > 2 else out

    calls: ClassVar[list[int]] = []

    def seen(self):
        self.calls.append(1)
        return self.calls


class Leaks(EveryOther):
    """State in the class, which shows from the second batch of a process on."""

    keeper = _Leaks


@dataclass
class _Hoards(OutputKeeper):
    """Keeps one row of a block of memory as large as a hundred outputs."""

    hoard: torch.Tensor | None = None

    def __call__(self, x, project, finish, now):
        self.hoard = x.new_zeros(100, x.numel())[0]
        return super().__call__(x, project, finish, now)


class Hoards(EveryOther):
    keeper = _Hoards


def halves(decision: Decision) -> list[Decision]:
    """The same, told apart for both halves of the rows."""
    half = dataclasses.replace(decision, of=0.5, rows=decision.rows / 2, core=decision.core // 2)
    return [half, half]


class _TellsHalves(OutputKeeper):
    def __call__(self, x, project, finish, now):
        out = super().__call__(x, project, finish, now)
        self.decisions += halves(self.decisions.pop())
        return out


class DecidesApart(EveryOther):
    """No mistake: each half of the rows has a decision of its own."""

    keeper = _TellsHalves
