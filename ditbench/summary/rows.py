"""What a summary is made of: rows, figures with intervals, claims."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ditbench.metrics import ONCE, known
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
class Fit:
    """How a largest batch was found.

    fails: the smallest batch above it that did not fit; None where the search ended before one failed. peak:
    the metric whose value at the largest batch is peak_bytes. memory_limit: bytes that there were. trials:
    how many processes it took. wavering: batches that fitted once and another time not.
    """

    largest: int
    fails: int | None
    peak: str
    peak_bytes: int | None
    memory_limit: int | None
    trials: int
    wavering: tuple[int, ...] = ()


@dataclass(frozen=True)
class Shares:
    """What part of a device's ceilings a core by itself reaches, and the ceilings.

    matrix: of matrix_rate, multiply-adds a second in a large product; bandwidth: of bandwidth_rate, bytes a
    second in a large copy. How both are reckoned is told in `shares`.
    """

    matrix: float
    bandwidth: float
    matrix_rate: float
    bandwidth_rate: float


@dataclass(frozen=True)
class Reuse:
    """What a method with memory did in one whole sampling run.

    reasons: in the order of their letters the words, whether anything was spared, and of how many forwards.
    sites: the name of each with a letter a step. drift: relative L2 distance of the state from softmax's at
    the start of each step, and of the final latents; empty where nobody looked. gate_share: what part of the
    run's seconds went into decisions, None where nobody looked. sqnr: in dB, by the name of what was stored
    rounded.
    """

    forwards: int
    reused: int
    reasons: tuple[tuple[str, bool, int], ...]
    sites: tuple[tuple[str, str], ...]
    drift: tuple[float, ...] = ()
    gate_share: float | None = None
    sqnr: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Row:
    """One cell's results. estimates: by metric name, derived metrics (throughput, flops) included.

    Besides the metrics: `macs_per_image` over all steps, and `psnr_p5`, which 95 % of the pictures reach.
    A cell that is not ok has no time and no memory; what its gate and its pictures told is kept.
    per_process: the medians by metric name, one a process. speedup: against the fastest exact method of
    the run at the same model, weights, compile, batch, steps and sampling (`against`: its label);
    versus_softmax: against explicit softmax, likewise. bound: the speed-up of a yardstick at the same blocks
    (`bound_by`: `identity`, or `zero` for a method that may leave out the projections too), or None where the
    run did not measure it (`boundless`: why, and the way out); softmax_bound: the same over explicit softmax,
    and so beside versus_softmax. ceiling, module_ceiling: the speed-up over
    explicit softmax that multiply-adds alone would allow if the cores, or all of attention with its
    projections, cost nothing in the cell's blocks; shown and never judging. doubts: clauses for people
    ("implausible: ...", "one process only", ...). unfit: why its times must not be used though the cell is
    ok (a slowed or shared GPU), else empty. kernels: what really ran. recorded: whether the run
    holds any record of the cell itself. fit: of a cell whose batch size is `max`, where the search found one.
    lacks: what the run asked of an ok cell and has no record of; empty for nothing. shares: of an attention
    core by itself, where the run measured what its device gives. reuse: of a method with memory. profile:
    seconds of each step, the median of all calls, where steps were timed.
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
    softmax_bound: Estimate | None = None
    bound_by: str = ""
    boundless: str = ""
    ceiling: float | None = None
    module_ceiling: float | None = None
    exact: bool = False
    kernels: tuple[str, ...] = ()
    pictures: str = ""
    doubts: tuple[str, ...] = ()
    recorded: bool = True
    fit: Fit | None = None
    unfit: str = ""
    lacks: str = ""
    shares: Shares | None = None
    reuse: Reuse | None = None
    profile: tuple[float, ...] = ()


_OF_SOMETHING = frozenset({"s", "J", "MAC", "FLOP"})


