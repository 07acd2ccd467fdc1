"""Whether what is kept may stand for what would be computed: gates in a row, the first that is shut says why.

    reuse, if step >= warmup,  block < eligible(step),  something is kept, of an earlier step,
    computed `cooldown` times in a row,  at most max_gap steps old,  reused fewer than `limit` times,
    snr_low <= SNR <= snr_high,  H <= tau(p),  policy >= min_probability
    tau(p) = clip(threshold sqrt(p / 16), 1e-6, 2 threshold), p words of the prompt
    eligible = `early` blocks while u < 0.2, `middle` while u < 0.6, then all; u = step / (steps - 1)

The cascade of the DQAR project, whose SNR ran backwards, whose budget never counted and whose cooldown of
more than one step shut for good, because every computed step starts anew: here it asks for so many computed
steps in a row, which at one, the project's, is the same. The SNR is that of the state that the network is
given, which grows from step to step. Each gate is asked only where those before it are open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from ditbench.reuse.entropy import greatest

if TYPE_CHECKING:
    import torch

REUSED = "every gate open"
NOTHING_KEPT = "nothing kept"

_USUAL_PROMPT = 16  # words at which the threshold is itself
_LEAST_TAU = 1e-6
# Of the run, until when few blocks, and until when not all of them, may reuse.
_EARLY, _MIDDLE = 0.2, 0.6


class Chance(Protocol):
    """A policy: how likely a reuse is worth its error."""

    def probability(
        self, entropy: float, log_snr: float, log_norm: float, step_share: float, prompt: float
    ) -> float:
        """Between 0 and 1."""
        ...


@dataclass(frozen=True)
class Standing:
    """Where a decision is made.

    step, block: from 0. log_snr: natural logarithm, of the state that the network is given. prompt: words.
    """

    step: int
    steps: int
    block: int
    log_snr: float
    prompt: float = 1.0

    @property
    def share(self) -> float:
        """Of the run that lies behind, from 0 to 1."""
        return self.step / (self.steps - 1) if self.steps > 1 else 0.0


@dataclass
class Kept:
    """What is known of something kept.

    step: at which it was computed. run: how many computed steps in a row ended there. reuses: how often
    it was given again. entropy: of its attention, which its device may still be at; None where not taken.
    """

    step: int
    run: int = 1
    reuses: int = 0
    entropy: torch.Tensor | None = None


@dataclass(frozen=True)
class Answer:
    """reason: of REUSED or the gate that was shut. seen: what was looked at, by name."""

    reused: bool
    reason: str
    seen: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Gates:
    """The settings of the cascade, each a gate or a part of one; see the head of this file.

    snr_low, snr_high: as a ratio, not its logarithm. early, middle: blocks, from the first; None for all.
    """

    threshold: float
    limit: int
    max_gap: int
    cooldown: int = 1
    warmup: int = 0
    snr_low: float = 0.0
    snr_high: float = math.inf
    early: int | None = None
    middle: int | None = None
    policy: Chance | None = None
    min_probability: float = 0.5

    @property
    def ever(self) -> bool:
        """Whether anything can be reused at all."""
        return self.threshold > 0 and self.limit > 0 and self.max_gap > 0

    def tau(self, prompt: float) -> float:
        """The largest entropy, in nats, that is reused under a prompt of so many words."""
        scaled = self.threshold * math.sqrt(prompt / _USUAL_PROMPT)
        return min(max(scaled, _LEAST_TAU), 2 * self.threshold)

    def keeps(self, at: Standing) -> bool:
        """Whether what is computed here may be reused: not where the next step computes anyway."""
        then = replace(at, step=at.step + 1)
        return then.step < then.steps and next(self._too_soon(then), "") == ""

    def looks_at_entropy(self, prompt: float, keys: int) -> bool:
        """Whether it can decide anything: not where no map over so many keys could be above tau."""
        return self.policy is not None or self.tau(prompt) < greatest(keys)

    def eligible(self, at: Standing) -> bool:
        """Whether the layer scheduler lets this block reuse at this step."""
        blocks = self.early if at.share < _EARLY else self.middle if at.share < _MIDDLE else None
        return blocks is None or at.block < blocks

    def answer(self, at: Standing, kept: Kept | None, log_norm: Callable[[], float]) -> Answer:
        """Whether to reuse what is kept. log_norm: of the block's input, asked for where a policy is."""
        seen: dict[str, float] = {}
        shut = chain(
            self._too_soon(at),
            self._worn(at, kept, seen),
            self._noisy(at, seen),
            self._unlike(at, kept, log_norm, seen),
        )
        reason = next(shut, REUSED)
        return Answer(reason == REUSED, reason, seen)

    def _too_soon(self, at: Standing) -> Iterator[str]:
        if not self.ever:
            yield "reuse is off"
        if at.step < self.warmup:
            yield "warming up"
        if not self.eligible(at):
            yield "too deep a block yet"

    def _worn(self, at: Standing, kept: Kept | None, seen: dict[str, float]) -> Iterator[str]:
        """Of what is kept, its age and use."""
        if kept is None:
            yield NOTHING_KEPT
            return
        seen |= {"gap": at.step - kept.step, "reuses": kept.reuses}
        if at.step <= kept.step:
            yield "of this very step"
        if kept.reuses == 0 and kept.run < self.cooldown:
            yield "cooling down"
        if at.step - kept.step > self.max_gap:
            yield "too old"
        if kept.reuses >= self.limit:
            yield "reused often enough"

    def _noisy(self, at: Standing, seen: dict[str, float]) -> Iterator[str]:
        seen["log_snr"] = at.log_snr
        if at.log_snr < _log(self.snr_low):
            yield "too noisy"
        if at.log_snr > _log(self.snr_high):
            yield "too clean"

    def _unlike(
        self, at: Standing, kept: Kept | None, log_norm: Callable[[], float], seen: dict[str, float]
    ) -> Iterator[str]:
        """Of what is kept, how its attention spreads, and what a policy makes of all this."""
        if kept is None or kept.entropy is None:
            return
        seen |= {"entropy": float(kept.entropy), "tau": self.tau(at.prompt)}
        # A map with NaN in it has no entropy, and is not below any.
        if not seen["entropy"] <= seen["tau"]:
            yield "entropy above the threshold"
        if self.policy is not None:
            asked = (seen["entropy"], at.log_snr, log_norm(), at.share, at.prompt)
            seen |= dict(zip(("log_norm", "step_share", "prompt"), asked[2:], strict=True))
            seen["probability"] = self.policy.probability(*asked)
            if not seen["probability"] >= self.min_probability:
                yield "the policy says no"


def _log(ratio: float) -> float:
    """Natural logarithm, of 0 too."""
    return math.log(ratio) if ratio > 0 else -math.inf
