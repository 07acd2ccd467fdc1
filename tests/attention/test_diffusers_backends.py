"""`diffusers`: the backend named, for this call and no other, and refused where it cannot run."""

from __future__ import annotations

import warnings

import pytest
import torch
from diffusers.models import attention_dispatch as dispatch

from ditbench.attention.base import METHODS, Shape
from ditbench.attention.diffusers import _BACKENDS, Diffusers
from ditbench.attention.softmax import Softmax
from ditbench.measure.cost import _count_core
from ditbench.measure.kernels import kinds_run

SHAPE = Shape(batch=2, heads=2, tokens=40, head_dim=16)


def qkv():
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, 2, 40, 16, generator=generator) for _ in range(3))


def error(backend):
    true = Softmax().attend(*qkv())
    return float((Diffusers(backend).attend(*qkv()) - true).norm() / true.norm())


def test_every_backend_of_diffusers_is_offered_and_no_other():
    assert set(_BACKENDS) == {one.value for one in dispatch.AttentionBackendName}


@pytest.mark.parametrize("backend", ["native", "_native_flash", "_native_math", "flex"])
def test_layout_and_scale_are_those_of_softmax(backend):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch: uncompiled flex writes out the scores
        assert error(backend) < 1e-6


@pytest.mark.parametrize(
    ("backend", "kernel"), [("_native_flash", "flash"), ("_native_math", "math")]
)
def test_mistake_19_the_named_backend_runs(backend, kernel):
    method = Diffusers(backend)
    assert method.kernels == {kernel}
    assert set(kinds_run(lambda: method.attend(*qkv()))) == {kernel}


def test_mistake_17_the_backend_of_a_call_is_nobody_elses():
    """diffusers' own setter turns a switch of the process that its own reset does not turn back."""
    before = dispatch._AttentionBackendRegistry.get_active_backend()
    Diffusers("_native_math").attend(*qkv())
    assert dispatch._AttentionBackendRegistry.get_active_backend() == before
    native = [x.transpose(1, 2) for x in qkv()]
    assert kinds_run(lambda: dispatch.dispatch_attention_fn(*native)) == ("flash",)


@pytest.mark.parametrize("backend", [name for name, one in _BACKENDS.items() if one.command])
def test_a_missing_package_is_said_with_the_command_that_installs_it(backend, monkeypatch):
    for name in ("FLASH_ATTN", "FLASH_ATTN_3", "SAGE_ATTN", "XFORMERS_ATTN", "FLEX_ATTN"):
        monkeypatch.setattr(dispatch, f"_CAN_USE_{name}", False)
    (reason,) = Diffusers(backend).unsupported(SHAPE, "bfloat16", "cuda")
    assert f"'{backend}' is not usable" in reason
    assert reason.endswith(_BACKENDS[backend].command)


@pytest.mark.parametrize("backend", [name for name, one in _BACKENDS.items() if one.never])
def test_what_can_run_in_no_cell_says_why(backend):
    (reason,) = Diffusers(backend).unsupported(SHAPE, "bfloat16", "cuda")
    assert ("fetched from the Hugging Face Hub" in reason) == backend.endswith("_hub")


@pytest.mark.parametrize(
    ("backend", "where", "reasons"),
    [
        ("_native_cudnn", (SHAPE, "float32", "cpu"), ("CUDA device", "float16 or bfloat16")),
        ("_native_efficient", (SHAPE, "float32", "cpu"), ("CUDA device",)),
        ("_native_efficient", (Shape(1, 1, 4, 12), "bfloat16", "cuda"), ("multiple of 8",)),
        ("_native_flash", (Shape(1, 1, 4, 512), "float32", "cuda"), ("float16", "at most 256")),
        ("_native_flash", (SHAPE, "float32", "cpu"), ()),
        ("native", (SHAPE, "float32", "cuda"), ()),
        ("flex", (SHAPE, "float32", "cpu"), ()),
    ],
)
def test_device_dtype_and_head_dim_are_refused_with_every_reason(backend, where, reasons):
    refusals = Diffusers(backend).unsupported(*where)
    assert len(refusals) == len(reasons)
    assert all(part in refusal for part, refusal in zip(reasons, refusals, strict=True))


def test_a_backend_of_sageattention_is_not_called_exact():
    inexact = {name for name in _BACKENDS if not Diffusers(name).is_exact}
    assert inexact == {name for name in _BACKENDS if "sage" in name}


@pytest.mark.parametrize("backend", ["native", "_native_cudnn", "_native_efficient"])
def test_torchs_own_are_counted_and_the_others_told_as_uncounted(backend):
    assert _count_core(Diffusers(backend), SHAPE) == (Softmax().macs(SHAPE), (), ())
    assert _count_core(Diffusers("flex"), SHAPE) == (None, ("core not countable on meta",), ())


def test_it_is_found_by_name():
    assert METHODS.get("diffusers") is Diffusers
