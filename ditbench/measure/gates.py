"""What a cell must pass before any stopwatch: a cell that fails here has no speed.

In order: finite and numerics of the core, then a short sampling run that must have used the method at
every site, repeat itself, differ from one without attention, agree with softmax where the method is exact,
run the kernel that was asked for, compile whole, and leave the model as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._dynamo.exc import TorchDynamoException

from ditbench.attention.base import AttentionMethod, Shape
from ditbench.jobs import Findings, Job
from ditbench.measure import kernels
from ditbench.measure.bench import Bench, dtype_of, set_up
from ditbench.measure.cost import Cost, cost
from ditbench.metrics import ROUNDING
from ditbench.records import Status

# Relative L2 error that rounding explains, of one core against float64. Over heads instead of tokens gives
# about 1, scaling twice about 0.3 (reference figures on standard normal q, k).
CORE_TOLERANCE = {"float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}
SAMPLES = 2
STEPS = 4
# How far declared and counted multiply-adds may lie apart.
_COST_TOLERANCE = 0.01
# Scores of standard deviation 2: peaked enough that a wrong scale shows, far from overflow.
_SPREAD = 2**0.5
# Without attention the latents must move this many times further than rounding moves them.
_MARGIN = 5
# An effect below this is none, even where nothing was rounded.
_NOTHING = 1e-6
# Queries at a time in the float64 reference, so that long sequences fit.
_CHUNK = 256


class GateError(Exception):
    """A gate that refused; status says what kind of not-ok the cell is."""

    def __init__(self, reason: str, status: Status = Status.FAILED_GATE) -> None:
        super().__init__(reason)
        self.status = status


@dataclass
class Evidence:
    """What the gates saw, for the record."""

    facts: dict[str, Any] = field(default_factory=dict)


def run(job: Job, say: Callable[[str], None]) -> Findings:
    """All gates on one cell; the first that refuses ends it. Where no batch is given, SAMPLES are."""
    cell = job.cell.of_batch(SAMPLES) if job.cell.finds_batch else job.cell
    say("counting")
    price = cost(cell)
    say("loading")
    bench = set_up(cell, job.device)
    evidence = Evidence(
        {
            "parameters": price.parameters,
            "weights": bench.weights,
            "rows": cell.rows,
            "nfe": cell.steps,
            "exact": bench.method.is_exact,
            "counted_core_macs": price.counted_core,
            "uncounted": list(price.uncounted),
        }
    )
    try:
        say("gates")
        _check(bench, price, evidence)
    except GateError as refusal:
        return Findings(refusal.status, str(refusal), facts=evidence.facts)
    if job.cell.finds_batch:  # multiply-adds of a batch that is not known yet
        return Findings(facts=evidence.facts)
    metrics = {
        "macs": (price.total,),
        "core_macs": (price.core,),
        "macs_shared_embedder": (price.total - price.embedders,),
    }
    return Findings(Status.OK, metrics=metrics, facts=evidence.facts)


def _check(bench: Bench, price: Cost, evidence: Evidence) -> None:
    check_cost(price)
    shape = bench.denoiser.shape(bench.cell.rows)
    with torch.inference_mode():
        check_core(bench.method, shape, dtype_of(bench.cell), bench.device, evidence)
    check_run(bench, evidence)


def check_cost(price: Cost) -> None:
    """The declared multiply-adds are those that a counter finds."""
    if price.disagreement > _COST_TOLERANCE:
        raise GateError(
            f"declares {price.declared_core:.4g} multiply-adds a site, {price.counted_core:.4g} counted"
        )


def check_core(
    method: AttentionMethod,
    shape: Shape,
    dtype: torch.dtype,
    device: torch.device,
    evidence: Evidence,
) -> None:
    """At the cell's own shape: shape and dtype kept, finite, and if exact equal to softmax in float64."""
    generator = torch.Generator().manual_seed(0)
    sizes = (shape.batch, shape.heads, shape.tokens, shape.head_dim)
    q, k, v = (
        (torch.randn(sizes, generator=generator) * spread).to(device, dtype)
        for spread in (_SPREAD, _SPREAD, 1.0)
    )
    out = method.attend(q, k, v)
    if out.shape != q.shape or out.dtype != q.dtype:
        raise GateError(
            f"gives {tuple(out.shape)} {out.dtype} for {tuple(q.shape)} {q.dtype}: "
            "the output must keep shape and dtype"
        )
    if not bool(torch.isfinite(out).all()):
        share = 1 - float(torch.isfinite(out).double().mean())
        raise GateError(f"{share:.1%} of the core's output is not finite", Status.NOT_FINITE)
    if method.is_exact:
        tolerance = CORE_TOLERANCE[str(dtype).removeprefix("torch.")]
        error = max(_core_error(out, q, k, v, row) for row in {0, shape.batch - 1})
        evidence.facts |= {"numeric_error": error, "numeric_tolerance": tolerance}
        if error > tolerance:
            raise GateError(
                f"is declared exact, but lies {error:.2g} from softmax in float64 "
                f"(relative L2; {tolerance:.0e} allowed in {dtype})"
            )


