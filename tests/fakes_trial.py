"""A network that is nothing but its sites, for what methods do over the steps of a sampling run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ditbench.attention.base import Moment, Shape, Site
from ditbench.records import Cell, Choice, Sampling


@dataclass(frozen=True)
class FakeTrial:
    """See `attention.base.Trial`. Two blocks of four, whose q, k and v grow calmer from step to step."""

    shape: Shape
    steps: int = 8
    guided: bool = True

    @property
    def cell(self) -> Cell:
        sampling = Sampling(guidance_scale=2.0 if self.guided else 1.0)
        return Cell(
            Choice("fake"), Choice("fake"), blocks=(0, 1), steps=self.steps, sampling=sampling
        )

    @property
    def sites(self) -> tuple[Site, ...]:
        heads, head_dim = self.shape.heads, self.shape.head_dim
        return tuple(Site(block, 4, heads, head_dim, self.shape.places) for block in (0, 1))

    def sample(self, layer_of, samples, around=lambda forward, _now: forward()) -> torch.Tensor:
        """What each step gave: (steps, 2 sites, rows, heads, tokens, head_dim)."""
        rows = samples * (2 if self.guided else 1)
        generator = torch.Generator().manual_seed(0)
        sizes = (3, rows, self.shape.heads, self.shape.tokens, self.shape.head_dim)
        q, k, v = torch.randn(sizes, generator=generator)
        x = torch.zeros(rows, self.shape.tokens, self.shape.heads * self.shape.head_dim)
        layers = [layer_of(site) for site in self.sites]
        given = []
        for step in range(self.steps):
            now = Moment(step, self.steps, 2.0 * step - self.steps, self.guided)
            parts = {"q": q * (1 + 1 / (1 + step)), "k": k, "v": v + step}

            def forward(parts=parts, step=step, now=now):
                def project(x, asked="qkv"):
                    return tuple(parts[one][: len(x)] for one in asked)

                return torch.stack([layer(x + step, project, _as_it_is, now) for layer in layers])

            given.append(around(forward, now))
        return torch.stack(given)


def _as_it_is(out):
    return out
