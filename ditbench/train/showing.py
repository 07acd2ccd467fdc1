"""Pictures of a network that is being trained: a grid of every class, and how far they are from real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ditbench import pictures, sampling
from ditbench.distances import frechet
from ditbench.distances.moments import Moments
from ditbench.distances.moments import moments as moments_of
from ditbench.errors import UsageError
from ditbench.extractors.base import Extractor, Opened, made
from ditbench.models.seam import Denoiser
from ditbench.scores import INCEPTION, Score
from ditbench.train import latents, network
from ditbench.train.data import Real
from ditbench.train.spec import Arm, Quality, Training, autocast, digest
from ditbench.train.state import write_tensors

Pictures = NDArray[np.uint8]
_TOGETHER = 100  # pictures that are sampled at once


def extractor_of(quality: Quality) -> Extractor:
    """The one that a training file names. Raises UsageError with the nearest name, or what is missing."""
    found = made(quality.extractor, {"weights": quality.weights} if quality.weights else {})
    if found.pairs:
        raise UsageError(f"quality.extractor: {found.name} compares pairs and gives no features")
    if missing := found.unavailable():
        raise UsageError(f"quality.extractor: {found.name}: {'; '.join(missing)}")
    return found


def check(training: Training, shape: tuple[int, ...]) -> None:
    """Raises UsageError where the extractor makes nothing of pictures (height, width, channels)."""
    if training.quality is None:
        return
    found = extractor_of(training.quality)
    if not found.suits(shape):
        told = "x".join(map(str, shape))
        raise UsageError(
            f"quality.extractor: {found.name} was not made for pictures of {told}: write inception"
        )


class Showing:
    """Samples an arm's network: the same noise and the same labels for every arm and every epoch."""

    def __init__(
        self, training: Training, arm: Arm, real: Real, out: Path, device: torch.device
    ) -> None:
        self._training, self._arm, self._real, self._out = training, arm, real, out
        self._device = device
        self._reference: Moments | None = None

    @property
    def is_fid(self) -> bool:
        """Whether the distance may be called FID: of the Inception of 2015-12-05 alone."""
        quality = self._training.quality
        return quality is not None and quality.extractor == INCEPTION

    def grid(self, network: Any, path: Path) -> None:  # noqa: ANN401 (of the model's class)
        """Write a picture of every class in a row of its own."""
        columns, classes = self._training.sampling.columns, self._real.classes
        labels = torch.arange(classes).repeat_interleave(columns)
        sheet = pictures.grid(self._made(network, labels), columns=columns)
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures.save(path, sheet)

    def distance(self, network: Any) -> float:  # noqa: ANN401 (likewise)
        """The Frechet distance of the network's pictures to real ones."""
        quality = self._training.quality
        assert quality is not None  # noqa: S101 (else nobody asks)
        (labels,) = self._arm.spec.conditions(self._training.seed, range(quality.samples))
        # Opened anew each time: a network that stayed would be counted as memory of training.
        opened = extractor_of(quality).open(self._device)
        if self._reference is None:
            self._reference = self._moments(quality, opened)
        seen = opened.features(self._made(network, labels)).pool
        return frechet.distance(moments_of(seen), self._reference)

    def _moments(self, quality: Quality, opened: Opened) -> Moments:
        """Moments of real pictures, drawn from the whole training set by the seed; kept beside the arms."""
        identity = opened.identity
        told = {
            "data": self._real.dataset.sha256,
            "seed": self._training.seed,
            "count": quality.reference,
            "chosen": digest(self._real.chosen.tolist()),
        }
        told |= {"shape": str(self._real.dataset.shape), "network": str(identity)}
        folder = self._out.parent if self._arm.name else self._out
        path = folder / f"reference-{digest(told)[:12]}.safetensors"
        if found := _kept(path):
            return found
        draw = np.random.default_rng(self._training.seed)
        count = min(quality.reference, self._real.count)
        chosen = np.sort(draw.choice(self._real.count, count, replace=False))
        moments = moments_of(opened.features(self._real.images(chosen)).pool)
        parts = {"mean": moments.mean, "covariance": moments.covariance}
        tensors = {name: torch.from_numpy(value) for name, value in parts.items()}
        write_tensors(path, tensors, {name: str(value) for name, value in told.items()})
        return moments

    @torch.no_grad()
    def _made(self, shown: Any, labels: torch.Tensor) -> Pictures:  # noqa: ANN401 (likewise)
        """Uint8 pictures (n, height, width, channels), one for each label.

        Not under inference mode: what a method makes there and keeps, training could not use.
        """
        learns = shown.training
        training, spec = self._training, self._arm.spec
        denoiser = Denoiser(shown.eval(), spec)
        place = network.placement(self._arm, self._device, _TOGETHER, training.precision)
        parts = []
        for start in range(0, len(labels), _TOGETHER):
            rows = range(start, min(start + _TOGETHER, len(labels)))
            denoiser.install(place)
            with autocast(training.precision, self._device):
                made = sampling.sample(
                    denoiser,
                    spec,
                    sampling.noise(spec, training.seed, rows).to(self._device),
                    (labels[rows.start : rows.stop].to(self._device),),
                    sampler="ddim",
                    steps=training.sampling.steps,
                    guidance_scale=training.sampling.guidance_scale,
                    on_step=denoiser.at,
                )
            parts.append(self._pictures(made))
        shown.train(learns)
        latents.opened.cache_clear()  # likewise
        return np.concatenate(parts)

    def _pictures(self, made: torch.Tensor) -> Pictures:
        if self._training.vae:
            made = latents.opened(self._training.vae, self._device).decode(made)
        return pictures.quantise(made.float().cpu().numpy())


def facts(training: Training) -> dict[str, Any]:
    """What a distance is called and what to doubt about it."""
    quality = training.quality
    if quality is None:
        return {}
    extractor = extractor_of(quality)
    told: dict[str, Any] = {
        "name": Score("frechet", quality.extractor, quality.samples).name,
        "samples": quality.samples,
        "reference": quality.reference,
        "features": extractor.dim,
    }
    short = min(quality.samples, quality.reference)
    if short <= extractor.dim:
        told["doubt"] = (
            f"{short} pictures are no more than the {extractor.dim} features: the distance is biased upwards "
            "by more than arms differ, and is comparable with no other figure"
        )
    return told


def _kept(path: Path) -> Moments | None:
    try:
        with safe_open(path, "np") as file:
            count = int((file.metadata() or {})["count"])
            return Moments(file.get_tensor("mean"), file.get_tensor("covariance"), count)
    except (OSError, SafetensorError, KeyError):
        return None