def _core_error(
    out: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, row: int
) -> float:
    """Relative L2 distance of one row from softmax accumulated in float64, by chunks of queries."""
    keys, values = k[row].double(), v[row].double()
    wrong = right = 0.0
    for start in range(0, q.shape[2], _CHUNK):
        chunk = slice(start, start + _CHUNK)
        queries = q[row][:, chunk].double()
        scores = queries @ keys.transpose(-2, -1) / q.shape[-1] ** 0.5
        true = scores.softmax(dim=-1) @ values
        wrong += float((out[row][:, chunk].double() - true).square().sum())
        right += float(true.square().sum())
    return math.sqrt(wrong / right)


def check_run(bench: Bench, evidence: Evidence) -> None:
    """The method inside its model, over two samples and at most four steps."""
    denoiser, dtype = bench.denoiser, bench.cell.sampling.dtype
    inputs = bench.inputs(range(SAMPLES))
    steps = min(STEPS, bench.cell.steps)
    untouched = bench.sample(inputs, steps)

    turned_inputs = (inputs[0].flip(0), inputs[1].flip(0))

    def with_layers(method: str = "", *, turned: bool = False) -> torch.Tensor:
        denoiser.install(bench.everywhere(method) if method else bench.layers)
        return bench.sample(turned_inputs if turned else inputs, steps)

    ours = with_layers()
    calls = denoiser.calls()
    again = with_layers()
    turned = with_layers(turned=True).flip(0)
    softmax = with_layers("softmax")
    identity = with_layers("identity")
    denoiser.install(bench.layers)
    _check_calls(calls, steps, evidence)
    for latents in (ours, again, turned, softmax, identity, untouched):
        _check_finite(latents)
    _check_rerun(ours, again, bench.device, evidence)
    effect = _check_vacuous(softmax, identity, untouched, evidence)
    _check_turned(turned, ours, dtype, evidence)
    if bench.method.is_exact:
        _check_latents(ours, softmax, min(ROUNDING[dtype], effect / _MARGIN), evidence)
    _check_kernels(bench, evidence)
    denoiser.uninstall()
    if not torch.equal(bench.sample(inputs, steps), untouched):
        raise GateError("the model is another one after the method was taken out")


def _check_calls(calls: list[int], forwards: int, evidence: Evidence) -> None:
    evidence.facts |= {"calls": sum(calls), "expected_calls": forwards * len(calls)}
    missed = [block for block, count in enumerate(calls) if count != forwards]
    if missed:
        raise GateError(
            f"block {missed[0]} was called {calls[missed[0]]} times in {forwards} forwards: "
            "the method did not run where it should"
        )


def _check_finite(latents: torch.Tensor) -> None:
    if not bool(torch.isfinite(latents).all()):
        raise GateError("the latents are not finite", Status.NOT_FINITE)


