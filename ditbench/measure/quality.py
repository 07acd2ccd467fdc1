"""Pictures, generated once for each quality key and judged against softmax's and against real ones.

Every method gets the same noise and labels, in micro-batches of one fixed size (the last is padded), so that
pictures depend on nothing but their key; nothing generated here is ever timed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ditbench import pictures
from ditbench.distances import frechet, pairs
from ditbench.errors import StoreError
from ditbench.extractors.base import Opened
from ditbench.extractors.fashion_cnn import FashionFeatures
from ditbench.jobs import Findings, Job
from ditbench.measure.bench import Bench, set_up
from ditbench.metrics import stage_of
from ditbench.models import weights
from ditbench.records import Cell, Stage, Status
from ditbench.store.disk import replacing


@dataclass(frozen=True)
class Generated:
    """What one quality key made.

    latents (n, channels, size, size) float32; images (n, size, size, channels) uint8, or empty where the
    latents are not pictures and no decoder is at hand; features (n, d) float32, or empty likewise. labels
    (n,): the class of each, and classes (n,) what it is called.
    """

    latents: NDArray[np.float32]
    images: NDArray[np.uint8]
    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: NDArray[np.str_]


def run(job: Job, say: Callable[[str], None]) -> Findings:
    """Generate this cell's pictures, keep them, and compare them with the reference's."""
    say("loading")
    bench = set_up(job.cell, job.device)
    extractor = _extractor_for(bench)
    latents = _generate(bench, job, say)
    if not np.isfinite(latents).all():
        return Findings(Status.NOT_FINITE, "the latents are not finite")
    say("judging")
    images = _pictures(bench, latents)
    features = extractor.features(images).pool if extractor else np.zeros((0, 0), np.float32)
    ours = Generated(latents, images, features, *_classes(bench, len(latents)))
    keep(job.pictures / f"{job.cell.quality_key}.npz", ours)
    reference = _reference(job, ours)
    metrics, facts = judge(ours, reference, extractor, job.quality.reference)
    if told := _unpictured(job, ours):
        facts["unpictured"] = told
    facts |= {
        "samples": len(latents),
        "micro_batch": job.quality.micro_batch,
        "pictures": f"images/{job.cell.quality_key}.npz" if len(images) else "",
        "weights": bench.weights,
    }
    return Findings(Status.OK, metrics=metrics, facts=facts)


def _unpictured(job: Job, ours: Generated) -> str:
    """Which of the asked metrics look at pictures, where there are none."""
    asked = [n for n in job.metrics if stage_of(n) is Stage.QUALITY and n != "latent_drift"]
    if len(ours.images) or not asked:
        return ""
    return (
        f"{', '.join(asked)} not measured: the latents of {job.cell.model.name} are no pictures, and no "
        "decoder is loaded"
    )


def _reference(job: Job, ours: Generated) -> Generated | None:
    """Softmax's pictures: kept earlier, or these; None where the suite asks for no such comparison."""
    if job.reference:
        path = kept(job.pictures, job.reference)
        if not path.exists():
            raise StoreError(
                f"{path}: is gone, softmax's pictures that all others are judged by: start another run"
            )
        return open_kept(path)
    return ours if job.cell.attention.name == "softmax" else None


def judge(
    ours: Generated,
    reference: Generated | None,
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
    ours: Generated,
    reference: Generated | None,
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


def _generate(bench: Bench, job: Job, say: Callable[[str], None]) -> NDArray[np.float32]:
    """Final latents of samples 0 to n - 1; the rows that pad the last micro-batch are thrown away."""
    count, size = job.quality.samples, job.quality.micro_batch
    parts = []
    for start in range(0, count, size):
        say(f"pictures {start} of {count}")
        bench.denoiser.install(bench.layers)
        made = bench.sample(bench.inputs(range(start, start + size)))
        parts.append(made[: count - start].float().cpu())
    return torch.cat(parts).numpy()


def _pictures(bench: Bench, latents: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Pictures where the latents are pixels (one or three channels); no decoder is loaded for others."""
    if not bench.denoiser.spec.pixels:
        return np.zeros((0, 0, 0, 0), np.uint8)
    return pictures.quantise(latents)


def _classes(bench: Bench, count: int) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Number and name of the class of each sample; none for a model that is told words and not classes."""
    cell = bench.cell
    told = bench.denoiser.spec.conditions(cell.sampling.seed, range(count))[0]
    if told.is_floating_point():
        return np.zeros(0, np.int64), np.zeros(0, np.str_)
    labels = told.numpy()
    names = weights.class_names(cell.model.name, cell.weights)
    return labels, np.array([names.get(label, f"class {label}") for label in labels.tolist()])


def _extractor_for(bench: Bench) -> Opened | None:
    latent, extractor = bench.denoiser.spec.latent, FashionFeatures()
    return extractor.open() if extractor.suits((*latent[1:], latent[0])) else None


def _drift(ours: NDArray[np.float32], reference: NDArray[np.float32]) -> tuple[float, ...]:
    """|ours - reference| / |reference| of each sample's latents, in L2."""
    flat, true = (x.reshape(len(x), -1).astype(np.float64) for x in (ours, reference))
    distance = np.linalg.norm(flat - true, axis=1)
    return tuple((distance / np.linalg.norm(true, axis=1)).tolist())


def kept(folder: Path, cell: Cell) -> Path:
    """The file of a cell's pictures."""
    return folder / f"{cell.quality_key}.npz"


def keep(path: Path, made: Generated) -> None:
    """Write pictures whole or not at all. Raises StoreError."""
    with replacing(path) as file:
        np.savez(file, **vars(made))


def open_kept(path: Path) -> Generated:
    """Read pictures back; nothing is unpickled."""
    with np.load(path, allow_pickle=False) as file:
        return Generated(**{field.name: file[field.name] for field in fields(Generated)})
