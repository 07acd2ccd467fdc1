"""Judging pictures that are there: against softmax's of the same noise, and against real ones.

Nothing is generated here: pictures come from the shards that `ditbench.measure.shots` made, so that they are
made once and may be judged again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ditbench.distances import frechet, pairs
from ditbench.errors import StoreError
from ditbench.extractors.base import Opened
from ditbench.extractors.fashion_cnn import FashionFeatures
from ditbench.jobs import Findings, Job
from ditbench.metrics import stage_of
from ditbench.models.decoding import undecoded
from ditbench.records import Cell, Stage, Status
from ditbench.store.disk import RESUME
from ditbench.store.pictures import Shards, folder_of


@dataclass(frozen=True)
class Seen:
    """What one quality key's pictures are judged by.

    latents (n, ...) float32; images (n, height, width, channels) uint8, or empty where the latents are no
    pictures; features (n, d) float32, or empty likewise.
    """

    latents: NDArray[np.float32]
    images: NDArray[np.uint8]
    features: NDArray[np.float32]


def run(job: Job, say: Callable[[str], None]) -> Findings:
    """Compare this cell's pictures with the reference's, and with real ones."""
    say("judging")
    shards = opened(job, job.cell)
    extractor = _extractor_for(shards)
    ours = _seen(shards, extractor)
    reference = _reference(job, ours, extractor)
    metrics, facts = judge(ours, reference, extractor, job.quality.reference)
    if told := _unpictured(job, shards):
        facts["unpictured"] = told
    facts |= {
        "image_key": shards.key,
        "samples": shards.count,
        "micro_batch": shards.identity["micro_batch"],
        "pictures": f"images/{shards.folder.name}" if shards.shape else "",
        "weights": shards.identity["weights"],
    }
    return Findings(Status.OK, metrics=metrics, facts=facts)


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


def _seen(shards: Shards, extractor: Opened | None) -> Seen:
    images = shards.images()
    features = extractor.features(images).pool if extractor else np.zeros((0, 0), np.float32)
    return Seen(shards.latents(), images, features)


def _unpictured(job: Job, shards: Shards) -> str:
    """Which of the asked metrics look at pictures, where there are none."""
    asked = [n for n in job.metrics if stage_of(n) is Stage.QUALITY and n != "latent_drift"]
    if shards.shape or not asked:
        return ""
    why = undecoded(job.cell, job.quality.vae) or "nothing decoded them"
    return f"{', '.join(asked)} not measured: the latents of {job.cell.model.name} are no pictures: {why}"


def _reference(job: Job, ours: Seen, extractor: Opened | None) -> Seen | None:
    """Softmax's pictures: others, or these; None where the suite asks for no such comparison."""
    if job.reference:
        return _seen(opened(job, job.reference), extractor)
    return ours if job.cell.attention.name == "softmax" else None


def judge(
    ours: Seen,
    reference: Seen | None,
    extractor: Opened | None,
    against: tuple[str, ...],
) -> tuple[dict[str, tuple[float, ...]], dict[str, Any]]:
    """Metrics by name, raw and per picture where they are, and the evidence beside them."""
    metrics: dict[str, tuple[float, ...]] = {}
    facts: dict[str, Any] = {
        # Equal digests of cells that differ in a setting show a knob that is wired to nothing.
        "knob_digest": hashlib.sha256(ours.latents.tobytes()).hexdigest()[:16]
    }
    if reference:
        metrics["latent_drift"] = _drift(ours.latents, reference.latents)
    if reference and len(ours.images):
        metrics["psnr"] = pairs.psnr(ours.images, reference.images)
    if len(ours.images):
        flat = ours.images.reshape(len(ours.images), -1)
        facts["constant_share"] = float((flat.min(axis=1) == flat.max(axis=1)).mean())
    if extractor:
        identity = extractor.identity
        facts["extractor"] = {"name": identity.name, "sha256": identity.sha256}
        distances, paired = _frechet(ours, reference, extractor, against)
        metrics |= distances
        facts["paired"] = paired
    return metrics, facts


def _frechet(
    ours: Seen,
    reference: Seen | None,
    extractor: Opened,
    against: tuple[str, ...],
) -> tuple[dict[str, tuple[float, ...]], dict[str, Any]]:
    name = f"fd_{extractor.identity.name}_{len(ours.features)}"
    distances: dict[str, tuple[float, ...]] = {}
    paired: dict[str, Any] = {}
    real = extractor.shipped()
    targets = {"dataset": real} if real else {}
    if reference:
        targets["softmax"] = frechet.moments(reference.features)
    for which in against:
        if which not in targets:
            continue
        target = targets[which]
        distances[f"{name}@{which}"] = (frechet.distance(frechet.moments(ours.features), target),)
        if reference:
            change, error = frechet.paired_change(ours.features, reference.features, target)
            paired[f"{name}@{which}"] = {"change": change, "error": error}
    return distances, paired


def _extractor_for(shards: Shards) -> Opened | None:
    extractor = FashionFeatures()
    return extractor.open() if shards.shape and extractor.suits(shards.shape) else None


def _drift(ours: NDArray[np.float32], reference: NDArray[np.float32]) -> tuple[float, ...]:
    """|ours - reference| / |reference| of each sample's latents, in L2."""
    flat, true = (x.reshape(len(x), -1).astype(np.float64) for x in (ours, reference))
    distance = np.linalg.norm(flat - true, axis=1)
    return tuple((distance / np.linalg.norm(true, axis=1)).tolist())
