"""The arms of a training side by side: what each cost and gave, and all in which they differ.

Arms that differ in more than what is compared give no verdict about it (thirty times the weights, no sense of
time): every difference stands beside the figures, and the page says which pairs differ in one thing alone.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from ditbench.store.disk import write_whole
from ditbench.train.spec import Training
from ditbench.train.state import AGAIN

_MATCHED = 1.05  # parameters within so much of each other are as many


@dataclass(frozen=True)
class Row:
    """An arm that was trained: its training.json and its metrics.csv."""

    facts: Mapping[str, Any]
    epochs: tuple[Mapping[str, str], ...]

    @property
    def name(self) -> str:
        """The arm's."""
        return str(self.facts["arm"])

    @property
    def last(self) -> Mapping[str, str]:
        """The last epoch."""
        return self.epochs[-1]

    @property
    def distances(self) -> Mapping[str, float]:
        """Of the epochs that were judged."""
        found: Mapping[str, float] = self.facts["distance"].get("by_epoch", {})
        return found


def write(training: Training, folder: Path) -> Path:
    """Write summary.md and training.json of the whole training; the page."""
    rows = [row for arm in training.arms if (row := _row(folder / arm.name))]
    missing = [arm.name for arm in training.arms if arm.name not in {row.name for row in rows}]
    told = {
        "name": training.name,
        "arms": {row.name: {**row.facts, "epochs": list(row.epochs)} for row in rows},
        "missing": missing,
        "differences": {
            f"{one.name} and {other.name}": differences(one.facts, other.facts)
            for one, other in combinations(rows, 2)
        },
    }
    write_whole(folder / "training.json", json.dumps(told, indent=1) + "\n", AGAIN)
    page = folder / "summary.md"
    write_whole(page, _page(training, rows, missing), AGAIN)
    return page


def _row(folder: Path) -> Row | None:
    """None where the arm has not come to the end of an epoch."""
    try:
        facts = json.loads((folder / "training.json").read_text())
        epochs = tuple(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    except (OSError, ValueError):
        return None
    return Row(facts, epochs) if epochs else None


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """All in which two arms differ, each as a clause; of settings, those that both models have."""
    told = []
    kind = one["settings"], other["settings"]
    same_model = one["model"].partition("[")[0] == other["model"].partition("[")[0]
    if not same_model:
        told.append(f"network: {one['model']} against {other['model']}")
    else:
        told += [
            f"{name} {value} against {kind[1][name]}"
            for name, value in kind[0].items()
            if kind[1].get(name) != value
        ]
    if one["attention"] != other["attention"]:
        told.append(f"attention: {one['attention']} against {other['attention']}")
    counts = sorted((one["parameters"], other["parameters"]))
    ratio = counts[1] / counts[0]
    if ratio > _MATCHED:
        more = one if one["parameters"] == counts[1] else other
        told.append(f"parameters: {more['arm']} has {ratio:.3g} times as many")
    for fact, said in (("hears_time", "the time"), ("hears_class", "the class")):
        if one[fact] != other[fact]:
            deaf = other if one[fact] else one
            told.append(f"{deaf['arm']} is never told {said}")
    for fact in ("precision", "checkpointing", "features", "processes", "device", "steps"):
        if one[fact] != other[fact]:
            told.append(f"{fact}: {one[fact]} against {other[fact]}")
    return told


def _page(training: Training, rows: Sequence[Row], missing: Sequence[str]) -> str:
    parts = [f"# {training.name}", _shared(training)]
    if missing:
        parts.append(f"Not trained, or not to the end of an epoch: {', '.join(missing)}.")
    if rows:
        parts += [_results(rows), _by_epoch(rows), "## What differs", _differences(rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _shared(training: Training) -> str:
    how_long = f"{training.epochs} epochs" if training.epochs else f"{training.steps} steps"
    return (
        f"Shared by all arms: {how_long} of batches of {training.batch_size}, learning rate "
        f"{training.learning_rate:g} ({training.schedule}), weight decay {training.weight_decay:g}, "
        f"gradients clipped at {training.clip:g}, moving average {training.ema:g}, "
        f"labels dropped {training.label_dropout:g}, "
        f"{training.precision}, seed {training.seed}; the same pictures, timesteps and noise in every step; "
        f"pictures by {training.sampling.steps} DDIM steps, guidance {training.sampling.guidance_scale:g}."
    )


def _results(rows: Sequence[Row]) -> str:
    name = rows[0].facts["distance"].get("name")
    heads = [
        "arm",
        "model",
        "attention",
        "parameters",
        "told the time",
        "loss",
        *([name] if name else []),
    ]
    heads += ["peak memory (MB)", "pictures/s", "step (ms)"]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        facts, last = row.facts, row.last
        value = list(row.distances.values())[-1:]
        distance = [f"{value[0]:.2f}" if value else "not judged"] if name else []
        lines.append(
            [
                row.name,
                facts["model"],
                facts["attention"],
                f"{facts['parameters']:,}",
                "yes" if facts["hears_time"] else "NO",
                f"{float(last['loss']):.4f}",
                *distance,
                f"{float(last['peak_vram_mb']):,.0f}",
                f"{float(last['imgs_per_sec']):.1f}",
                f"{float(last['step_time_ms']):.1f}",
            ]
        )
    doubt = rows[0].facts["distance"].get("doubt", "")
    memory = rows[0].facts["metrics"]["peak_vram_mb"]
    notes = [f"Peak memory {memory}.", *([f"**Doubt about {name}:** {doubt}."] if doubt else [])]
    return "\n".join(_line(cells) for cells in lines) + "\n\n" + "\n\n".join(notes)


def _by_epoch(rows: Sequence[Row]) -> str:
    """Loss, and the distance where there is one, of every epoch."""
    longest = max(rows, key=lambda row: len(row.epochs))
    lines = [["epoch", *(row.name for row in rows)], ["---"] * (1 + len(rows))]
    for number, line in enumerate(longest.epochs):
        cells = [_cell(row, number) for row in rows]
        lines.append([line["epoch"], *cells])
    said = "loss, and the distance in brackets" if longest.distances else "loss"
    return f"By epoch ({said}):\n\n" + "\n".join(_line(cells) for cells in lines)


def _cell(row: Row, number: int) -> str:
    if number >= len(row.epochs):
        return ""
    line = row.epochs[number]
    value = row.distances.get(line["epoch"])
    return f"{float(line['loss']):.4f}" + ("" if value is None else f" ({value:.2f})")


def _differences(rows: Sequence[Row]) -> str:
    told = []
    for one, other in combinations(rows, 2):
        found = differences(one.facts, other.facts)
        fair = "in one thing alone, which the figures are then about" if len(found) == 1 else ""
        fair = fair or f"in {len(found)} things: no figure above is about one of them by itself"
        told.append(f"- **{one.name} and {other.name}** differ {fair}: {'; '.join(found)}.")
    return "\n".join(told) or "One arm: nothing to compare."


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
