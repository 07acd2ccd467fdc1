"""What else is known when a run is judged: earlier nights, the machine's noise, arms side by side."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from ditbench.environment import Environment
from ditbench.store import Floor, Noise, Run, Session
from ditbench.summary.history import History


@dataclass(frozen=True)
class Given:
    """Empty where nothing is known.

    now: when the run is judged, None for the time of judging. hindrance: why no session could be made that
    confirms what moved, in words; empty where nobody tried.
    """

    history: History = field(default_factory=History)
    noise: Noise | None = None
    session: Session | None = None
    now: datetime | None = None
    hindrance: str = ""

    def since(self, baseline: Run) -> Given:
        """Without the nights before the baseline was measured, whose level nobody accepted."""
        return replace(self, history=self.history.since(baseline.started))

    def on(self, here: Environment) -> Given:
        """Without floors that say nothing of this machine."""
        elsewhere = self.noise is not None and self.noise.elsewhere(here)
        return replace(self, noise=None) if elsewhere else self

    def floor(self, key: str, metric: str) -> Floor | None:
        """What equal arms of this cell were measured to differ by, None where nobody measured."""
        return self.noise.floor(key, metric) if self.noise else None
