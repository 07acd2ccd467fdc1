"""What an attention core by itself must pass before any stopwatch.

Its price, its numbers against softmax's in float64, samples left apart, nothing remembered of an earlier
call, the kernel that was asked for, compiled whole where it is compiled, and the process left as it was. And
what the device gives at most, measured here, where the methods are: the ceilings that they are held against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ditbench.jobs import Findings, Job
from ditbench.measure import ceilings, flags, kernels
from ditbench.measure.bench import dtype_of
from ditbench.measure.core import CORE_TOLERANCE, check_core, nudged
from ditbench.measure.cost import Cost, core_cost
from ditbench.measure.evidence import Evidence, GateError, fingerprint, relative
from ditbench.measure.gates import (
    check_compiled,
    check_cost,
    check_finite,
    check_flags,
    first_compiled,
)
from ditbench.measure.op import Core, set_up


def run(job: Job, say: Callable[[str], None]) -> Findings:
    """All gates on one cell of an op; the first that refuses ends it."""
    say("loading")
    flags.settle()
    before = flags.read()
    core = set_up(job.cell, job.device)
    evidence = Evidence({"exact": core.method.is_exact, "rows": job.cell.rows})
    try:
        price = _check(core, before, evidence, say)
    except GateError as refusal:
        return Findings(refusal.status, str(refusal), facts=evidence.facts)
    say("ceilings")
    facts = evidence.facts | {
        "matrix_rates": list(ceilings.matrix_rates(core.device, dtype_of(core.cell))),
        "bandwidths": list(ceilings.bandwidths(core.device)),
    }
    return Findings(metrics={"macs": (price.total,), "core_macs": (price.core,)}, facts=facts)


def _check(
    core: Core, before: Mapping[str, Any], evidence: Evidence, say: Callable[[str], None]
) -> Cost:
    say("counting")
    price = core_cost(core.method, core.shape)
    evidence.facts |= {
        "counted_core_macs": price.counted_core,
        "uncounted": list(price.uncounted),
        "own_formulas": list(price.own_formulas),
    }
    check_cost(price)
    say("gates")
    with torch.inference_mode():
        check_core(core.method, core.shape, dtype_of(core.cell), core.device, evidence)
        _check_opened(core, evidence)
        _check_memory(core)
        _check_kernels(core, evidence)
    check_flags(before)
    return price


def _check_opened(core: Core, evidence: Evidence) -> None:
    """What is timed is what was checked, however a site makes it ready; and q, k and v are left alone."""
    before = [x.clone() for x in core.qkv]
    ours, checked = core(), core.method.attend(*(x.clone() for x in before))
    evidence.facts["knob_digest"] = fingerprint(ours)
    if not all(torch.equal(x, kept) for x, kept in zip(core.qkv, before, strict=True)):
        raise GateError("changes q, k or v: the next call would be on other numbers than its own")
    error, allowed = relative(ours, checked), evidence.facts["company_tolerance"]
    if not error <= allowed:
        raise GateError(
            f"made ready for a site it gives another result than by itself, by {error:.2g} "
            f"({allowed:.1g} allowed here)"
        )


def _check_memory(core: Core) -> None:
    """A call is as much work on q, k and v that were seen as on others, and its result follows the numbers.

    A timed core is called again and again on the same tensors, which no model does.
    """
    generator = torch.Generator(core.device).manual_seed(1)
    core()
    core.draw(generator)
    ours = core().clone()
    fresh = core.attend(*(x.clone() for x in core.qkv))
    error, allowed = relative(ours, fresh), CORE_TOLERANCE[str(ours.dtype).removeprefix("torch.")]
    if not error <= allowed:
        raise GateError(
            f"the same tensors with other numbers in them give a result that is wrong by {error:.2g}: "
            "what was computed before is kept"
        )
    core.draw(generator)
    first, again = (kernels.operators_run(core).total() for _ in range(2))
    if first != again:
        raise GateError(
            f"a second call on the same q, k and v ran {again} operators where the first ran {first}: "
            "what was computed before is kept"
        )


def _check_kernels(core: Core, evidence: Evidence) -> None:
    """The kernels of one call, compiled where the cell is."""
    eager = core()
    if core.cell.compile:
        q, k, v = core.qkv
        nudge = relative(core.attend(nudged(q), k, v), eager)
        evidence.facts |= {"rounding": 0.0, "attention_effect": relative(v, eager)}
        compiled = first_compiled(core, core.compile)
        check_finite(compiled)
        check_compiled(compiled, eager, nudge, evidence)
    seen = kernels.kinds_run(core)
    evidence.facts["kernels"] = list(seen)
    if refusal := kernels.refusal(core.method.kernels, seen):
        raise GateError(f"silent fallback: {refusal}")
