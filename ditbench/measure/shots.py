"""One shard of a method's pictures: made once, and judged as often as one likes.

Every method gets the same noise and labels, in micro-batches of one fixed size (the last is padded), so that
a picture depends on its key and its index alone. Nothing made here is ever timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ditbench import pictures
from ditbench.jobs import Findings, Job
from ditbench.measure.bench import Bench, set_up
from ditbench.models import weights
from ditbench.records import Status
from ditbench.store import pictures as store

# What makes pictures of latents that are pixels, and of those that nothing decodes.
_PIXELS, _NOTHING = "pixels", "none"
_NAMED = 3


def run(job: Job, say: Callable[[str], None]) -> Findings:
    """Make the pictures of one shard and keep them; latents that are not finite are kept by nobody."""
    say("loading")
    bench = set_up(job.cell, job.device)
    start, stop = job.quality.shards[job.replicate]
    loop = _Loop(bench, job.quality.micro_batch, say)
    latents = loop.latents(start, stop, job.quality.samples)
    if told := _not_finite(latents, start):
        return Findings(Status.NOT_FINITE, told)
    images = _pictures(bench, latents)
    say("writing")
    decoder = _PIXELS if bench.denoiser.spec.pixels else _NOTHING
    of = store.identity(job.cell, bench.weights, job.quality.micro_batch, decoder)
    path = store.file_of(store.folder_of(job.pictures, job.cell), start, stop)
    store.keep(path, store.Made(latents, images, *_classes(bench, range(start, stop))), of)
    facts: dict[str, Any] = {
        "image_key": store.key_of(of),
        "samples": stop - start,
        "micro_batch": job.quality.micro_batch,
        "pictures": f"images/{path.parent.name}/{path.name}",
        "weights": bench.weights,
        "loop_s": loop.seconds,
    }
    return Findings(Status.OK, facts=facts)


@dataclass
class _Loop:
    """The denoising of micro-batches. seconds: what they took, and nothing else."""

    bench: Bench
    micro_batch: int
    say: Callable[[str], None]
    seconds: float = 0.0

    def latents(self, start: int, stop: int, count: int) -> NDArray[np.float32]:
        """Final latents of samples `start` to `stop` - 1 of `count`; rows beyond them are thrown away."""
        parts = []
        for first in range(start, stop, self.micro_batch):
            self.say(f"pictures {first} of {count}")
            self.bench.denoiser.install(self.bench.layers)
            inputs = self.bench.inputs(range(first, first + self.micro_batch))
            begin = time.monotonic()
            made = self.bench.sample(inputs)[: stop - first].float().cpu()
            self.seconds += time.monotonic() - begin
            parts.append(made)
        return torch.cat(parts).numpy()


def _not_finite(latents: NDArray[np.float32], start: int) -> str:
    """Which pictures are lost, or nothing."""
    lost = [
        start + int(at)
        for at in np.flatnonzero(~np.isfinite(latents).reshape(len(latents), -1).all(1))
    ]
    if not lost:
        return ""
    more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    return f"the latents are not finite: of pictures {', '.join(map(str, lost[:_NAMED]))}{more}"


def _pictures(bench: Bench, latents: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Pictures where the latents are pixels (one or three channels); no decoder is loaded for others."""
    if not bench.denoiser.spec.pixels:
        return np.zeros((0, 0, 0, 0), np.uint8)
    return pictures.quantise(latents)


def _classes(bench: Bench, indices: range) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Number and name of the class of each sample; none for a model that is told words and not classes."""
    cell = bench.cell
    told = bench.denoiser.spec.conditions(cell.sampling.seed, indices)[0]
    if told.is_floating_point():
        return np.zeros(0, np.int64), np.zeros(0, np.str_)
    labels = told.numpy()
    names = weights.class_names(cell.model.name, cell.weights)
    return labels, np.array([names.get(label, f"class {label}") for label in labels.tolist()])
