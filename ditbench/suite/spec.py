"""What a suite says, once it has been read and checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ditbench.jobs import Quality, Timing
from ditbench.records import UNACCELERATED, Cell, Choice, Sampling, Scalar, Shown
from ditbench.suite.blocks import resolve_blocks


def holds(where: Mapping[str, Scalar], cell: Cell) -> bool:
    """Whether a cell meets every condition.

    where: an axis (a key of `Cell.axes`, or `guidance`: whether it is above 1), or a setting as
    `attention.block_size` or `model.depth`, to the value it must have. A bare name of a model or method
    stands for all its settings; blocks are equal where they select the same ones.
    """
    return all(_meets(cell, axis, value) for axis, value in where.items())


def _meets(cell: Cell, axis: str, value: Scalar) -> bool:
    if axis == "blocks":
        try:
            return resolve_blocks(str(value), int(cell.model["depth"])) == cell.blocks
        except (
            KeyError,
            ValueError,
        ):  # a selector for a deeper model of the suite, or one without depth
            return False
    part, _, setting = axis.partition(".")
    if setting:
        choices = {"attention": cell.attention, "accelerator": cell.accelerator}
        return dict(choices.get(part, cell.model).settings).get(setting) == value
    accepted: dict[str, tuple[Scalar, ...]] = {
        "model": (cell.model.name, cell.model.label),
        "attention": (cell.attention.name, cell.attention.label),
        "accelerator": (cell.accelerator.name, cell.accelerator.label),
        "weights": (cell.weights,),
        "compile": (cell.compile,),
        "batch_size": (cell.batch_size,),
        "steps": (cell.steps,),
        "sampler": (cell.sampling.sampler,),
        "guidance_scale": (cell.sampling.guidance_scale,),
        "guidance_channels": (cell.sampling.guidance_channels,),
        "dtype": (cell.sampling.dtype,),
        "seed": (cell.sampling.seed,),
        "guidance": (cell.sampling.guidance_scale > 1,),
    }
    return value in accepted.get(axis, ())


@dataclass(frozen=True)
class Exclusion:
    """Cells that shall not run. where: see `holds`. because: shown to people. place: file:line:column."""

    where: Mapping[str, Scalar]
    because: str
    place: str = ""

    def covers(self, cell: Cell) -> bool:
        """Whether this exclusion takes the cell out."""
        return holds(self.where, cell)


@dataclass(frozen=True)
class Claim:
    """A published number that the suite re-measures.

    per: `step`, `image` or `block`. value in the metric's base unit; with an `against` the ratio to the cell
    where those conditions hold instead. tolerance: relative, 0.005 is half a per cent. at_least: value is a
    bound from below, and reached is reproduced, however far beyond. where: see `holds`.
    on: a word of the device's name, for times and memory, which speak of one machine. needs: what it would
    take to measure it, where this suite cannot.
    cell, other: of a claim that follows from shapes alone, the one cell that it is about, and the one that it
    is a ratio to; they are counted, whether they run or not.
    """

    metric: str
    value: float
    tolerance: float
    source: str
    at_least: bool = False
    per: str = "step"
    on: str = ""
    needs: str = ""
    where: Mapping[str, Scalar] = field(default_factory=dict)
    against: Mapping[str, Scalar] = field(default_factory=dict)
    cell: Cell | None = None
    other: Cell | None = None

    @property
    def plain(self) -> dict[str, Any]:
        """What a run's head keeps: cells by their keys."""
        fields = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        cells = {name: fields[name].key if fields[name] else "" for name in ("cell", "other")}
        return fields | {name: dict(fields[name]) for name in ("where", "against")} | cells

    def is_about(self, cell: Cell) -> bool:
        """Whether this cell's value answers the claim."""
        return holds(self.where, cell)


@dataclass(frozen=True)
class Suite:
    """A whole suite. Tuples are axes, in the order of the file; everything else is plain.

    exact: the names of the exact methods, which ignore `blocks`. overrides: what `--set` replaced, as
    YAML by key; `text` is the file without it. shortened: the keys that `--quick` replaced. classes,
    prompts: what samples show, where that is said; told: which of the two a model is told, by its name.
    """

    name: str
    path: str
    text: str
    models: tuple[Choice, ...]
    attentions: tuple[Choice, ...]
    accelerators: tuple[Choice, ...] = (UNACCELERATED,)
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
    exact: frozenset[str] = frozenset({"softmax"})
    overrides: Mapping[str, str] = field(default_factory=dict)
    shortened: tuple[str, ...] = ()
    classes: Shown | None = None
    prompts: Shown | None = None
    told: Mapping[str, str] = field(default_factory=dict)

    def shown(self, model: Choice) -> Shown | None:
        """What samples of a model show; None where the suite says nothing of it."""
        return {"classes": self.classes, "prompts": self.prompts}.get(self.told.get(model.name, ""))
