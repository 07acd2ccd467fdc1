"""Compiled cells are compiled whole, once, and checked against eager code."""

from __future__ import annotations

import pytest
import torch
from cells import cell

from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import measure
from ditbench.records import Stage, Status

# Inductor and its imports still use torch.jit.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def run(what, stage, tmp_path):
    job = Job(
        what, stage, 0, Timing(2, 2, 1, warmup_cap_s=0), Quality(), ("latency",), "cpu", tmp_path
    )
    return measure(job, lambda _phase: None)


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def test_a_compiled_cell_passes_its_gates_with_its_kernel_recorded(tmp_path):
    found = run(cell("softmax", compile=True), Stage.GATE, tmp_path)
    assert (found.status, found.reason) == (Status.OK, "")
    assert found.facts["compile_error"] < 1e-4
    assert found.facts["kernels"] == ["math"]


def test_a_graph_break_is_refused_and_not_passed_over(tmp_path):
    found = run(cell("faulty:BreaksTheGraph", compile=True), Stage.GATE, tmp_path)
    assert found.status is Status.FAILED_GATE
    assert found.reason.startswith("does not compile whole")


def test_mistake_19_a_method_that_would_fall_back_to_eager_after_some_steps_is_refused(tmp_path):
    found = run(cell("faulty:LooksAtTheStep", compile=True), Stage.GATE, tmp_path)
    assert found.status is Status.FAILED_GATE
    assert found.reason.startswith("is compiled anew at another step: it looks at the step")


def test_opening_a_stateless_method_anew_does_not_compile_again(tmp_path):
    found = run(cell("zero", compile=True), Stage.TIME, tmp_path)
    assert found.status is Status.OK
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert found.metrics["first_call"][0] > found.metrics["latency"][0]
