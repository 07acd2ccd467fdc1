"""The judge of a method's pictures: beside softmax's of the same noise, and beside real ones.

Nothing is generated here: pictures come from the shards that the sampling stage made, so that they are made
once and may be judged again. Every figure that the suite asks for is measured, or the record says why not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ditbench.distances import frechet
from ditbench.errors import StoreError, UsageError
from ditbench.extractors.base import Features, Opened
from ditbench.jobs import Findings, Job
from ditbench.measure import beside, features, networks, real
from ditbench.measure.bench import place
from ditbench.measure.judging import Judged, MissingError, Sets, Target, judge
from ditbench.metrics import stage_of
from ditbench.models.decoding import undecoded
from ditbench.records import Cell, Choice, Stage, Status
from ditbench.store.disk import RESUME
from ditbench.store.pictures import Shards
from ditbench.store.shelf import folder_of

# They stand for no attention at all: what becomes of their pictures is no fault.
_YARDSTICKS = frozenset({"identity", "zero"})
# Decibels cost nothing, so that they are told without being asked.
_UNASKED = ("psnr",)
Measure = Callable[[Shards, Shards], beside.Values]


@dataclass(frozen=True)
class _Case:
    """A method's pictures, softmax's (the same object for softmax itself), and what is asked of them."""

    job: Job
    ours: Shards
    softmax: Shards | None
    say: Callable[[str], None]

    @classmethod
    def of(cls, job: Job, say: Callable[[str], None]) -> _Case:
        ours = opened(job, job.cell)
        softmax = ours if job.cell.family == "softmax" else None
        return cls(job, ours, opened(job, job.reference) if job.reference else softmax, say)


def run(job: Job, say: Callable[[str], None]) -> Findings:
    """Compare this cell's pictures with softmax's, and with real ones."""
    say("judging")
    case, judged = _Case.of(job, say), Judged()
    facts = _facts(case)
    if case.softmax:
        judged.metrics["latent_drift"] = beside.drift(case.ours, case.softmax)
    if not case.ours.shape:
        facts |= _unpictured(job)
        return Findings(Status.OK, metrics=judged.metrics, facts=facts)
    facts["constant_share"] = beside.constant_share(case.ours)
    if told := _blank(case, facts["constant_share"]):
        return Findings(Status.FAILED_GATE, told, facts=facts)
    _beside_softmax(case, judged, facts)
    asked = networks.words(job.metrics)
    chosen = networks.chosen(job.quality, case.ours.shape) if asked else ()
    for choice in chosen:
        words = networks.words_of(choice, asked, chosen)
        _in_features(case, choice, words, judged, facts)
    parts = ("errors", "paired", "by_count", "unmeasured")
    facts |= {name: getattr(judged, name) for name in parts}
    return Findings(Status.OK, metrics=judged.metrics, facts=facts)


def opened(job: Job, cell: Cell) -> Shards:
    """The pictures of a cell, all that the job asks for and as it asks for them.

    Raises StoreError where some are missing, or were made for another cell or in other micro-batches.
    """
    shards = Shards.open(folder_of(job.pictures, cell))
    wanted = {"cell": cell.quality_key, "micro_batch": job.quality.micro_batch}
    for name, value in wanted.items():
        if shards.identity.get(name) != value:
            raise StoreError(
                f"{shards.folder}: holds pictures of {name} {shards.identity.get(name)}, not {value}: remove "
                f"them, and {RESUME}, which makes them again"
            )
    if shards.count != job.quality.samples:
        raise StoreError(
            f"{shards.folder}: holds {shards.count} pictures of {job.quality.samples}: {RESUME}, which makes "
            "the others"
        )
    return shards


def _facts(case: _Case) -> dict[str, Any]:
    """What the figures are figures of."""
    ours, sampling = case.ours, case.job.cell.sampling
    made = ours.identity
    return {
        "image_key": ours.key,
        "samples": ours.count,
        "micro_batch": made["micro_batch"],
        "pictures": f"images/{ours.folder.name}" if ours.shape else "",
        "weights": made["weights"],
        # Equal digests of cells that differ in a setting show a knob that is wired to nothing.
        "knob_digest": beside.digest(ours),
        "extractors": {},
        "references": {"softmax": {"image_key": case.softmax.key}} if case.softmax else {},
        "protocol": {
            "samples": ours.count,
            "sampler": sampling.sampler,
            "steps": case.job.cell.steps,
            "guidance_scale": sampling.guidance_scale,
            "guidance_channels": sampling.guidance_channels,
            "dtype": sampling.dtype,
            "seed": sampling.seed,
            "micro_batch": made["micro_batch"],
            "vae": made["decoder"],
            "quantiser": made["quantiser"],
        },
    }


def _unpictured(job: Job) -> dict[str, str]:
    """Which of the asked metrics look at pictures, where there are none."""
    asked = [n for n in job.metrics if stage_of(n) is Stage.QUALITY and n != "latent_drift"]
    why = undecoded(job.cell, job.quality.vae) or "nothing decoded them"
    told = f"the latents of {job.cell.model.name} are no pictures: {why}"
    return {"unpictured": f"{', '.join(asked)} not measured: {told}"} if asked else {}


def _blank(case: _Case, share: float) -> str:
    """Why pictures are none at all, where softmax makes some; empty where they are some."""
    if share < 1 or case.softmax is None or case.softmax is case.ours:
        return ""
    if case.job.cell.family in _YARDSTICKS or beside.constant_share(case.softmax) == 1:
        return ""
    return (
        f"all {case.ours.count} pictures are of one colour each, and softmax's are not: the speed of a "
        "method that makes nothing says nothing"
    )


def _beside_softmax(case: _Case, judged: Judged, facts: dict[str, Any]) -> None:
    """One value a pair. What a suite asks for and cannot be had is told."""
    ours, softmax = case.ours, case.softmax
    asked = {*case.job.metrics, *_UNASKED}
    measures: Mapping[str, Measure] = {
        "psnr": beside.psnr,
        "ssim": beside.ssim,
        "lpips": partial(_lpips, case, facts),
    }
    for name, measure in measures.items():
        if name not in asked:
            continue
        try:
            if softmax is not None:
                judged.metrics[name] = measure(ours, softmax)
        except UsageError as error:
            judged.unmeasured.append(f"{name}: {error}")


def _lpips(case: _Case, facts: dict[str, Any], ours: Shards, softmax: Shards) -> beside.Values:
    network = _open(case, networks.of_pairs(case.job.quality), facts)
    return beside.lpips(ours, softmax, network)


def _open(case: _Case, choice: Choice, facts: dict[str, Any]) -> Opened:
    """A network on the job's device. Raises UsageError where its weights are missing, or it does not suit."""
    plugin = networks.of(choice)
    networks.suited(plugin, case.ours.shape)
    case.say(f"loading {choice.name}")
    network = plugin.open(place(case.job.device))
    facts["extractors"][choice.name] = features.identity_of(network.identity)
    return network


