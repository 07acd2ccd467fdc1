"""Models beside DiT on a real GPU, in half precision: the gates pass, and the kernels are fused ones."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from small_models import SMALL
from test_cells_of_models import cell, job

from ditbench.measure import catalog, gates, timing
from ditbench.records import Stage, Status


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("name", [name for name in SMALL if name != "dit"])
def test_a_cell_passes_its_gates_and_is_timed_on_the_gpu(name, tmp_path):
    what = cell(name, "sdpa")
    what = dataclasses.replace(what, sampling=dataclasses.replace(what.sampling, dtype="bfloat16"))
    (planned,) = catalog.inspect([what], "cuda")
    gate, time = (
        dataclasses.replace(job(what, stage, tmp_path), device="cuda")
        for stage in (Stage.GATE, Stage.TIME)
    )
    found = gates.run(gate, lambda _phase: None)
    assert (found.status, found.reason, planned.reasons) == (Status.OK, "", ())
    assert {"flash", "cudnn", "efficient"} & set(found.facts["kernels"])
    assert timing.run(time, lambda _phase: None).status is Status.OK
