"""What travels between the stages: frozen, raw, and readable as one JSON line each.

Only raw values are stored, in base units (seconds, bytes, multiply-adds) and in the order in which they
were taken; means, speed-ups and verdicts are computed when read.

Schema history:
1  the first.
2  a checksum on every line and head; the head keeps how hard the run measured (`effort`), how many records
   it wrote (`written`) and which runs it was merged from (`origins`).
3  a baseline keeps one line a cell (`store.packing`) and the terms of its admission; runs are as they were.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ditbench import shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

SCHEMA = 3

# What stands in the place of a model where there is none: the attention core by itself.
OP = "op"

# Classes on a label: as many characters of them as are read at a glance.
_FEW = 24

# The batch size of a cell that asks how many samples fit: the suite's `max`.
LARGEST = 0

Scalar = bool | int | float | str
Values = tuple[float, ...]


class Status(StrEnum):
    """How a cell ended; every kind but `ok` carries a reason."""

    OK = "ok"
    UNSUPPORTED = "unsupported"
    EXCLUDED = "excluded"
    FAILED_GATE = "failed gate"
    OUT_OF_MEMORY = "out of memory"
    NOT_FINITE = "not finite"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    NOT_RUN = "not run"  # never in a record: of a planned cell that has none

    @property
    def known_before(self) -> bool:
        """Whether the plan said so before anything ran; such a cell is not a failure."""
        return self in {Status.UNSUPPORTED, Status.EXCLUDED}


class Stage(StrEnum):
    """What a record's process did."""

    PLAN = "plan"
    GATE = "gate"
    TIME = "time"
    FIT = "fit"
    SAMPLE = "sample"
    QUALITY = "quality"
    COUNT = "count"  # from shapes alone: no network ran
    CANARY = "canary"  # of no cell: what the machine itself does, at several times of a run

    @property
    def of_pictures(self) -> bool:
        """Whether it makes or judges pictures, which cells share that differ in batch or compilation only."""
        return self in {Stage.SAMPLE, Stage.QUALITY}


@dataclass(frozen=True)
class Choice:
    """A plug-in by name with all its settings resolved; `label` shows those that differ from the default."""

    name: str
    settings: tuple[tuple[str, Scalar], ...] = ()
    label: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", tuple(sorted(tuple(pair) for pair in self.settings)))
        object.__setattr__(self, "label", self.label or self.name)

    def __getitem__(self, setting: str) -> Scalar:
        return dict(self.settings)[setting]

    @property
    def identity(self) -> dict[str, Any]:
        """What counts for a key: the label does not."""
        return {"name": self.name, "settings": dict(self.settings)}


# The accelerator of a cell in which every block of every step is computed.
UNACCELERATED = Choice("none")
# The axes of a cell that `Cell.method` says.
METHOD_AXES = frozenset({"attention", "accelerator"})


@dataclass(frozen=True)
class Op:
    """An attention core by itself: the sizes of q, k and v, and the last-level cache before a timed call.

    cache: "cold" where it is flushed before each call, "hot" where calls follow each other.
    """

    tokens: int
    heads: int
    head_dim: int
    cache: str

    @property
    def choice(self) -> Choice:
        """What a cell has in the place of a model."""
        return Choice(OP, tuple(dataclasses.asdict(self).items()))


@dataclass(frozen=True)
class Sampling:
    """How latents are made into pictures, but for the number of steps, which is an axis of its own.

    guidance_channels: guidance acts on so many of the first, 0 for all of them.
    """

    sampler: str = "ddim"
    guidance_scale: float = 1.5
    dtype: str = "float32"
    seed: int = 0
    guidance_channels: int = 0

    @property
    def identity(self) -> dict[str, Any]:
        """What counts for a key; what came later is left out at its default, so that older keys stay."""
        plain = dataclasses.asdict(self)
        if not self.guidance_channels:
            del plain["guidance_channels"]
        return plain


