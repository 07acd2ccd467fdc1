"""From a training folder to what ships: float16 weights in the hub's layout, with a card beside them."""

from __future__ import annotations

import csv
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import torch
from diffusers import DiTTransformer2DModel

from ditbench import __version__, pictures, sampling
from ditbench.datasets import idx
from ditbench.train.dit import Training, sample_grid

_CARD = """# {name}

A class-conditional Diffusion Transformer of {parameters:,} parameters, trained on Fashion-MNIST (MIT licence,
Zalando SE) padded to 32x32. It is a gauge for attention methods, not a good generator.

| | |
|---|---|
| architecture | {architecture} |
| data | {data}, sha256 of the four files {data_sha256} |
| steps | {steps} of {planned} planned, batch {batch_size}: {images:,} pictures seen |
| seed | {seed} |
| weights | exponential moving average, {ema} a step, stored as float16 |
| float16 against float32 | drift {drift:.2g} (final latents, 8 samples, 20 DDIM steps, guidance 2) |
| exported | {date}, ditbench {version}, torch {torch} |
| command | `ditbench train {command} --export {folder}` |

Mean squared error of the predicted velocity, by step (all lines in `metrics.csv`):

| step | loss |
|---|---|
{curve}
"""


def export(training: Training, out: Path, folder: Path, command: str) -> None:
    """Write weights, card, loss curve and a sample grid to `folder`.

    out: where training wrote its moving average and metrics. command: the training file's path.
    """
    full = DiTTransformer2DModel.from_pretrained(out / "ema", low_cpu_mem_usage=False).eval()
    folder.mkdir(parents=True, exist_ok=True)
    half = torch.nn.Module.to(full, torch.float16)
    half.save_pretrained(folder)
    full = DiTTransformer2DModel.from_pretrained(out / "ema", low_cpu_mem_usage=False).eval()
    shipped = DiTTransformer2DModel.from_pretrained(
        folder, torch_dtype=torch.float32, low_cpu_mem_usage=False
    ).eval()
    metrics = (out / "metrics.csv").read_text()
    (folder / "metrics.csv").write_text(metrics)
    lines = list(csv.DictReader(metrics.splitlines()))
    pictures.save(folder / "samples.png", sample_grid(training, shipped))
    facts = {
        "name": training.name,
        "parameters": sum(parameter.numel() for parameter in shipped.parameters()),
        "architecture": str(training.model),
        "data": "Fashion-MNIST, training split",
        "data_sha256": idx.digest(Path(training.data).expanduser()),
        "steps": int(lines[-1]["step"]),
        "planned": training.steps,
        "batch_size": training.batch_size,
        "images": int(lines[-1]["images"]),
        "seed": training.seed,
        "ema": training.ema,
        "drift": _drift(training, full, shipped),
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


def _drift(
    training: Training, full: DiTTransformer2DModel, shipped: DiTTransformer2DModel
) -> float:
    """Relative L2 distance of the final latents of eight samples."""
    process = training.model
    ends = []
    for network in (full, shipped):
        with torch.inference_mode():
            ends.append(
                sampling.sample(
                    lambda x, t, y, network=network: network(x, t, y, return_dict=False)[0],
                    process,
                    sampling.noise(process, 0, range(8)),
                    process.conditions(0, range(8)),
                    sampler="ddim",
                    steps=20,
                    guidance_scale=2.0,
                )
            )
    return float((ends[1] - ends[0]).norm() / ends[0].norm())
