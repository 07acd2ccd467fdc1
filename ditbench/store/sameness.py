"""Whether the records of two runs may stand in one: the same machine, effort and code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ditbench.environment import incompatible
from ditbench.records import Choice, Record, canonical
from ditbench.store.reading import Run

_ABSENT = "not given"


def unlike(then: Run, now: Run) -> list[str]:
    """What forbids it, each difference with both values, as "timing.repeats: 20 -> 9"; empty means nothing.

    A run of schema 1 did not keep its effort, so nothing can be added to it.
    """
    machine, code = _machine(then, now), _differences(_own(then.code), _own(now.code))
    return [*machine, *_differences(_flat(then.effort), _flat(now.effort)), *code]


def elsewhere(then: Run, now: Run) -> list[str]:
    """As `unlike`, of machine and code alone: what was asked for may differ."""
    return [*_machine(then, now), *_differences(_own(then.code), _own(now.code))]


def quality_unlike(then: Run, now: Run, names: Iterable[str]) -> list[str]:
    """As `unlike`, of these settings under `quality` alone."""
    before, after = (
        {f"quality.{name}": _flat(run.effort).get(f"quality.{name}", _ABSENT) for name in names}
        for run in (then, now)
    )
    return list(_differences(before, after))


def _own(code: Mapping[str, Any]) -> dict[str, Any]:
    """The code of ditbench itself: the suite's repository takes commits of results too."""
    return {name: value for name, value in code.items() if not name.startswith("suite_")}


def _machine(then: Run, now: Run) -> list[str]:
    return incompatible(then.environment, now.environment)


@dataclass
class Weights:
    """The digests of the weights seen so far, by model and name: in one run a name means one thing."""

    seen: dict[tuple[Choice, str], str] = field(default_factory=dict)

    def other(self, record: Record) -> str:
        """How a record's weights differ from those of the same name before it; empty where they do not."""
        told, name = record.facts.get("weights"), (record.cell.model, record.cell.weights)
        if not told or (first := self.seen.setdefault(name, told)) == told:
            return ""
        return f"the weights {record.cell.weights!r} changed: first {first}, then {told}"


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys((*then, *now)):
        before, after = then.get(name, _ABSENT), now.get(name, _ABSENT)
        if canonical(before) != canonical(after):
            yield f"{name}: {_said(before)} -> {_said(after)}"


def _flat(effort: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """{"timing": {"repeats": 20}} as {"timing.repeats": 20}."""
    found: dict[str, Any] = {}
    for name, value in effort.items():
        inner = _flat(value, f"{above}{name}.") if isinstance(value, Mapping) else None
        found |= {f"{above}{name}": value} if inner is None else inner
    return found


def _said(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value)
