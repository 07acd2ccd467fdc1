"""One shard of a method's pictures: made once, and judged as often as one likes.

Every method gets the same noise and labels, in micro-batches of one fixed size (the last is padded), so that
a picture depends on its key and its index alone. Nothing made here is ever timed.

Each shard has a process of its own, and a method that draws something anew in each would be another method
in every shard: all of them make one trial run of the same noise, which must come out alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ditbench import pictures
from ditbench.errors import StoreError
from ditbench.jobs import Findings, Job
from ditbench.measure import calibration
from ditbench.measure.bench import Bench, set_up
from ditbench.metrics import ROUNDING
from ditbench.models import weights
from ditbench.models.decoding import Decoder, decoder_of
from ditbench.records import Status
from ditbench.store import pictures as store
from ditbench.store import shelf
from ditbench.store.disk import RESUME

# What makes pictures of latents that are pixels, and of those that nothing decodes.
_PIXELS, _NOTHING = "pixels", "none"
_NAMED = 3
# Of a trial run, so many values are kept: more than enough to tell two methods apart.
_VALUES = 4096


def run(job: Job, say: Callable[[str], None]) -> Findings:
    """Make the pictures of one shard and keep them; latents that are not finite are kept by nobody."""
    say("loading")
    bench = calibration.ready(job, set_up(job.cell, job.device), say)
    decoder = decoder_of(job.cell, job.quality.vae, bench.device)
    start, stop = job.quality.shards[job.replicate]
    of = store.identity(job.cell, bench.weights, job.quality.micro_batch, _said(bench, decoder))
    path = shelf.file_of(shelf.folder_of(job.pictures, job.cell), start, stop)
    facts: dict[str, Any] = {
        "image_key": store.key_of(of),
        "micro_batch": job.quality.micro_batch,
        "pictures": f"images/{path.parent.name}/{path.name}",
        "weights": bench.weights,
        **_left_here(path, store.key_of(of)),
    }
    bench.foresee(range(start, stop + job.quality.micro_batch))
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
    trial = _trial(loop) if len(job.quality.shards) > 1 else np.zeros(0, np.float32)
    say("writing")
    made = store.Made(latents, images, *_classes(bench, range(start, stop)), trial)
    store.keep(path, made, of)
    if told := _unlike(path, made, job.cell.sampling.dtype):
        path.unlink()
        return Findings(Status.FAILED_GATE, told)
    facts |= {"samples": stop - start, "loop_s": loop.seconds}
    return Findings(Status.OK, facts=facts)


def _left_here(path: Path, key: str) -> dict[str, str]:
    """What became of a file that a process without a record left in the place of this shard.

    One of the same key holds the same pictures, and one that is torn is no loss: both are written anew.
    Raises StoreError for pictures of another key, which nobody here may have made.
    """
    if not path.exists():
        return {}
    try:
        there = store.Part.read(path)
    except StoreError as torn:
        return {"replaced": str(torn)}
    if there.key != key:
        raise StoreError(
            f"{path}: holds pictures of another key, {there.key} and not {key}: remove it, and {RESUME}"
        )
    return {}


@dataclass
class _Loop:
    """The denoising of micro-batches. seconds: what it took, and nothing else."""

    bench: Bench
    micro_batch: int
    seconds: float = 0.0

    def latents(self, first: int) -> torch.Tensor:
        """Final latents of a whole micro-batch, float32 on the CPU: a picture beyond the last pads it."""
        begin = time.monotonic()
        made = self.short(first, self.bench.cell.steps)
        self.seconds += time.monotonic() - begin
        return made

    def short(self, first: int, steps: int) -> torch.Tensor:
        """Likewise, in as few steps as one likes."""
        self.bench.denoiser.install(self.bench.layers)
        inputs = self.bench.inputs(range(first, first + self.micro_batch))
        return self.bench.sample(inputs, steps).float().cpu()


def _trial(loop: _Loop) -> NDArray[np.float32]:
    """What one step makes of the first noise, (values,): the same in every process, or the method is not."""
    return loop.short(0, 1)[0].flatten()[:_VALUES].numpy()


def _unlike(path: Path, made: store.Made, dtype: str) -> str:
    """How this shard's method differs from that of another that is there; empty where it does not.

    Whoever of two has written last sees the other.
    """
    others = (one for one in sorted(path.parent.glob("*.npz")) if one != path)
    if (other := next(others, None)) is None or not len(made.trial):
        return ""
    theirs = store.Part.read(other).array("trial").astype(np.float64)
    if np.array_equal(made.trial, theirs, equal_nan=True):
        return ""
    error = float(np.linalg.norm(made.trial - theirs) / np.linalg.norm(theirs))
    if error <= ROUNDING[dtype]:
        return ""
    return (
        f"pictures depend on how they are cut into shards: one step from the same noise ends {error:.2g} "
        f"apart from that of {other.name}: something is drawn anew in each process"
    )


def _shown(bench: Bench, decoder: Decoder | None, latents: torch.Tensor) -> torch.Tensor:
    """Pictures (n, channels, height, width) in [-1, 1], float32 on the CPU; empty where nothing makes any."""
    if bench.denoiser.spec.pixels:
        return latents
    if decoder is None:
        return torch.zeros(0, 0, 0, 0)
    return decoder.decode(latents).cpu()


def _said(bench: Bench, decoder: Decoder | None) -> str:
    if decoder is None:
        return _PIXELS if bench.denoiser.spec.pixels else _NOTHING
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
    cell, told = bench.cell, bench.conditions(indices)[0]
    if told.is_floating_point():
        return np.zeros(0, np.int64), np.zeros(0, np.str_)
    labels = told.numpy()
    names = weights.class_names(cell.model.name, cell.weights)
    return labels, np.array([names.get(label, f"class {label}") for label in labels.tolist()])
