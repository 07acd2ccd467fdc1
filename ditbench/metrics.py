"""The metrics: name, unit, direction, and the stage that measures each. A new one is a row here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ditbench import scores
from ditbench.records import Stage

Unit = Literal[
    "s",
    "B",
    "J",
    "MAC",
    "FLOP",
    "images/s",
    "dB",
    "ratio",
    "distance",
    "score",
    "images",
    "parameters",
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
# The time of a bound, which is no result of the method beside which it stands.
BOUNDS = ("replay_latency",)
# What an allocator keeps in reserve, what a device holds for everyone, and bounds: shown, and never judged.
SHOWN = ("peak_reserved", "device_used", *BOUNDS)
# Timed once a run, so that nobody knows how it repeats: judged where a suite gates it.
ONCE = ("calibration_time",)
# What a gate finds by running, because no shape tells it.
_BY_RUNNING = frozenset({"trajectory_macs", "reuse_ratio", "cache_bytes", *ONCE})
# Of these, what is counted from shapes and steps where a method looks at nothing else.
FORESEEN = frozenset({"reuse_ratio", "cache_bytes"})
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
        "trajectory_macs",
        "MAC",
        "none",
        Stage.GATE,
        "multiply-adds of one sampling run of one batch, without what a method with memory spared",
    ),
    Metric(
        "reuse_ratio",
        "ratio",
        "none",
        Stage.GATE,
        "share of the forwards at a method's sites that spared something",
    ),
    Metric(
        "cache_bytes",
        "B",
        "lower",
        Stage.GATE,
        "the most that the method kept from one step for another, all its sites together",
    ),
    Metric(
        "calibration_time",
        "s",
        "lower",
        Stage.GATE,
        "what was spent once before any sampling run, on a search or on statistics; in no latency",
        1.0,
    ),
    Metric(
        "replay_latency",
        "s",
        "none",
        Stage.TIME,
        "`latency` of the same run with zeros wherever the method reused, timed in turns with it: the bound "
        "of its speed-up, implausible beyond both intervals",
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
    Metric(
        "ssim",
        "ratio",
        "higher",
        Stage.QUALITY,
        "structural similarity of each picture to softmax's, 1 where they are equal",
        1e-3,
    ),
    Metric(
        "lpips",
        "ratio",
        "lower",
        Stage.QUALITY,
        "learned perceptual distance (AlexNet, version 0.1) of each picture from softmax's",
        1e-3,
    ),
)
# Drift of final latents that rounding explains, by dtype: it grows through blocks, steps and guidance.
ROUNDING = {"float32": 1e-3, "float16": 5e-2, "bfloat16": 2e-1}

METRICS = {metric.name: metric for metric in _TABLE}
# What a suite may ask for: of the figures of a whole set only a word, for their names in records say more.
NAMES = (*METRICS, *scores.WORDS)
# What follows from shapes alone, so that any machine counts it without running anything.
COUNTS = frozenset(metric.name for metric in _TABLE if metric.stage is Stage.GATE) - _BY_RUNNING
# One value a picture, against softmax's picture of the same seed.
PAIRS = frozenset(metric.name for metric in _TABLE if metric.stage is Stage.QUALITY)
# The share of pictures in the bad tail that is told beside the median, by metric, and the tail's name.
_TAIL = 0.05
TAILS = {
    name: (f"{name}_p5", _TAIL) if METRICS[name].better == "higher" else (f"{name}_p95", 1 - _TAIL)
    for name in ("latent_drift", "psnr", "ssim", "lpips")
}
# What only a claim may name: a ratio of two cells' times.
SPEEDUP = "speedup"
# What papers report and nothing here measures: a claim may name it, and says what it needs.
ELSEWHERE = ("clip_score",)
_UNITS: dict[str, Unit] = {
    "precision": "ratio",
    "recall": "ratio",
    "inception_score": "score",
}


def claimable(name: str) -> bool:
    """Whether a published number may be of this metric, measured here or not."""
    return name in {*NAMES, SPEEDUP, *ELSEWHERE} or known(name) is not None


def metric(name: str) -> Metric:
    """The metric of that name; that of a whole set of pictures as `scores` reads it. Raises KeyError."""
    if score := scores.parse(name):
        unit = _UNITS.get(score.word, "distance")
        better: Literal["lower", "higher"] = "higher" if score.higher else "lower"
        return Metric(name, unit, better, Stage.QUALITY, score.summary)
    return METRICS[name]


def stage_of(name: str) -> Stage:
    """The stage that measures a metric as a suite names it. Raises KeyError."""
    return Stage.QUALITY if name in scores.WORDS else metric(name).stage


def word_of(name: str) -> str:
    """A suite's word for a metric as records name it: what its gate is called."""
    score = scores.parse(name)
    return score.word if score else name


def known(name: str) -> Metric | None:
    """The metric of that name, or None of a file that another version of ditbench wrote."""
    try:
        return metric(name)
    except KeyError:
        return None