def _check_rerun(
    ours: torch.Tensor, again: torch.Tensor, device: torch.device, evidence: Evidence
) -> None:
    """Bit for bit on the CPU; on a GPU up to float32 rounding, for kernels that add in any order."""
    error = relative(again, ours)
    evidence.facts["rerun_error"] = error
    if error > (0 if device.type == "cpu" else CORE_TOLERANCE["float32"]):
        raise GateError(
            f"the same sampling run twice differs by {error:.2g}: state is kept between runs"
        )


def _check_turned(turned: torch.Tensor, ours: torch.Tensor, dtype: str, evidence: Evidence) -> None:
    """The same samples in the other order: a cache filled by an earlier picture shows here."""
    error = relative(turned, ours)
    evidence.facts["turned_error"] = error
    if error > max(_MARGIN * evidence.facts["rounding"], CORE_TOLERANCE[dtype]):
        raise GateError(
            f"the same samples in the other order differ by {error:.2g}: state is kept between runs, "
            "or samples mix"
        )


def _check_vacuous(
    softmax: torch.Tensor, identity: torch.Tensor, untouched: torch.Tensor, evidence: Evidence
) -> float:
    """How far the latents move without attention, which must be far beyond this model's own rounding.

    untouched: by the model's fused attention, which differs from softmax by rounding alone.
    """
    effect, rounding = relative(identity, softmax), relative(untouched, softmax)
    evidence.facts |= {"attention_effect": effect, "rounding": rounding}
    if effect <= _MARGIN * max(rounding, _NOTHING):
        raise GateError(
            f"vacuous: without attention the model's output moves by {effect:.2g} only, where rounding "
            f"moves it by {rounding:.2g}: these weights cannot tell a right method from a wrong one"
        )
    return effect


def _check_latents(
    ours: torch.Tensor, softmax: torch.Tensor, tolerance: float, evidence: Evidence
) -> None:
    """tolerance: what rounding explains, and never near what leaving attention out would do."""
    error = relative(ours, softmax)
    evidence.facts |= {"latent_error": error, "latent_tolerance": tolerance}
    if error > tolerance:
        raise GateError(
            f"is declared exact, but the latents lie {error:.2g} from softmax's "
            f"({tolerance:.1g} allowed here)"
        )


def _check_kernels(bench: Bench, evidence: Evidence) -> None:
    """The kernels of one forward at the cell's own shape, compiled where the cell is."""
    latents, labels = bench.inputs(range(bench.cell.batch_size))
    if bench.cell.rows > bench.cell.batch_size:
        latents, labels = torch.cat([latents, latents]), torch.cat([labels, labels])
    times = torch.full((len(labels),), 500, device=bench.device)
    with torch.inference_mode():
        eager = bench.denoiser(latents, times, labels)
        if bench.cell.compile:
            bench.denoiser.compile()
            try:
                compiled = bench.denoiser(latents, times, labels)
            except TorchDynamoException as error:
                cause = str(error).strip().splitlines()[0]
                raise GateError(f"does not compile whole: {cause}") from error
            _check_finite(compiled)
            _check_compiled(compiled, eager, bench, evidence)
        seen = kernels.kinds_run(lambda: bench.denoiser(latents, times, labels))
        bench.denoiser.compile(on=False)
    evidence.facts["kernels"] = list(seen)
    if refusal := kernels.refusal(bench.method.kernels, seen):
        raise GateError(f"silent fallback: {refusal}")


def _check_compiled(
    compiled: torch.Tensor, eager: torch.Tensor, bench: Bench, evidence: Evidence
) -> None:
    error = relative(compiled, eager)
    evidence.facts["compile_error"] = error
    if error > ROUNDING[bench.cell.sampling.dtype]:
        raise GateError(f"compiled code gives another output than eager code, by {error:.2g}")


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    """|one - other| / |other| in L2 over all elements; infinite where only the reference is zero."""
    distance = float((one.double() - other.double()).norm())
    size = float(other.double().norm())
    return distance / size if size else (0.0 if distance == 0 else float("inf"))