@dataclass(frozen=True)
class Shown:
    """What samples are to show, in order, and again from the first after the last.

    kind: `classes`, whose items are their numbers, or `prompts`, whose items are texts. digest: of the items.
    label: for people. items: empty where this was read back from a record, which keeps the digest alone.
    """

    kind: str
    label: str
    digest: str
    count: int
    items: tuple[int | str, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def of(cls, kind: str, items: Sequence[int | str], source: str = "") -> Shown:
        """Of items from a source, the suite itself where it is empty."""
        made = digest([kind, list(items)])[:12]
        plain = ",".join(map(str, items))
        few = kind == "classes" and not source and len(plain) <= _FEW
        label = plain if few else f"{source or f'{len(items)} in the suite'}#{made}"
        return cls(kind, label, made, len(items), tuple(items))

    def at(self, indices: Iterable[int]) -> list[int | str]:
        """What these samples show. Raises ValueError where only a digest is left."""
        if not self.items:
            raise ValueError(f"{self.kind} {self.label}: a record keeps their digest alone")
        return [self.items[index % self.count] for index in indices]

    @property
    def plain(self) -> dict[str, Any]:
        """What a record keeps."""
        return {name: getattr(self, name) for name in ("kind", "label", "digest", "count")}


@dataclass(frozen=True)
class Cell:
    """One point of the matrix: what is measured, and nothing of how often or where.

    `blocks` is the resolved list, numbered from 0; `blocks_label` is how the suite said it. A `batch_size`
    of LARGEST asks for the largest batch that fits: such a cell is gated and searched, never timed. A cell of
    an `Op` has that in the place of its model, one block and one step; of its sampling only the dtype counts.
    `accelerator` is what skips parts of the network around the attention, UNACCELERATED where nothing does.
    shown: what its samples show; None for classes in a seeded order, or random texts.
    """

    model: Choice
    attention: Choice
    weights: str = "random"
    blocks: tuple[int, ...] = ()
    blocks_label: str = "all"
    compile: bool = False
    batch_size: int = 1
    steps: int = 20
    sampling: Sampling = Sampling()
    accelerator: Choice = UNACCELERATED
    shown: Shown | None = None

    @cached_property
    def key(self) -> str:
        """16 hex digits: equal exactly when the same thing is measured, wherever it stands in a suite."""
        return digest(self._picture | {"compile": self.compile, "batch_size": self.batch_size})

    @cached_property
    def quality_key(self) -> str:
        """The key of the pictures: without batch size and compilation, shared by all cells that have it."""
        return digest(self._picture)

    @property
    def _picture(self) -> dict[str, Any]:
        """What came later is left out at its default, so that older keys stay."""
        return {
            "model": self.model.identity,
            "weights": self.weights,
            "attention": self.attention.identity,
            "blocks": list(self.blocks),
            "steps": self.steps,
            "sampling": self.sampling.identity,
            **({"accelerator": self.accelerator.identity} if self.is_accelerated else {}),
            **({"shown": [self.shown.kind, self.shown.digest]} if self.shown else {}),
        }

    @property
    def is_accelerated(self) -> bool:
        """Whether an accelerator skips parts of the network."""
        return self.accelerator.name != UNACCELERATED.name

    @property
    def family(self) -> str:
        """The attention method's name, with the accelerator's where there is one: "sdpa + pab".

        So no accelerated cell passes for softmax, nor for a yardstick.
        """
        parts = (self.attention, self.accelerator) if self.is_accelerated else (self.attention,)
        return " + ".join(part.name for part in parts)

    @property
    def method(self) -> str:
        """The family with the settings that are not the default: "sdpa + pab[every=3]"."""
        parts = (self.attention, self.accelerator) if self.is_accelerated else (self.attention,)
        return " + ".join(part.label for part in parts)

    @cached_property
    def op(self) -> Op | None:
        """The core that is measured by itself, or None where there is a model around it."""
        return Op(**dict(self.model.settings)) if self.model.name == OP else None  # type: ignore[arg-type]  # checked by whoever read them

    @property
    def axes(self) -> dict[str, str]:
        """Each axis as a person writes it, in the order of the rendered id.

        `guidance_channels` is there only where it is not all of them, `accelerator` where there is one, and
        what is shown where that is given.
        """
        if self.op:
            return {
                "model": OP,
                "attention": self.attention.label,
                **{name: str(value) for name, value in dataclasses.asdict(self.op).items()},
                "compile": "on" if self.compile else "off",
                "batch_size": str(self.batch_size),
                "dtype": self.sampling.dtype,
            }
        channels = self.sampling.guidance_channels
        return {
            "model": self.model.label,
            "weights": self.weights,
            "attention": self.attention.label,
            **({"accelerator": self.accelerator.label} if self.is_accelerated else {}),
            "blocks": self.blocks_label,
            "compile": "on" if self.compile else "off",
            "batch_size": "max" if self.finds_batch else str(self.batch_size),
            "steps": str(self.steps),
            "sampler": self.sampling.sampler,
            "guidance_scale": f"{self.sampling.guidance_scale:g}",
            **({"guidance_channels": str(channels)} if channels else {}),
            "dtype": self.sampling.dtype,
            "seed": str(self.sampling.seed),
            **({self.shown.kind: self.shown.label} if self.shown else {}),
        }

    @property
    def id(self) -> str:
        """The cell on one line; `-k REGEX` searches this."""
        return " ".join(f"{axis}={value}" for axis, value in self.axes.items())

    @property
    def finds_batch(self) -> bool:
        """Whether the largest batch that fits is what is asked, and no batch is given."""
        return self.batch_size == LARGEST

    def of_batch(self, size: int) -> Cell:
        """The cell with so many samples in a batch."""
        return dataclasses.replace(self, batch_size=size)

    @property
    def rows(self) -> int:
        """Rows of one forward: guidance above 1 doubles the batch.

        Raises ValueError where the batch is what is asked: no number of rows would be true.
        """
        if self.finds_batch:
            raise ValueError(f"{self.id}: has no number of rows, only its trials have")
        return self.batch_size * (2 if self.sampling.guidance_scale > 1 else 1)


# Of the canary's records, which are nobody's results: no model or method may have this name. Their replicate
# says when in the run they were taken (CANARY_PLACES), and of several devices which: place + 3 x device.
CANARY = Cell(Choice("canary"), Choice("canary"), weights="none", steps=1)
CANARY_PLACES = ("start", "middle", "end")


@dataclass(frozen=True)
class Record:
    """What one process found out about one cell.

    metrics: raw values by metric name, in order of time. warmups: likewise, thrown away but kept.
    facts: evidence that is not a number to compare (kernel, call counts, resolved threads, doubts).
    """

    cell: Cell
    stage: Stage
    status: Status
    replicate: int = 0
    reason: str = ""
    metrics: Mapping[str, Values] = field(default_factory=dict)
    warmups: Mapping[str, Values] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""
    seconds: float = 0.0
    environment: str = ""
    code: str = ""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if (self.status is Status.OK) == bool(self.reason):
            message = f"status {self.status} with reason {self.reason!r}"
            raise ValueError(message)

    @property
    def key(self) -> str:
        """The cell's key, or its quality key where the record is about pictures."""
        return self.cell.quality_key if self.stage.of_pictures else self.cell.key


def digest(value: object) -> str:
    """16 hex digits of sha256 over canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces; NaN and infinity are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


# The parts of a cell that are a plug-in with its settings; an accelerator may be missing.
_CHOICES = frozenset({"model", "attention", "accelerator"})


def cell_to_json(cell: Cell) -> dict[str, Any]:
    """A cell as plain data, its key beside it for people who grep; no accelerator where it has none."""
    plain = dataclasses.asdict(dataclasses.replace(cell, shown=None))
    if not cell.is_accelerated:
        del plain["accelerator"]
    for part in _CHOICES & plain.keys():
        plain[part]["settings"] = dict(plain[part]["settings"])
    del plain["shown"]
    return {"key": cell.key, **plain, **({"shown": cell.shown.plain} if cell.shown else {})}


def cell_from_json(plain: Mapping[str, Any]) -> Cell:
    """The inverse of `cell_to_json`.

    Raises KeyError or TypeError where fields are missing or unknown, ValueError where one is of a wrong kind.
    """
    shape.check(plain, shape.CELL, "cell")
    fields = {name: value for name, value in plain.items() if name != "key"}
    shape.check(fields["sampling"], shape.SAMPLING, "cell.sampling")
    for part in _CHOICES & fields.keys():
        choice = dict(fields[part])
        shape.check(choice, shape.CHOICE, f"cell.{part}")
        fields[part] = Choice(**(choice | {"settings": tuple(choice["settings"].items())}))
    if fields["model"].name == OP:
        settings = dict(fields["model"].settings)
        shape.check(settings, shape.OP, "cell.model.settings")
        Op(**settings)
    if "shown" in fields:
        shape.check(fields["shown"], shape.SHOWN, "cell.shown")
        fields["shown"] = Shown(**fields["shown"])
    return Cell(
        **(fields | {"blocks": tuple(fields["blocks"]), "sampling": Sampling(**fields["sampling"])})
    )


def record_to_json(record: Record) -> dict[str, Any]:
    """A record as plain data; non-finite values become the strings "nan", "inf", "-inf"."""
    plain = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
    plain["cell"] = cell_to_json(record.cell)
    for part in ("metrics", "warmups"):
        plain[part] = {
            name: [_finite_or_text(v) for v in values] for name, values in plain[part].items()
        }
    return plain


def record_from_json(
    plain: Mapping[str, Any], read_cell: Callable[[Mapping[str, Any]], Cell] = cell_from_json
) -> Record:
    """The inverse of `record_to_json`. Raises KeyError, TypeError or ValueError on anything else."""
    shape.check(plain, shape.RECORD)
    fields = dict(plain)
    shape.check(fields["facts"], shape.FACTS, "facts")
    for part in ("metrics", "warmups"):
        fields[part] = {
            name: shape.values(values, f"{part}.{name}") for name, values in fields[part].items()
        }
    return Record(
        **(
            fields
            | {
                "cell": read_cell(fields["cell"]),
                "stage": Stage(fields["stage"]),
                "status": Status(fields["status"]),
            }
        )
    )


def _finite_or_text(value: float) -> float | str:
    return value if abs(value) < float("inf") else str(value)
