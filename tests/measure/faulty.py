"""Methods that each carry one mistake that people have published; the gates must refuse every one."""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch

from ditbench.attention.base import AttentionMethod, Layer, Shape, Site


class Faulty(AttentionMethod):
    """Exact by its own account, priced as softmax."""

    name: ClassVar[str] = "faulty"
    paper: ClassVar[str] = "none"
    formula: ClassVar[str] = "softmax(q k^T / sqrt(d)) v"
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


@dataclass(frozen=True)
class Leaves(Faulty):
    """Turns a switch of the process, as some packages do when they are first used, and leaves it so."""

    switch: str = ""

    def attend(self, q, k, v):
        if self.switch and q.device.type != "meta":
            SWITCHES[self.switch]()
        return super().attend(q, k, v)


def _other_sdpa(q, k, v):
    return Faulty.attend(Leaves(), q, k, v)


SWITCHES = {
    "torch.backends.cuda.enable_flash_sdp": lambda: torch.backends.cuda.enable_flash_sdp(False),
    "torch.backends.cuda.enable_mem_efficient_sdp": lambda: (
        torch.backends.cuda.enable_mem_efficient_sdp(False)
    ),
    "torch.backends.cuda.enable_math_sdp": lambda: torch.backends.cuda.enable_math_sdp(False),
    "torch.backends.cuda.enable_cudnn_sdp": lambda: torch.backends.cuda.enable_cudnn_sdp(False),
    "torch.backends.cuda.matmul.allow_tf32": lambda: setattr(
        torch.backends.cuda.matmul, "allow_tf32", True
    ),
    "torch.set_num_threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "torch.set_default_dtype": lambda: torch.set_default_dtype(torch.float64),
    "torch.set_flush_denormal": lambda: torch.set_flush_denormal(True),
    "torch.use_deterministic_algorithms": lambda: torch.use_deterministic_algorithms(True),
    "torch.nn.functional.scaled_dot_product_attention": lambda: setattr(
        torch.nn.functional, "scaled_dot_product_attention", _other_sdpa
    ),
}


@dataclass(frozen=True)
class SpoilsTheModel(Faulty):
    """From its first call on the model computes a little something else, also once it is taken out."""

    def attend(self, q, k, v):
        torch.nn.functional.gelu = lambda x, **how: 1.00001 * GELU(x, **how)
        return super().attend(q, k, v)


GELU = torch.nn.functional.gelu


@dataclass(frozen=True)
class MixesTheBatch(Faulty):
    """Subtracts the mean over the batch: nothing to see where all samples are alike."""

    exact: ClassVar[bool] = False

    def attend(self, q, k, v):
        return super().attend(q, k, v) - 0.01 * v.mean(dim=0, keepdim=True)


@dataclass(frozen=True)
class ReadsRawMemory(Faulty):
    """Takes for granted that q, k and v lie contiguous, as a kernel without strides does."""

    exact: ClassVar[bool] = False

    def attend(self, q, k, v):
        raw = torch.as_strided(q, q.shape, torch.empty(q.shape, device="meta").stride())
        return super().attend(raw, k, v)


@dataclass(frozen=True)
class RightForTheFirstAndLast(Faulty):
    """Wrong for every row but two."""

    def attend(self, q, k, v):
        out = super().attend(q, k, v)
        return torch.cat([out[:1], v[1:-1], out[-1:]]) if len(q) > 3 else out


@dataclass(frozen=True)
class RefusesOddHeads(Faulty):
    """Checks its input and says so; nobody asked it before the plan."""

    def attend(self, q, k, v):  # noqa: ARG002 (it never gets that far)
        raise ValueError("needs an odd number of heads\nand more")


