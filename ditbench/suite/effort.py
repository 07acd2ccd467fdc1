"""What is measured, how often, and what a change must exceed: the parts of a suite without axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ditbench.jobs import Quality, Timing
from ditbench.metrics import METRICS
from ditbench.records import Stage
from ditbench.suite.cursor import At

# All Frechet distances; what records call them says extractor, sample count and reference as well.
FRECHET = "frechet"
_NAMES = (*METRICS, FRECHET)
_DEFAULT = ("latency", "macs", "latent_drift")
_LEAST_SAMPLES = 2


def read(given: Mapping[str, At]) -> dict[str, Any]:
    """The fields of `Suite` for timing, quality, metrics and gate."""
    quality = _quality(given["quality"]) if "quality" in given else Quality()
    can_judge = quality.samples >= _LEAST_SAMPLES
    names = tuple(name for name in _DEFAULT if can_judge or not _is_of_quality(name))
    if "metrics" in given:
        names = _metrics(given["metrics"], can_judge=can_judge)
    return {
        "timing": _timing(given["timing"]) if "timing" in given else Timing(),
        "quality": quality,
        "metrics": names,
        "gate": _gate(given["gate"], names) if "gate" in given else {},
    }


def _timing(at: At) -> Timing:
    given = at.fields(("warmup", "repeats", "processes", "timeout_s"))
    least = {"warmup": 0, "repeats": 1, "processes": 1}
    read: dict[str, Any] = {
        key: given[key].integer(bound) for key, bound in least.items() if key in given
    }
    if "timeout_s" in given:
        read["timeout_s"] = _seconds(given["timeout_s"])
    return Timing(**{key: value for key, value in read.items() if value is not None})


def _seconds(at: At) -> float | None:
    seconds = at.number(0)
    if seconds == 0:
        at.wrong("must be above 0: nothing ends at once")
    return seconds


def _quality(at: At) -> Quality:
    given = at.fields(("samples", "reference", "micro_batch"))
    read: dict[str, Any] = {}
    if "samples" in given:
        read["samples"] = given["samples"].integer(0)
    if "reference" in given:
        read["reference"] = given["reference"].axis(
            lambda item: item.word(("softmax", "dataset"), "reference")
        )
    if "micro_batch" in given:
        read["micro_batch"] = given["micro_batch"].integer(1)
    return Quality(**{key: value for key, value in read.items() if value is not None})


def _metrics(at: At, *, can_judge: bool) -> tuple[str, ...]:
    if not at.is_list:
        at.items()  # notes that it is no list
        return ()

    def one(item: At) -> str | None:
        name = item.word(_NAMES, "metric")
        if name and _is_of_quality(name) and not can_judge:
            item.wrong(f"{name} looks at pictures: set quality.samples, at least {_LEAST_SAMPLES}")
        return name

    return at.axis(one)


def _gate(at: At, names: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for name, share in at.fields(_NAMES, "metric").items():
        if name not in names:
            at.wrong(f"{name} is gated but not among the metrics", name)
        found[name] = share.share()
    return {name: value for name, value in found.items() if value is not None}


def _is_of_quality(name: str) -> bool:
    return name == FRECHET or METRICS[name].stage is Stage.QUALITY
