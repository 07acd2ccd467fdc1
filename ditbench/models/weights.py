"""Weights: random and seeded, shipped with the package, from the hub, or from a folder in its layout."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open

from ditbench.errors import UsageError, one_line
from ditbench.models import t5
from ditbench.models.base import Model, made, presets
from ditbench.posterior import TRAIN_STEPS
from ditbench.records import Choice

_RANDOM_SEED = 0
FILE = "diffusion_pytorch_model.safetensors"
# Of a pipeline's repository: what denoises, what decodes, and which noise it was trained on.
_WANTED = ["transformer/*", "vae/*.json", f"vae/{FILE}", "scheduler/*.json", "*.json"]
_AUTOENCODER = ["config.json", FILE, "vae/config.json", f"vae/{FILE}"]
_HUB_ERRORS = (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError)
_HUB_TIMEOUT_S = 10.0
_SCHEDULE = "scheduler_config.json"
# What diffusers' schedulers take where their configuration does not say; of the betas also what ours are.
_BETAS = ("beta_start", "beta_end")
_USUAL_SCHEDULE: Mapping[str, Any] = {
    "num_train_timesteps": TRAIN_STEPS,
    "prediction_type": "epsilon",
    "beta_schedule": "linear",
    "beta_start": 1e-4,
    "beta_end": 0.02,
}


@dataclass(frozen=True)
class Loaded:
    """A network with its weights in; identity: what they are, for the record."""

    network: Any
    spec: Model
    identity: str


def load(model: Choice, weights: str, dtype: torch.dtype, device: torch.device) -> Loaded:
    """The network of a cell on its device, in eval mode and without gradients.

    weights: `random`, `embedded`, `hub`, `hub:owner/name@revision`, or a folder. The hub honours
    HF_HUB_OFFLINE. Raises UsageError where the weights are not there or are of another architecture.
    """
    spec = made(model.name, dict(model.settings))
    if weights == "random":
        return Loaded(_random(spec, dtype, device), spec, f"random, seed {_RANDOM_SEED}")
    whole = locate(model.name, weights)
    folder = transformer_folder(whole)
    _check_config(folder, spec)
    _check_schedule(whole, spec)
    path = _file(folder)
    try:
        network, told = spec.network.from_pretrained(
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


def check(model: Choice, weights: str) -> list[str]:
    """What is wrong with the weights of a model, from their headers alone: no tensor is loaded.

    The reasons why this machine cannot have them from the hub, or none. Raises UsageError for a folder
    that holds no such weights, whatever the machine.
    """
    if weights == "random":
        return []
    if weights == "hub" or weights.startswith("hub:"):
        if reason := unreachable(model.name, weights):
            return [reason]
        if not is_here(model.name, weights):
            return []  # there to be had; read when it has come
    spec = made(model.name, dict(model.settings))
    whole = locate(model.name, weights)
    folder = transformer_folder(whole)
    _check_config(folder, spec)
    _check_schedule(whole, spec)
    _check_header(_file(folder), spec)
    return []


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


def class_names(model: str, weights: str) -> dict[int, str]:
    """What the weights call their classes, by number; empty where they do not say.

    Told as the hub's pipelines tell it, in `model_index.json`; of several names the first.
    """
    if weights == "random":
        return {}
    try:
        told = json.loads((locate(model, weights) / "model_index.json").read_text())["id2label"]
        return {int(number): str(name).partition(",")[0] for number, name in told.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def transformer_folder(folder: Path) -> Path:
    """Where the network lies: the hub keeps a pipeline's parts in folders of their own."""
    inner = folder / "transformer"
    return inner if inner.is_dir() else folder


def _file(folder: Path) -> Path:
    path = folder / FILE
    if not path.is_file():
        raise UsageError(f"{folder}: no {FILE} here (pickled weights are never opened)")
    return path


def _repository(model: str, weights: str) -> tuple[str, str | None]:
    """Repository and revision; None for the repository's own default."""
    _, _, named = weights.partition(":")
    repository, _, revision = named.partition("@")
    preset = presets().get(model)
    repository = repository or (preset.hub if preset else "")
    if not repository:
        raise UsageError(
            f"weights: no repository is known for {model}; write weights: hub:owner/name@revision"
        )
    return repository, revision or None


def autoencoder(named: str) -> Path:
    """The folder of `hub:owner/name[@revision]`, an autoencoder's own or a pipeline's. Raises UsageError."""
    repository, _, revision = named.removeprefix("hub:").partition("@")
    return _downloaded(repository, revision or None, _AUTOENCODER)


def locate_encoder(model: str, weights: str) -> Path:
    """The folder beside whose network a text encoder lies; from the hub that comes too. Raises UsageError."""
    if weights == "hub" or weights.startswith("hub:"):
        return _downloaded(*_repository(model, weights), [*_WANTED, *t5.WANTED])
    return locate(model, weights)


def unread(model: str, weights: str) -> list[str]:
    """Why texts cannot be read for a model with these weights; empty where they can."""
    if weights == "random":
        why = "random weights have no text encoder: give a folder that has the pipeline whole, or leave"
        return [f"prompts: {why} prompts out for random embeddings"]
    if not is_here(model, weights):
        return []  # told when it has come
    whole = locate(model, weights)
    return [f"prompts: {why}" for why in t5.lacking(whole)]


