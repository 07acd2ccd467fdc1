"""On a GPU: making pictures costs what denoising costs, and little else."""

from __future__ import annotations

import pytest
import torch
from cells import model
from paced import pace
from patient import holds_once

from ditbench.jobs import Quality
from ditbench.models.base import presets
from ditbench.records import Cell, Choice, Sampling

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]


@pytest.mark.parametrize("shard", [128, 64], ids=["one shard", "one of two, with its trial run"])
def test_pictures_come_at_nineteen_twentieths_of_the_bare_loop_s_rate(tmp_path, shard):
    spec = presets()["dit-xl/2-256"].model
    what = Cell(
        model(spec, "dit-xl/2-256"), Choice("sdpa", (("backend", "auto"),)), blocks=tuple(range(spec.depth)),
        steps=50, sampling=Sampling(dtype="bfloat16"),
    )  # fmt: skip
    quality = Quality(samples=128, micro_batch=32, shard=shard)
    assert holds_once(lambda: pace(what, "cuda", tmp_path, quality) >= 0.95, tries=3)
