"""What the parent asks of a worker process, and what the worker answers: plain frozen data, no torch."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench.records import Cell, Choice, Stage, Status, Values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Timeouts:
    """Seconds that one process may take, by what it does."""

    gate: float = 1800.0
    time: float = 1800.0
    quality: float = 1800.0
    fit: float = 1800.0
    sample: float = 1800.0

    def of(self, stage: Stage) -> float:
        """The limit of a stage; a plan has none of its own."""
        own = {
            Stage.TIME: self.time,
            Stage.SAMPLE: self.sample,
            Stage.QUALITY: self.quality,
            Stage.FIT: self.fit,
        }
        return own.get(stage, self.gate)


@dataclass(frozen=True)
class Timing:
    """How often: calls thrown away, calls kept, fresh processes; and the limits for one process.

    warmup, repeats: the fewest. warmup_cap_s: seconds of waiting for a steady speed, 0 for none.
    precision: how well a process must know its median, as a share; None for exactly `repeats`.
    most_repeats (None: four times `repeats`), cap_s: where the way to that precision ends.
    memory_limit: bytes of private memory for a process on the CPU, None for 80 % of what is available
    when it starts.
    """

    warmup: int = 3
    repeats: int = 20
    processes: int = 3
    timeout_s: Timeouts = Timeouts()
    memory_limit: int | None = None
    warmup_cap_s: float = 10.0
    precision: float | None = None
    most_repeats: int | None = None
    cap_s: float = 120.0

    @property
    def most(self) -> int:
        """The most timed calls of a process."""
        if self.precision is None:
            return self.repeats
        return 4 * self.repeats if self.most_repeats is None else self.most_repeats


@dataclass(frozen=True)
class Quality:
    """How many pictures, against what, the fixed number of them in one forward, and how many in a file.

    extractors: the networks that see them, none for the one that suits them. dataset: the real pictures, or
    their statistics; empty for those that an extractor ships with.
    vae: what makes pictures of latents: `own` for the autoencoder beside the weights, `none`, a folder, or
    `hub:owner/name@revision`.
    """

    samples: int = 0
    reference: tuple[str, ...] = ("softmax", "dataset")
    micro_batch: int = 16
    extractors: tuple[Choice, ...] = ()
    dataset: str = ""
    vae: str = "own"
    shard: int = 256

    @property
    def shards(self) -> tuple[tuple[int, int], ...]:
        """First index and the one after the last, of each shard.

        A shard begins where a micro-batch does, so that no cut changes what is computed together.
        """
        size = -(-self.shard // self.micro_batch) * self.micro_batch
        return tuple((at, min(at + size, self.samples)) for at in range(0, self.samples, size))


@dataclass(frozen=True)
class Job:
    """One process's work on one cell.

    device: "cpu", or the UUID of a GPU or MIG slice, to which the worker pins itself. replicate: which
    process of those that are timed, or which shard of the pictures. reference: the softmax cell whose
    pictures those of this cell will be judged against. pictures: the run's folder of generated pictures, a
    folder `<quality key>` of shards each.
    """

    cell: Cell
    stage: Stage
    replicate: int
    timing: Timing
    quality: Quality
    metrics: tuple[str, ...]
    device: str
    pictures: Path
    reference: Cell | None = None
    beside: Cell | None = None

    @property
    def cells(self) -> tuple[Cell, ...]:
        """What runs in this process: one cell, or arm A's and arm B's."""
        return (self.beside, self.cell) if self.beside else (self.cell,)

    @property
    def caches(self) -> Path:
        """The folder for what compilers keep while it runs: on a disk of this machine, as results may not be.

        The same for the job of a run whenever it is tried, so that whoever comes after a process that was
        killed knows what to remove.
        """
        parts = (self.pictures.absolute(), self.cell.key, self.stage, self.replicate)
        name = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]
        return Path(tempfile.gettempdir()) / f"ditbench-{name}"


@dataclass(frozen=True)
class Findings:
    """A worker's answer: the part of a record that only it can know."""

    status: Status = Status.OK
    reason: str = ""
    metrics: Mapping[str, Values] = field(default_factory=dict)
    warmups: Mapping[str, Values] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """Whose attention matrices are to be drawn: at which place of which sampling run, all counted from 0.

    cell: of softmax, at batch size 1. methods: in the order of the page.
    """

    cell: Cell
    methods: tuple[Choice, ...]
    block: int
    head: int
    step: int


@dataclass(frozen=True)
class Matrix:
    """What one method gives for V = I, or why it gives nothing.

    values: float32, means over squares of tokens. Of the whole matrix: row_sums (lowest, highest), error
    (relative L2 from softmax in float64), how many entries are negative and how many exactly zero.
    apart: how far the matrix times the model's values lies from the method's own output, relative L2;
    linear: whether rounding explains that, so that the matrix is what the method does.
    """

    method: Choice
    values: NDArray[np.float32] | None = None
    row_sums: tuple[float, float] = (0.0, 0.0)
    error: float = 0.0
    negative: int = 0
    zeros: int = 0
    apart: float = 0.0
    linear: bool = True
    failure: str = ""


@dataclass(frozen=True)
class Drawn:
    """Matrices of tokens x tokens, each pixel the mean of `pooled` x `pooled` of them.

    weights: a digest. site: the name of the attention module, and its kind.
    """

    matrices: tuple[Matrix, ...]
    tokens: int
    pooled: int
    weights: str
    site: str = ""
