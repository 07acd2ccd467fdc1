"""What the machine did while cells were timed, and where energy came from, as sentences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ditbench import units
from ditbench.machine import left_out
from ditbench.records import Record
from ditbench.report import words
from ditbench.report.tables import NOT_MEASURED
from ditbench.store import Run
from ditbench.summary.canary import METRICS, Figure, drift, figures

Facts = Mapping[str, Any]


def machine(records: Sequence[Record]) -> str:
    """Each device: clock, temperature, power, what slowed it, who else was there."""
    by_device: dict[str, list[Facts]] = defaultdict(list)
    for record in records:
        if seen := record.facts.get("telemetry"):
            by_device[str(seen.get("device", "cpu"))].append(seen)
    if not by_device:
        return f"What the machine did while cells were timed was {NOT_MEASURED}." if records else ""
    told = [_device(name, seen) for name, seen in by_device.items()]
    if out := left_out(records):
        told.append(f"Of all cells together, {out}; their values stay on file.")
    return " ".join(told)


def canary(run: Run) -> str:
    """What the machine did with the same work at several times of the run, and whether it changed."""
    told = [
        f"{METRICS[metric]} {'; '.join(_places(found))}"
        for metric, found in figures(run).items()
        if found
    ]
    if not told:
        return ""
    changed = drift(run)
    return (
        "A fixed matrix product and a fixed copy, in processes of their own at several times of the run: "
        f"the best of many repetitions and, in brackets, their median. {'. '.join(told)}. "
        + (f"The machine changed meanwhile: {changed}." if changed else _agree(run))
    )


def _agree(run: Run) -> str:
    """What of it may be held against each other."""
    crowded = any(one.crowded for found in figures(run).values() for one in found)
    return "Those that other programs left alone agree." if crowded else "They agree."


def _places(found: Sequence[Figure]) -> list[str]:
    several = len({one.device for one in found}) > 1
    return [
        f"{one.place}{f' on device {one.device}' if several else ''} {units.seconds(one.best)} "
        f"({units.seconds(one.median)})"
        for one in found
    ]


def energy(records: Sequence[Record]) -> str:
    """Where joules came from, or why there are none."""
    if not records:
        return ""
    told = [record.facts["energy"] for record in records if "energy" in record.facts]
    measured = [facts for facts in told if "joules" in facts]
    missing = dict.fromkeys(str(facts["missing"]) for facts in told if "missing" in facts)
    if not measured:
        why = "; ".join(missing) or "only NVIDIA GPUs tell it"
        return f"Energy was {NOT_MEASURED}: {why}."
    by_power = sum(facts["source"] == "power" for facts in measured)
    apart = max(float(facts.get("disagreement", 0)) for facts in measured)
    said = (
        "Joules per image over the timed calls, from the GPU's own counter, read from outside the worker "
        f"and checked against its power over the same time: they differ by {units.percent(apart)} at most."
    )
    if by_power:
        said += f" In {words.plural(by_power, 'process', 'es')} from the power alone, for want of a counter."
    if missing:
        said += f" In {words.plural(len(told) - len(measured), 'process', 'es')} {NOT_MEASURED}: "
        said += "; ".join(missing) + "."
    return said


def _device(name: str, seen: Sequence[Facts]) -> str:
    ranges = (
        _range(seen, "sm_clock", "clock", _hertz),
        _range(seen, "memory_clock", "memory clock", _hertz),
        _range(seen, "frequency", "frequency", _hertz),
        _range(seen, "temperature", "temperature", lambda value: f"{value:.0f} \N{DEGREE SIGN}C"),
        _range(seen, "power", "power", lambda value: units.count(value, "W")),
    )
    others = _others(seen) if name == "cpu" else _gpu(seen)
    samples = sum(int(facts["samples"]) for facts in seen)
    title = "Processors" if name == "cpu" else name
    parts = [part for part in ranges if part] + others
    looked = words.plural(samples, "sample")
    return f"{title}, in {looked} of the timed calls: {'; '.join(parts)}."


def _gpu(seen: Sequence[Facts]) -> list[str]:
    strangers = dict.fromkeys(name for facts in seen for name in facts.get("foreign", ()))
    return [
        f"slowed by heat or hardware in {_share(seen, 'slowed_share')}",
        f"held by its power cap in {_share(seen, 'power_capped')}",
        f"foreign processes: {', '.join(strangers) or 'none seen'}",
    ]


def _others(seen: Sequence[Facts]) -> list[str]:
    taken = [float(facts["others"]) for facts in seen if "others" in facts]
    heat = [int(facts["throttled"]) for facts in seen if "throttled" in facts]
    return [
        f"other programs kept {units.digits(max(taken), 2)} of them busy at most"
        if taken
        else f"the load by other programs was {NOT_MEASURED}",
        f"slowed by heat {words.plural(sum(heat), 'time')}" if heat else f"heat was {NOT_MEASURED}",
    ]


def _range(seen: Sequence[Facts], name: str, title: str, show: Callable[[float], str]) -> str:
    """Lowest and highest over all processes."""
    found = [facts[name] for facts in seen if name in facts]
    if not found:
        return ""
    low, high = show(min(one[0] for one in found)), show(max(one[2] for one in found))
    return f"{title} {low}" if low == high else f"{title} {low} to {high}"


def _share(seen: Sequence[Facts], name: str) -> str:
    samples = sum(int(facts["samples"]) for facts in seen)
    held = sum(float(facts.get(name, 0)) * int(facts["samples"]) for facts in seen)
    return units.percent(held / samples if samples else 0.0)


def _hertz(value: float) -> str:
    return units.count(value, "Hz")
