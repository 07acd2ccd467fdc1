"""Reuse that follows from the steps and the shapes alone, counted without data and without a network.

The layers of a method with memory run on tensors that hold nothing, one moment of the sampling run after the
other. Whoever looks at a number there fails, and is not foreseen: what it does is known when it has run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import torch

from ditbench import sampling
from ditbench.attention.base import METHODS, AttentionMethod, Layer, Site
from ditbench.attention.memory import Sparing
from ditbench.measure import decisions, opened
from ditbench.measure.bench import make
from ditbench.measure.cost import spec_of
from ditbench.measure.evidence import GateError
from ditbench.models.base import sites
from ditbench.records import Cell, Choice

Metrics = dict[str, tuple[float, ...]]


def reuse(cell: Cell, taken: Collection[str]) -> Metrics:
    """The share of forwards that spare something, and the bytes that are kept at most, of one batch.

    taken: names of the sites where the method goes. Empty for a method without memory, for one that looks at
    what it computes, where an accelerator skips forwards or text joins the picture, and for prompts.
    """
    mine = [site for site in sites(spec_of(cell.model)) if site.name in taken] if taken else []
    told = (
        cell.shown is not None and cell.shown.kind == "prompts"
    )  # their words are counted when read
    if cell.is_accelerated or told or any(site.kind != "self" for site in mine):
        return {}
    method, dtype = _without_core(cell.attention), cell.sampling.dtype
    if method.calibrated:  # what it does follows from what it finds out
        return {}
    try:
        layers = {site: method.open(replace(site, device="meta", dtype=dtype)) for site in mine}
        if all(layer.stateless for layer in layers.values()):
            return {}
        return _run(cell, layers)
    except (
        RuntimeError,
        GateError,
    ):  # a number that is not there; decisions that the cell's gate refuses
        return {}


def _without_core(choice: Choice) -> AttentionMethod:
    """With a core that costs nothing, where the method spares one: what is spared is the same."""
    if not issubclass(METHODS.get(choice.name), Sparing):
        return make(choice)
    settings = dict(choice.settings) | {"core": "identity"}
    return make(Choice(choice.name, tuple(settings.items())))


def _run(cell: Cell, layers: Mapping[Site, Layer]) -> Metrics:
    spec, before, held = spec_of(cell.model), opened.size(layers.values()), 0
    moments = sampling.moments(
        spec,
        cell.sampling.sampler,
        cell.steps,
        guided=cell.sampling.guidance_scale > 1,
        prompt=spec.prompt(range(cell.batch_size)),
    )
    with torch.inference_mode():
        for now in moments:
            for site, layer in layers.items():
                parts = _Parts(site, cell)
                layer(parts.whole(), parts.project, parts.finish, now)
            held = max(held, opened.size(layers.values()) - before)
    named = {site.name: layer for site, layer in layers.items()}
    told = decisions.Told(decisions.of_layers(named), cell.steps)
    decisions.check(told.decisions, told.steps)
    return {"reuse_ratio": (told.ratio,), "cache_bytes": (float(held),)}


class _Parts:
    """What a site is given and gives, without data."""

    def __init__(self, site: Site, cell: Cell) -> None:
        self._site, self._rows = site, cell.rows
        self._dtype: torch.dtype = getattr(torch, cell.sampling.dtype)

    def whole(self) -> torch.Tensor:
        """(rows, tokens, dim): a block's input, or a site's output."""
        width = self._site.heads * self._site.head_dim
        return self._empty(self._rows, self._site.tokens, width)

    def project(self, x: torch.Tensor, parts: str = "qkv") -> tuple[torch.Tensor, ...]:
        """Each (rows, heads, tokens, head_dim)."""
        sizes = (len(x), self._site.heads, self._site.tokens, self._site.head_dim)
        return tuple(self._empty(*sizes) for _ in parts)

    def finish(self, out: torch.Tensor) -> torch.Tensor:
        """Of as many rows."""
        return self.whole()[: len(out)].clone()

    def _empty(self, *sizes: int) -> torch.Tensor:
        return torch.empty(sizes, device="meta", dtype=self._dtype)
