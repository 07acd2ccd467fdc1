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
from ditbench.models.decoding import Decoder, decoder_of
from ditbench.records import Status
from ditbench.store import pictures as store

# What makes pictures of latents that are pixels, and of those that nothing decodes.
_PIXELS, _NOTHING = "pixels", "none"
_NAMED = 3


def run(job: Job, say: Callable[[str], None]) -> Findings:
    """Make the pictures of one shard and keep them; latents that are not finite are kept by nobody."""
    say("loading")
    bench = set_up(job.cell, job.device)
    decoder = decoder_of(job.cell, job.quality.vae, bench.device)
    start, stop = job.quality.shards[job.replicate]
    loop = _Loop(bench, job.quality.micro_batch)
    parts = []
    for first in range(start, stop, loop.micro_batch):
        say(f"pictures {first} of {job.quality.samples}")
        ended = loop.latents(first)[: stop - first]
        shown = _shown(bench, decoder, ended)
        if told := _not_finite(ended, first, "latents") or _not_finite(shown, first, "pictures"):
            return Findings(Status.NOT_FINITE, told)
        parts.append((ended.numpy(), pictures.quantise(shown.numpy())))
    latents, images = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    say("writing")
    of = store.identity(
        job.cell, bench.weights, loop.micro_batch, _said(decoder, pixels=bench.denoiser.spec.pixels)
    )
    path = store.file_of(store.folder_of(job.pictures, job.cell), start, stop)
    store.keep(path, store.Made(latents, images, *_classes(bench, range(start, stop))), of)
    facts: dict[str, Any] = {
        "image_key": store.key_of(of),
        "samples": stop - start,
        "micro_batch": loop.micro_batch,
        "pictures": f"images/{path.parent.name}/{path.name}",
        "weights": bench.weights,
        "loop_s": loop.seconds,
    }
    return Findings(Status.OK, facts=facts)


@dataclass
class _Loop:
    """The denoising of micro-batches. seconds: what it took, and nothing else."""

    bench: Bench
    micro_batch: int
    seconds: float = 0.0

    def latents(self, first: int) -> torch.Tensor:
        """Final latents of a whole micro-batch, float32 on the CPU: a picture beyond the last pads it."""
        self.bench.denoiser.install(self.bench.layers)
        inputs = self.bench.inputs(range(first, first + self.micro_batch))
        begin = time.monotonic()
        made = self.bench.sample(inputs).float().cpu()
        self.seconds += time.monotonic() - begin
        return made


def _shown(bench: Bench, decoder: Decoder | None, latents: torch.Tensor) -> torch.Tensor:
    """Pictures (n, channels, height, width) in [-1, 1], float32 on the CPU; empty where nothing makes any."""
    if bench.denoiser.spec.pixels:
        return latents
    if decoder is None:
        return torch.zeros(0, 0, 0, 0)
    return decoder.decode(latents).cpu()


def _said(decoder: Decoder | None, *, pixels: bool) -> str:
    if decoder is None:
        return _PIXELS if pixels else _NOTHING
    return decoder.identity


def _not_finite(made: torch.Tensor, first: int, what: str) -> str:
    """Which of some pictures are lost, or nothing."""
    lost = [first + at for at, one in enumerate(made) if not bool(torch.isfinite(one).all())]
    if not lost:
        return ""
    more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    return f"the {what} are not finite: of pictures {', '.join(map(str, lost[:_NAMED]))}{more}"


def _classes(bench: Bench, indices: range) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Number and name of the class of each sample; none for a model that is told words and not classes."""
    cell = bench.cell
    told = bench.denoiser.spec.conditions(cell.sampling.seed, indices)[0]
    if told.is_floating_point():
        return np.zeros(0, np.int64), np.zeros(0, np.str_)
    labels = told.numpy()
    names = weights.class_names(cell.model.name, cell.weights)
    return labels, np.array([names.get(label, f"class {label}") for label in labels.tolist()])
