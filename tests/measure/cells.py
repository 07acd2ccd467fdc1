"""Small cells for tests: sixteen tokens, two blocks, two heads."""

from __future__ import annotations

import dataclasses

from ditbench.models.base import presets
from ditbench.models.dit import DiT
from ditbench.records import Cell, Choice, Sampling

TINY = DiT(
    hidden=32, depth=2, heads=2, patch=2, size=8, channels=1, out_channels=1, classes=10,
    prediction="v_prediction", betas="squaredcos_cap_v2",
)  # fmt: skip


def model(spec: DiT = TINY, name: str = "dit") -> Choice:
    return Choice(name, tuple(dataclasses.asdict(spec).items()))


def registered(name: str) -> Choice:
    return model(presets()[name].model, name)


def cell(attention: str = "softmax", *, spec: DiT = TINY, settings=(), **fields) -> Cell:
    blocks = fields.pop("blocks", tuple(range(spec.depth)))
    sampling = fields.pop("sampling", Sampling(guidance_scale=2.0))
    return Cell(
        model=model(spec),
        attention=Choice(attention, tuple(settings)),
        blocks=blocks,
        sampling=sampling,
        **({"steps": 4} | fields),
    )
