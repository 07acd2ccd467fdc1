"""What a suite says, once it has been read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ditbench.jobs import Quality, Timing
from ditbench.records import Cell, Choice, Sampling, Scalar


@dataclass(frozen=True)
class Exclusion:
    """Cells that shall not run.

    where: maps an axis (a key of `Cell.axes`, or a method's setting as `attention.block_size`) to the
    value it must have; all must hold. because: shown to people.
    """

    where: Mapping[str, Scalar]
    because: str

    def covers(self, cell: Cell) -> bool:
        """Whether this exclusion takes the cell out."""
        axes: dict[str, Any] = {
            **{f"attention.{name}": value for name, value in cell.attention.settings},
            **cell.axes,
            "attention": cell.attention.name,
            "batch_size": cell.batch_size,
            "steps": cell.steps,
            "compile": cell.compile,
            "guidance_scale": cell.sampling.guidance_scale,
            "seed": cell.sampling.seed,
        }
        return all(axes.get(axis) == value for axis, value in self.where.items())


@dataclass(frozen=True)
class Claim:
    """A published number that the suite re-measures.

    per: `step` or `image`. value in the metric's base unit. tolerance: relative, 0.005 is half a per cent.
    where: as in an exclusion, plus `guidance`: true or false.
    """

    metric: str
    value: float
    tolerance: float
    source: str
    per: str = "step"
    where: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """A whole suite. Tuples are axes, in the order of the file; everything else is plain."""

    name: str
    path: str
    text: str
    models: tuple[Choice, ...]
    attentions: tuple[Choice, ...]
    weights: tuple[str, ...] = ("random",)
    blocks: tuple[str, ...] = ("all",)
    batch_sizes: tuple[int, ...] = (1,)
    steps: tuple[int, ...] = (20,)
    compiles: tuple[bool, ...] = (False,)
    samplings: tuple[Sampling, ...] = (Sampling(),)
    timing: Timing = field(default_factory=Timing)
    quality: Quality = field(default_factory=Quality)
    metrics: tuple[str, ...] = ("latency", "macs", "latent_drift")
    exclude: tuple[Exclusion, ...] = ()
    gate: Mapping[str, float] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
