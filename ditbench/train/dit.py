"""Training of the small DiT that ships with the package, from a folder of IDX files.

Everything random is a function of (seed, step): a run that was killed goes on from its checkpoint and
ends with the same weights as one that was not. Labels are dropped once per sample, here, so that the
null class the sampler asks for is the one that was trained.
"""

from __future__ import annotations

import copy
import csv
import dataclasses
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from ditbench import pictures, sampling
from ditbench.datasets import idx
from ditbench.models.dit import DiT

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffusers import DiTTransformer2DModel
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Training:
    """What a training file says; every field may stand in YAML. class_names: in order, by commas."""

    name: str
    model: DiT
    data: str
    steps: int = 3000
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup: int = 150
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    label_dropout: float = 0.1
    seed: int = 0
    class_names: str = ""
    log_every: int = 20
    save_every: int = 100
    sample_every: int = 500


@dataclass(frozen=True)
class Progress:
    """One line of the metrics file."""

    step: int
    images: int
    loss: float
    learning_rate: float
    seconds: float


@dataclass
class _State:
    """All that a checkpoint holds."""

    network: DiTTransformer2DModel
    ema: DiTTransformer2DModel
    optimizer: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0


def train(
    training: Training, out: Path, on_progress: Callable[[Progress], None] = lambda _line: None
) -> Path:
    """Train or go on training; the EMA weights' file, in the hub's own layout under `out`/ema.

    Raises UsageError where the data folder is not one.
    """
    images, classes = idx.load(Path(training.data).expanduser(), "train")
    out.mkdir(parents=True, exist_ok=True)
    state = _start(training)
    checkpoint = out / "checkpoint.safetensors"
    if checkpoint.exists():
        _load(checkpoint, state)
    _forget_lines_after(out / "metrics.csv", state.step)
    losses: list[float] = []
    clock = time.perf_counter()
    while state.step < training.steps:
        losses.append(_step(training, state, images, classes))
        state.step += 1
        now = time.perf_counter()
        state.seconds, clock = state.seconds + now - clock, now
        if _due(state.step, training.log_every, training.steps):
            line = _progress(training, state, losses)
            _append(out / "metrics.csv", line)
            on_progress(line)
            losses.clear()
        if _due(state.step, training.sample_every, training.steps):
            pictures.save(out / f"samples-{state.step:06d}.png", sample_grid(training, state.ema))
        if _due(state.step, training.save_every, training.steps):
            _save(checkpoint, state)
    folder = out / "ema"
    state.ema.save_pretrained(folder)
    return folder / "diffusion_pytorch_model.safetensors"


def sample_grid(training: Training, network: DiTTransformer2DModel) -> NDArray[np.uint8]:
    """Eight samples of each class as one picture (rows are classes), 20 DDIM steps, guidance 2."""
    process = training.model
    count = 8 * process.classes
    classes = torch.arange(process.classes).repeat_interleave(8)
    with torch.inference_mode():
        latents = sampling.sample(
            lambda x, t, y: network(x, t, y, return_dict=False)[0],
            process,
            sampling.noise(process, training.seed, range(count)),
            (classes,),
            sampler="ddim",
            steps=20,
            guidance_scale=2.0,
        )
    return pictures.grid(pictures.quantise(latents.numpy()), columns=8)


def _start(training: Training) -> _State:
    torch.manual_seed(training.seed)
    network = training.model.build()
    training.model.close_gates(network)
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=training.learning_rate,
        weight_decay=training.weight_decay,
        betas=(0.9, 0.99),
    )
    return _State(network.train(), copy.deepcopy(network).eval(), optimizer)


def _step(
    training: Training, state: _State, images: NDArray[np.uint8], classes: NDArray[np.uint8]
) -> float:
    generator = torch.Generator().manual_seed((training.seed << 31) + state.step)
    chosen = _indices(training, len(images), state.step)
    clean = torch.from_numpy(images[chosen]).float()[:, None] / 127.5 - 1
    labels = torch.from_numpy(classes[chosen]).long()
    dropped = torch.rand(len(labels), generator=generator) < training.label_dropout
    labels[dropped] = training.model.classes
    times = torch.randint(1000, (len(labels),), generator=generator)
    noise = torch.randn(clean.shape, generator=generator)
    schedule = sampling.scheduler(training.model, "ddim", 1000)
    noisy = schedule.add_noise(clean, noise, times)
    target = (
        schedule.get_velocity(clean, noise, times)
        if training.model.prediction == "v_prediction"
        else noise
    )
    predicted = state.network(noisy, times, labels, return_dict=False)[0]
    loss = nn.functional.mse_loss(predicted[:, : training.model.channels], target)
    _descend(training, state, loss)
    return float(loss.detach())


def _descend(training: Training, state: _State, loss: torch.Tensor) -> None:
    for group in state.optimizer.param_groups:
        group["lr"] = _learning_rate(training, state.step)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward unannotated
    nn.utils.clip_grad_norm_(state.network.parameters(), training.clip)
    state.optimizer.step()
    decay = min(training.ema, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for kept, new in zip(state.ema.parameters(), state.network.parameters(), strict=True):
            kept.lerp_(new, 1 - decay)


def _indices(training: Training, total: int, step: int) -> NDArray[np.int64]:
    """The images of one step: a fresh permutation per epoch, nothing remembered between steps."""
    per_epoch = total // training.batch_size
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng((training.seed, epoch)).permutation(total)
    return order[place * training.batch_size : (place + 1) * training.batch_size]


def _learning_rate(training: Training, step: int) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    if step < training.warmup:
        return training.learning_rate * (step + 1) / training.warmup
    share = (step - training.warmup) / max(1, training.steps - training.warmup)
    return training.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def _due(step: int, every: int, last: int) -> bool:
    return step % every == 0 or step == last


def _progress(training: Training, state: _State, losses: list[float]) -> Progress:
    return Progress(
        step=state.step,
        images=state.step * training.batch_size,
        loss=float(np.mean(losses)) if losses else math.nan,
        learning_rate=_learning_rate(training, state.step - 1),
        seconds=round(state.seconds, 1),
    )


def _append(path: Path, line: Progress) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Progress)])
        if new:
            writer.writeheader()
        writer.writerow(dataclasses.asdict(line))


def _forget_lines_after(path: Path, step: int) -> None:
    """Drop the lines that a killed run wrote after its last checkpoint: they will be written again."""
    if not path.exists():
        return
    header, *lines = path.read_text().splitlines()
    kept = [line for line in lines if int(line.split(",")[0]) <= step]
    path.write_text("\n".join([header, *kept]) + "\n")


def _save(path: Path, state: _State) -> None:
    """Write the checkpoint whole or not at all."""
    tensors: dict[str, torch.Tensor] = {}
    for part, network in (("network", state.network), ("ema", state.ema)):
        tensors |= {f"{part}/{name}": value for name, value in network.state_dict().items()}
    for number, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": value for name, value in moments.items()}
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, {"step": str(state.step), "seconds": json.dumps(state.seconds)})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def _load(path: Path, state: _State) -> None:
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    for part, network in (("network", state.network), ("ema", state.ema)):
        prefix = f"{part}/"
        network.load_state_dict(
            {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        )
    moments: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer/"):
            _, number, moment = name.split("/")
            moments.setdefault(int(number), {})[moment] = value
    saved = state.optimizer.state_dict()
    state.optimizer.load_state_dict({"state": moments, "param_groups": saved["param_groups"]})
    state.step = int(metadata["step"])
    state.seconds = float(metadata["seconds"])
