"""All that training remembers between two steps, and its file, which goes on where it was cut off."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ditbench.errors import UsageError, one_line
from ditbench.store.disk import writing
from ditbench.train.spec import Training

AGAIN = "start the same command again when there is room"


@dataclass(frozen=True)
class Step:
    """One line of steps.csv."""

    step: int
    images: int
    loss: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Epoch:
    """One line of metrics.csv. A distance by another network than FID's stands elsewhere, under its name.

    loss: mean over the steps. epoch_time_s: of the steps, without sampling and judging. step_time_ms: median.
    peak_vram_mb: of training alone, in 2^20 bytes; what it is of, training.json says. fid: None where the
    epoch was not judged, or by another network.
    """

    epoch: int
    loss: float
    epoch_time_s: float
    step_time_ms: float
    peak_vram_mb: float
    imgs_per_sec: float
    fid: float | None = None


@dataclass
class State:
    """All that a checkpoint holds.

    lines, epochs: of the two tables so far, which are written anew from here, so that what a killed run had
    written after its last checkpoint is gone. recent: losses since the last line. losses, times: of the
    epoch's steps so far, seconds. peak: bytes, the highest of this epoch. distances: of the epochs that were
    judged. best: epoch and value of the best.
    """

    network: Any
    ema: Any
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    step: int = 0
    lines: list[Step] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    seconds: float = 0.0
    peak: int = 0
    distances: dict[int, float] = field(default_factory=dict)
    best: tuple[int, float] | None = None

    @property
    def shown(self) -> Any:  # noqa: ANN401 (of the model's class)
        """The network that is sampled from and kept: the moving average, where there is one."""
        return self.ema or self.network


def fresh(training: Training, network: Any) -> State:  # noqa: ANN401 (of the model's class)
    """Before the first step."""
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=training.learning_rate,
        weight_decay=training.weight_decay,
        betas=(0.9, training.beta2),
    )
    ema = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
    scaler = torch.amp.GradScaler(
        next(network.parameters()).device.type, enabled=training.precision == "float16"
    )
    return State(network.train(), ema if training.ema else None, optimizer, scaler)


def save_to(path: Path, state: State, identity: Mapping[str, Any]) -> None:
    """Write the checkpoint whole or not at all; nothing in it is pickled."""
    tensors: dict[str, torch.Tensor] = {}
    for part, network in (("network", state.network), ("ema", state.ema)):
        if network is not None:
            tensors |= {f"{part}/{name}": value for name, value in network.state_dict().items()}
    for number, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": value for name, value in moments.items()}
    told = {
        "step": state.step,
        "lines": [dataclasses.astuple(line) for line in state.lines],
        "epochs": [dataclasses.astuple(line) for line in state.epochs],
        "recent": state.recent,
        "losses": state.losses,
        "times": state.times,
        "seconds": state.seconds,
        "peak": state.peak,
        "distances": list(state.distances.items()),
        "best": state.best,
        "scaler": state.scaler.state_dict(),
    }
    metadata = {"state": json.dumps(told), "identity": json.dumps(identity)}
    write_tensors(path, tensors, metadata)


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> None:
    """A safetensors file, whole or not at all. Raises StoreError where the disk refuses."""
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path, AGAIN):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, dict(metadata))
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


def load_from(path: Path, state: State, identity: Mapping[str, Any]) -> None:
    """Go on from a checkpoint. Raises UsageError where it is torn, or another training's."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        told, of = json.loads(metadata["state"]), json.loads(metadata["identity"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        cause = one_line(str(error))
        raise UsageError(
            f"{path}: no checkpoint to go on from ({cause}): remove it to start anew"
        ) from error
    _same(path, of, json.loads(json.dumps(identity)))
    _take_tensors(state, tensors)
    state.step, state.seconds, state.peak = told["step"], told["seconds"], told["peak"]
    state.lines = [Step(*line) for line in told["lines"]]
    state.epochs = [Epoch(*line) for line in told["epochs"]]
    state.recent, state.losses, state.times = told["recent"], told["losses"], told["times"]
    state.distances = dict(told["distances"])
    state.best = tuple(told["best"]) if told["best"] else None
    state.scaler.load_state_dict(told["scaler"])


def _same(path: Path, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    wrong = [
        f"{key} {there.get(key)}, not {value}"
        for key, value in wanted.items()
        if there.get(key) != value
    ]
    if wrong:
        raise UsageError(
            f"{path}: of another training ({'; '.join(wrong)}): remove it, or give another --out"
        )


def _take_tensors(state: State, tensors: Mapping[str, torch.Tensor]) -> None:
    for part, network in (("network", state.network), ("ema", state.ema)):
        prefix = f"{part}/"
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        if network is not None:
            network.load_state_dict(own)
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer/"):
            _, number, moment = name.split("/")
            moments.setdefault(int(number), {})[moment] = value
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
