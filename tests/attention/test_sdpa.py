"""A named backend of `sdpa` is the kernel that runs, in eager and in compiled code."""

from __future__ import annotations

import pytest
import torch

from ditbench.attention.sdpa import Sdpa
from ditbench.measure.kernels import kinds_run


@pytest.mark.parametrize("how", ["eager", "compiled"])
@pytest.mark.parametrize("backend", ["flash", "math"])
def test_mistake_19_the_named_kernel_runs_and_no_other(backend, how):
    method = Sdpa(backend=backend)
    attend = method.attend
    if how == "compiled":
        attend = torch.compile(attend, fullgraph=True, dynamic=False, backend="aot_eager")
    q, k, v = torch.randn(3, 1, 2, 16, 8)
    with torch.inference_mode():
        attend(q, k, v)
        assert set(kinds_run(lambda: attend(q, k, v))) == method.kernels == {backend}


def test_mistake_17_a_named_backend_is_forgotten_after_the_call():
    """Nothing process-global stays: `auto` afterwards takes the fused kernel again."""
    q, k, v = torch.randn(3, 1, 2, 16, 8)
    Sdpa(backend="math").attend(q, k, v)
    assert kinds_run(lambda: Sdpa().attend(q, k, v)) == ("flash",)


def test_auto_asks_for_no_kernel():
    assert Sdpa().kernels == frozenset()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own imports
def test_a_named_backend_compiles_whole_with_the_real_compiler():
    q, k, v = torch.randn(3, 1, 2, 16, 8)
    attend = torch.compile(Sdpa(backend="flash").attend, fullgraph=True, dynamic=False)
    with torch.inference_mode():
        torch.testing.assert_close(attend(q, k, v), Sdpa().attend(q, k, v))
        assert kinds_run(lambda: attend(q, k, v)) == ("flash",)
