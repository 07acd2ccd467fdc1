"""Every method where it matters: exact ones equal softmax on CUDA, by the kernel that was asked for."""

from __future__ import annotations

import pytest
import torch

from ditbench.attention.base import METHODS, Shape
from ditbench.attention.diffusers import _BACKENDS
from ditbench.measure.kernels import kinds_run, refusal

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

SHAPE = Shape(batch=2, heads=16, tokens=256, head_dim=72)
TOLERANCE = {"float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}
EXACT = [
    ("softmax", {}),
    ("xformers", {}),
    ("flex", {}),
    ("flash", {}),
    *(("sdpa", {"backend": name}) for name in ("auto", "flash", "efficient", "cudnn", "math")),
    *(
        ("diffusers", {"backend": name})
        for name, one in _BACKENDS.items()
        if one.exact and not one.never
    ),
]
APPROXIMATE = [
    ("monarch", {}),
    ("monarch", {"block_size": 14}),
    ("monarch", {"kernel": "triton"}),
    ("monarch", {"block_size": 14, "kernel": "triton"}),
    ("nystromformer", {}),
    ("nystromformer", {"rank": 30}),
    *(
        (name, {})
        for name in ("identity", "zero", "linear", "relu-linear", "efficient", "cosformer")
    ),
    *(
        (name, {})
        for name in ("agent", "sliding-tile", "window", "gqa", "linformer", "token-merge")
    ),
    ("flex", {"window": 5}),
]


def made(choice, dtype):
    name, settings = choice
    method = METHODS.get(name)(**settings)
    if reasons := method.unsupported(SHAPE, dtype, "cuda"):
        pytest.skip("; ".join(reasons))
    return method


def inputs(dtype):
    generator = torch.Generator().manual_seed(0)
    sizes = (SHAPE.batch, SHAPE.heads, SHAPE.tokens, SHAPE.head_dim)
    return tuple(
        torch.randn(sizes, generator=generator).to("cuda", getattr(torch, dtype)) for _ in range(3)
    )


@pytest.fixture(autouse=True)
def full_float32(monkeypatch):
    """TF32 would be another dtype than the one asked for."""
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("choice", EXACT, ids=str)
def test_exact_methods_equal_softmax_in_float64(choice, dtype):
    method, (q, k, v) = made(choice, dtype), inputs(dtype)
    scores = q.double() @ k.double().mT / SHAPE.head_dim**0.5
    true = scores.softmax(dim=-1) @ v.double()
    try:
        out = method.attend(q, k, v)
    except RuntimeError as error:
        if "No available kernel" not in str(error):
            raise
        pytest.skip(f"this GPU has no such kernel: {error}")
    assert float((out.double() - true).norm() / true.norm()) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("choice", EXACT, ids=str)
def test_mistake_19_the_kernel_that_was_asked_for_runs(choice, dtype):
    method, (q, k, v) = made(choice, dtype), inputs(dtype)
    try:
        seen = kinds_run(lambda: method.attend(q, k, v))
    except RuntimeError as error:
        if "No available kernel" not in str(error):
            raise
        pytest.skip(f"this GPU has no such kernel: {error}")
    assert refusal(method.kernels, seen) == ""


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("choice", APPROXIMATE, ids=str)
def test_approximate_methods_give_on_the_gpu_what_they_give_in_float64(choice, dtype):
    method, (q, k, v) = made(choice, dtype), inputs(dtype)
    true = method.attend(q.double().cpu(), k.double().cpu(), v.double().cpu())
    out = method.attend(q, k, v)
    assert (out.shape, out.dtype) == (q.shape, q.dtype)
    # A pseudo-inverse multiplies rounding errors; a wrong method would be off by about one.
    assert float((out.double().cpu() - true).norm()) <= 0.1 * float(true.norm())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("choice", [("flex", {}), ("flex", {"window": 5})], ids=str)
def test_flex_is_fused_in_eager_code_too(choice, dtype):
    method, (q, k, v) = made(choice, dtype), inputs(dtype)
    method.attend(q, k, v)
    assert kinds_run(lambda: method.attend(q, k, v)) == ("flex",)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sage_is_near_softmax(dtype):
    method, (q, k, v) = made(("sage", {}), dtype), inputs(dtype)
    true = torch.nn.functional.scaled_dot_product_attention(q.double(), k.double(), v.double())
    error = float((method.attend(q, k, v).double() - true).norm() / true.norm())
    assert error < 0.1
