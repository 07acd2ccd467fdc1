"""What a method with memory did in the run that its gate watched, and how its steps differ in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ditbench import stats
from ditbench.summary.evidence import Evidence
from ditbench.summary.rows import Reuse


def reuse(of: Evidence) -> Reuse | None:
    """As the gate's record tells it; None of a method that keeps nothing."""
    found: Mapping[str, Any] | None = of.facts.get("reuse")
    if found is None:
        return None
    share = found.get("gate_share")
    return Reuse(
        forwards=int(found["forwards"]),
        reused=int(found["reused"]),
        reasons=tuple((str(words), bool(spared), int(n)) for words, spared, n in found["reasons"]),
        sites=tuple((str(name), str(letters)) for name, letters in found["map"].items()),
        drift=tuple(map(float, found.get("drift", ()))),
        gate_share=None if share is None else float(share),
        sqnr=tuple((str(name), float(value)) for name, value in found.get("sqnr", {}).items()),
    )


def profile(of: Evidence) -> tuple[float, ...]:
    """Seconds of each step, the median of all calls of all processes; empty where steps were not timed."""
    steps = of.cell.steps
    calls = [
        values[start : start + steps]
        for values in of.samples("step_latency")
        if len(values) % steps == 0
        for start in range(0, len(values), steps)
    ]
    return tuple(map(stats.middle, zip(*calls, strict=True)))
