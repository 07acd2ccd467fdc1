"""From a training folder to what ships: float16 weights in the hub's layout, with a card beside them."""

from __future__ import annotations

import csv
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ditbench import __version__, sampling
from ditbench.models.seam import Denoiser
from ditbench.train import data
from ditbench.train.showing import Showing
from ditbench.train.spec import Training

_CARD = """# {name}

A class-conditional Diffusion Transformer of {parameters:,} parameters, trained on Fashion-MNIST (MIT licence,
Zalando SE) padded to 32x32. It is a gauge for attention methods, not a good generator.

| | |
|---|---|
| architecture | {architecture} |
| data | {data}, sha256 of its pictures and labels {data_sha256} |
| steps | {steps} of {planned} planned, batch {batch_size}: {images:,} pictures seen |
| seed | {seed} |
| weights | exponential moving average, {ema} a step, stored as float16 |
| float16 against float32 | drift {drift:.2g} (final latents, 8 samples, {sampling}) |
| exported | {date}, ditbench {version}, torch {torch} |
| command | `ditbench train {command} --export {folder}` |

Mean squared error of the predicted velocity, by step (all lines in `steps.csv`):

| step | loss |
|---|---|
{curve}
"""


def export(training: Training, out: Path, folder: Path, command: str) -> None:
    """Write weights, card, loss curve and a sample grid to `folder`.

    out: where training wrote its last weights and tables, of its one arm. command: the training file's path.
    """
    (arm,) = training.arms
    network = arm.spec.network
    full = network.from_pretrained(out / "last", low_cpu_mem_usage=False).eval()
    folder.mkdir(parents=True, exist_ok=True)
    half = torch.nn.Module.to(full, torch.float16)
    half.save_pretrained(folder)
    full = network.from_pretrained(out / "last", low_cpu_mem_usage=False).eval()
    shipped = network.from_pretrained(
        folder, torch_dtype=torch.float32, low_cpu_mem_usage=False
    ).eval()
    steps = (out / "steps.csv").read_text()
    (folder / "steps.csv").write_text(steps)
    lines = list(csv.DictReader(steps.splitlines()))
    real = data.load(training)
    showing = Showing(training, arm, real, folder, torch.device("cpu"))
    showing.grid(shipped, folder / "samples.png")
    facts = {
        "name": training.name,
        "parameters": sum(parameter.numel() for parameter in shipped.parameters()),
        "architecture": str(arm.spec),
        "data": real.dataset.name,
        "data_sha256": real.dataset.sha256,
        "steps": int(lines[-1]["step"]),
        "planned": training.total(real.count),
        "batch_size": training.batch_size,
        "images": int(lines[-1]["images"]),
        "seed": training.seed,
        "ema": training.ema,
        "drift": _drift(training, full, shipped),
        "sampling": f"{training.sampling.steps} DDIM steps, guidance {training.sampling.guidance_scale:g}",
        "date": datetime.now(UTC).date().isoformat(),
        "version": __version__,
        "torch": torch.__version__,
        "command": command,
        "folder": folder.as_posix(),
        "curve": "\n".join(
            f"| {line['step']} | {float(line['loss']):.4f} |" for line in _curve(lines)
        ),
    }
    if training.class_names:
        (folder / "model_index.json").write_text(_named(training.class_names))
    (folder / "README.md").write_text(_CARD.format(**facts))
    path = folder / "diffusion_pytorch_model.safetensors"
    path.chmod(0o644)  # safetensors writes files that only their owner may read
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "training.json").write_text(
        json.dumps({**facts, "curve": None, "sha256": digest}, indent=1)
    )


def _named(classes: str) -> str:
    """What the classes are called, as the hub's pipelines tell it."""
    names = enumerate(name.strip() for name in classes.split(","))
    return json.dumps({"id2label": {str(number): name for number, name in names}}, indent=1) + "\n"


def _curve(lines: list[dict[str, str]]) -> list[dict[str, str]]:
    """About ten lines, the first and the last among them."""
    step = max(1, len(lines) // 10)
    return [*lines[:-1:step], lines[-1]]


def _drift(training: Training, full: Any, shipped: Any) -> float:  # noqa: ANN401 (of the model's class)
    """Relative L2 distance of the final latents of eight samples."""
    process = training.process
    ends = []
    for network in (full, shipped):
        with torch.inference_mode():
            ends.append(
                sampling.sample(
                    Denoiser(network, process),
                    process,
                    sampling.noise(process, 0, range(8)),
                    process.conditions(0, range(8)),
                    sampler="ddim",
                    steps=training.sampling.steps,
                    guidance_scale=training.sampling.guidance_scale,
                )
            )
    return float((ends[1] - ends[0]).norm() / ends[0].norm())
