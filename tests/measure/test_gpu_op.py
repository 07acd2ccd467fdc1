"""On a GPU: the flush empties L2, hot calls fill an interval, and the ceilings are a GPU's."""

from __future__ import annotations

import statistics

import pytest
import torch
from test_op import core

from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import ceilings, measure
from ditbench.measure.flush import Flush, cache_bytes
from ditbench.measure.timing import stopwatch
from ditbench.records import Op, Stage, Status

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
CUDA = torch.device("cuda")


def test_the_flush_is_twice_the_l2_and_makes_the_next_read_slow():
    size = cache_bytes(CUDA)
    assert size >= 2**20
    flush, watch = Flush.of(CUDA), stopwatch(CUDA)
    assert flush.bytes >= 2 * size - 8
    data = torch.ones(size // 16, device=CUDA)  # a quarter of the cache

    def read(before) -> float:
        watch.start()
        before()
        watch.mark(0)
        data.sum()
        watch.mark(1)
        return sum(watch.seconds())

    cold = statistics.median(read(flush) for _ in range(30))
    hot = statistics.median(read(data.sum) for _ in range(30))
    assert cold > 1.1 * hot


@pytest.mark.parametrize("cache", ["cold", "hot"])
def test_a_core_is_gated_and_timed_on_the_gpu(cache, tmp_path):
    cell = core("sdpa", Op(1024, 12, 64, cache), dtype="bfloat16", settings=(("backend", "auto"),))
    for stage in (Stage.GATE, Stage.TIME):
        job = Job(cell, stage, 0, Timing(2, 10, 1), Quality(), ("latency",), "cuda", tmp_path)
        found = measure(job, lambda _phase: None)
        assert (found.status, found.reason) == (Status.OK, "")
    assert 1e-6 < statistics.median(found.metrics["latency"]) < 1e-3
    assert (found.facts["calls_together"] > 1) == (cache == "hot")


def test_the_ceilings_of_a_gpu_are_beyond_any_processors():
    assert max(ceilings.matrix_rates(CUDA, torch.bfloat16)) > 1e13
    assert max(ceilings.bandwidths(CUDA)) > 1e11
