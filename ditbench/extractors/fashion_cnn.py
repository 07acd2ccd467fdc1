"""The small feature network that ships: 32x32 grey pictures to 64 features, trained on Fashion-MNIST.

Its Frechet distance is called fd_fashion_cnn_<n>, never FID: that name belongs to the Inception network of
2015-12-05. It tells methods on the shipped model apart, and says nothing about any other data.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from ditbench.distances.frechet import Moments

NAME = "fashion_cnn"
FEATURES = 64
_FOLDER = Path(str(files("ditbench") / "data" / "fashion-cnn"))
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
        return self.head(self.trunk(pictures))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Extractor:
    """A feature network in eval mode, with the moments of the real pictures and its own identity."""

    network: FashionCnn
    real: Moments
    sha256: str

    def features(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features (n, 64) of uint8 pictures (n, 32, 32, 1)."""
        with torch.inference_mode():
            parts = [
                self.network.trunk(to_input(pictures[start : start + _BATCH]))
                for start in range(0, len(pictures), _BATCH)
            ]
        return torch.cat(parts).numpy()


def to_input(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """Pictures (n, 32, 32, 1) uint8 as the network wants them: (n, 1, 32, 32) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255


def load(folder: Path = _FOLDER) -> Extractor:
    """The shipped network and the moments of the 60,000 training pictures."""
    path = folder / "model.safetensors"
    network = FashionCnn()
    network.load_state_dict(load_file(path))
    moments = load_file(folder / "moments.safetensors")
    real = Moments(moments["mean"].numpy(), moments["covariance"].numpy())
    return Extractor(network.eval(), real, hashlib.sha256(path.read_bytes()).hexdigest())


def suits(latent: tuple[int, ...]) -> bool:
    """Whether pictures of this kind are what the network was trained on."""
    return latent == (1, 32, 32)