def _from_hub(model: str, weights: str) -> Path:
    return _downloaded(*_repository(model, weights), _WANTED)


def _downloaded(repository: str, revision: str | None, wanted: list[str]) -> Path:
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=wanted))
    except _HUB_ERRORS as error:
        raise UsageError(_cannot_be_had(repository, error)) from error


def is_here(model: str, weights: str) -> bool:
    """Whether weights lie on this machine; those of the hub may have to come to it."""
    if weights != "hub" and not weights.startswith("hub:"):
        return True
    repository, revision = _repository(model, weights)
    try:
        snapshot_download(
            repository, revision=revision, allow_patterns=_WANTED, local_files_only=True
        )
    except _HUB_ERRORS:
        return False
    return True


def unreachable(model: str, weights: str) -> str:
    """Why weights that are not on this machine cannot come to it; empty where they can."""
    if is_here(model, weights):
        return ""
    repository, revision = _repository(model, weights)
    try:
        HfApi().model_info(repository, revision=revision, timeout=_HUB_TIMEOUT_S)
    except Exception as error:  # noqa: BLE001 (each release of the hub's client fails in its own way)
        return _cannot_be_had(repository, error)
    return ""


def _cannot_be_had(repository: str, error: Exception) -> str:
    cause = one_line(str(error)).partition(". ")[0] or type(error).__name__
    return (
        f"weights: {repository} cannot be had from the hub ({cause}); "
        "download it once with network, or give a local folder"
    )


def _random(spec: Model, dtype: torch.dtype, device: torch.device) -> Any:  # noqa: ANN401 (of the model's class)
    """Built on the device itself: XL has 750 M weights. The same seed gives other weights on a GPU."""
    torch.manual_seed(_RANDOM_SEED)
    with device:
        network = spec.build()
    spec.open_gates(network)
    # diffusers' own `to` warns of modules kept in float32, of which this network has none.
    return torch.nn.Module.to(network, dtype).requires_grad_(requires_grad=False)


def configuration(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """What a part of a pipeline says of itself. Raises UsageError where it says nothing."""
    path = folder / name
    try:
        config: dict[str, Any] = json.loads(path.read_text())
        if not isinstance(config, dict):
            raise TypeError("it is no object")  # noqa: TRY301 (told with the other ways to be none)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{path}: no configuration in the hub's layout ({one_line(str(error))})"
        ) from error
    return config


def _check_config(folder: Path, spec: Model) -> None:
    """The folder's own config must agree with the model that the suite names."""
    path, config = folder / "config.json", configuration(folder)
    wanted: dict[str, Any] = json.loads(json.dumps(spec.config()))  # as a file would say it
    wrong = [f"{k} is {config.get(k)}, not {v}" for k, v in wanted.items() if config.get(k) != v]
    if wrong:
        raise UsageError(f"{path}: another architecture than the suite's model: {'; '.join(wrong)}")


def _check_schedule(folder: Path, spec: Model) -> None:
    """The noise that a pipeline says its network was trained on must be what the samplers will undo.

    A folder without a scheduler says nothing; a key that it leaves out has diffusers' default.
    """
    path = folder / "scheduler" / _SCHEDULE
    if not path.exists():
        return
    config = configuration(path.parent, _SCHEDULE)
    if config.get("trained_betas") is not None:
        raise UsageError(f"{path}: trained_betas: the samplers know schedules by name only")
    told, ours = _schedule(config), _wanted_schedule(spec)
    wrong = [
        f"{name} is {told[name]}, not {ours[name]}" for name in ours if told[name] != ours[name]
    ]
    if wrong:
        raise UsageError(
            f"{path}: another noise schedule than the suite's model: {'; '.join(wrong)}"
        )


def _schedule(config: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(config.get("_class_name", ""))
    flows = kind.startswith("FlowMatch") or config.get("prediction_type") == "flow_prediction"
    told = {name: config.get(name, usual) for name, usual in _USUAL_SCHEDULE.items()}
    return told | {"prediction_type": "flow"} if flows else told


def _wanted_schedule(spec: Model) -> dict[str, Any]:
    """Of a flow only the number of steps: it has no betas."""
    ours = {"num_train_timesteps": TRAIN_STEPS, "prediction_type": spec.prediction}
    if spec.prediction == "flow":
        return ours
    return ours | {"beta_schedule": spec.betas, **{name: _USUAL_SCHEDULE[name] for name in _BETAS}}


def _check_header(path: Path, spec: Model) -> None:
    """The names and shapes of a file's tensors must be the network's."""
    try:
        with safe_open(path, "pt") as file:
            there = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        cause = one_line(str(error))
        raise UsageError(
            f"{path}: not a whole safetensors file ({cause}): copy or download it again"
        ) from error
    with torch.device("meta"):
        wanted = {name: tuple(part.shape) for name, part in spec.build().state_dict().items()}
    wrong = [
        _some("lacks", [name for name in wanted if name not in there]),
        _some("has beside", [name for name in there if name not in wanted]),
        _some(
            "is of another shape in",
            [
                f"{name} ({_by(there[name])}, not {_by(shape)})"
                for name, shape in wanted.items()
                if there.get(name, shape) != shape
            ],
        ),
    ]
    if any(wrong):
        told = "; ".join(filter(None, wrong))
        raise UsageError(f"{path}: not the weights of this architecture: {told}")


def _some(how: str, names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{how} {names[0]}{more}" if names else ""


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
