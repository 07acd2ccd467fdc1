"""What equal arms differ by on a machine: floors below which a verdict would be about the machine.

From an A/A session of N processes a cell, both arms in each. Arms of five processes are drawn from them as a
session of two arms would find them, and what each draw would have been taken for is asked of the rule that
confirms (`ditbench.deciding`). That rule wants two figures beyond the gate on one side, so a draw is a false
verdict up to the lesser of them, and none at all where they lie on two sides.

The floor is the 99th percentile over the draws, widened as Student's t is wider than the normal distribution
with N - 1 degrees of freedom: two processes tell little of a hundredth of all sessions, and their floor says
so by being large.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ditbench import deciding
from ditbench.compare.bout import Bout
from ditbench.compare.confirming import bouts
from ditbench.deciding import Decision
from ditbench.gating import PROCESSES
from ditbench.store import Floor, Session
from ditbench.summary.sides import LATENCY

Array = NDArray[np.float64]

# Fewer processes have nothing to be held against.
FEWEST = 2
SHARE = 0.99
DRAWS = 10_000
_SEED = 0


def floors(session: Session) -> Mapping[str, Mapping[str, Floor]]:
    """Floors by cell key and metric of a session in which each cell was timed beside itself.

    What fewer than FEWEST processes measured is left out; a process without a positive finite median in both
    arms is none. Raises ValueError where the arms are not equal, or did not share their processes.
    """
    if not session.inside or any(a.key != b.key for a, b in session.pairs):
        raise ValueError(f"{session.path}: floors are of equal arms that shared their processes")
    found: dict[str, dict[str, Floor]] = {}
    for bout in bouts(session, None):
        floor = _floor(bout)
        if floor:
            found[bout.b.cell.key] = {LATENCY: floor}
    return found


def _floor(bout: Bout) -> Floor | None:
    a, b = (np.array(one, float) for one in bout.medians)
    paired = np.array(bout.paired or (), float)
    usable = (
        np.isfinite(deciding.logarithms([a, b, paired])).all(axis=0)
        if len(a)
        else np.zeros(0, bool)
    )
    a, b, paired = a[usable], b[usable], paired[usable]
    if len(a) < FEWEST:
        return None
    return Floor(bout.b.cell.id, inside(a, b, paired), apart(a, b), len(a))


def inside(a: Array, b: Array, paired: Array) -> float:
    """What arms that share five processes differ by; which arm of a process is A, chance decides.

    a, b: medians of N processes; paired: their own ratios b / a, each (N,). Processes are drawn with
    replacement: of five the fastest would otherwise be in every draw, and the best ratio always its own.
    """
    rng = np.random.default_rng(_SEED)
    turned = rng.random((DRAWS, len(a))) < 0.5
    chosen = rng.integers(len(a), size=(DRAWS, PROCESSES))
    base, judged, own = (
        np.take_along_axis(np.where(turned, other, one), chosen, axis=1)
        for one, other in ((a, b), (b, a), (paired, 1 / paired))
    )
    return _bound(deciding.decide(base, judged, 0.0, own), len(a))


def apart(a: Array, b: Array) -> float:
    """What arms of five other processes each differ by; of fewer than ten, half are an arm."""
    size = min(PROCESSES, len(a) // 2)
    order = np.random.default_rng(_SEED).random((DRAWS, len(a))).argsort(axis=1)
    base, judged = a[order[:, :size]], b[order[:, size : 2 * size]]
    return _bound(deciding.decide(base, judged, 0.0), len(a))


def _bound(decision: Decision, processes: int) -> float:
    """The relative change that draws stay below, as a share."""
    first, second = np.log(decision.ratio), np.log(decision.best)
    agreed = np.where(first * second > 0, np.minimum(abs(first), abs(second)), 0.0)
    tail = (1 + SHARE) / 2
    wider = special.stdtrit(processes - 1, tail) / special.ndtri(tail)
    return float(np.expm1(wider * np.quantile(agreed, SHARE)))
