"""What samples of a machine amount to over the time in which a cell was timed: pure arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Generic, Protocol, TypeVar

from ditbench.devices.cpu import Load
from ditbench.devices.nvml import Reading

# nvml.h: what holds the clock down. These are no steady state; the power cap is normal for large products.
_SLOWED = {"heat": 0x20 | 0x40, "a power brake": 0x80, "its hardware": 0x08}
SLOWED_AT_ALL = 0x08 | 0x20 | 0x40 | 0x80
_POWER_CAP = 0x04
HELD_BY_IDLENESS = 0x01
# The counter moves every tenth of a second or so: over less than this its steps are in the figure.
_LEAST_S = 1.0
_TOLD = 5  # foreign processes by name


class Sample(Protocol):
    """Anything with a time, in nanoseconds of the monotonic clock."""

    @property
    def ns(self) -> int:
        """When."""
        ...


S = TypeVar("S", bound=Sample)


@dataclass(frozen=True)
class GpuSample:
    """A GPU at one time. foreign: processes on it that are not ours, told for people."""

    ns: int
    reading: Reading
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True)
class CpuSample:
    """The processors at one time."""

    ns: int
    load: Load


@dataclass(frozen=True)
class Window(Generic[S]):
    """Samples around a stretch of time, in order, its ends in nanoseconds of the monotonic clock."""

    samples: Sequence[S]
    begin: int
    end: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.end - self.begin) / 1e9

    @property
    def inside(self) -> Sequence[S]:
        """Samples within it; of a stretch between two samples, those two."""
        found = [one for one in self.samples if self.begin <= one.ns <= self.end]
        return found or self.around

    @property
    def around(self) -> Sequence[S]:
        """Samples within it, the last before it and the first after it."""
        before = [one for one in self.samples if one.ns < self.begin]
        after = [one for one in self.samples if one.ns > self.end]
        within = [one for one in self.samples if self.begin <= one.ns <= self.end]
        return [*before[-1:], *within, *after[:1]]


def gpu(window: Window[GpuSample]) -> dict[str, Any]:
    """Lowest, median and highest of each reading; shares of samples in which something was wrong."""
    inside = window.inside
    reasons = [one.reading.reasons for one in inside if one.reading.reasons is not None]
    foreign = sorted({name for one in inside for name in one.foreign})
    return {
        **_counted(window),
        **_ranges(
            {
                name: [getattr(one.reading, name) for one in inside]
                for name in ("sm_clock", "memory_clock", "temperature", "power", "utilisation")
            }
        ),
        "slowed": {
            name: share for name, bits in _SLOWED.items() if (share := _share(reasons, bits))
        },
        "slowed_share": _share(reasons, SLOWED_AT_ALL),
        "power_capped": _share(reasons, _POWER_CAP),
        "foreign": foreign[:_TOLD],
        "foreign_share": _part([bool(one.foreign) for one in inside]),
    }


def cpu(window: Window[CpuSample]) -> dict[str, Any]:
    """The processors that other programs kept busy, and what frequency and heat did."""
    around = window.around
    facts = {
        **_counted(window),
        **_ranges({"frequency": [one.load.frequency for one in window.inside]}),
    }
    if len(around) < 2:
        return facts
    first, last = around[0], around[-1]
    wall = (last.ns - first.ns) / 1e9
    others = (last.load.busy - first.load.busy) - (last.load.ours - first.load.ours)
    facts["others"] = max(0.0, others / wall)
    if first.load.throttled is not None and last.load.throttled is not None:
        facts["throttled"] = last.load.throttled - first.load.throttled
    return facts


# From when to when (monotonic clock, ns), and what slowed the device then, as a clause.
Stretch = tuple[int, int, str]


def gpu_spoilt(window: Window[GpuSample]) -> list[Stretch]:
    """When the GPU was slowed or shared: from the look before one that saw it to the look after.

    A power cap is no reason: large products run under one always.
    """
    looks = window.around
    return [
        (before.ns, after.ns, why)
        for before, one, after in zip(
            [*looks[:1], *looks], looks, [*looks[1:], *looks[-1:]], strict=False
        )
        if (why := _slowed(one.reading.reasons or 0) or _shared(one.foreign))
    ]


def cpu_spoilt(window: Window[CpuSample]) -> list[Stretch]:
    """When heat slowed the processors: the kernel counts how often."""
    return [
        (before.ns, after.ns, "heat slowed the processors")
        for before, after in pairwise(window.around)
        if (after.load.throttled or 0) > (before.load.throttled or 0)
    ]


def left_out(calls: Sequence[int], end: int, spoilt: Sequence[Stretch]) -> list[tuple[int, str]]:
    """Which calls overlap a spoilt stretch, by their place, with the reason. calls: when each began."""
    found = []
    for place, (begun, ended) in enumerate(pairwise([*calls, end])):
        why = next((why for since, until, why in spoilt if begun < until and since < ended), "")
        if why:
            found.append((place, why))
    return found


def _slowed(reasons: int) -> str:
    held = [name for name, bits in _SLOWED.items() if reasons & bits]
    # Hardware says "slowdown" beside the cause that it knows.
    known = [name for name in held if name != "its hardware"] or held
    return f"the GPU was slowed by {' and '.join(known)}" if known else ""


def _shared(foreign: Sequence[str]) -> str:
    return f"{', '.join(foreign[:_TOLD])} computed on the GPU" if foreign else ""


def energy(window: Window[GpuSample]) -> dict[str, Any]:
    """Joules between the ends, by the GPU's counter and by its power, or why there is no figure.

    `joules` is the counter's where there is one; `missing` says why there is none. Never zero.
    """
    if window.seconds < _LEAST_S:
        return {"missing": f"timed for {window.seconds:.2g} s, and the counter moves in steps"}
    if window.samples and window.samples[0].ns > window.begin:
        return {"missing": "timed for longer than samples are kept"}
    counter = _counter(window)
    integral = _integral(window)
    joules = counter or integral
    if not joules:
        return {"missing": "the GPU tells neither its energy nor its power"}
    found = {"joules": joules, "source": "counter" if counter else "power"}
    if counter and integral:
        found |= {"integral": integral, "disagreement": abs(integral / counter - 1)}
    return found


def _counter(window: Window[GpuSample]) -> float | None:
    points = _points(window, lambda one: one.reading.energy)
    ends = (_at(points, window.begin), _at(points, window.end))
    if ends[0] is None or ends[1] is None or ends[1] <= ends[0]:
        return None  # not told, not moved, or begun anew with the driver
    return ends[1] - ends[0]


def _integral(window: Window[GpuSample]) -> float | None:
    points = _points(window, lambda one: one.reading.power)
    ends = (_at(points, window.begin), _at(points, window.end))
    if ends[0] is None or ends[1] is None:
        return None
    within = [point for point in points if window.begin < point[0] < window.end]
    line = [(window.begin, ends[0]), *within, (window.end, ends[1])]
    return sum((b[0] - a[0]) / 1e9 * (a[1] + b[1]) / 2 for a, b in pairwise(line)) or None


Point = tuple[int, float]


def _points(window: Window[GpuSample], of: Callable[[GpuSample], float | None]) -> list[Point]:
    pairs = ((one.ns, of(one)) for one in window.samples)
    return [(ns, value) for ns, value in pairs if value is not None]


def _at(points: Sequence[Point], ns: int) -> float | None:
    """The value on the line between the two points around a time; None where there are not two."""
    for (before, low), (after, high) in pairwise(points):
        if before <= ns <= after:
            return low + (high - low) * (ns - before) / max(1, after - before)
    return None


def _counted(window: Window[Any]) -> dict[str, Any]:
    return {"window_s": window.seconds, "samples": len(window.inside)}


def _ranges(series: Mapping[str, Sequence[float | None]]) -> dict[str, list[float]]:
    """[lowest, median, highest] by name, of what was told."""
    told = {name: [v for v in values if v is not None] for name, values in series.items()}
    return {
        name: [min(values), float(median(values)), max(values)]
        for name, values in told.items()
        if values
    }


def _share(reasons: Sequence[int], bits: int) -> float:
    return _part([bool(one & bits) for one in reasons])


def _part(held: Sequence[bool]) -> float:
    return sum(held) / len(held) if held else 0.0
