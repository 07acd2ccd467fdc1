"""What is learned from: pictures as the networks take them, or their latents, and the order they come in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ditbench.datasets.base import Dataset, padded
from ditbench.datasets.opening import open_dataset
from ditbench.errors import UsageError
from ditbench.train import latents
from ditbench.train.pixels import Pictures, scaled
from ditbench.train.spec import Training, digest
from ditbench.train.team import Team

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Real:
    """Real pictures, each with a class. chosen: of the data set, in its order. labels: of those."""

    dataset: Dataset
    chosen: Numbers
    labels: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Pictures."""
        return len(self.chosen)

    @property
    def classes(self) -> int:
        """One more than the highest."""
        return int(self.labels.max()) + 1

    def images(self, numbers: Numbers) -> Pictures:
        """Uint8 (n, height, width, channels)."""
        return self.dataset.take(self.chosen[numbers].tolist())[0]


class Source(Protocol):
    """Where a batch comes from."""

    def clean(self, chosen: Numbers, device: torch.device) -> torch.Tensor:
        """What the networks learn of these pictures, float32 (n, channels, height, width)."""
        ...


@dataclass(frozen=True)
class Pixels:
    """The pictures themselves, in [-1, 1]."""

    real: Real

    def clean(self, chosen: Numbers, device: torch.device) -> torch.Tensor:
        """Float32 (n, channels, height, width)."""
        return scaled(self.real.images(chosen)).to(device)


def source(training: Training, real: Real, out: Path, team: Team) -> Source:
    """Pixels, or latents; those that are made once are made by the first process, while the others wait."""
    if not training.vae:
        return Pixels(real)
    vae = latents.opened(training.vae, team.device)
    if cause := latents.misfit(vae, training.process, real.dataset.shape):
        raise UsageError(f"{training.data}: {cause}")
    anew = latents.Anew(real.images, vae)
    if not training.features:
        return anew
    told = {"data": real.dataset.sha256, "vae": vae.sha256, "chosen": digest(real.chosen.tolist())}
    folder = (out.parent if training.arms[0].name else out) / f"latents-{digest(told)[:12]}"
    if team.leads:
        latents.encode_all(real.count, anew, folder)
    team.wait()
    latents.opened.cache_clear()  # what is not needed any more is not counted as memory of training
    return latents.kept(real.count, folder)


def load(training: Training) -> Real:
    """The training pictures, fitted to what the networks make. Raises UsageError where they do not fit."""
    dataset = open_dataset(training.data)
    if dataset.labels is None:
        raise UsageError(
            f"{training.data}: these pictures have no classes, and the models learn one of each"
        )
    known, classes = getattr(training.process, "classes", 0), int(dataset.labels.max()) + 1
    if classes > known:
        told = f"has {classes} classes, and the models know {known}"
        raise UsageError(f"{training.data}: {told}: write classes: {classes} in each model")
    fits = dataset if training.vae else _fitted(dataset, training)
    chosen = _chosen(training, dataset.count)
    if len(chosen) < training.batch_size:
        told = f"{len(chosen)} pictures are no batch of {training.batch_size}"
        raise UsageError(f"{training.data}: {told}: write a smaller batch_size")
    return Real(fits, chosen, dataset.labels[chosen])


def _chosen(training: Training, count: int) -> Numbers:
    if not 0 < training.pictures < count:
        return np.arange(count)
    draw = np.random.default_rng(training.seed)
    return np.sort(draw.choice(count, training.pictures, replace=False))


def _fitted(dataset: Dataset, training: Training) -> Dataset:
    """Pictures as large as the model's own: a black margin is added, nothing is cut or resized."""
    channels, *sides = training.process.latent
    height, width, there = dataset.shape
    if there != channels or max(height, width) > sides[0]:
        told = f"pictures of {height}x{width} with {there} channels"
        wanted = f"{sides[0]}x{sides[1]} with {channels}"
        way_out = "write size: and channels: of the models"
        raise UsageError(f"{training.data}: {told} do not fit models of {wanted}: {way_out}")
    return padded(dataset, sides[0])


def order(training: Training, total: int, step: int) -> Numbers:
    """The pictures of one step: a fresh permutation per epoch, nothing remembered between steps."""
    epoch, place = divmod(step, total // training.batch_size)
    shuffled = np.random.default_rng((training.seed, epoch)).permutation(total)
    return shuffled[place * training.batch_size : (place + 1) * training.batch_size]
