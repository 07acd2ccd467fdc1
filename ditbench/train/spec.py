"""What a training file says, as values: the arms, and all that they share."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch

from ditbench.attention.base import METHODS, AttentionMethod
from ditbench.models.base import Model, made
from ditbench.records import Choice
from ditbench.registry import setting

STEPS = 3000  # of a file that says neither steps nor epochs
# What moves no weight: where things lie and what is told on the way.
_SHOWN = ("name", "data", "class_names", "log_every", "save_every", "sample_every", "processes")


@dataclass(frozen=True)
class Arm:
    """One network to train. attention: what stands at its sites; None leaves the model's own.

    name: its folder; empty for the only arm of a file that says `model:`.
    """

    name: str
    model: Choice
    attention: Choice | None = None

    @property
    def spec(self) -> Model:
        """The architecture."""
        return made(self.model.name, dict(self.model.settings))

    @property
    def method(self) -> AttentionMethod | None:
        """The method with its settings."""
        chosen = self.attention
        return METHODS.get(chosen.name)(**dict(chosen.settings)) if chosen else None


@dataclass(frozen=True)
class Sampling:
    """How pictures are made of what is being trained: DDIM without noise (eta 0).

    columns: pictures of each class in a grid.
    """

    steps: int = setting(50, least=1)
    guidance_scale: float = setting(1.0, least=1)
    columns: int = setting(8, least=1)


@dataclass(frozen=True)
class Quality:
    """How epochs are judged: a Frechet distance of `samples` pictures to `reference` of the training set.

    extractor: a registered name; its weights where they are not found by themselves. every: epochs.
    """

    extractor: str = "inception"
    weights: str = ""
    samples: int = setting(100, least=2)
    reference: int = setting(1000, least=2)
    every: int = setting(1, least=1)


@dataclass(frozen=True)
class Shared:
    """What a training file says of all its arms in single values, each under its name here.

    pictures: of the data, drawn by the seed; 0 for all. One of steps and epochs is given; an epoch is every
    full batch of the data once, in a new order. schedule: of the learning rate after its warm-up: a cosine
    down to a hundredth, or constant. beta2: Adam's second decay. ema: how much a step leaves of the moving
    average of the weights, 0 for none. vae: a folder in the hub's layout; the networks learn its latents.
    features: whether those are made once and kept. sample_every: steps between grids, 0 for one an epoch.
    class_names: in order, by commas.
    """

    name: str
    data: str
    pictures: int = setting(0, least=1)
    steps: int = setting(0, least=1)
    epochs: int = setting(0, least=1)
    batch_size: int = setting(64, least=1)
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = setting(150, least=0)
    weight_decay: float = setting(0.01, least=0)
    beta2: float = setting(0.99, least=0)
    clip: float = 1.0
    ema: float = setting(0.999, least=0)
    label_dropout: float = setting(0.1, least=0)
    seed: int = setting(0, least=0)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    checkpointing: bool = False
    vae: str = ""
    features: bool = False
    processes: int = setting(1, least=1)
    class_names: str = ""
    log_every: int = setting(20, least=1)
    save_every: int = setting(100, least=1)
    sample_every: int = setting(0, least=0)


@dataclass(frozen=True)
class Training(Shared):
    """All that a training file says. quality: None where no epoch is judged."""

    arms: tuple[Arm, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    quality: Quality | None = None

    @property
    def process(self) -> Model:
        """What all arms share of their models: the noise schedule, what is predicted, the latents' sizes."""
        return self.arms[0].spec

    def total(self, pictures: int) -> int:
        """Steps in all, with so many pictures in an epoch."""
        return self.epochs * (pictures // self.batch_size) or self.steps or STEPS

    def rate(self, step: int, total: int) -> float:
        """The learning rate of a step: linear warm-up, then the schedule."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        if self.schedule == "constant":
            return self.learning_rate
        share = (step - self.warmup) / max(1, total - self.warmup)
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))

    def identity(self, arm: Arm) -> dict[str, Any]:
        """What the weights of an arm follow from, beside the data: a checkpoint of another is refused."""
        shared = {name: value for name, value in asdict(self).items() if name not in _SHOWN}
        for told_apart in ("arms", "sampling", "quality", "features"):
            del shared[told_apart]
        attention = arm.attention.identity if arm.attention else "the model's own"
        return shared | {"model": arm.model.identity, "attention": attention}


def digest(identity: Any) -> str:  # noqa: ANN401 (whatever JSON can hold)
    """Of what JSON can hold, the same on every machine."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Products in this precision; in float32 nothing is cast."""
    low = precision != "float32"
    return torch.autocast(device.type, getattr(torch, precision) if low else None, enabled=low)
