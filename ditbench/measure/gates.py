"""What a cell must pass before any stopwatch: a cell that fails here has no speed.

The model by itself comes first, before anything of the method has run. Then the price, the core alone, and
a short sampling run that must have used the method at every site, repeat itself, differ from one without
attention, agree with softmax where the method is exact, run the kernel that was asked for, compile whole,
and leave the model and the process as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch._dynamo.exc import TorchDynamoException
from torch._dynamo.utils import counters

from ditbench.attention.base import Moment
from ditbench.attention.memory import Decision
from ditbench.jobs import Findings, Job
from ditbench.measure import calibration, flags, kernels, opened, reuse
from ditbench.measure.bench import Bench, dtype_of, set_up
from ditbench.measure.core import CORE_TOLERANCE, check_core, nudged
from ditbench.measure.cost import Cost, cost
from ditbench.measure.evidence import Evidence, GateError, fingerprint, relative
from ditbench.measure.probe import Probe
from ditbench.metrics import ROUNDING
from ditbench.models.seam import Denoiser, notes
from ditbench.records import Status

SAMPLES = 2
STEPS = 4
# How far declared and counted multiply-adds may lie apart.
_COST_TOLERANCE = 0.01
# Leaving attention out must show so many times more than rounding does; compiled code may round so many
# times more than another kernel for the same softmax.
_MARGIN = 5
# An effect below this is none, even where nothing was rounded.
_NOTHING = 1e-6


def run(job: Job, say: Callable[[str], None]) -> Findings:
    """All gates on one cell; the first that refuses ends it. Where no batch is given, SAMPLES are."""
    cell = job.cell.of_batch(SAMPLES) if job.cell.finds_batch else job.cell
    say("loading")
    flags.settle()
    before = flags.read()
    bench = calibration.ready(job, set_up(cell, job.device), say)
    evidence = Evidence(
        {
            "weights": bench.weights,
            **bench.shown,
            "rows": cell.rows,
            "nfe": cell.steps,
            "exact": bench.is_exact,
        }
    )
    try:
        measured = _check(bench, before, evidence, say)
    except GateError as refusal:
        return Findings(refusal.status, str(refusal), facts=evidence.facts)
    if job.cell.finds_batch:  # multiply-adds of a batch that is not known yet
        return Findings(facts=evidence.facts)
    took = calibration.seconds(job)
    found = {} if took is None else {"calibration_time": (took,)}
    return Findings(Status.OK, metrics=measured | found, facts=evidence.facts)


def _check(
    bench: Bench, before: Mapping[str, Any], evidence: Evidence, say: Callable[[str], None]
) -> reuse.Metrics:
    say("the model alone")
    untouched = _short(bench)
    say("counting")
    price = cost(bench.cell, bench.places.taken)
    evidence.facts |= price.facts
    if told := notes(bench.denoiser.spec, bench.places):
        evidence.facts["sites"] = list(told)
    if remarks := bench.method.remarks(bench.cell):
        evidence.facts["remarks"] = list(remarks)
    if bench.accelerator.simulated:
        evidence.facts["simulated"] = bench.accelerator.simulated
    check_cost(price)
    say("gates")
    evidence.facts |= opened.facts(bench)
    shapes = dict.fromkeys(site.shape(bench.cell.rows) for site in bench.sites)
    with torch.inference_mode():
        for shape in shapes:
            check_core(bench.method, shape, dtype_of(bench.cell), bench.device, evidence)
    check_flags(before)
    check_run(bench, untouched, evidence)
    check_flags(before)
    if not reuse.remembers(bench):
        return price.metrics
    return price.metrics | reuse.audit(bench, price.total, evidence, say)


def check_flags(before: Mapping[str, Any]) -> None:
    """No switch of the process was left turned: softmax would run under it too."""
    if changed := flags.changed(before):
        raise GateError(f"leaves the process changed: {'; '.join(changed)}")


def _short(bench: Bench, *, turned: bool = False) -> torch.Tensor:
    """Latents of SAMPLES samples after at most STEPS steps, by what is installed. turned: last first."""
    inputs = bench.inputs(range(SAMPLES))
    if turned:
        inputs = tuple(one.flip(0) for one in inputs)
    return bench.sample(inputs, min(STEPS, bench.cell.steps))


def check_cost(price: Cost) -> None:
    """The declared multiply-adds are those that a counter finds."""
    if price.disagreement > _COST_TOLERANCE:
        raise GateError(
            f"declares {price.declared_core:.4g} multiply-adds a site, {price.counted_core:.4g} counted"
        )


def check_run(bench: Bench, untouched: torch.Tensor, evidence: Evidence) -> None:
    """The method inside its model. untouched: latents of the model before the method ever ran."""
    denoiser, dtype = bench.denoiser, bench.cell.sampling.dtype

    def with_layers(method: str = "", *, turned: bool = False) -> torch.Tensor:
        denoiser.install(bench.everywhere(method) if method else bench.layers)
        return _short(bench, turned=turned)

    ours = with_layers()
    calls, spared = denoiser.calls(), denoiser.accelerated.decisions()
    evidence.facts["knob_digest"] = fingerprint(ours)
    again = with_layers()
    turned = with_layers(turned=True).flip(0)
    softmax = with_layers("softmax")
    plain = untouched if bench.replaces_softmax else with_layers("sdpa")
    with Probe() as probe:
        identity = with_layers("identity")
    denoiser.install(bench.layers)
    forwards = min(STEPS, bench.cell.steps)
    _check_calls(calls, forwards, evidence, spared)
    _check_coverage(probe.calls, forwards * bench.softmax_elsewhere)
    for latents in (ours, again, turned, softmax, identity, untouched):
        check_finite(latents)
    effect = _check_vacuous(softmax, identity, plain, evidence)
    _check_rerun(ours, again, bench.device, evidence)
    _check_turned(turned, ours, dtype, evidence)
    if bench.is_exact:
        _check_latents(ours, softmax, min(ROUNDING[dtype], effect / _MARGIN), evidence)
    _check_kernels(bench, evidence)
    denoiser.uninstall()
    if not torch.equal(_short(bench), untouched):
        raise GateError("the model is another one after the method was taken out")


def _check_calls(
    calls: Mapping[str, int],
    forwards: int,
    evidence: Evidence,
    decided: Mapping[str, Sequence[Decision]],
) -> None:
    """calls: of each site, by the name of its module. decided: what the accelerator says, by module."""
    spared = {
        site: sum(
            not one.ran for name, told in decided.items() if _holds(name, site) for one in told
        )
        for site in calls
    }
    expected = {site: forwards - spared[site] for site in calls}
    evidence.facts |= {"calls": sum(calls.values()), "expected_calls": sum(expected.values())}
    missed = [site for site, count in calls.items() if count != expected[site]]
    if missed:
        here = f", {spared[missed[0]]} of them spared" if decided else ""
        raise GateError(
            f"{missed[0]} was called {calls[missed[0]]} times in {forwards} forwards{here}: "
            "the method did not run where it should"
        )


def _holds(module: str, site: str) -> bool:
    """Whether an attention module is this one or lies in it."""
    return f"{site}.".startswith(f"{module}.")


def _check_coverage(seen: int, told: int) -> None:
    """With no attention where the method goes, what still attends are the other sites, and nothing beside.

    seen: calls of torch's fused attention; told: those that the model's own sites explain.
    """
    if seen > told:
        raise GateError(
            f"the model attends {seen} times without the method's sites, where its other sites make {told}: "
            "it has attention that it does not name"
        )


def check_finite(latents: torch.Tensor) -> None:
    """No number of the output is infinite or none."""
    if not bool(torch.isfinite(latents).all()):
        raise GateError("the latents are not finite", Status.NOT_FINITE)


def _check_rerun(
    ours: torch.Tensor, again: torch.Tensor, device: torch.device, evidence: Evidence
) -> None:
    """Bit for bit on the CPU; on a GPU up to rounding, for kernels that add in any order.

    Rounding is what another kernel for the same softmax moves these latents by, in this dtype.
    """
    error = relative(again, ours)
    evidence.facts["rerun_error"] = error
    allowed = max(evidence.facts["rounding"], CORE_TOLERANCE["float32"])
    if error > (0 if device.type == "cpu" else allowed):
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
    softmax: torch.Tensor, identity: torch.Tensor, fused: torch.Tensor, evidence: Evidence
) -> float:
    """How far the latents move without attention, which must be far beyond this model's own rounding.

    fused: by fused softmax, which differs from softmax by rounding alone.
    """
    effect, rounding = relative(identity, softmax), relative(fused, softmax)
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
    """The kernels of one forward at the cell's own shape, compiled where the cell is.

    Without an accelerator, which would skip what a forward of the same rows has computed before.
    """
    beside = _kernels_beside(bench)
    bench.denoiser.install(bench.unaccelerated)
    inputs = bench.inputs(range(bench.cell.batch_size))
    if bench.cell.rows > bench.cell.batch_size:
        inputs = tuple(torch.cat([one, one]) for one in inputs)
    latents, *conditions, _ = inputs
    times = torch.full((len(latents),), 500, device=bench.device)
    with torch.inference_mode():
        eager = bench.denoiser(latents, times, *conditions)
        if bench.cell.compile:
            near = bench.denoiser(nudged(latents), times, *conditions)
            compiled = first_compiled(
                lambda: bench.denoiser(latents, times, *conditions), bench.denoiser.compile
            )
            check_finite(compiled)
            check_step(bench.denoiser, lambda: bench.denoiser(latents, times, *conditions))
            check_compiled(compiled, eager, relative(near, eager), evidence)
        seen = kernels.kinds_run(lambda: bench.denoiser(latents, times, *conditions))
        bench.denoiser.compile(on=False)
    evidence.facts["kernels"] = list(seen)
    if refusal := kernels.refusal(bench.method.kernels, seen, beside):
        raise GateError(f"silent fallback: {refusal}")


def _kernels_beside(bench: Bench) -> tuple[str, ...]:
    """The kinds of kernel that run without the method's core; asked only where the method names its own.

    Products of the model's projections may show as those of explicit attention do.
    """
    if not bench.method.kernels:
        return ()
    latents, *conditions, _ = bench.inputs(range(1))
    times = torch.full((1,), 500, device=bench.device)
    bench.denoiser.install(bench.everywhere("identity"))
    with torch.inference_mode():
        return kernels.kinds_run(lambda: bench.denoiser(latents, times, *conditions))


def first_compiled(
    forward: Callable[[], torch.Tensor], compile_it: Callable[[], None]
) -> torch.Tensor:
    """The output of the first compiled forward, which a compiler must have made."""
    graphs = counters["stats"]["unique_graphs"]
    compile_it()
    try:
        out = forward()
    except TorchDynamoException as error:
        cause = str(error).strip().splitlines()[0]
        raise GateError(f"does not compile whole: {cause}") from error
    if counters["stats"]["unique_graphs"] == graphs:
        raise GateError("compile is on, but nothing was compiled: it ran as eager code")
    return out


def check_step(denoiser: Denoiser, forward: Callable[[], torch.Tensor]) -> None:
    """The code that was compiled is every step's: what is compiled anew at each ends as eager code."""
    graphs = counters["stats"]["unique_graphs"]
    denoiser.at(Moment(1, 2, guided=denoiser.clock.now.guided))
    forward()
    denoiser.at(Moment())
    if counters["stats"]["unique_graphs"] != graphs:
        raise GateError(
            "is compiled anew at another step: it looks at the step, so that no code is warm and the "
            "compiler gives up after a few (such a method says `compiles = False`)"
        )


def check_compiled(
    compiled: torch.Tensor, eager: torch.Tensor, nudge: float, evidence: Evidence
) -> None:
    """Within a few times the rounding that was measured, and never near leaving attention out.

    nudge: how far the output moves where the latents are moved by one rounding.
    """
    facts, dtype = evidence.facts, str(eager.dtype).removeprefix("torch.")
    error = relative(compiled, eager)
    rounding = max(_MARGIN * facts["rounding"], _MARGIN * nudge, CORE_TOLERANCE[dtype])
    allowed = min(rounding, facts["attention_effect"] / _MARGIN)
    facts |= {"compile_error": error, "compile_tolerance": allowed}
    if error > allowed:
        raise GateError(
            f"compiled code gives another output than eager code, by {error:.2g} ({allowed:.1g} allowed here)"
        )
