"""The largest number that still fits, by doubling and then bisection, where each trial is expensive.

Nothing is assumed of the trials but that what fits once may not fit again: both sides of the answer are
tried twice, and what contradicts itself counts as not fitting and is told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# No search goes further: attention kernels take fewer than 65,536 rows, and guidance makes two of a picture.
MOST = 16_384
# An answer is exact below twice this many, and above it known to one part in so many: 1.6 % at worst.
_FINENESS = 64

Fits = Callable[[int], bool]


@dataclass(frozen=True)
class Found:
    """The end of a search.

    largest: fitted every time it was tried; 0 where not even one did. fails: the smallest number above it
    that did not fit, None where MOST fitted. wavering: numbers that fitted once and another time not.
    """

    largest: int
    fails: int | None
    wavering: tuple[int, ...] = ()


def largest(fits: Fits, most: int = MOST) -> Found:
    """Search from 1 to `most`, a power of two. Raises what `fits` raises."""
    seen: dict[int, list[bool]] = defaultdict(list)

    def tried(number: int) -> bool:
        seen[number].append(fits(number))
        return seen[number][-1]

    low, high = _doubled(tried, most)
    if high > most:
        return Found(low, None)
    low, high = _bisected(tried, low, high)
    while low and not tried(low):
        low, high = _bisected(tried, _sure(seen, low), low)
    tried(high)
    return Found(low, high, tuple(sorted(one for one, said in seen.items() if len(set(said)) > 1)))


def step(low: int) -> int:
    """How far apart the last two trials may lie where this many fit."""
    return max(1, _power(low) // _FINENESS)


def _doubled(tried: Fits, most: int) -> tuple[int, int]:
    """The last power of two that fitted, 0 for none, and the first that did not."""
    low, high = 0, 1
    while high <= most and tried(high):
        low, high = high, 2 * high
    return low, high


def _bisected(tried: Fits, low: int, high: int) -> tuple[int, int]:
    """The two sides brought together until they are a step apart, by whole steps."""
    while high - low > (by := step(low)):
        middle = low + max(1, (high - low) // (2 * by)) * by
        low, high = (middle, high) if tried(middle) else (low, middle)
    return low, high


def _sure(seen: Mapping[int, list[bool]], below: int) -> int:
    """The largest number under this one that has fitted every time, 0 for none."""
    return max((one for one, said in seen.items() if one < below and all(said)), default=0)


def _power(number: int) -> int:
    """The largest power of two that is not above a number; 0 of 0."""
    return 1 << number.bit_length() >> 1
