"""Reuse of attention outputs by the number of the step alone (after the DQAR project's measured runs).

    out_b(t) = out_b(t') for b < floor(f(u) floor(share depth)), u = (p - warmup) / (1 - warmup)
    t' the last step at which block b computed, p = t / (steps - 1) at least warmup, SNR(t) at least snr
    f(u) = u | 1 - u | u^2 | 1/3, 2/3, 1 from u = 0, 0.3, 0.7 | 1
    cost of the core x the share of forwards that compute

From a share of the steps on the first blocks give the output of an earlier step again, more or fewer of them
as the run goes on. Nothing is looked at but the step's number and its noise, so which forwards are spared is
known before any. `every` bounds the age: what was computed so many steps ago is computed anew, 0 for never;
with the schedule `constant` that is every k-th step in all of the chosen blocks, so that 1 - 1/k is spared.
`snr` is the least ratio of signal to noise at which anything is reused, 0 for any. The project gated at the
timesteps of the sampler `ddim-leading`, 980, 960, ..., 0 of 50; those of `ddim`, 999, 979, ..., 19, are a
little noisier at the same step, so a little less is spared: at 0.1 8.57 % of forwards and not 8.64 %. A block
that reuses runs none of its four projections. Not to be confused with reuse of keys and values, which spares
two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ditbench.attention.base import Layer, Moment, Site, register
from ditbench.attention.memory import OutputKeeper, Sparing
from ditbench.registry import setting

_SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda u: u,
    "reverse": lambda u: 1 - u,
    "exponential": lambda u: u * u,
    "steps": lambda u: 1 / 3 if u < 0.3 else 2 / 3 if u < 0.7 else 1.0,
    "constant": lambda _u: 1.0,
}


@register
@dataclass(frozen=True)
class StaticReuse(Sparing):
    """By the step alone, its number and its noise."""

    name: ClassVar[str] = "static-reuse"
    paper: ClassVar[str] = "none: the schedule of the DQAR project's measured runs"
    formula: ClassVar[str] = (
        "out_b(t) = out_b(t') for b < floor(f(u) floor(share depth)), u = (p - warmup) / (1 - warmup)"
    )
    cost: ClassVar[str] = "of the core, in the forwards that compute"

    core: str = setting("sdpa", method=True)
    share: float = setting(0.33, least=0, most=1)
    warmup: float = setting(0.2, least=0, most=1)
    schedule: str = setting("linear", choices=tuple(_SCHEDULES))
    every: int = setting(0, least=0)
    snr: float = setting(0.0, least=0)

    def too_noisy(self, log_snr: float) -> bool:
        """Whether a state with this natural logarithm of signal over noise is one to compute at."""
        return self.snr > 0 and log_snr < math.log(self.snr)

    def reusing(self, step: int, steps: int, depth: int) -> int:
        """How many blocks, from the first, may reuse at a step, if it is not too noisy."""
        p = step / (steps - 1) if steps > 1 else 0.0
        if p < self.warmup or self.warmup >= 1:
            return 0
        u = (p - self.warmup) / (1 - self.warmup)
        return math.floor(_SCHEDULES[self.schedule](u) * math.floor(self.share * depth))

    def open(self, site: Site) -> Layer:
        """A layer that knows its block."""

        def rule(now: Moment, kept_at: int) -> tuple[bool, str]:
            if site.block >= self.reusing(now.step, now.steps, site.depth):
                return False, "not scheduled"
            if self.too_noisy(now.log_snr):
                return False, "too noisy"
            if self.every and 0 <= kept_at <= now.step - self.every:
                return False, "too old"
            return True, "scheduled"

        def later(now: Moment) -> bool:
            steps = range(now.step + 1, now.steps)
            return any(site.block < self.reusing(step, now.steps, site.depth) for step in steps)

        def macs(rows: int) -> int:
            return self.macs(site.shape(rows))

        return OutputKeeper(self.spared.open(site), macs, rule, later)
