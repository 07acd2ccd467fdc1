"""What layers with memory say that they did, and the same put together for a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ditbench.attention.base import Layer
from ditbench.attention.memory import Decision
from ditbench.measure.evidence import GateError
from ditbench.models.seam import Denoiser
from ditbench.shape import lettered

# Of every site of a method with memory, or every module that an accelerator may skip, by the module's name
# and in the order of forwards.
Decisions = Mapping[str, Sequence[Decision]]


def of(denoiser: Denoiser) -> Decisions:
    """Of the accelerator, and of the layers that are open now; raises GateError as `of_layers`."""
    found = {name: tuple(told) for name, told in denoiser.accelerated.decisions().items()}
    return found | of_layers(denoiser.layers())


def of_layers(layers: Mapping[str, Layer]) -> dict[str, tuple[Decision, ...]]:
    """By the names of their sites. Raises GateError for one that keeps state and tells nothing of it."""
    found = {}
    for name, layer in layers.items():
        told = getattr(layer, "decisions", None)
        if told is not None:
            found[name] = tuple(told)
        elif not layer.stateless:
            raise GateError(
                f"{name}: its layer keeps state between calls and tells no decisions: nobody could say "
                "what it skipped (see ditbench.attention.memory)"
            )
    return found


def check(decisions: Decisions, steps: int) -> None:
    """Computed and reused are all forwards: the decisions of each step are about all rows, once."""
    for name, told in decisions.items():
        about: Counter[int] = Counter()
        for one in told:
            about[one.step] += round(one.of * 1e6)
        wrong = [step for step in range(steps) if about.pop(step, 0) != 10**6]
        if wrong or about:
            step = wrong[0] if wrong else next(iter(about))
            raise GateError(
                f"{name} tells {len(told)} decisions in {steps} forwards, and not one about all rows at step "
                f"{step}: computed and reused are not all forwards"
            )


@dataclass(frozen=True)
class Told:
    """Of one sampling run, for the record."""

    decisions: Decisions
    steps: int

    @property
    def reused(self) -> int:
        """How many decisions spared something."""
        return sum(one.reused for told in self.decisions.values() for one in told)

    @property
    def ratio(self) -> float:
        """The share of forwards that spared something, each by its rows."""
        every = [one for told in self.decisions.values() for one in told]
        return sum(one.of for one in every if one.reused) / sum(one.of for one in every)

    @property
    def facts(self) -> dict[str, Any]:
        """forwards, reused, reasons [words, reused, count], map: one letter a step of each site."""
        cells = {name: self._by_step(told) for name, told in self.decisions.items()}
        counted = Counter(cell for row in cells.values() for cell in row)
        reasons = sorted(counted, key=lambda one: (one[1], -counted[one], one[0]))
        letter = dict(zip(reasons, lettered(), strict=False))
        return {
            "forwards": sum(counted.values()),
            "reused": sum(count for (_, reused), count in counted.items() if reused),
            "reasons": [[words, reused, counted[words, reused]] for words, reused in reasons],
            "map": {name: "".join(map(letter.__getitem__, row)) for name, row in cells.items()},
        }

    def _by_step(self, told: Iterable[Decision]) -> list[tuple[str, bool]]:
        """Of each step the reasons, several where parts of the rows are decided apart."""
        words: list[list[str]] = [[] for _ in range(self.steps)]
        reused = [False] * self.steps
        for one in told:
            if one.reason not in words[one.step]:
                words[one.step].append(one.reason)
            reused[one.step] |= one.reused
        return [(" / ".join(said), spared) for said, spared in zip(words, reused, strict=True)]
