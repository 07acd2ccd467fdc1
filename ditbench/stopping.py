"""How long a series of timings must be: until it is warm, then until its median is known well enough.

Decisions on seconds that somebody else measured, in the order of time. Whatever ends a series for want of
time says which condition was still unmet.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ditbench import units

# Warm: the medians of the last calls and of as many before them lie this near ...
_WITHIN = 0.02
# ... over three calls a side, or one where a call lasts so long that it is an average itself ...
_WINDOW, _LONG_S = 3, 1.0
# ... and the device has worked so long, which its clocks need to rise.
_SUSTAINED_S = 1.0
# No longer falling: five times in a row twice the calls left the interval as wide, but for a twentieth.
_IN_A_ROW, _AS_WIDE = 5, 0.95
# One side of an interval of 95 %.
_TAIL = 0.025


@dataclass(frozen=True)
class Warmup:
    """At least so many calls, then on until they are steady, for at most `cap_s` seconds; 0: no waiting."""

    least: int
    cap_s: float

    def over(self, seconds: Sequence[float], elapsed_s: float) -> bool:
        """Whether the stopwatch may start. seconds: of each call; elapsed_s: of the warm-up until now."""
        if len(seconds) < self.least:
            return False
        return elapsed_s >= self.cap_s or not unsteady(seconds, elapsed_s)

    def facts(self, seconds: Sequence[float], elapsed_s: float) -> dict[str, Any]:
        """For the record. stable: None where nobody waited for it; unmet: why a wait ended without it."""
        waited = self.cap_s > 0
        unmet = unsteady(seconds, elapsed_s) if waited else ""
        return {
            "calls": len(seconds),
            "seconds": elapsed_s,
            "cap_s": self.cap_s,
            "stable": not unmet if waited else None,
            "unmet": unmet,
        }


@dataclass(frozen=True)
class Stopping:
    """Exactly `least` calls; with a `precision`, on until the median is known so well, or no better.

    precision: the half-width of the median's 95 % interval, as a share of it. most, cap_s: the calls and
    the seconds after which no more are made beyond `least`. patient: whether it goes on to them where twice
    the calls have narrowed nothing.
    """

    least: int
    precision: float | None
    most: int
    cap_s: float
    patient: bool = False

    def reason(self, seconds: Sequence[float], elapsed_s: float) -> str:
        """What ends the series here; empty where it goes on.

        "repeats", "precision", "plateau", "most_repeats" or "cap_s".
        """
        if len(seconds) < self.least:
            return ""
        if self.precision is None:
            return "repeats"
        if half_width(seconds) <= self.precision:
            return "precision"
        if not self.patient and _falls_no_more(seconds, self.least):
            return "plateau"
        if len(seconds) >= self.most:
            return "most_repeats"
        return "cap_s" if elapsed_s >= self.cap_s else ""

    def facts(self, seconds: Sequence[float], elapsed_s: float) -> dict[str, Any]:
        """For the record. half_width: None of a series too short to have one; unmet: of the precision."""
        width, by = half_width(seconds), self.reason(seconds, elapsed_s)
        known = f"\N{PLUS-MINUS SIGN}{units.percent(width)}" if width < math.inf else "not known"
        missed = self.precision is not None and by != "precision"
        return {
            "calls": len(seconds),
            "seconds": elapsed_s,
            "by": by,
            "precision": self.precision,
            "half_width": width if width < math.inf else None,
            "unmet": f"{known} where {units.percent(self.precision or 0)} was asked for"
            if missed
            else "",
        }


def unsteady(seconds: Sequence[float], elapsed_s: float) -> str:
    """Why calls of these durations show no steady speed; empty where they do."""
    window = 1 if seconds and median(seconds) >= _LONG_S else _WINDOW
    if len(seconds) < 2 * window:
        return f"{len(seconds)} calls are too few to tell"
    if elapsed_s < _SUSTAINED_S:
        return f"{units.seconds(elapsed_s)} of work are too few to tell"
    before, now = median(seconds[-2 * window : -window]), median(seconds[-window:])
    change = now / before - 1
    return "" if abs(change) <= _WITHIN else f"still moving by {units.percent(change, signed=True)}"


def least_s(once: float) -> float:
    """Seconds of the shortest warm-up that shows a steady speed, of calls that take `once` each."""
    return max(2 * (1 if once >= _LONG_S else _WINDOW) * once, _SUSTAINED_S)


def half_width(seconds: Sequence[float]) -> float:
    """Half of the median's 95 % interval as a share of the median; infinite below six values.

    The interval lies between two order statistics, the narrowest symmetric pair that holds the median of
    any distribution at least so often; that values are independent of each other is taken for granted.
    """
    rank = _rank(len(seconds))
    if rank == 0:
        return math.inf
    ordered = sorted(seconds)
    return (ordered[-rank] - ordered[rank - 1]) / 2 / median(ordered)


@functools.cache
def _rank(count: int) -> int:
    """The r of which values r and count + 1 - r hold the median in 95 % of all series; 0 where none does."""
    below, rank = 0.0, 0
    while rank < count:
        below += math.comb(count, rank) / 2**count
        if below > _TAIL:
            break
        rank += 1
    return rank


def _falls_no_more(seconds: Sequence[float], least: int) -> bool:
    """Whether doubling the series has not narrowed the interval, at each of its last few lengths."""
    ends = range(len(seconds) - _IN_A_ROW + 1, len(seconds) + 1)
    if ends[0] < 2 * least:
        return False
    return all(half_width(seconds[:n]) >= _AS_WIDE * half_width(seconds[: n // 2]) for n in ends)
