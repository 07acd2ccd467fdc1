"""A training as a page: its arms side by side, every epoch as a curve, and all in which the arms differ.

Read from what training leaves behind: `training.json` of the whole, and the sample sheets of each arm.
Nothing is judged: arms that differ in more than one thing answer no question about one of them, and the page
says so.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ditbench import shape, units
from ditbench.errors import StoreError
from ditbench.records import digest
from ditbench.report import marks, render, words
from ditbench.report.charts import Figure
from ditbench.report.points import LINES, Bar, Point, Scaling
from ditbench.report.tables import MISSING, Column, Table, Value

FILE = "training.json"
_MEBI = 2**20
_SHEETS = 1_200_000  # bytes of pictures that the page has room for
_WIDE = 400  # pixels to show a sheet at, or less by whole factors
_NUMBER = ("loss", "epoch_time_s", "step_time_ms", "peak_vram_mb", "imgs_per_sec")
_FACTS = {
    "model": shape.LINE,
    "attention": shape.LINE,
    "parameters": shape.COUNT,
    "hears_time": shape.FLAG,
    "hears_class": shape.FLAG,
    "distance": shape.OBJECT,
    "best": shape.OBJECT,
    "epochs": shape.LIST,
}
_DIFFERENCES = {"chosen": shape.TEXTS, "following": shape.TEXTS}


@dataclass(frozen=True)
class Arm:
    """One arm that came to the end of an epoch. epochs: its lines, numbers as text. distances: by epoch."""

    name: str
    facts: Mapping[str, Any]
    epochs: tuple[Mapping[str, str], ...]
    distances: Mapping[int, float]

    @property
    def last(self) -> Mapping[str, str]:
        """Its last epoch."""
        return self.epochs[-1]

    @property
    def distance(self) -> str:
        """What its distance is called: FID only in the features of one Inception."""
        return str(self.facts["distance"].get("name", ""))


@dataclass(frozen=True)
class Pair:
    """Two arms and all in which they differ. chosen: by the file. following: what goes with that."""

    title: str
    chosen: tuple[str, ...]
    following: tuple[str, ...]

    @property
    def count(self) -> int:
        """In how many things."""
        return len(self.chosen) + len(self.following)


@dataclass(frozen=True)
class Pictures:
    """An arm's newest sample sheet: a row a class, the same noise for every arm."""

    label: str
    said: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Page:
    """Everything on the page, in its order."""

    name: str
    missing: tuple[str, ...]
    doubts: tuple[str, ...]
    arms: Table
    pairs: tuple[Pair, ...]
    figures: tuple[Figure, ...]
    pictures: tuple[Pictures, ...]
    pictures_hidden: int
    meanings: tuple[tuple[str, str], ...]


def is_training(folder: Path) -> bool:
    """Whether a folder holds a training with arms, and no run."""
    return (folder / FILE).is_file() and not (folder / "metrics.csv").exists()


def write(folder: Path, out: Path) -> Path:
    """Write report.html of a training's folder into another; its path. Raises StoreError."""
    full = page(folder)
    drawn = {figure.name: render.svg(figure) for figure in full.figures}
    specs = {figure.name: figure.spec for figure in full.figures}
    text = render.html("training.html.jinja", full, drawn, specs)
    return render.write(out / "report.html", text)


