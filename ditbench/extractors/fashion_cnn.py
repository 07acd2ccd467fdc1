"""The small feature network that ships: 32x32 grey pictures to 64 features, trained on Fashion-MNIST.

Its Frechet distance is called fd_fashion_cnn_<n>, never FID: that name belongs to the Inception network of
2015-12-05. It tells methods on the shipped model apart, and says nothing about any other data.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ditbench.distances.frechet import Moments
from ditbench.errors import UsageError
from ditbench.extractors.base import Extractor, Identity, Made, Opened, Seeing, register, sha256_of

NAME = "fashion_cnn"
FEATURES = 64
SHAPE = (32, 32, 1)
_FOLDER = str(files("ditbench") / "data" / "fashion-cnn")
_BATCH = 500


class FashionCnn(nn.Module):
    """Three convolutions with pooling, 64 features, ten classes; 122 k parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, 10)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Class scores (n, 10) of pictures (n, 1, 32, 32) in [0, 1]."""
        scores: torch.Tensor = self.head(self.trunk(pictures))
        return scores


@register
@dataclass(frozen=True)
class FashionFeatures(Extractor):
    """64 features of 32x32 grey pictures; the network and the moments of real pictures ship.

    weights: a folder that `ditbench train` wrote a network of this kind to; the shipped one if not given.
    """

    name: ClassVar[str] = NAME
    paper: ClassVar[str] = "ours, 122 k parameters, trained on Fashion-MNIST (Xiao et al. 2017)"
    dim: ClassVar[int] = FEATURES

    weights: str = ""

    def open(self, device: torch.device | str = "cpu") -> Opened:
        """The network with the moments of the 60,000 training pictures."""
        folder = Path(self.weights or _FOLDER).expanduser()
        path = folder / "model.safetensors"
        sha256 = sha256_of(path)
        network, real = FashionCnn(), folder / "moments.safetensors"
        try:
            network.load_state_dict(load_file(path))
            moments = load_file(real)
            mean, covariance = moments["mean"].numpy(), moments["covariance"].numpy()
        except (OSError, SafetensorError, RuntimeError, KeyError) as error:
            told = "is no folder with a network of this kind and its moments"
            raise UsageError(f"{folder}: {told}: {str(error).splitlines()[0]}") from error
        identity = Identity(self.name, sha256, FEATURES, "none", SHAPE[0])
        return seeing(network.to(device), identity, Moments(mean, covariance), device)

    def suits(self, shape: tuple[int, ...]) -> bool:
        """Whether pictures of this kind are what the network was trained on."""
        return shape == SHAPE


def seeing(
    network: FashionCnn,
    identity: Identity,
    real: Moments | None,
    device: torch.device | str = "cpu",
) -> Seeing:
    """A network that was loaded, or just trained, as others are opened."""

    def look(pictures: torch.Tensor) -> Made:
        if tuple(pictures.shape[1:]) != SHAPE:
            told = f"takes pictures of shape {SHAPE}, not {tuple(pictures.shape[1:])}"
            raise UsageError(f"extractor {identity.name} {told}")
        pool = network.trunk(_scaled(pictures))
        return pool, None, network.head(pool)

    network.eval()
    return Seeing(identity, look, device, most=_BATCH, real=real)


def to_input(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """Pictures (n, 32, 32, 1) uint8 as the network wants them: (n, 1, 32, 32) in [0, 1]."""
    return _scaled(torch.from_numpy(np.ascontiguousarray(pictures)))


def _scaled(pictures: torch.Tensor) -> torch.Tensor:
    return pictures.permute(0, 3, 1, 2).float() / 255
