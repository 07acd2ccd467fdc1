"""What training leaves behind in an arm's folder: weights in the hub's layout, tables, and what they mean."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from ditbench import __version__
from ditbench.store.disk import write_whole, writing
from ditbench.train import showing
from ditbench.train.network import Nature
from ditbench.train.spec import Arm, Training
from ditbench.train.state import AGAIN, Epoch, State, Step

WEIGHTS = "diffusion_pytorch_model.safetensors"
METRICS = tuple(field.name for field in dataclasses.fields(Epoch))


_FID = (
    "Frechet distance in the features of the Inception of 2015-12-05; empty where an epoch was not judged, "
    "or was by another network, whose distances stand under `distance`"
)


class Keeping:
    """The folder of an arm."""

    def __init__(
        self, training: Training, arm: Arm, out: Path, nature: Nature, memory_of: str
    ) -> None:
        self._training, self._arm, self.folder = training, arm, out
        self._nature, self._memory_of = nature, memory_of

    def file(self, name: str) -> Path:
        """The weights' file of `last` or `best`."""
        return self.folder / name / WEIGHTS

    def weights(self, network: Any, name: str) -> None:  # noqa: ANN401 (of the model's class)
        """`last` or `best` as `weights:` of a suite takes it, in the place of the one before."""
        folder, new = self.folder / name, self.folder / f".{name}.new"
        with writing(folder, AGAIN):
            shutil.rmtree(new, ignore_errors=True)
            network.save_pretrained(new)
            for file in new.iterdir():
                file.chmod(0o644)  # safetensors writes files that only their owner may read
            shutil.rmtree(folder, ignore_errors=True)
            new.replace(folder)

    def tables(self, state: State) -> None:
        """metrics.csv by epoch, steps.csv by step, and training.json."""
        write_whole(self.folder / "metrics.csv", table(Epoch, state.epochs), AGAIN)
        write_whole(self.folder / "steps.csv", table(Step, state.lines), AGAIN)
        told = json.dumps(self._facts(state), indent=1)
        write_whole(self.folder / "training.json", told + "\n", AGAIN)

    def _facts(self, state: State) -> dict[str, Any]:
        training, arm = self._training, self._arm
        device = next(state.network.parameters()).device
        judged = showing.facts(training)
        if judged:
            judged["by_epoch"] = {str(epoch): value for epoch, value in state.distances.items()}
        return {
            "arm": arm.name,
            "model": arm.model.label,
            "settings": dict(arm.model.settings),
            "attention": arm.attention.label if arm.attention else "the model's own",
            **dataclasses.asdict(self._nature),
            "device": _device(device),
            "threads": torch.get_num_threads(),
            "precision": training.precision,
            "checkpointing": training.checkpointing,
            "features": training.features,
            "processes": training.processes,
            "steps": state.step,
            "images": state.step * training.batch_size,
            "best": {
                "epoch": state.best[0] if state.best else None,
                "by": judged.get("name", "loss"),
                "value": state.best[1] if state.best else None,
            },
            "distance": judged,
            "metrics": {
                "loss": "mean squared error of what is predicted, mean over the epoch's steps",
                "epoch_time_s": "sum of the steps, each with its data; no sampling, judging or saving",
                "step_time_ms": "median of the steps, on a GPU until it has done all of one",
                "peak_vram_mb": f"in 2^20 bytes: {self._memory_of}",
                "imgs_per_sec": "pictures of the epoch by epoch_time_s, of all processes together",
                "fid": _FID,
            },
            "ditbench": __version__,
            "torch": torch.__version__,
        }


def table(kind: type[Any], lines: Iterable[Any]) -> str:
    """Lines of a dataclass as CSV; None is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(
        text, [field.name for field in dataclasses.fields(kind)], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(dataclasses.asdict(line) for line in lines)
    return text.getvalue()


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
