"""What a run's raw records amount to: one row a cell, every figure with its interval and its doubts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ditbench.records import Cell, Status


@dataclass(frozen=True)
class Estimate:
    """A figure in base units: median of process medians, a 95 % interval, and what it rests on.

    low and high equal value where there is nothing to resample (one process, one sample).
    """

    value: float
    low: float
    high: float
    processes: int
    samples: int


@dataclass(frozen=True)
class Row:
    """One cell's results. estimates: by metric name, derived metrics (throughput, flops) included.

    per_process: the medians by metric name, one a process. speedup: against the fastest exact method of
    the run at the same model, weights, compile, batch, steps and sampling (`against`: its label);
    versus_softmax: against explicit softmax, likewise. bound: the speed-up of `identity` (or `zero`) at
    the same blocks, or None where the run did not measure it. ceiling: the speed-up that multiply-adds
    alone would allow, shown and never judging. doubts: clauses for people ("speed-up above the measured
    bound", "one process only", ...). kernels: what really ran.
    """

    cell: Cell
    status: Status
    reason: str
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    per_process: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    speedup: Estimate | None = None
    against: str = ""
    versus_softmax: Estimate | None = None
    bound: Estimate | None = None
    ceiling: float | None = None
    exact: bool = False
    kernels: tuple[str, ...] = ()
    pictures: str = ""
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClaimResult:
    """A published number beside the measured one; measured is None where no cell of the run answers it."""

    metric: str
    per: str
    source: str
    published: float
    tolerance: float
    cell: Cell | None
    measured: float | None
    reproduced: bool | None


@dataclass(frozen=True)
class Summary:
    """A run, read. rows in the order of the plan."""

    rows: tuple[Row, ...]
    claims: tuple[ClaimResult, ...] = ()
    notes: tuple[str, ...] = ()
