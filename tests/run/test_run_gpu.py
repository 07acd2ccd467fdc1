"""On a GPU: what one worker does to it is over with that worker."""

from __future__ import annotations

import os

import fakes_run
import pytest

from ditbench.devices import device, lock, nvml
from ditbench.devices.processes import children_of, kill
from ditbench.records import Status
from ditbench.run.server import Server

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def gpu():
    """The device that a run would choose."""
    chosen = device.choose(None, nvml.load(), os.environ)
    if chosen.gpu is None:
        pytest.skip("needs an NVIDIA GPU")
    return chosen


@pytest.fixture
def run(gpu, tmp_path):
    with Server(measure="fakes_gpu:measure") as server:

        def run(attention, hear=lambda _phase: None):
            job = fakes_run.job(attention, device=gpu.name, timeout_s=120.0)
            return server.run_job(job, tmp_path / "a.log", hear).findings

        yield run


def test_out_of_memory_on_a_gpu_is_a_record_of_its_own_and_the_next_cell_is_unharmed(run):
    full = run("fills")
    assert full.status is Status.OUT_OF_MEMORY
    assert "memory_limit" not in full.facts
    after = run("works")
    assert after.status is Status.OK
    assert after.metrics == {"latency": (2.0**20,)}
    assert after.facts["free"] > 0.9 * after.facts["total"]


def test_a_killed_worker_leaves_neither_its_memory_nor_its_lock_on_the_gpu(run, gpu):
    def hear(phase):
        if phase.startswith("holds"):
            for server in children_of(os.getpid()):
                for worker in children_of(server):
                    kill(worker)

    found = run("holds", hear)
    assert found.reason.startswith("killed from outside (SIGKILL)")
    assert not lock.holder(gpu.name)
    after = run("works").facts
    assert after["free"] > 0.9 * after["total"]
