"""On a GPU: what does not fit is a record of its own, and how many samples of DiT-XL/2 do."""

from __future__ import annotations

import os

import pytest
import torch
from cells import cell, registered

from ditbench.devices import device, nvml
from ditbench.jobs import Job, Quality, Timing
from ditbench.metrics import LARGEST_BATCH
from ditbench.records import Cell, Choice, Sampling, Stage, Status
from ditbench.run import fit
from ditbench.run.server import Server

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A job of a cell, in a fresh worker on the GPU."""
    folder = tmp_path_factory.mktemp("gpu")
    gpu = device.choose(None, nvml.load(), os.environ).name

    def job(of, stage):
        timing = Timing(1, 2, 1, warmup_cap_s=0)
        return Job(of, stage, 0, timing, Quality(), ("latency",), gpu, folder)

    with Server() as server:

        def run(of, stage):
            def trial(one):
                return server.run_job(one, folder / f"{one.stage}-{one.cell.batch_size}.log")

            asked = job(of, stage)
            return (fit.find(asked, trial) if stage is Stage.FIT else trial(asked)).findings

        yield run


def xl(method, *settings):
    spec = registered("dit-xl/2-256")
    return Cell(
        spec, Choice(method, settings), blocks=tuple(range(28)), steps=20,
        sampling=Sampling(dtype="bfloat16"),
    )  # fmt: skip


def test_out_of_memory_on_the_gpu_is_its_own_record_and_the_next_cell_is_unharmed(run):
    greedy = run(xl("softmax").of_batch(65_536), Stage.TIME)
    assert greedy.status is Status.OUT_OF_MEMORY
    assert "out of memory" in greedy.reason
    after = run(cell("sdpa", batch_size=2), Stage.TIME)
    assert (after.status, after.reason) == (Status.OK, "")


def test_the_largest_batch_of_dit_xl_2_by_method(run):
    found = {
        name: run(xl(name, *settings), Stage.FIT)
        for name, settings in (
            ("softmax", ()),
            ("sdpa", (("backend", "auto"),)),
            ("identity", ()),
        )
    }
    for name, one in found.items():
        print(name, one.metrics, one.facts)  # noqa: T201 (the figures are what a person runs this for)
        assert one.status is Status.OK, one.reason
        assert one.facts["wavering"] == []
        fitted = [trial for trial in one.facts["trials"] if trial[1] == "fits"]
        assert all(peak < one.facts["memory_limit"] for _, _, peak, _ in fitted)
    most = {name: one.metrics[LARGEST_BATCH][0] for name, one in found.items()}
    assert 1 < most["softmax"] <= most["sdpa"] <= most["identity"]
