"""What models of pictures that are told a class share: labels, and one that says nothing in particular."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from ditbench.errors import UsageError
from ditbench.models.base import Conditions, Model


class Labelled(Model):
    """A model of latents (channels, size, size) whose one condition is a class label (rows,).

    size, channels: of the latent. classes: told apart, numbered from 0.
    """

    told: ClassVar[str] = "classes"

    size: int
    channels: int
    classes: int

    @property
    def latent(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.size, self.size

    @property
    def pixels(self) -> bool:
        """Whether the latents themselves are grey or coloured pictures."""
        return self.channels in {1, 3}

    @property
    def labels(self) -> int:
        """Rows of the network's table of classes."""
        return self.classes + self.null_class

    def conditions(self, seed: int, indices: Sequence[int]) -> Conditions:
        """Class labels: a seeded permutation of the classes, repeated, so that all are equally many."""
        order = torch.randperm(self.classes, generator=torch.Generator().manual_seed(seed))
        return (order[torch.tensor(list(indices)) % self.classes],)

    def of_classes(self, numbers: Sequence[int]) -> Conditions:
        """Labels of given classes. Raises UsageError where the network has no such class."""
        if beyond := [one for one in numbers if not 0 <= one < self.classes]:
            raise UsageError(f"no class {beyond[0]}: the model's {self.classes} begin at 0")
        return (torch.tensor(list(numbers)),)

    def null(self, conditions: Conditions) -> Conditions:
        """The class after the last. Raises UsageError where the network has none."""
        if told := self.unguided(2.0):
            raise UsageError("; ".join(told))
        (labels,) = conditions
        return (torch.full_like(labels, self.classes),)
