"""A trace of an attention core by itself: cold calls and hot ones told apart, the flush never counted."""

from __future__ import annotations

import gzip
import json
from collections import Counter

import pytest
import torch

from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import op_profiling
from ditbench.records import Cell, Choice, Op, Sampling, Stage

CALL = "ditbench: call with a {} cache"


def profiled(cache, folder, method="softmax", device="cpu", tokens=64):
    sampling = Sampling(guidance_scale=1.0)
    op = Op(tokens=tokens, heads=2, head_dim=8, cache=cache)
    of = Cell(op.choice, Choice(method), blocks=(0,), steps=1, sampling=sampling)
    job = Job(of, Stage.TIME, 0, Timing(), Quality(), (), device, folder)
    return op_profiling.measure(job, lambda _phase: None)


def labels(facts):
    with gzip.open(facts["trace"], "rt") as file:
        found = json.load(file)["traceEvents"]
    told = (str(one.get("name")) for one in found if one.get("cat") == "user_annotation")
    return Counter(name for name in told if name.startswith("ditbench: "))


def test_cold_calls_and_hot_ones_have_labels_of_their_own(tmp_path):
    calls = op_profiling.CALLS
    cold, hot = (profiled(cache, tmp_path / cache).facts for cache in ("cold", "hot"))
    assert labels(cold) == {CALL.format("cold"): calls, op_profiling.FLUSH: calls}
    assert labels(hot) == {CALL.format("hot"): calls}


def test_the_shares_are_those_of_the_calls_and_the_flush_is_in_none(tmp_path):
    found = profiled("cold", tmp_path)
    facts, rows = found.facts, {name: (calls, s) for name, calls, s in found.facts["top"]}
    assert not found.metrics
    assert (facts["on"], facts["calls"]) == ("cpu", op_profiling.CALLS)
    assert {"aten::bmm", "aten::_softmax", op_profiling.OUTSIDE} <= rows.keys()
    assert rows["aten::bmm"][0] == 2 * op_profiling.CALLS
    assert "aten::add_" not in rows  # what the flush runs
    seconds = [s for _, s in rows.values()]
    assert seconds == sorted(seconds, reverse=True)
    assert 0.5 * facts["total_s"] < sum(seconds) <= 1.01 * facts["total_s"]


@pytest.mark.gpu
def test_on_a_gpu_the_seconds_of_the_calls_are_those_of_their_kernels(tmp_path):
    uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
    facts = profiled("cold", tmp_path, "sdpa", uuid, tokens=1024).facts
    assert facts["on"] == "cuda"
    seconds = sum(seconds for _, _, seconds in facts["top"])
    assert 0 < seconds <= 1.01 * facts["total_s"]
