"""One attention core by itself, at the cell's own sizes: right, finite, and the same in any company.

q, k and v lie in memory as a model's adapter hands them over: heads beside head_dim, transposed, not
contiguous.
"""

from __future__ import annotations

import dataclasses
import math

import torch

from ditbench.attention.base import AttentionMethod, Core, Shape, core_at
from ditbench.measure.evidence import Evidence, GateError, relative
from ditbench.records import Status

# Relative L2 error that rounding explains, of one core against float64. On the q, k and v drawn here over
# heads instead of tokens gives about 2, scaling twice 0.9; what follows from the published module's own
# projections of normal tokens is 3.6 and 0.28 (tests/measure/test_seed_faults.py).
CORE_TOLERANCE = {"float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}
# Scores of standard deviation 2: peaked enough that a wrong scale shows, far from overflow.
SPREAD = 2**0.5
# Queries at a time in the float64 reference, so that long sequences fit, and rows that are held against it.
_CHUNK, _ROWS = 256, 8
# Samples as unlike as these share nothing: what is taken over the whole batch shows.
_UNLIKE = (1.0, 2.0, 0.25)

QKV = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def check_core(
    method: AttentionMethod,
    shape: Shape,
    dtype: torch.dtype,
    device: torch.device,
    evidence: Evidence,
) -> None:
    """Shape and dtype kept, finite, if exact equal to softmax in float64, and samples left apart."""
    core = core_at(method, shape, str(device), str(dtype).removeprefix("torch."))
    q, k, v = drawn(shape, dtype, device)
    out = _attend(core, q, k, v)
    if out.shape != q.shape or out.dtype != q.dtype:
        raise GateError(
            f"gives {tuple(out.shape)} {out.dtype} for {tuple(q.shape)} {q.dtype}: "
            "the output must keep shape and dtype"
        )
    if not bool(torch.isfinite(out).all()):
        share = 1 - float(torch.isfinite(out).double().mean())
        raise GateError(f"{share:.1%} of the core's output is not finite", Status.NOT_FINITE)
    if method.is_exact:
        _check_numerics(out, (q, k, v), evidence)
    few = dataclasses.replace(shape, batch=len(_UNLIKE))
    _check_company(core, drawn(few, dtype, device), evidence)


def nudged(x: torch.Tensor) -> torch.Tensor:
    """Each value moved by about one rounding of its dtype, up or down: what no result may depend on."""
    up = torch.randint(0, 2, x.shape, generator=torch.Generator().manual_seed(1)).to(x.device)
    return x * (1 + (2 * up - 1) * torch.finfo(x.dtype).eps).to(x.dtype)


def drawn(shape: Shape, dtype: torch.dtype, device: torch.device) -> QKV:
    """(batch, heads, tokens, head_dim) each, as a view of (batch, tokens, heads, head_dim)."""
    generator = torch.Generator().manual_seed(0)
    sizes = (shape.batch, shape.tokens, shape.heads, shape.head_dim)
    q, k, v = (
        (torch.randn(sizes, generator=generator) * spread).to(device, dtype).transpose(1, 2)
        for spread in (SPREAD, SPREAD, 1.0)
    )
    return q, k, v


def _attend(core: Core, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """On copies that lie in memory alike: a method may work in place on what is its own to use up."""
    return core.attend(q.clone(), k.clone(), v.clone())


def _check_numerics(out: torch.Tensor, qkv: QKV, evidence: Evidence) -> None:
    """Rows spread over the batch, the first and the last among them."""
    dtype, last = out.dtype, len(out) - 1
    tolerance = CORE_TOLERANCE[str(dtype).removeprefix("torch.")]
    rows = {round(last * n / (_ROWS - 1)) for n in range(_ROWS)}
    error = max(_core_error(out[row], *(x[row] for x in qkv)) for row in rows)
    worst = max(error, evidence.facts.get("numeric_error", 0.0))  # of the shapes of all sites
    evidence.facts |= {"numeric_error": worst, "numeric_tolerance": tolerance}
    if error > tolerance:
        raise GateError(
            f"is declared exact, but lies {error:.2g} from softmax in float64 "
            f"(relative L2; {tolerance:.0e} allowed in {dtype})"
        )


def _core_error(out: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> float:
    """Relative L2 distance of one row from softmax accumulated in float64, by chunks of queries."""
    keys, values = k.double(), v.double()
    wrong = right = 0.0
    for start in range(0, q.shape[1], _CHUNK):
        chunk = slice(start, start + _CHUNK)
        scores = q[:, chunk].double() @ keys.transpose(-2, -1) / q.shape[-1] ** 0.5
        true = scores.softmax(dim=-1) @ values
        wrong += float((out[:, chunk].double() - true).square().sum())
        right += float(true.square().sum())
    return math.sqrt(wrong / right)


def _check_company(core: Core, qkv: QKV, evidence: Evidence) -> None:
    """A sample's result is the same in another place, alone, and however it lies in memory."""
    scale = torch.tensor(_UNLIKE, device=qkv[0].device, dtype=qkv[0].dtype)[:, None, None, None]
    q, k, v = qkv[0] * scale, qkv[1], qkv[2]
    out = _attend(core, q, k, v)
    dtype = str(q.dtype).removeprefix("torch.")
    tolerance = max(CORE_TOLERANCE[dtype], relative(_attend(core, nudged(q), k, v), out))
    order = torch.arange(len(q), device=q.device).roll(1)
    elsewhere = _attend(core, q[order], k[order], v[order])
    again = relative(_attend(core, q, k, v), out)
    if not again <= tolerance:
        raise GateError(
            f"the same q, k and v, with others between, give results that differ by {again:.2g}: state "
            "is kept between runs, or numbers are drawn anew"
        )
    alone = [_attend(core, *(x[n : n + 1] for x in (q, k, v))) for n in range(len(q))]
    moved = {
        "in another place in the batch": (elsewhere, out[order]),
        "alone": (torch.cat(alone), out),
        "of contiguous q, k and v": (
            _attend(core, q.contiguous(), k.contiguous(), v.contiguous()),
            out,
        ),
    }
    errors = {how: _furthest(one, other) for how, (one, other) in moved.items()}
    worst = max(errors.values())
    if not worst < evidence.facts.get("company_error", 0.0):  # of several shapes, the worst is kept
        evidence.facts |= {"company_error": worst, "company_tolerance": tolerance}
    for how, error in errors.items():
        if not error <= tolerance:  # nor is NaN
            raise GateError(
                f"a sample's result {how} differs by {error:.2g} ({tolerance:.1g} allowed here): it must "
                "depend on that sample's q, k and v alone"
            )


def _furthest(one: torch.Tensor, other: torch.Tensor) -> float:
    return max(relative(mine, theirs) for mine, theirs in zip(one, other, strict=True))
