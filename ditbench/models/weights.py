"""Weights: random and seeded, shipped with the package, from the hub, or from a folder in its layout."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from diffusers import DiTTransformer2DModel
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from safetensors import SafetensorError

from ditbench.errors import UsageError
from ditbench.models.dit import DiT, open_gates
from ditbench.models.presets import presets
from ditbench.records import Choice

_RANDOM_SEED = 0
_FILE = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True)
class Loaded:
    """A network with its weights in; identity: what they are, for the record."""

    network: DiTTransformer2DModel
    spec: DiT
    identity: str


def load(model: Choice, weights: str, dtype: torch.dtype, device: torch.device) -> Loaded:
    """The network of a cell on its device, in eval mode and without gradients.

    weights: `random`, `embedded`, `hub`, `hub:owner/name@revision`, or a folder. The hub honours
    HF_HUB_OFFLINE. Raises UsageError where the weights are not there or are of another architecture.
    """
    spec = DiT(**dict(model.settings))  # type: ignore[arg-type]  # checked by the suite
    if weights == "random":
        return Loaded(_random(spec, dtype, device), spec, f"random, seed {_RANDOM_SEED}")
    folder = transformer_folder(locate(model.name, weights))
    _check_config(folder, spec)
    path = folder / _FILE
    if not path.is_file():
        raise UsageError(f"{folder}: no {_FILE} here (pickled weights are never opened)")
    try:
        network, told = DiTTransformer2DModel.from_pretrained(
            folder,
            use_safetensors=True,
            torch_dtype=dtype,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except (RuntimeError, ValueError, OSError, SafetensorError) as error:
        cause = str(error).strip().splitlines()[-1].strip()
        raise UsageError(f"{path}: not the weights of this architecture: {cause}") from error
    # diffusers would put random numbers where the file has none, and go on.
    wrong = [f"{kind}: {keys[0]} and {len(keys) - 1} more" for kind, keys in told.items() if keys]
    if wrong:
        raise UsageError(f"{path}: not the weights of this architecture: {'; '.join(wrong)}")
    network = network.to(device).eval().requires_grad_(requires_grad=False)
    return Loaded(network, spec, f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


def locate(model: str, weights: str) -> Path:
    """The folder that `weights` names. Raises UsageError with the way out."""
    if weights == "embedded":
        return Path(str(files("ditbench") / "data" / model))
    if weights == "hub" or weights.startswith("hub:"):
        return _from_hub(model, weights)
    folder = Path(weights).expanduser()
    if not folder.is_dir():
        raise UsageError(f"weights: no folder {weights}")
    return folder


def transformer_folder(folder: Path) -> Path:
    """Where the network lies: the hub keeps a pipeline's parts in folders of their own."""
    inner = folder / "transformer"
    return inner if inner.is_dir() else folder


def _from_hub(model: str, weights: str) -> Path:
    _, _, named = weights.partition(":")
    repository, _, revision = named.partition("@")
    preset = presets().get(model)
    repository = repository or (preset.hub if preset else "")
    if not repository:
        raise UsageError(
            f"weights: no repository is known for {model}; write weights: hub:owner/name@revision"
        )
    try:
        return Path(
            snapshot_download(
                repository, revision=revision or None, allow_patterns=["transformer/*", "*.json"]
            )
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        cause = str(error).splitlines()[0]
        raise UsageError(
            f"weights: {repository} cannot be had from the hub ({cause}); "
            "download it once with network, or give a local folder"
        ) from error


def _random(spec: DiT, dtype: torch.dtype, device: torch.device) -> DiTTransformer2DModel:
    """Built on the device itself: XL has 750 M weights. The same seed gives other weights on a GPU."""
    torch.manual_seed(_RANDOM_SEED)
    with device:
        network = spec.build()
    open_gates(network)
    # diffusers' own `to` warns of modules kept in float32, of which this network has none.
    return torch.nn.Module.to(network, dtype).requires_grad_(requires_grad=False)


def _check_config(folder: Path, spec: DiT) -> None:
    """The folder's own config must agree with the model that the suite names."""
    path = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise UsageError(f"{path}: no configuration in the hub's layout ({error})") from error
    wanted = {
        "num_attention_heads": spec.heads,
        "attention_head_dim": spec.head_dim,
        "in_channels": spec.channels,
        "out_channels": spec.out_channels,
        "num_layers": spec.depth,
        "sample_size": spec.size,
        "patch_size": spec.patch,
        "num_embeds_ada_norm": spec.classes,
    }
    wrong = [f"{k} is {config.get(k)}, not {v}" for k, v in wanted.items() if config.get(k) != v]
    if wrong:
        raise UsageError(f"{path}: another architecture than the suite's model: {'; '.join(wrong)}")
