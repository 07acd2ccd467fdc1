"""What two cells of one ratio differ in beside what is compared, which are method, accelerator and blocks.

Kernels are no difference: which one runs is part of a method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from ditbench import units
from ditbench.records import Record
from ditbench.summary.evidence import Evidence

_COMPARED = frozenset({"attention", "accelerator", "blocks"})
# What an axis is that a cell does not name, because it is the usual.
_USUAL = {"guidance_channels": "all"}
# Parameters so many times apart are told as a factor too.
_APART = 1.5
# Further apart than readings of one steady machine are. A processor's frequency also follows the work.
_KELVINS = 10.0
_CLOCKS = {
    "sm_clock": ("the GPU's clock", 0.03),
    "memory_clock": ("the clock of its memory", 0.03),
    "frequency": ("the processors' frequency", 0.10),
}


def differences(one: Evidence, other: Evidence) -> tuple[str, ...]:
    """Each as "what this against that", the first cell's first; empty where the arms are equal.

    What only one of them tells was not recorded of the other, and is no difference.
    """
    return (*_axes(one, other), *_counts(one, other), *_facts(one, other), *_readings(one, other))


def _axes(one: Evidence, other: Evidence) -> Iterable[str]:
    mine, theirs = one.cell.axes, other.cell.axes
    for name in mine | theirs:
        usual = _USUAL.get(name, "none")
        if name not in _COMPARED and mine.get(name, usual) != theirs.get(name, usual):
            yield _told(name.replace("_", " "), mine.get(name, usual), theirs.get(name, usual))


def _counts(one: Evidence, other: Evidence) -> Iterable[str]:
    """Numbers of the network, and those that a method's layers bring along."""
    for name, words in (
        ("parameters", "parameters"),
        ("own_numbers", "numbers of the method's own"),
    ):
        mine, theirs = one.facts.get(name), other.facts.get(name)
        if mine is not None and theirs is not None and mine != theirs:
            yield f"{units.count(mine)} {words} against {units.count(theirs)}{_times(mine, theirs)}"


def _times(one: float, other: float) -> str:
    """How many times apart, where that says more than the two numbers."""
    if min(one, other) <= 0 or (factor := max(one, other) / min(one, other)) < _APART:
        return ""
    return f" ({units.digits(factor)}x)"


def of_models(cells: Iterable[Evidence]) -> str:
    """What the models of one run differ in beside their names; empty for one model, or equal ones.

    No ratio is ever taken of two models, but a reader sees their rows side by side.
    """
    by_model: dict[str, list[Evidence]] = {}
    for one in cells:
        if not one.cell.op and one.own:
            by_model.setdefault(one.cell.model.label, []).append(one)
    told = [
        f"{name} ({', '.join(f'{model} {said}' for model, said in values.items())}{apart})"
        for name, (values, apart) in _of_models(by_model).items()
        if len(set(values.values())) > 1
    ]
    return "; ".join(told)


def _of_models(by_model: Mapping[str, list[Evidence]]) -> dict[str, tuple[dict[str, str], str]]:
    """By what is looked at: what each model has, and how far they are apart."""
    first = {model: members[0] for model, members in by_model.items()}
    sizes = {model: size for model, one in first.items() if (size := one.facts.get("parameters"))}
    counts = {model: units.count(size) for model, size in sizes.items()}
    apart = _times(max(sizes.values(), default=0), min(sizes.values(), default=0))
    axes = {
        name: ({m: _values(members, name) for m, members in by_model.items()}, "")
        for name in ("weights", "dtype", "guidance_scale", "sampler", "steps")
    }
    seen = {model: _sees_time(one) for model, one in first.items()}
    return {"parameters": (counts, apart), "timestep input": (seen, ""), **axes}


def _values(members: Iterable[Evidence], axis: str) -> str:
    return " and ".join(sorted({one.cell.axes[axis] for one in members}))


def _sees_time(one: Evidence) -> str:
    """A network that never sees how noisy its input is solves another task than one that does."""
    return "none" if dict(one.cell.model.settings).get("sees_time") is False else "seen"


_Tell = Callable[[Evidence], Iterable[object]]


def _of_times(fact: str) -> _Tell:
    return lambda one: (record.facts.get(fact) for record in one.times)


# What stands once in a run, or of every process: equal by design, and a run that was merged, resumed or
# edited may differ all the same.
_SAME: Sequence[tuple[str, _Tell]] = (
    ("weights", lambda one: (one.weights,)),
    ("rows of a forward", _of_times("rows")),
    ("forwards", _of_times("nfe")),
    ("threads", _of_times("threads")),
    ("GPU", _of_times("gpu_uuid")),
    ("environment", lambda one: (record.environment for record in one.times)),
    ("code", lambda one: (record.code for record in one.times)),
    ("processes", lambda one: (len(one.times) or None,)),
    ("processes that were not warm", lambda one: (_unmet(one.times, "warmup"),)),
    ("processes not timed as precisely as asked", lambda one: (_unmet(one.times, "stopping"),)),
)


def _facts(one: Evidence, other: Evidence) -> Iterable[str]:
    for name, tell in _SAME:
        mine, theirs = (
            sorted({str(value) for value in tell(arm) if value not in {None, ""}})
            for arm in (one, other)
        )
        if mine and theirs and mine != theirs:
            yield _told(name, " and ".join(mine), " and ".join(theirs))


def _unmet(times: Sequence[Record], what: str) -> int | None:
    """How many processes say that they missed it; None where none says anything."""
    told = [one.facts[what] for one in times if what in one.facts]
    return sum(bool(facts.get("unmet")) for facts in told) if told else None


def _readings(one: Evidence, other: Evidence) -> Iterable[str]:
    """Clocks and heat while the two were timed, where they lie further apart than a steady machine's."""
    for name, (words, steady) in _CLOCKS.items():
        mine, theirs = _reading(one, name), _reading(other, name)
        if mine and theirs and abs(mine / theirs - 1) > steady:
            yield _told(words, units.count(mine, "Hz"), units.count(theirs, "Hz"))
    mine, theirs = _reading(one, "temperature"), _reading(other, "temperature")
    if mine is not None and theirs is not None and abs(mine - theirs) > _KELVINS:
        yield f"the GPU's temperature {mine:.0f} \N{DEGREE SIGN}C against {theirs:.0f} \N{DEGREE SIGN}C"


def _reading(one: Evidence, name: str) -> float | None:
    """The median over processes of each one's median."""
    telemetry: Iterable[Any] = (record.facts.get("telemetry") or {} for record in one.times)
    found = [facts[name][1] for facts in telemetry if name in facts]
    return float(median(found)) if found else None


def _told(name: str, mine: str, theirs: str) -> str:
    return f"{name} {mine} against {theirs}"
