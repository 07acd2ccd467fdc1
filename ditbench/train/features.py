"""Training of the small feature network, and the moments of the real pictures in its features."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from ditbench.datasets import idx
from ditbench.distances import frechet
from ditbench.extractors import fashion_cnn
from ditbench.extractors.base import Identity


@dataclass(frozen=True)
class Features:
    """What a training file of kind `features` says."""

    name: str
    data: str
    epochs: int = 3
    batch_size: int = 128
    learning_rate: float = 2e-3
    seed: int = 0


def train(training: Features, out: Path, say: Callable[[str], None]) -> Path:
    """Train, write the network, the moments of the training pictures and the test accuracy to `out`."""
    data = Path(training.data).expanduser()
    images, labels = idx.load(data, "train")
    torch.manual_seed(training.seed)
    network = fashion_cnn.FashionCnn()
    optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate)
    steps = len(images) // training.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.learning_rate, total_steps=training.epochs * steps
    )
    for epoch in range(training.epochs):
        order = np.random.default_rng((training.seed, epoch)).permutation(len(images))
        for step in range(steps):
            chosen = order[step * training.batch_size : (step + 1) * training.batch_size]
            scores = network(fashion_cnn.to_input(images[chosen][..., None]))
            loss = nn.functional.cross_entropy(scores, torch.from_numpy(labels[chosen]).long())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward unannotated
            optimizer.step()
            schedule.step()
            if step % 50 == 0:
                say(
                    f"epoch {epoch + 1}/{training.epochs} step {step}/{steps} loss {loss.item():.3f}"
                )
    out.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), out / "model.safetensors")
    accuracy = _accuracy(network, data)
    say(f"test accuracy {accuracy:.4f}")
    (out / "training.json").write_text(
        json.dumps(
            {
                "data_sha256": idx.digest(data),
                "epochs": training.epochs,
                "seed": training.seed,
                "test_accuracy": accuracy,
            },
            indent=1,
        )
        + "\n"
    )
    _save_moments(network, images[..., None], out / "moments.safetensors")
    return out / "model.safetensors"


def _accuracy(network: fashion_cnn.FashionCnn, data: Path) -> float:
    images, labels = idx.load(data, "t10k")
    with torch.inference_mode():
        scores = network.eval()(fashion_cnn.to_input(images[..., None]))
    return float((scores.argmax(dim=1).numpy() == labels).mean())


def _save_moments(
    network: fashion_cnn.FashionCnn,
    images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    path: Path,
) -> None:
    here = Identity(fashion_cnn.NAME, "", fashion_cnn.FEATURES, "none", images.shape[1])
    real = frechet.moments(fashion_cnn.seeing(network, here, None).features(images).pool)
    save_file(
        {"mean": torch.from_numpy(real.mean), "covariance": torch.from_numpy(real.covariance)}, path
    )