class Answered(StrEnum):
    """What became of a published number."""

    CONTRADICTED = "contradicted"
    REPRODUCED = "reproduced"
    NOT_COMPARABLE = "not comparable"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class ClaimResult:
    """A published number beside the measured one.

    cell, measured: None where no cell of the run answers it. why: of all verdicts that are not about the
    numbers themselves. how: where the number is from, if not from a cell that ran. against: what it is a
    ratio to, empty for a figure of its own. about: the claim's own conditions, in words. at_least: published
    is a bound from below, which any figure above it reproduces.
    """

    metric: str
    per: str
    source: str
    published: float
    tolerance: float
    cell: Cell | None
    measured: float | None
    verdict: Answered
    why: str = ""
    how: str = ""
    against: str = ""
    about: str = ""
    at_least: bool = False

    @property
    def said(self) -> str:
        """The verdict with what must be said beside it."""
        beside = self.why or self.how
        return f"{self.verdict}: {beside}" if beside else str(self.verdict)

    @property
    def title(self) -> str:
        """The metric, and of what it is where it is of a step or of an image."""
        name, found = self.metric.replace("_", " "), known(self.metric)
        if self.against:
            return f"{name} against {self.against}"
        of_something = found and found.unit in _OF_SOMETHING and found.name not in ONCE
        return f"{name} per {self.per}" if of_something else name


@dataclass(frozen=True)
class Summary:
    """A run, read. rows in the order of the plan."""

    rows: tuple[Row, ...]
    claims: tuple[ClaimResult, ...] = ()
    notes: tuple[str, ...] = ()


def estimate_to_json(estimate: Estimate | None) -> dict[str, Any] | None:
    """A plain object; non-finite numbers become the strings "inf", "nan"."""
    if estimate is None:
        return None
    return {name: number_to_json(value) for name, value in dataclasses.asdict(estimate).items()}


def number_to_json(value: float | None) -> float | str | None:
    """A number as JSON can say it."""
    return value if value is None or math.isfinite(value) else str(value)


def rows_to_json(summary: Summary) -> list[dict[str, Any]]:
    """One plain object a cell, in the order of the plan."""
    return [
        {
            "key": row.cell.key,
            "cell": row.cell.id,
            "axes": row.cell.axes,
            "status": str(row.status),
            "reason": row.reason,
            "estimates": {name: estimate_to_json(one) for name, one in row.estimates.items()},
            "per_process": {
                name: [number_to_json(value) for value in values]
                for name, values in row.per_process.items()
            },
            "speedup": estimate_to_json(row.speedup),
            "against": row.against,
            "versus_softmax": estimate_to_json(row.versus_softmax),
            "bound": estimate_to_json(row.bound),
            "softmax_bound": estimate_to_json(row.softmax_bound),
            "bound_by": row.bound_by,
            "boundless": row.boundless,
            "ceiling": number_to_json(row.ceiling),
            "module_ceiling": number_to_json(row.module_ceiling),
            "exact": row.exact,
            "kernels": list(row.kernels),
            "pictures": row.pictures,
            "doubts": list(row.doubts),
            "fit": dataclasses.asdict(row.fit) if row.fit else None,
            "shares": {
                name: number_to_json(value)
                for name, value in dataclasses.asdict(row.shares).items()
            }
            if row.shares
            else None,
            "unfit": row.unfit,
            "reuse": _reuse_to_json(row.reuse) if row.reuse else None,
            "profile": [number_to_json(value) for value in row.profile],
        }
        for row in summary.rows
    ]


def _reuse_to_json(found: Reuse) -> dict[str, Any]:
    """As records have it."""
    return {
        "forwards": found.forwards,
        "reused": found.reused,
        "reasons": [list(one) for one in found.reasons],
        "map": dict(found.sites),
        "drift": [number_to_json(value) for value in found.drift],
        "gate_share": number_to_json(found.gate_share),
        **({"sqnr": dict(found.sqnr)} if found.sqnr else {}),
    }


def claims_to_json(summary: Summary) -> list[dict[str, Any]]:
    """One plain object a claim and cell that answers it."""
    return [
        {
            "metric": claim.metric,
            "per": claim.per,
            "source": claim.source,
            "published": claim.published,
            "tolerance": claim.tolerance,
            "at_least": claim.at_least,
            "cell": claim.cell.id if claim.cell else None,
            "measured": number_to_json(claim.measured),
            "verdict": str(claim.verdict),
            "why": claim.why,
            "how": claim.how,
            "against": claim.against,
            "about": claim.about,
        }
        for claim in summary.claims
    ]
