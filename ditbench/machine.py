"""What a machine did to a cell's times: when they must not be used, and what makes them doubtful.

Records of timed processes carry `telemetry`, a summary of their own timed stretch. What is missing there was
not measured, and nothing is said of it.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from ditbench import units
from ditbench.records import Record

# Above these shares of samples a time is no property of the method any more.
_SLOWED = 0.02
_FOREIGN = 0.01
# A clock that falls by so much within one timed stretch was not steady. Under a power cap it never is.
_FALL = 0.10
# Processors kept busy by others. torch's threads wait for the slowest, so what one of them loses all lose:
# a fifth of one processor is up to a fifth of the time while it lasts.
_OTHERS = 0.2
# Above this it explains a changed time: a program that would keep one processor busy gets two thirds of it
# where torch's two threads share two processors with it, so this lies below that.
_CROWDED = 0.5
_DISAGREEMENT = 0.05
# Medians of clocks that differ by more belong to different machines, and not to different code. A processor's
# frequency is read off a few of its cores, whose governors move it by some per cents by themselves.
_CLOCKS = {"sm_clock": ("GPU's clock", 0.02), "frequency": ("processors' frequency", 0.10)}
# A time goes at most as its clock does; half as much again is for medians of few samples.
_OF_CLOCK = 1.5
_PARTS = 5
# Metrics with values of each timed call.
_OF_CALLS = frozenset({"latency", "step_latency"})

Facts = Sequence[Mapping[str, Any]]


def unfit(records: Iterable[Record]) -> str:
    """Why the times of these processes of one cell must not be used; empty where they may."""
    records = tuple(records)
    seen = _telemetry(records)
    reasons = (
        left_out(records) if _emptied(records) else "",
        _slowed(seen) if _mean(seen, "slowed_share") > _SLOWED else "",
        _foreign(seen) if _mean(seen, "foreign_share") > _FOREIGN else "",
        _memory(seen),
    )
    return "; ".join(reason for reason in reasons if reason)


def doubts(records: Sequence[Record]) -> tuple[str, ...]:
    """Everything that happened to these processes of one cell, as clauses with numbers."""
    seen = _telemetry(records)
    finders: tuple[Callable[[Facts], str], ...] = (
        _slowed,
        _foreign,
        _memory,
        _fallen,
        _others,
        _heated,
    )
    clauses = (*(find(seen) for find in finders), left_out(records), _energies(records))
    return tuple(clause for clause in clauses if clause)


def kept(record: Record) -> Record:
    """A timed record without the calls that something physical spoilt, which its facts name.

    None is left out for being slow. Raw values stay on file; whoever reads times reads them through this.
    """
    out = {int(place) for place, _why in record.facts.get("excluded", ())}
    calls = len(record.metrics.get("latency", ()))
    if not out or len(record.facts.get("calls_ns", ())) != calls:
        return record
    metrics = {
        name: _kept(values, calls, out) if name in _OF_CALLS else values
        for name, values in record.metrics.items()
    }
    return dataclasses.replace(record, metrics=metrics)


def _kept(values: Sequence[float], calls: int, out: Collection[int]) -> tuple[float, ...]:
    """values: as many of each call as of every other."""
    each = len(values) // calls
    return tuple(value for place, value in enumerate(values) if place // max(1, each) not in out)


def crowded(records: Iterable[Record]) -> str:
    """That other programs took so much of the processors that they explain a changed time; empty if not.

    For a time that has moved, of one cell: where none has, it is a doubt and no more.
    """
    share = _kept_busy(_telemetry(records))
    return (
        f"other programs kept {_processors(share)} busy while it was timed"
        if share > _CROWDED
        else ""
    )


def session_unfit(records: Sequence[Record]) -> str:
    """Why a session of two arms says nothing about either; empty where it does.

    records: of one pair of cells. Each arm is looked at by itself, so that a program that ran beside half of
    the session is not thinned out by the other half.
    """
    by_arm: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_arm[str(record.facts.get("arm", ""))].append(record)
    clauses = (check(arm) for arm in by_arm.values() for check in (unfit, crowded))
    return "; ".join(dict.fromkeys(clause for clause in clauses if clause))


def best_of_parts(values: Sequence[float]) -> tuple[float, ...]:
    """The smallest of each fifth of a series, in order: what a canary's series comes to.

    Of these again the same, so that a baseline may keep them in place of the series.
    """
    size = max(1, -(-len(values) // _PARTS))
    return tuple(min(values[at : at + size]) for at in range(0, len(values), size))


def other_clocks(then: Iterable[Record], now: Iterable[Record], change: float, gate: float) -> str:
    """That the device ran at another clock now than then, which explains another time; empty if not.

    change: of the time, relative. A clock explains it where the time moved to the side to which the clock
    pushes it, at half the clock to twice the time, and by at most 1.5 times as much and the gate.
    """
    before, after = _telemetry(then), _telemetry(now)
    told = (_other_clock(name, before, after, change, gate) for name in _CLOCKS)
    return "; ".join(clause for clause in told if clause)


def _other_clock(name: str, before: Facts, after: Facts, moved: float, gate: float) -> str:
    title, allowed = _CLOCKS[name]
    middles = [[float(one[name][1]) for one in side if name in one] for side in (before, after)]
    if not all(middles):
        return ""
    then, now = map(median, middles)
    if not (then and now) or abs(now / then - 1) <= allowed:
        return ""
    push = then / now - 1
    if moved * push <= 0 or abs(moved) > _OF_CLOCK * abs(push) + gate:
        return ""
    change = units.percent(now / then - 1, signed=True)
    was, is_now = units.count(then, "Hz"), units.count(now, "Hz")
    return f"the {title} was {was} then and is {is_now} now ({change})"


def _kept_busy(seen: Facts) -> float:
    """Processors that others kept busy, over the timed stretches of all processes together."""
    told = [one for one in seen if "others" in one]
    seconds = [float(one.get("window_s", 1.0)) for one in told]
    taken = sum(float(one["others"]) * long for one, long in zip(told, seconds, strict=True))
    return taken / sum(seconds) if sum(seconds) else 0.0


def _processors(number: float) -> str:
    return f"{units.digits(number, 2)} processors"


def _telemetry(records: Iterable[Record]) -> Facts:
    found = (record.facts.get("telemetry") for record in records)
    return [facts for facts in found if facts]


def _mean(seen: Facts, name: str) -> float:
    """A share over the samples of all processes."""
    total = sum(int(facts.get("samples", 0)) for facts in seen)
    weighed = sum(float(facts.get(name, 0)) * int(facts.get("samples", 0)) for facts in seen)
    return weighed / total if total else 0.0


def _slowed(seen: Facts) -> str:
    share = _mean(seen, "slowed_share")
    causes = {name: part for facts in seen for name, part in facts.get("slowed", {}).items()}
    # Hardware says "slowdown" beside the cause that it knows.
    known = [name for name in causes if name != "its hardware"] or list(causes)
    by = " and ".join(known) or "its hardware"
    return f"the GPU was slowed by {by} in {units.percent(share)} of samples" if share else ""


def _foreign(seen: Facts) -> str:
    share = _mean(seen, "foreign_share")
    names = dict.fromkeys(name for facts in seen for name in facts.get("foreign", ()))
    return (
        f"{', '.join(names)} computed on the GPU in {units.percent(share)} of samples"
        if share
        else ""
    )


def _memory(seen: Facts) -> str:
    most = max((int(facts.get("memory_of_others", 0)) for facts in seen), default=0)
    return f"others held {units.size(most)} of the GPU's memory" if most else ""


def _fallen(seen: Facts) -> str:
    for facts in seen:
        low, middle, _high = facts.get("sm_clock", (0, 0, 0))
        if low < (1 - _FALL) * middle and not facts.get("power_capped"):
            return (
                f"the GPU's clock fell from {units.count(middle, 'Hz')} to {units.count(low, 'Hz')}"
            )
    return ""


def _others(seen: Facts) -> str:
    most = max((float(facts.get("others", 0)) for facts in seen), default=0.0)
    if most <= _OTHERS:
        return ""
    return f"other programs kept {_processors(most)} busy while it was timed"


def _heated(seen: Facts) -> str:
    times = sum(int(facts.get("throttled", 0)) for facts in seen)
    return f"heat slowed the processors {times} times" if times else ""


def left_out(records: Sequence[Record]) -> str:
    """Calls that no figure rests on, counted, and processes that have none left."""
    excluded = [why for one in records for _place, why in one.facts.get("excluded", ())]
    if not excluded:
        return ""
    calls = sum(len(one.facts.get("calls_ns", ())) for one in records)
    told = f"{len(excluded)} of {calls} calls left out: {'; '.join(dict.fromkeys(excluded))}"
    empty = [str(one.replicate + 1) for one in records if _is_empty(one)]
    return f"{told}; no time of process {', '.join(empty)}, of which all were" if empty else told


def _emptied(records: Sequence[Record]) -> bool:
    """Whether no process has a call left."""
    timed = [one for one in records if one.facts.get("calls_ns")]
    return bool(timed) and all(map(_is_empty, timed))


def _is_empty(record: Record) -> bool:
    excluded = record.facts.get("excluded", ())
    return bool(excluded) and len(excluded) == len(record.facts.get("calls_ns", ()))


def _energies(records: Iterable[Record]) -> str:
    apart = (float(one.facts.get("energy", {}).get("disagreement", 0)) for one in records)
    most = max(apart, default=0.0)
    if most <= _DISAGREEMENT:
        return ""
    return f"energy by the GPU's counter and by its power differ by {units.percent(most)}"
