"""The arms of a training side by side: what each cost and gave, and all in which they differ.

Arms that differ in more than what is compared give no verdict about it (thirty times the weights, no sense of
time): every difference stands beside the figures, and the page says which pairs differ in one thing alone.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from ditbench.store.disk import write_whole
from ditbench.train.spec import STEPS, Training
from ditbench.train.state import AGAIN

_MATCHED = 1.05  # parameters within so much of each other are as many
_CONDITIONS = ("precision", "checkpointing", "features", "processes", "device", "threads", "steps")


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
            f"{one.name} and {other.name}": asdict(differences(one.facts, other.facts))
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


@dataclass(frozen=True)
class Differences:
    """All in which two arms differ, each as a clause. chosen: by the file. following: what goes with it."""

    chosen: tuple[str, ...]
    following: tuple[str, ...]

    @property
    def told(self) -> str:
        """Whether the figures of two arms are about one thing, in words."""
        if not self.following and len(self.chosen) == 1:
            return f"differ in one thing alone, which the figures are then about: {self.chosen[0]}"
        goes = f"; with that goes: {'; '.join(self.following)}" if self.following else ""
        many = len(self.chosen) + len(self.following)
        told = f"no figure above is about one of these {many} by itself"
        return f"differ in {'; '.join(self.chosen)}{goes} ({told})"


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Differences:
    """Of two arms by their facts; the settings of a model are compared with those of the same model."""
    pair = one["settings"], other["settings"]
    if pair[0].keys() == pair[1].keys():
        chosen = [
            f"{name} {value} against {pair[1][name]}"
            for name, value in pair[0].items()
            if pair[1][name] != value
        ]
    else:
        chosen = [f"network: {one['model']} against {other['model']}"]
    chosen += [
        f"{fact}: {one[fact]} against {other[fact]}"
        for fact in ("attention", *_CONDITIONS)
        if one[fact] != other[fact]
    ]
    return Differences(tuple(chosen), tuple(_following(one, other)))


def _following(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    more, fewer = sorted((one, other), key=lambda facts: -int(facts["parameters"]))
    ratio = more["parameters"] / fewer["parameters"]
    told = [f"{more['arm']} has {ratio:.3g} times the parameters"] if ratio > _MATCHED else []
    for fact, said in (("hears_time", "the time"), ("hears_class", "the class")):
        if one[fact] != other[fact]:
            deaf = other if one[fact] else one
            told.append(f"{deaf['arm']} is never told {said}")
    return told


def _page(training: Training, rows: Sequence[Row], missing: Sequence[str]) -> str:
    parts = [f"# {training.name}", _shared(training)]
    if missing:
        parts.append(f"Not trained, or not to the end of an epoch: {', '.join(missing)}.")
    if rows:
        parts += [_results(rows), _by_epoch(rows), "## What differs", _differences(rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _shared(training: Training) -> str:
    steps = f"{training.steps or STEPS} steps"
    how_long = f"{training.epochs} epochs" if training.epochs else steps
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
    told = [
        f"- **{one.name} and {other.name}** {differences(one.facts, other.facts).told}."
        for one, other in combinations(rows, 2)
    ]
    return "\n".join(told) or "One arm: nothing to compare."


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
