"""A trace of one cell: labelled, bounded, and never a record."""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace

import pytest
import torch
from cells import cell
from torch._C._autograd import DeviceType

from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import profiling
from ditbench.records import Stage


def asked(attention, folder, device="cpu"):
    return Job(cell(attention), Stage.TIME, 0, Timing(), Quality(), (), device, folder)


@pytest.fixture(scope="module")
def profiled(tmp_path_factory):
    phases = []
    job = asked("monarch", tmp_path_factory.mktemp("profile"))
    return profiling.measure(job, phases.append), phases


def names(facts):
    with gzip.open(facts["trace"], "rt") as file:
        return {event.get("name") for event in json.load(file)["traceEvents"]}


def test_the_trace_has_a_label_around_each_block_and_its_attention(profiled):
    found, phases = profiled
    labels = {name for name in names(found.facts) if str(name).startswith("ditbench: ")}
    depth = cell("monarch").model["depth"]
    assert labels == {
        *(f"ditbench: block {number}" for number in range(depth)),
        "ditbench: sampling run",
        "ditbench: attention",
        "ditbench: projections",
    }
    assert phases == ["loading", "warming up", "profiling"]


def test_it_says_where_the_time_went_and_measures_nothing(profiled):
    facts = profiled[0].facts
    assert not profiled[0].metrics
    assert facts["on"] == "cpu"
    assert 0 < facts["core_s"] < facts["total_s"]
    assert 0 < facts["projections_s"] < facts["total_s"]
    seconds = [each for _, _, each in facts["top"]]
    assert seconds == sorted(seconds, reverse=True)
    assert 0 < sum(seconds) <= facts["total_s"] * 1.05
    assert "aten::bmm" in {name for name, _, _ in facts["top"]}
    assert not any(name.startswith("ditbench") for name, _, _ in facts["top"])


def test_a_method_that_projects_nothing_has_the_output_projection_alone(tmp_path):
    of_zero, of_all = (
        profiling.measure(asked(name, tmp_path), lambda _phase: None).facts["projections_s"]
        for name in ("zero", "identity")
    )
    assert 0 < of_zero < of_all


def test_a_trace_too_long_for_a_browser_has_fewer_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(profiling, "MOST_EVENTS", 10)
    assert profiling.measure(asked("softmax", tmp_path), lambda _phase: None).facts["steps"] == 1


def event(key, *, device=DeviceType.CPU, cpu=0.0, cuda=0.0, own=0.0):
    """What torch's profiler says of one name, in microseconds."""
    return SimpleNamespace(
        key=key,
        device_type=device,
        count=2,
        cpu_time_total=cpu,
        device_time_total=cuda,
        self_cpu_time_total=0.0,
        self_device_time_total=own,
    )


def test_the_time_of_a_kernel_counts_once():
    events = [
        event("ditbench: sampling run", cpu=9e6, cuda=4e6),
        event("ditbench: attention", cpu=5e6, cuda=3e6),
        event("ditbench: attention", device=DeviceType.CUDA, cuda=8e6),
        event("ditbench: projections", cpu=2e6, cuda=1e6),
        event("aten::mm", cuda=2e6, own=2e6),
        event("gemm_kernel", device=DeviceType.CUDA, cuda=2e6, own=2e6),
        event("aten::view"),
    ]
    assert profiling.facts_of(events, "cuda", "ditbench: sampling run") == {
        "on": "cuda",
        "total_s": 4.0,
        "top": [["aten::mm", 2, 2.0]],
    }
    assert profiling.parts_of(events, "cuda") == {"core_s": 2.0, "projections_s": 1.0}


@pytest.mark.gpu
def test_on_a_gpu_the_seconds_are_those_of_its_kernels(tmp_path):
    uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
    facts = profiling.measure(asked("sdpa", tmp_path, uuid), lambda _phase: None).facts
    assert facts["on"] == "cuda"
    assert 0 < facts["core_s"] < facts["total_s"]
    assert 0 < sum(seconds for _, _, seconds in facts["top"]) <= facts["total_s"] * 1.05
