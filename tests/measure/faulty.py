"""Methods that each carry one mistake that people have published; the gates must refuse every one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Shape


class Faulty(AttentionMethod):
    """Exact by its own account, priced as softmax."""

    name: ClassVar[str] = "faulty"
    paper: ClassVar[str] = "none"
    cost: ClassVar[str] = "2 N^2 d"
    exact: ClassVar[bool] = True

    def attend(self, q, k, v):
        scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-2, -1))
        return torch.matmul(scores.softmax(dim=-1), v)

    def macs(self, shape: Shape) -> int:
        return 2 * shape.batch * shape.heads * shape.tokens**2 * shape.head_dim


@dataclass(frozen=True)
class OverHeads(Faulty):
    """(batch, heads, tokens, d) given to a kernel that wants (batch, tokens, heads, d)."""

    def attend(self, q, k, v):
        swapped = (x.transpose(1, 2) for x in (q, k, v))
        return super().attend(*swapped).transpose(1, 2)

    def macs(self, shape: Shape) -> int:
        return 2 * shape.batch * shape.tokens * shape.heads**2 * shape.head_dim


@dataclass(frozen=True)
class ScaledTwice(Faulty):
    def attend(self, q, k, v):
        return super().attend(q * q.shape[-1] ** -0.5, k, v)


@dataclass(frozen=True)
class NotANumber(Faulty):
    def attend(self, q, k, v):
        return super().attend(q, k, v) / 0 * 0


@dataclass(frozen=True)
class WrongShape(Faulty):
    def attend(self, q, k, v):
        return super().attend(q, k, v)[..., :1]


@dataclass(frozen=True)
class PricedAtZero(Faulty):
    """What a counter says of a fused kernel that it does not know."""

    def macs(self, shape: Shape) -> int:  # noqa: ARG002 (the mistake)
        return 0


@dataclass(frozen=True)
class FusedOnlyByName(Faulty):
    """Asked for flash, computes the explicit product."""

    @property
    def kernels(self) -> frozenset[str]:
        return frozenset({"flash"})


@dataclass(frozen=True)
class Remembers(Faulty):
    """Mixes in what it gave last time, also for an earlier picture."""

    exact: ClassVar[bool] = False
    last: ClassVar[dict[tuple[object, ...], torch.Tensor]] = {}

    def attend(self, q, k, v):
        place = (q.device, *q.shape)
        out = super().attend(q, k, v)
        mixed = 0.5 * (out + self.last.get(place, out))
        self.last[place] = out
        return mixed


@dataclass(frozen=True)
class Overwrites(Faulty):
    """Works in place on memory that is not its own: its inputs'."""

    exact: ClassVar[bool] = False

    def attend(self, q, k, v):
        return super().attend(q, k, v).mul_(0).add_(v)


@dataclass(frozen=True)
class BreaksTheGraph(Faulty):
    """Looks at a value in the middle: a compiler must go back to Python there."""

    def attend(self, q, k, v):
        if float(q.sum()) > 1e30:
            return v
        return super().attend(q, k, v)


@dataclass(frozen=True)
class Memoises(Faulty):
    """Answers every call of one shape with what it computed first: fast, and the same twice."""

    exact: ClassVar[bool] = False
    kept: ClassVar[list[torch.Tensor]] = []
    calls: ClassVar[list[int]] = []

    def attend(self, q, k, v):
        if q.device.type == "meta" or q.shape[0] != 4:
            return super().attend(q, k, v)
        self.calls.append(1)
        place = (len(self.calls) - 1) % 8  # two blocks, four steps
        if len(self.kept) <= place:
            self.kept.append(super().attend(q, k, v))
        return self.kept[place]


@dataclass(frozen=True)
class KeepsByContent(Faulty):
    """Looks every input up among those it has seen: fast where a benchmark repeats itself."""

    seen: ClassVar[dict[bytes, torch.Tensor]] = {}
    hits: ClassVar[list[int]] = []

    def attend(self, q, k, v):
        if q.device.type == "meta":
            return super().attend(q, k, v)
        content = q.contiguous().numpy().tobytes()
        if content in self.seen:
            self.hits.append(1)
        else:
            self.seen[content] = super().attend(q, k, v)
        return self.seen[content]