def page(folder: Path) -> Page:
    """The page as text. Raises StoreError where the folder's file is torn, or another's."""
    told = _read(folder / FILE)
    arms = [_arm(folder / FILE, name, facts) for name, facts in told["arms"].items()]
    arms = [arm for arm in arms if arm.epochs]
    shown, hidden = _pictures(folder, arms)
    return Page(
        name=str(told["name"]),
        missing=tuple(map(str, told.get("missing", ()))),
        doubts=tuple(dict.fromkeys(_doubts(arms))),
        arms=Table(_columns(arms), tuple(_row(arm) for arm in arms)),
        pairs=_pairs(folder / FILE, told.get("differences", {})),
        figures=_figures(arms) if arms else (),
        pictures=shown,
        pictures_hidden=hidden,
        meanings=_meanings(arms),
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        told = json.loads(path.read_text())
        shape.check(told, {"name": shape.LINE, "arms": shape.OBJECT, "differences": shape.OBJECT})
        _holds(told, {"name", "arms"})
    except (OSError, ValueError) as error:
        raise _torn(path, error) from error
    found: Mapping[str, Any] = told
    return found


def _pairs(path: Path, told: Mapping[str, Any]) -> tuple[Pair, ...]:
    """Raises StoreError."""
    try:
        for title, parts in told.items():
            shape.check(parts, _DIFFERENCES, f"differences.{title}")
            _holds(parts, set(_DIFFERENCES))
    except ValueError as error:
        raise _torn(path, error) from error
    return tuple(
        Pair(title, tuple(parts["chosen"]), tuple(parts["following"]))
        for title, parts in told.items()
    )


def _arm(path: Path, name: str, facts: Mapping[str, Any]) -> Arm:
    """One arm, held against what is computed with. Raises StoreError."""
    try:
        shape.check(facts, _FACTS, f"arms.{name}")
        _holds(facts, set(_FACTS))
        epochs = tuple(dict(line) for line in facts["epochs"])
        for line in epochs:
            for number in ("epoch", *_NUMBER):
                float(line[number])
        by_epoch = facts["distance"].get("by_epoch", {})
        distances = {int(epoch): float(value) for epoch, value in by_epoch.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise _torn(path, error) from error
    return Arm(name, facts, epochs, distances)


def _holds(told: Mapping[str, Any], names: set[str]) -> None:
    if lacking := sorted(names - set(told)):
        raise ValueError(f"it lacks {', '.join(lacking)}")


def _torn(path: Path, why: object) -> StoreError:
    return StoreError(
        f"{path}: cannot be read as a training ({why}): start the same `ditbench train` again"
    )


def _doubts(arms: Iterable[Arm]) -> Iterable[str]:
    for arm in arms:
        if doubt := arm.facts["distance"].get("doubt"):
            yield f"{arm.distance}: {doubt}"
        if not arm.facts["hears_time"]:
            yield (
                f"{arm.name} is never told the time: it must guess how noisy a picture is, which is another "
                "task than that of the other arms"
            )


def _number(title: str, unit: str = "", group: str = "") -> Column:
    return Column(title, unit, group, numeric=True)


def _columns(arms: Sequence[Arm]) -> tuple[Column, ...]:
    """Distances of different names never share a heading that names one."""
    names = {arm.distance for arm in arms if arm.distances}
    said = names.pop() if len(names) == 1 else "see below each"
    return tuple(
        Column(one.title, said, one.group, numeric=True) if one.title == "distance" else one
        for one in _COLUMNS
    )


_COLUMNS = (
    Column("arm"),
    Column("attention"),
    _number("parameters"),
    Column("told", "beside the noisy picture"),
    _number("loss", "mean of the last epoch", "result"),
    _number("distance", "", "result"),
    _number("peak memory", "training alone", "cost"),
    _number("throughput", "pictures per second", "cost"),
    _number("step", "median", "cost"),
    _number("epochs", "steps below", "cost"),
)


def _row(arm: Arm) -> tuple[Value, ...]:
    facts, last = arm.facts, arm.last
    loss, memory, speed, step = (
        float(last[name]) for name in ("loss", "peak_vram_mb", "imgs_per_sec", "step_time_ms")
    )
    hears = [word for word in ("time", "class") if facts[f"hears_{word}"]]
    deaf = [f"not the {word}" for word in ("time", "class") if not facts[f"hears_{word}"]]
    steps = words.plural(int(facts["steps"]), "step") if "steps" in facts else ""
    return (
        Value(arm.name, str(facts["model"]), arm.name),
        Value(str(facts["attention"])),
        Value(units.count(facts["parameters"]), order=facts["parameters"]),
        Value(" and ".join(hears) or "nothing", doubt=", ".join(deaf)),
        Value(units.digits(loss, 4), order=loss),
        _distance(arm),
        Value(units.size(memory * _MEBI), order=memory),
        Value(units.digits(speed), order=speed),
        Value(units.seconds(step / 1e3), order=step),
        Value(str(len(arm.epochs)), steps, len(arm.epochs)),
    )


def _distance(arm: Arm) -> Value:
    if not arm.distances:
        return MISSING
    last, best = max(arm.distances), min(arm.distances, key=lambda epoch: arm.distances[epoch])
    value = arm.distances[last]
    detail = f"epoch {last}, best {units.digits(arm.distances[best])} in {best}"
    few = "biased up: few pictures" if arm.facts["distance"].get("doubt") else ""
    return Value(units.digits(value), detail, value, doubt=few)


def _figures(arms: Sequence[Arm]) -> tuple[Figure, ...]:
    names = list(dict.fromkeys(arm.distance for arm in arms if arm.distances))
    made = (
        _curve(arms, "loss", "Loss", _losses),
        *(
            _curve([arm for arm in arms if arm.distance == name], name, name, _by_epoch)
            for name in names
        ),
        _bars(arms, "memory", "peak_vram_mb", "MiB"),
        _bars(arms, "throughput", "imgs_per_sec", "pictures per second"),
    )
    return tuple(one for one in made if one)


_Line = list[tuple[float, float]]


def _losses(arm: Arm) -> _Line:
    return [(float(line["epoch"]), float(line["loss"])) for line in arm.epochs]


def _by_epoch(arm: Arm) -> _Line:
    return [(float(epoch), value) for epoch, value in sorted(arm.distances.items())]


def _curve(
    arms: Sequence[Arm], name: str, title: str, line_of: Callable[[Arm], _Line]
) -> Figure | None:
    """A line an arm; of one epoch there is no line to draw."""
    lines = {arm.name: [at for at in line_of(arm) if at[1] > 0] for arm in arms}
    kept = {arm: line for arm, line in lines.items() if len(line) > 1}
    shown = dict(list(kept.items())[:LINES])
    if not shown:
        return None
    found = tuple(
        Point(arm, arm, x, y, y, y, f"epoch {x:.0f}: {units.digits(y, 4)}")
        for arm, line in shown.items()
        for x, y in line
    )
    hidden = len(kept) - len(shown)
    more = f" {words.plural(hidden, 'arm')} more in the table." if hidden else ""
    scaling = Scaling("epoch", "epoch", name, "", found, hidden, even=True)
    ends = "; ".join(f"{arm}: {units.digits(line[-1][1], 4)}" for arm, line in shown.items())
    return Figure(
        name=f"by-epoch-{digest(name)[:6]}",
        title=f"{title} by epoch",
        caption=f"{_MEANS.get(name, _MEANS['distance'])} The upright axis is logarithmic.{more}",
        alternative=f"At the end: {ends}",
        spec=marks.lines(scaling, "lower is better"),
    )


_MEANS = {
    "loss": (
        "Mean over the steps of each epoch, on the pictures that are learned from. Arms that predict "
        "something else, or never see the time, have losses that may not be compared."
    ),
    "distance": (
        "Of each arm's pictures to real ones, the same noise and classes for every arm. Only "
        "values of one name may be compared."
    ),
}


def _bars(arms: Sequence[Arm], name: str, column: str, unit: str) -> Figure:
    found = tuple(
        Bar(arm.name, value, f"{units.digits(value)} {unit}")
        for arm in arms
        for value in [float(arm.last[column])]
    )
    return Figure(
        name=f"training-{name}",
        title=name.capitalize(),
        caption=f"Of the last epoch, {unit}.",
        alternative="; ".join(f"{bar.label}: {bar.said}" for bar in found),
        spec=marks.bars(found, f"{name} ({unit})", 1),
    )


def _pictures(folder: Path, arms: Sequence[Arm]) -> tuple[tuple[Pictures, ...], int]:
    """The newest sheet of each arm, as many as the page has room for."""
    found: list[Pictures] = []
    there, room = 0, _SHEETS
    for arm in arms:
        sheets = sorted((folder / arm.name).glob("samples-e*.png"))
        if not sheets:
            continue
        there += 1
        room -= sheets[-1].stat().st_size * 2
        if room < 0:
            continue
        epoch = sheets[-1].stem.removeprefix("samples-e").lstrip("0") or "0"
        said = f"pictures of every class by {arm.name} after epoch {epoch}"
        found.append(_sheet(arm.name, said, sheets[-1]))
    return tuple(found), there - len(found)


def _sheet(label: str, said: str, path: Path) -> Pictures:
    """The sheet with its white gaps let through, so that they are dark on a dark page. Raises StoreError."""
    try:
        with Image.open(path) as file:
            seen = np.asarray(file.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's words for torn
        raise StoreError(f"{path}: cannot be read as a picture: remove it") from error
    white = (seen == 255).all(axis=-1)
    gaps = white.all(axis=1)[:, None] | white.all(axis=0)[None, :]
    alpha = np.where(gaps, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([seen, alpha])).save(buffer, "PNG", optimize=True)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    height, width = alpha.shape
    zoom = max(1, _WIDE // width)
    return Pictures(label, said, f"data:image/png;base64,{encoded}", zoom * width, zoom * height)


def _meanings(arms: Sequence[Arm]) -> tuple[tuple[str, str], ...]:
    """What each column of metrics.csv is, as the training tells it."""
    told: dict[str, dict[str, None]] = {}
    for arm in arms:
        for name, text in arm.facts.get("metrics", {}).items():
            told.setdefault(str(name), {})[str(text)] = None
        for name in ("device", "precision", "threads", "processes", "torch", "ditbench"):
            if name in arm.facts:
                told.setdefault(name, {})[str(arm.facts[name])] = None
    return tuple((name.replace("_", " "), "; or ".join(texts)) for name, texts in told.items())
