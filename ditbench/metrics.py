"""The metrics: name, unit, direction, and the stage that measures each. A new one is a row here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ditbench.records import Stage

Unit = Literal[
    "s", "B", "J", "MAC", "FLOP", "images/s", "dB", "ratio", "distance", "images", "parameters"
]


@dataclass(frozen=True)
class Metric:
    """better: which way is good; `none` for what may only be equal.

    floor: the absolute change below which nothing is said, in the metric's unit.
    derived: computed when read, never stored.
    """

    name: str
    unit: Unit
    better: Literal["lower", "higher", "none"]
    stage: Stage
    summary: str
    floor: float = 0.0
    derived: bool = False


# What is measured of an attention core by itself: there are no steps, no pictures, and no weights.
OF_AN_OP = (
    "first_call",
    "latency",
    "macs",
    "core_macs",
    "flops",
    "peak_allocated",
    "peak_reserved",
    "device_used",
    "peak_resident",
)
# The one metric of a cell whose batch size is `max`.
LARGEST_BATCH = "largest_batch"

# Of an attention core by itself a tenth of a millisecond is a long time: its clock resolves so much.
CALL_FLOOR_S = 1e-6

_TABLE = (
    Metric(
        "first_call",
        "s",
        "lower",
        Stage.TIME,
        "the first batch of a fresh process, compilation included",
        0.05,
    ),
    Metric("latency", "s", "lower", Stage.TIME, "one batch through all steps, warm", 1e-3),
    Metric("step_latency", "s", "lower", Stage.TIME, "one step of one batch, warm", 1e-4),
    Metric("throughput", "images/s", "higher", Stage.TIME, "batch size / latency", derived=True),
    Metric("energy", "J", "lower", Stage.TIME, "what the GPU used for one image, warm", 1e-2),
    Metric("macs", "MAC", "none", Stage.GATE, "multiply-adds of one step, guidance rows included"),
    Metric("core_macs", "MAC", "none", Stage.GATE, "of which the attention core, over all blocks"),
    Metric(
        "projection_macs",
        "MAC",
        "none",
        Stage.GATE,
        "of a step: the projections around the cores in the model's attention modules, skipped or not",
    ),
    Metric(
        "macs_shared_embedder",
        "MAC",
        "none",
        Stage.GATE,
        "`macs` less the embedders that diffusers repeats in every block",
    ),
    Metric("flops", "FLOP", "none", Stage.GATE, "2 x macs", derived=True),
    Metric(
        "attention_macs",
        "MAC",
        "none",
        Stage.GATE,
        "of a step: the attention modules, cores and projections, without what a method skips",
    ),
    Metric("parameters", "parameters", "none", Stage.GATE, "trained numbers of the model"),
    Metric(
        "parameters_shared_embedder",
        "parameters",
        "none",
        Stage.GATE,
        "`parameters` less the embedders that diffusers repeats in every block",
    ),
    Metric(
        "core_share",
        "ratio",
        "none",
        Stage.GATE,
        "core_macs / macs_shared_embedder",
        derived=True,
    ),
    Metric(
        "attention_share",
        "ratio",
        "none",
        Stage.GATE,
        "attention_macs / macs_shared_embedder",
        derived=True,
    ),
    Metric(
        "core_ceiling",
        "ratio",
        "none",
        Stage.GATE,
        "the speed-up that multiply-adds allow where the core costs nothing: 1 / (1 - core_share)",
        derived=True,
    ),
    Metric(
        "attention_ceiling",
        "ratio",
        "none",
        Stage.GATE,
        "likewise where the whole module costs nothing: 1 / (1 - attention_share)",
        derived=True,
    ),
    Metric(
        "peak_allocated",
        "B",
        "lower",
        Stage.TIME,
        "peak of torch's allocator, weights included",
        16 * 2**20,
    ),
    Metric("peak_reserved", "B", "lower", Stage.TIME, "peak held by torch's allocator", 16 * 2**20),
    Metric(
        "device_used",
        "B",
        "lower",
        Stage.TIME,
        "what NVML says this process holds on the device; where it cannot say, what everyone does",
        16 * 2**20,
    ),
    Metric(
        "peak_resident",
        "B",
        "lower",
        Stage.TIME,
        "peak resident memory of the process above the fork server's own, weights included",
        16 * 2**20,
    ),
    Metric(
        LARGEST_BATCH,
        "images",
        "higher",
        Stage.FIT,
        "the largest batch that fits into memory, found by doubling and bisection",
    ),
    Metric(
        "latent_drift",
        "ratio",
        "lower",
        Stage.QUALITY,
        "relative L2 distance of the final latents from softmax's, per image",
    ),
    Metric("psnr", "dB", "higher", Stage.QUALITY, "of each picture against softmax's"),
)
# Drift of final latents that rounding explains, by dtype: it grows through blocks, steps and guidance.
ROUNDING = {"float32": 1e-3, "float16": 5e-2, "bfloat16": 2e-1}

METRICS = {metric.name: metric for metric in _TABLE}
# What follows from shapes alone, so that any machine counts it without running anything.
COUNTS = frozenset(metric.name for metric in _TABLE if metric.stage is Stage.GATE)
# A suite's word for all Frechet distances; what records call them says much more.
FRECHET = "frechet"
_AGAINST = {"dataset": "real pictures", "softmax": "softmax's pictures"}
_FRECHET = re.compile(r"fd_(?P<extractor>[a-z0-9_]+)_(?P<count>\d+)@(?P<against>dataset|softmax)")


# What only a claim may name: a ratio of two cells' times, and distances in the network of the FID itself.
SPEEDUP = "speedup"
_INCEPTION = re.compile(r"(?P<what>s?fid)_(?P<count>\d+k?)(@(?P<against>dataset|softmax))?")


def claimable(name: str) -> bool:
    """Whether a published number may be of this metric, measured here or not."""
    return name in {*METRICS, FRECHET, SPEEDUP} or known(name) is not None


def metric(name: str) -> Metric:
    """The metric of that name. Raises KeyError.

    `fd_<extractor>_<n>@dataset|softmax` is a Frechet distance: extractor, sample count and reference are
    part of the name, because values that differ in one of them must never stand in one column.
    """
    if match := _INCEPTION.fullmatch(name):
        against = _AGAINST[match["against"] or "dataset"]
        summary = f"{match['what'].upper()} to {against}, {match['count']} samples"
        return Metric(name, "distance", "lower", Stage.QUALITY, summary)
    if match := _FRECHET.fullmatch(name):
        against = _AGAINST[match["against"]]
        summary = f"Frechet distance to {against} in {match['extractor']} features, {match['count']} samples"
        return Metric(name, "distance", "lower", Stage.QUALITY, summary)
    return METRICS[name]


def stage_of(name: str) -> Stage:
    """The stage that measures a metric as a suite names it. Raises KeyError."""
    return Stage.QUALITY if name == FRECHET else metric(name).stage


def known(name: str) -> Metric | None:
    """The metric of that name, or None of a file that another version of ditbench wrote."""
    try:
        return metric(name)
    except KeyError:
        return None
