"""`xformers` at its edge: layout and scale, with a package of a few lines that keeps its convention."""

from __future__ import annotations

import sys

import pytest
import torch
from fakes_attention import OverHeads, ScaledTwice, install_xformers

from ditbench.attention.base import Shape
from ditbench.attention.softmax import Softmax
from ditbench.attention.xformers import Xformers

SHAPE = Shape(batch=2, heads=4, tokens=16, head_dim=8)


@pytest.fixture
def qkv():
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, 4, 16, 8, generator=generator) for _ in range(3))


def error(method, qkv):
    true = Softmax().attend(*qkv)
    out = method.attend(*qkv)
    assert out.shape == true.shape
    return float((out - true).norm() / true.norm())


def test_layout_and_scale_are_those_of_softmax(monkeypatch, qkv):
    install_xformers(monkeypatch)
    assert error(Xformers(), qkv) < 1e-6


def test_mistake_01_attention_over_heads_has_the_right_shape_and_a_wrong_answer(monkeypatch, qkv):
    install_xformers(monkeypatch)
    assert error(OverHeads(), qkv) > 0.5


def test_mistake_02_a_q_scaled_twice_gives_a_wrong_answer(monkeypatch, qkv):
    install_xformers(monkeypatch)
    assert error(ScaledTwice(), qkv) > 0.1


def test_a_missing_package_is_said_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "xformers", None)
    (reason,) = Xformers.unavailable()
    assert "xformers" in reason
    assert "pip install ditbench[xformers]" in reason


def test_a_wheel_without_the_function_is_as_good_as_missing(monkeypatch):
    install_xformers(monkeypatch, whole=False)
    (reason,) = Xformers.unavailable()
    assert "cannot import name 'memory_efficient_attention'" in reason


def test_the_cpu_is_refused_beside_the_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "xformers", None)
    package, device = Xformers().unsupported(SHAPE, "float32", "cpu")
    assert "pip install" in package
    assert "CPU" in device


def test_with_the_package_a_gpu_is_not_refused(monkeypatch):
    install_xformers(monkeypatch)
    assert Xformers.unavailable() == []
    assert Xformers().unsupported(SHAPE, "bfloat16", "cuda") == []
