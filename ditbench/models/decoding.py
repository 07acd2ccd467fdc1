"""From latents to pictures: the autoencoder beside the weights, or another that a suite names.

    x = decode(z / scaling_factor + shift_factor)        both factors as its configuration says them

An autoencoder is a part of what a picture depends on, so its identity goes into the record: which class,
whose weights, which factors, and the dtype and the number of pictures that it decodes at once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors import SafetensorError

from ditbench.errors import UsageError, one_line
from ditbench.models import weights
from ditbench.models.base import Model, made
from ditbench.records import Cell

OWN, NONE = "own", "none"
# Those of diffusers' autoencoders that make pictures of latents (n, channels, height, width).
_OF_PICTURES = ("AutoencoderKL", "AutoencoderDC", "AutoencoderTiny", "AsymmetricAutoencoderKL")
# Rows of a decoding, the last padded: a picture must not depend on how many are decoded beside it.
_TOGETHER = 4


@dataclass(frozen=True)
class Decoder:
    """An autoencoder's second half. identity: all that its pictures depend on, in one line."""

    network: Any
    spec: Model
    scale: float
    shift: float
    identity: str

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Pictures (n, channels, height, width), float32 in [-1, 1], of a model's latents (n, ...).

        They stay on the decoder's device; the latents may lie anywhere.
        """
        parameter = next(self.network.parameters())
        inner = self.spec.canvas(latents).to(parameter.device, torch.float32)
        inner = inner / self.scale + self.shift
        parts = [self._few(few, parameter.dtype) for few in torch.split(inner, _TOGETHER)]
        return torch.cat(parts).clamp(-1, 1)

    def _few(self, latents: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        missing = _TOGETHER - len(latents)
        whole = torch.cat([latents, latents[-1:].expand(missing, *latents.shape[1:])])
        made: torch.Tensor = self.network.decode(whole.to(dtype), return_dict=False)[0]
        return made[: len(latents)].float()


def decoder_of(
    cell: Cell, vae: str, device: torch.device, dtype: torch.dtype = torch.float32
) -> Decoder | None:
    """What makes pictures of a cell's latents; None where there is nothing to (see `undecoded`).

    vae: the suite's `quality.vae`. Raises UsageError for an autoencoder that is there and cannot be used.
    """
    spec = made(cell.model.name, dict(cell.model.settings))
    found = _find(spec, cell, vae)
    return None if isinstance(found, str) else _load(found, spec, device, dtype)


def undecoded(cell: Cell, vae: str) -> str:
    """Why the latents of a cell are not decoded, in one line; empty where they are, or are pictures."""
    found = _find(made(cell.model.name, dict(cell.model.settings)), cell, vae)
    return found if isinstance(found, str) else ""


def foreseen(cell: Cell, vae: str) -> str:
    """As `undecoded`, before a run: nothing is downloaded to find out; empty where only that tells."""
    if made(cell.model.name, dict(cell.model.settings)).pixels:
        return ""
    if vae.startswith("hub:"):
        return weights.unreachable(cell.model.name, vae)
    return undecoded(cell, vae) if weights.is_here(cell.model.name, cell.weights) else ""


def _find(spec: Model, cell: Cell, vae: str) -> Path | str:
    """The autoencoder's folder, or why there is none; an empty reason where pictures need none."""
    if spec.pixels:
        return ""
    if vae == NONE:
        return "quality.vae is none"
    if spec.canvas_sizes is None:
        return f"the latents of {cell.model.name} are no single picture's"
    folder = _folder(cell, vae)
    return _unfit(folder, spec) or folder if isinstance(folder, Path) else folder


def _folder(cell: Cell, vae: str) -> Path | str:
    if vae == OWN:
        if cell.weights == "random":
            return "random weights have no autoencoder beside them (quality.vae may name one)"
        folder = weights.locate(cell.model.name, cell.weights) / "vae"
        return folder if folder.is_dir() else f"{folder.parent} has no autoencoder: no folder vae"
    if vae.startswith("hub:"):
        try:
            folder = weights.autoencoder(vae)
        except UsageError as error:
            return str(error)
    else:
        folder = Path(vae).expanduser()
    inner = folder / "vae"
    return inner if inner.is_dir() else folder


def _unfit(folder: Path, spec: Model) -> str:
    """Why the autoencoder in a folder makes no pictures of these latents; empty where it does."""
    config = weights.configuration(folder)
    if (kind := config.get("_class_name")) not in _OF_PICTURES:
        return (
            f"{folder}: {kind} is none of the autoencoders of pictures ({', '.join(_OF_PICTURES)})"
        )
    if not (folder / weights.FILE).is_file():
        return f"{folder}: no {weights.FILE} here (pickled weights are never opened)"
    channels, (ours, *_) = config.get("latent_channels"), spec.canvas_sizes or (0,)
    # What a configuration does not say is the class's default, which is found when it is loaded.
    if channels is not None and channels != ours:
        return f"{folder}: decodes latents of {channels} channels, and the model's have {ours}"
    return ""


def _load(folder: Path, spec: Model, device: torch.device, dtype: torch.dtype) -> Decoder:
    path = folder / weights.FILE
    kind = getattr(diffusers, weights.configuration(folder)["_class_name"])
    try:
        network, told = kind.from_pretrained(
            folder,
            use_safetensors=True,
            torch_dtype=dtype,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except (RuntimeError, ValueError, TypeError, OSError, SafetensorError) as error:
        cause = one_line(str(error).strip().splitlines()[-1])
        raise UsageError(f"{path}: not the weights of this autoencoder: {cause}") from error
    wrong = [f"{kind}: {keys[0]} and {len(keys) - 1} more" for kind, keys in told.items() if keys]
    if wrong:
        raise UsageError(f"{path}: not the weights of this autoencoder: {'; '.join(wrong)}")
    scale = float(network.config.get("scaling_factor") or 1.0)
    shift = float(network.config.get("shift_factor") or 0.0)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    told_dtype = str(dtype).removeprefix("torch.")
    return Decoder(
        network.to(device).eval().requires_grad_(requires_grad=False),
        spec,
        scale,
        shift,
        f"{type(network).__name__} sha256 {digest}, scaling {scale:g}, shift {shift:g}, {told_dtype}, "
        f"{_TOGETHER} at once",
    )