@torch.library.custom_op("faulty::fused", mutates_args=())
def fused(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return Faulty.attend(CustomOperator(), q, k, v).clone()


@fused.register_fake
def _(q, k, v):
    return torch.empty_like(q)


@dataclass(frozen=True)
class CustomOperator(Faulty):
    """Right, through an operator that no counter has a formula for."""

    def attend(self, q, k, v):
        return fused(q, k, v)


@dataclass(frozen=True)
class CountsItsOperator(CustomOperator):
    """The same, and it says what the operator costs."""

    operator_macs: ClassVar = {"faulty.fused": lambda q, k, _v: 2 * prod(q) * k[-2]}


@dataclass(frozen=True)
class CountsHalfItsOperator(CustomOperator):
    """Says half of what it declares."""

    operator_macs: ClassVar = {"faulty.fused": lambda q, k, _v: prod(q) * k[-2]}


@dataclass(frozen=True)
class OwnLayer(Faulty):
    """Right, through a layer of its own that calls `attend`, or computes the same itself."""

    calls: bool = True

    def open(self, site: Site) -> Layer:  # noqa: ARG002 (alike at every site)
        return CallingLayer(self) if self.calls else ComputingLayer(self)


@dataclass(frozen=True)
class CallingLayer:
    stateless: ClassVar[bool] = True

    method: OwnLayer

    def __call__(self, x, project, finish, _now):
        return finish(self.method.attend(*project(x)))


class ComputingLayer(CallingLayer):
    def __call__(self, x, project, finish, _now):
        return finish(Faulty.attend(self.method, *project(x)))


@dataclass(frozen=True)
class KeepsByTensor(Faulty):
    """Answers for tensors that it has seen with what it gave then, whatever stands in them now."""

    exact: ClassVar[bool] = False
    seen: ClassVar[list[tuple[weakref.ref[torch.Tensor], torch.Tensor]]] = []

    def attend(self, q, k, v):
        if q.device.type == "meta":
            return super().attend(q, k, v)
        known = next((out for kept, out in self.seen if kept() is q), None)
        if known is None:
            known = super().attend(q, k, v)
            self.seen.append((weakref.ref(q), known))
        return known


@dataclass(frozen=True)
class KeepsByAllContent(Faulty):
    """Looks up all three inputs: right everywhere, and fast where a benchmark repeats itself."""

    seen: ClassVar[dict[bytes, torch.Tensor]] = {}

    def attend(self, q, k, v):
        if q.device.type == "meta":
            return super().attend(q, k, v)
        content = b"".join(x.contiguous().numpy().tobytes() for x in (q, k, v))
        content += str(q.shape).encode()
        if content not in self.seen:
            self.seen[content] = super().attend(q, k, v)
        return self.seen[content]


@dataclass(frozen=True)
class ScalesTheQueryInPlace(Faulty):
    """Right the first time: it multiplies the caller's own queries."""

    def attend(self, q, k, v):
        q.mul_(q.shape[-1] ** -0.5)
        return torch.matmul(torch.matmul(q, k.transpose(-2, -1)).softmax(dim=-1), v)


@dataclass(frozen=True)
class ByItsValues(Faulty):
    """Looks at the values that it mixes, as a quantisation by their largest does."""

    def attend(self, q, k, v):
        return super().attend(q, k, v) / v.square().mean().sqrt()


@dataclass(frozen=True)
class WithABias(Faulty):
    def attend(self, q, k, v):
        return super().attend(q, k, v) + 1


@dataclass(frozen=True)
class DrawsAnew(Faulty):
    """Approximate by directions that each process draws for itself: here, each that makes the method."""

    exact: ClassVar[bool] = False
    lots: ClassVar[Iterator[int]] = itertools.count()

    @functools.cached_property
    def directions(self):
        generator = torch.Generator().manual_seed(next(self.lots))
        return torch.randn(1, generator=generator)

    def attend(self, q, k, v):
        return super().attend(q, k, v * self.directions)


@dataclass(frozen=True)
class _StepLayer:
    stateless: ClassVar[bool] = True

    method: AttentionMethod

    def __call__(self, x, project, finish, now):
        q, k, v = project(x)
        return finish(self.method.attend(q * (1 + 1e-3 * now.step), k, v))


@dataclass(frozen=True)
class LooksAtTheStep(Faulty):
    """Compiled anew at every step, until the compiler gives up; and does not say so."""

    exact: ClassVar[bool] = False

    def open(self, site: Site) -> Layer:  # noqa: ARG002 (every site alike)
        return _StepLayer(self)