def _in_features(
    case: _Case, choice: Choice, words: tuple[str, ...], judged: Judged, facts: dict[str, Any]
) -> None:
    """All figures of the set that one network's features tell."""
    try:
        network = _open(case, choice, facts)
        ours = features.of_shards(case.ours, network, case.say)
    except UsageError as error:
        judged.unmeasured.append(f"{', '.join(words)} in {choice.name} features: {error}")
        return
    softmax = _softmax(case, network, ours)
    case.say(f"judging in {choice.name} features")
    headless = getattr(networks.of(choice), "headless", "") or "its classes are not at hand"
    several = [
        Sets(ours, softmax, target, headless)
        for target in _targets(case, network, softmax, judged, facts)
    ]
    if not several:  # the class score alone needs nothing beside the pictures
        words, several = networks.alone(words), [Sets(ours, softmax, Target(""), headless)]
    judge(words, choice.name, several, judged)


def _softmax(case: _Case, network: Opened, ours: Features) -> Features | None:
    if case.softmax is None or case.softmax is case.ours:
        return ours if case.softmax else None
    return features.of_shards(case.softmax, network, case.say)


def _targets(
    case: _Case,
    network: Opened,
    softmax: Features | None,
    judged: Judged,
    facts: dict[str, Any],
) -> list[Target]:
    """What the suite has pictures compared with, as far as it is there."""
    found = []
    if "dataset" in case.job.quality.reference:
        try:
            target, told = real.pictures(
                case.job.quality.dataset, network, case.ours.shape, case.say
            )
            facts["references"]["dataset"] = told
            found.append(target)
        except (MissingError, UsageError) as error:
            judged.unmeasured.append(f"against dataset: {error}")
    if "softmax" in case.job.quality.reference and softmax is not None:
        found.append(_of_softmax(softmax))
    return found


def _of_softmax(softmax: Features) -> Target:
    spatial = None if softmax.spatial is None else frechet.moments(softmax.spatial)
    return Target("softmax", frechet.moments(softmax.pool), spatial, softmax.pool)
