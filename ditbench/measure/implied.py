"""The attention matrix that a method implies: what it gives for V = I, on q and k of a real sampling run.

A method that is out = A(q, k) V answers with A itself, head_dim columns of it at a time, because V must have
q's shape. All heads are given the same values, so that a method which pools heads answers with what its pool
gives each of them. Whether out is A V at all is measured: A times the model's own values, against what the
method makes of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn.functional import avg_pool2d

from ditbench.attention.base import Layer, Moment, Site
from ditbench.errors import UsageError
from ditbench.jobs import Asked, Drawn, Matrix
from ditbench.measure.bench import Bench, make, set_up
from ditbench.measure.evidence import relative
from ditbench.records import Choice

if TYPE_CHECKING:
    from ditbench.attention.base import Finish, Output, Project

# A matrix of so many tokens takes 128 MiB in float64; no screen shows a tenth of it.
MOST_TOKENS = 4096
# Along one side of what is drawn; more tokens are averaged.
_PIXELS = 512
# How far A V may lie from the method's own output by rounding, in relative L2.
_LINEAR = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}


@dataclass(frozen=True)
class Given:
    """What a site is given in one forward: its input x (1, tokens, dim), q, k, v (1, heads, tokens, d)."""

    site: Site
    now: Moment
    x: torch.Tensor
    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor

    def attend(self, method: Choice, v: torch.Tensor) -> torch.Tensor:
        """The method's output for other values, opened anew, on copies that it may use up."""
        layer = make(method).open(self.site)

        given_as = {"q": self.q, "k": self.k, "v": v}

        def project(_x: torch.Tensor, parts: str = "qkv") -> tuple[torch.Tensor, ...]:
            return tuple(given_as[part].clone() for part in parts)

        given: list[torch.Tensor] = []

        def finish(out: torch.Tensor) -> torch.Tensor:
            given.append(out)
            return out

        layer(self.x.clone(), project, finish, self.now)
        return given[-1]


def matrices(asked: Asked, device: str) -> Drawn:
    """The matrix of each method. Raises UsageError where the model has no such block, head, step or size."""
    bench = set_up(asked.cell, device)
    site = site_of(bench, asked.block)
    _check("--head", asked.head, site.heads, "heads")
    _check("--step", asked.step, asked.cell.steps, "steps")
    tokens = site.tokens
    if tokens > MOST_TOKENS:
        raise UsageError(
            f"the model has {tokens} tokens, and matrices of at most {MOST_TOKENS} are drawn: "
            "name a smaller one, as with --set model=fashion-dit"
        )
    with torch.inference_mode():
        given = take(bench, site, asked.step)
        exact = softmax(given, asked.head)
        found = tuple(_matrix(given, asked.head, method, exact) for method in asked.methods)
    return Drawn(found, tokens, -(-tokens // _PIXELS), bench.weights, f"{site.name}, {site.kind}")


def site_of(bench: Bench, block: int) -> Site:
    """The first site of a block where a method can stand. Raises UsageError where there is none."""
    sites = bench.denoiser.sites()
    _check("--block", block, sites[0].depth, "blocks")
    here = [site for site in sites if site.block == block]
    found = next((site for site in here if site.name in bench.places.taken), None)
    if found is None:
        why = "; ".join(dict.fromkeys(site.refusal for site in here)) or "it has no attention"
        raise UsageError(f"--block {block}: no method can stand there ({why})")
    return found


def _check(option: str, number: int, count: int, of: str) -> None:
    if not 0 <= number < count:
        raise UsageError(f"{option} {number}: the cell has {count} {of}, numbered from 0")


class _TakenError(Exception):
    """Ends the sampling run with what it was run for."""

    def __init__(self, given: Given) -> None:
        super().__init__()
        self.given = given


@dataclass(frozen=True)
class _Taking:
    """Softmax until its step, where it ends the run."""

    stateless: ClassVar[bool] = False

    layer: Layer
    site: Site
    step: int

    def __call__(self, x: torch.Tensor, project: Project, finish: Finish, now: Moment) -> Output:
        if now.step != self.step:
            return self.layer(x, project, finish, now)
        # Of guided rows the first is the one with a class.
        q, k, v = (part[:1] for part in project(x))
        raise _TakenError(Given(self.site, now, x[:1], q, k, v))


def take(bench: Bench, site: Site, step: int) -> Given:
    """Run sample 0 to a step and give what the site is given there: of guided rows the one with a class."""

    def open_at(one: Site) -> Layer | None:
        layer = bench.layers(one)
        return _Taking(layer, one, step) if layer and one.name == site.name else layer

    bench.denoiser.install(open_at)
    try:
        bench.sample(bench.inputs(range(1)))
    except _TakenError as taken:
        return taken.given
    raise UsageError(f"{site.name} was not reached in step {step}")


def softmax(given: Given, head: int) -> torch.Tensor:
    """The matrix of one head by its formula, float64 (tokens, tokens), on the CPU."""
    q, k = (x[0, head].double().cpu() for x in (given.q, given.k))
    scores = torch.matmul(q, k.T) / q.shape[-1] ** 0.5
    return torch.softmax(scores, dim=-1)


def implied(given: Given, head: int, method: Choice) -> torch.Tensor:
    """What the method gives for V = I at one head, float64 (tokens, tokens) on the CPU."""
    tokens, width = given.q.shape[-2:]
    one = torch.eye(tokens, dtype=given.v.dtype, device=given.v.device)
    columns = []
    for part in torch.split(one, width, dim=1):
        v = torch.zeros_like(given.v)
        v[..., : part.shape[1]] = part  # of every head
        out = given.attend(method, v)[0, head, :, : part.shape[1]]
        columns.append(out.double().cpu())
    return torch.cat(columns, dim=1)


def _matrix(given: Given, head: int, method: Choice, exact: torch.Tensor) -> Matrix:
    try:
        A = implied(given, head, method)
        apart = _apart(given, head, method, A)
    except Exception as error:  # noqa: BLE001 (a method may raise anything; the others are drawn)
        told = next(iter(str(error).splitlines()), "")
        return Matrix(method, failure=f"{type(error).__name__}: {told}".removesuffix(": "))
    if not bool(torch.isfinite(A).all()):
        return Matrix(method, failure="its output for V = I is not finite")
    sums = A.sum(dim=1)
    dtype = str(given.v.dtype).removeprefix("torch.")
    return Matrix(
        method,
        values=_pooled(A).numpy(),
        row_sums=(float(sums.min()), float(sums.max())),
        error=relative(A, exact),
        negative=int((A < 0).sum()),
        zeros=int((A == 0).sum()),
        apart=apart,
        linear=apart <= _LINEAR[dtype],
    )


def _apart(given: Given, head: int, method: Choice, A: torch.Tensor) -> float:
    """How far A V lies from the method's own output for the model's values, those of this head in all."""
    values = given.v[:, head : head + 1]
    out = given.attend(method, values.expand_as(given.v))[0, head].double().cpu()
    return relative(A @ values[0, 0].double().cpu(), out)


def _pooled(A: torch.Tensor) -> torch.Tensor:
    """Means over squares of so many tokens that it can be drawn, float32."""
    side = -(-len(A) // _PIXELS)
    return avg_pool2d(A[None], side, ceil_mode=True)[0].float()
