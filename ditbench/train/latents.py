"""Latents of real pictures by an autoencoder (Rombach et al., 2022, arXiv 2112.10752), encoded once or anew.

    z = scaling_factor (mean + deviation * noise - shift_factor)

The noise of a picture follows from its number, so that latents that were made beforehand and latents that are
made in every step are the same, and the switch changes what is computed and nothing that is learned.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from safetensors import SafetensorError

from ditbench.errors import UsageError, one_line
from ditbench.extractors.base import sha256_of
from ditbench.models.base import Model, drawn
from ditbench.store.disk import replacing
from ditbench.train.pixels import Pictures, scaled

_TOGETHER = 16  # pictures that are encoded at once
_SHARD = 4096
_FILE = "diffusion_pytorch_model.safetensors"
_STREAM = 1  # of the noise: that of sampling is 0


@dataclass(frozen=True)
class Autoencoder:
    """A trained autoencoder in eval mode."""

    network: Any
    sha256: str
    device: torch.device

    @property
    def factor(self) -> int:
        """Pixels of a side for one number of a latent's."""
        return int(2 ** (len(self.network.config.block_out_channels) - 1))

    @torch.no_grad()
    def encode(self, clean: torch.Tensor, numbers: NDArray[np.int64]) -> torch.Tensor:
        """Latents of pictures (n, channels, height, width) in [-1, 1]; a grey one is shown as three."""
        config = self.network.config
        shown = clean.expand(-1, config.in_channels, -1, -1).to(self.device)
        spread = self.network.encode(shown).latent_dist
        noise = drawn(0, numbers.tolist(), spread.mean.shape[1:], _STREAM).to(self.device)
        made: torch.Tensor = spread.mean + spread.std * noise
        shifted: torch.Tensor = (made - (config.shift_factor or 0.0)) * config.scaling_factor
        return shifted

    @torch.no_grad()
    def decode(self, made: torch.Tensor) -> torch.Tensor:
        """Pictures in [-1, 1] of latents."""
        config = self.network.config
        inner = made / config.scaling_factor + (config.shift_factor or 0.0)
        decoded: torch.Tensor = self.network.decode(inner.to(self.device), return_dict=False)[0]
        return decoded.clamp(-1, 1)


@functools.lru_cache(maxsize=1)
def opened(folder: str, device: torch.device) -> Autoencoder:
    """The autoencoder of a folder in the hub's layout, or its `vae` folder. Raises UsageError."""
    place = Path(folder).expanduser()
    place = place / "vae" if (place / "vae").is_dir() else place
    if not (place / _FILE).is_file():
        raise UsageError(f"vae: {place}: no {_FILE} here; save or download an AutoencoderKL there")
    try:
        network = AutoencoderKL.from_pretrained(
            place, use_safetensors=True, low_cpu_mem_usage=False
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UsageError(f"vae: {place}: no AutoencoderKL: {one_line(str(error))}") from error
    network = network.to(device).eval().requires_grad_(requires_grad=False)
    return Autoencoder(network, sha256_of(place / _FILE), device)


def misfit(vae: Autoencoder, spec: Model, shape: tuple[int, ...]) -> str:
    """Why an autoencoder's latents of such pictures (height, width, channels) are not what a model learns."""
    config = vae.network.config
    made = (config.latent_channels, shape[0] // vae.factor, shape[1] // vae.factor)
    if shape[2] not in {1, config.in_channels}:
        return f"the VAE takes {config.in_channels} channels, and the pictures have {shape[2]}"
    if made == tuple(spec.latent):
        return ""
    by = ["x".join(map(str, sizes)) for sizes in (made, spec.latent, shape)]
    return (
        f"the VAE makes latents of {by[0]} from pictures of {by[2]}, and the models learn {by[1]}"
    )


@dataclass(frozen=True)
class Anew:
    """Latents made in every step."""

    images: Callable[[NDArray[np.int64]], Pictures]
    vae: Autoencoder

    def clean(self, chosen: NDArray[np.int64], device: torch.device) -> torch.Tensor:
        """Latents (n, ...) on the device."""
        parts = [chosen[i : i + _TOGETHER] for i in range(0, len(chosen), _TOGETHER)]
        return torch.cat([self.vae.encode(scaled(self.images(part)), part) for part in parts]).to(
            device
        )


@dataclass(frozen=True)
class Kept:
    """Latents that were made beforehand: shards of .npy, of which only the rows of a batch are read."""

    shards: tuple[NDArray[np.float32], ...]

    def clean(self, chosen: NDArray[np.int64], device: torch.device) -> torch.Tensor:
        """Latents (n, ...) on the device."""
        rows = [self.shards[number // _SHARD][number % _SHARD] for number in chosen.tolist()]
        return torch.from_numpy(np.stack(rows)).to(device)


def encode_all(count: int, source: Anew, folder: Path) -> None:
    """Write what is missing of the shards; each is written whole or not at all."""
    for start in range(0, count, _SHARD):
        numbers = np.arange(start, min(start + _SHARD, count))
        path = _shard(folder, start)
        if path.exists():
            continue
        with replacing(path, "start the same command again when there is room") as file:
            np.save(file, source.clean(numbers, torch.device("cpu")).numpy(), allow_pickle=False)


def kept(count: int, folder: Path) -> Kept:
    """The shards of so many pictures."""
    starts = range(0, count, _SHARD)
    return Kept(tuple(np.load(_shard(folder, start), mmap_mode="r") for start in starts))


def _shard(folder: Path, start: int) -> Path:
    return folder / f"latents-{start:07d}.npy"
