"""Records of a baseline, one line a cell: small enough for git, and no less than a comparison reads.

    {"key": ..., "cell": {...}, "stages": {"time": {...}, "gate": {...}, ...}}
    {"replicates": [0, 1, ...], "metrics": {...}, "facts": {...}, "each": [{...}, ...]}   a stage

`metrics` holds a power of ten, a whole number, and then a list for each process of what is added to it:
[-7, 612001, [344, 0], ...] are 0.0612345 and 0.0612001 seconds; where all processes are alike, one list
stands for them. Raw latencies keep six digits, and so do figures of a whole set; of other times and of memory
each process keeps its median, and every picture keeps four digits. What was counted is kept to the last
digit, because any change of it is a verdict. Calls that something physical spoilt are left out, and of facts
only those stand here that a comparison or `baseline show` reads. What all cells share (a model, an extractor)
stands once, on a line of its own, by its digest: a cell that is added moves no line of another.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from ditbench import machine, scores
from ditbench.records import SCHEMA, Cell, Record, Stage, Status, cell_to_json, digest

Plain = dict[str, Any]

_DIGITS, _PICTURE_DIGITS = 6, 4
_COUNTED = frozenset({Stage.GATE, Stage.COUNT, Stage.FIT})
_RAW = "latency"
_MOST_EXACT = 2**53
_MOST_POWER = 300
_REF = "$"
# By stage, the facts that somebody reads of a baseline; of any other stage all.
_FACTS = {
    Stage.GATE: {
        "weights",
        "exact",
        "core_only",
        "parameters",
        "counted_core_macs",
        "replaced_macs",
        "own_numbers",
        "knob_digest",
        "kernels",
        "uncounted",
        "sites",
        "remarks",
    },
    Stage.TIME: {
        "gpu_uuid",
        "threads",
        "peak_without_warmup",
        "matrix_rates",
        "bandwidths",
        "flushed_bytes",
        "calls_together",
    },
    Stage.FIT: {"weights", "gpu_uuid", "trials", "fails", "wavering", "peak", "memory_limit"},
    Stage.QUALITY: {
        "samples",
        "extractor",
        "extractors",
        "references",
        "protocol",
        "errors",
        "paired",
        "unmeasured",
        "unpictured",
        "knob_digest",
    },
}
_FACTS[Stage.COUNT] = _FACTS[Stage.GATE]
# What the machine did, over all processes of a cell: shares weigh by samples, ranges widen.
_SHARES = ("slowed_share", "power_capped", "foreign_share", "others")
_RANGES = ("sm_clock", "frequency", "temperature")
# Values of a fact that say no more than its absence.
_NOTHING: tuple[object, ...] = ([], {}, (), "")
# How a process ended short of what it was asked: told only where it did.
_UNMET = ("warmup", "stopping")
# Facts and parts of a cell that stand on a line of their own.
_SHARED = frozenset(
    {"model", "sampling", "blocks", "extractor", "extractors", "references", "protocol"}
)


def packed(records: Iterable[Record]) -> Iterator[Plain]:
    """The lines of these records, all of them ok: first what they share, by digest, then one a cell."""
    by_cell: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_cell[record.cell.key].append(record)
    shared: dict[str, Any] = {}
    lines = [
        _cell_line(of, shared)
        for of in sorted(by_cell.values(), key=lambda of: (of[0].cell.id, of[0].cell.key))
    ]
    yield from ({"as": name, "is": shared[name]} for name in sorted(shared))
    yield from lines


class Unpacking:
    """Reads the lines of `packed` in their order. environment, code: what every record of the file says."""

    def __init__(self, environment: str, code: str) -> None:
        self._common = {"environment": environment, "code": code}
        self._shared: dict[str, Any] = {}

    def records(self, line: Plain) -> list[Plain]:
        """The records of a line, plain; none of a line that others refer to. Raises one of many errors."""
        if "as" in line:
            self._shared[line["as"]] = line["is"]
            return []
        cell = {"key": line["key"], **self._resolved(line["cell"])}
        found = []
        for stage, part in line["stages"].items():
            if not isinstance(part, Mapping):
                raise ValueError(f"stages.{stage} must be an object")  # noqa: TRY004 (wrong data)
            found += [self._record(cell, stage, part, number) for number in range(_count(part))]
        return found

    def _record(self, cell: Plain, stage: str, part: Mapping[str, Any], number: int) -> Plain:
        each = part.get("each") or [{}] * _count(part)
        metrics = {name: _numbers(values, number) for name, values in part["metrics"].items()}
        return {
            "cell": cell,
            "stage": stage,
            "status": str(Status.OK),
            "replicate": part["replicates"][number],
            "reason": "",
            "metrics": {name: values for name, values in metrics.items() if values},
            "warmups": {},
            "facts": self._resolved(part["facts"]) | each[number],
            "started": "",
            "seconds": 0.0,
            "schema": SCHEMA,
            **self._common,
        }

    def _resolved(self, plain: Mapping[str, Any]) -> Plain:
        return {name: self._of(value) for name, value in plain.items()}

    def _of(self, value: Any) -> Any:  # noqa: ANN401 (any JSON)
        if not isinstance(value, Mapping) or set(value) != {_REF}:
            return value
        if value[_REF] not in self._shared:
            raise ValueError(f"refers to {value[_REF]}, which no line above it is")
        return self._shared[value[_REF]]


def _cell_line(records: Sequence[Record], shared: dict[str, Any]) -> Plain:
    cell = cell_to_json(records[0].cell)
    by_stage: dict[Stage, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda one: one.replicate):
        by_stage[record.stage].append(record)
    return {
        "key": cell.pop("key"),
        "cell": _sharing(cell, shared),
        "stages": {str(stage): _stage(stage, of, shared) for stage, of in by_stage.items()},
    }


def _stage(stage: Stage, records: Sequence[Record], shared: dict[str, Any]) -> Plain:
    seen = [telemetry for one in records if (telemetry := one.facts.get("telemetry"))]
    told = {"telemetry": _rounded(_together(seen))} if seen else {}
    facts = [_facts(stage, record.facts) | told for record in records]
    alike = {
        name: value
        for name, value in facts[0].items()
        if all(name in one and one[name] == value for one in facts)
    }
    each = [{name: one[name] for name in one if name not in alike} for one in facts]
    values = [machine.kept(record).metrics for record in records]
    names = dict.fromkeys(name for one in values for name in one)
    part = {
        "replicates": [record.replicate for record in records],
        "metrics": {
            name: _packed(stage, name, [one.get(name, ()) for one in values]) for name in names
        },
        "facts": _sharing(alike, shared),
    }
    return part | ({"each": each} if any(each) else {})


def _facts(stage: Stage, facts: Mapping[str, Any]) -> Plain:
    """Those that are read, rounded where they were measured."""
    read = _FACTS.get(stage)
    found = {name: facts[name] for name in facts if read is None or name in read}
    if found.get("peak_without_warmup"):  # as it should be
        del found["peak_without_warmup"]
    unmet = {name: facts[name] for name in _UNMET if name in facts and facts[name].get("unmet")}
    return {
        name: _rounded(value) for name, value in (found | unmet).items() if value not in _NOTHING
    }


def _together(seen: Sequence[Mapping[str, Any]]) -> Plain:
    """One summary that says of each process what all of them together were told."""
    weights = [int(one.get("samples", 0)) for one in seen]
    found: Plain = {"samples": round(sum(weights) / len(seen))}
    for name in _SHARES:
        if sum(weights) and any(name in one for one in seen):
            told = zip((float(one.get(name, 0)) for one in seen), weights, strict=True)
            if share := sum(value * weight for value, weight in told) / sum(weights):
                found[name] = share
    for name in _RANGES:
        if ranges := [one[name] for one in seen if name in one]:
            low, middle, high = zip(*ranges, strict=True)
            found[name] = [min(low), median(middle), max(high)]
    most = max((int(one.get("memory_of_others", 0)) for one in seen), default=0)
    return found | ({"memory_of_others": most} if most else {})


def _rounded(value: Any) -> Any:  # noqa: ANN401 (any JSON)
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(name): _rounded(part) for name, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list | tuple) else value


def _sharing(plain: Mapping[str, Any], shared: dict[str, Any]) -> Plain:
    """The same with parts that others share replaced by their digest."""
    found = {}
    for name, value in plain.items():
        if name in _SHARED:
            digit = digest({"is": value})[:8]
            shared[digit] = value
            found[name] = {_REF: digit}
        else:
            found[name] = value
    return found


def _packed(stage: Stage, name: str, processes: Sequence[Sequence[float]]) -> list[Any]:
    """The power of ten, what is to be added to each number, and then the numbers of each process."""
    if stage is Stage.TIME and name != _RAW:
        processes = [(median(values),) if values else () for values in processes]
    if stage is Stage.CANARY:  # whose smallest values speak
        processes = [machine.best_of_parts(values) if values else () for values in processes]
    finite = [float(value) for values in processes for value in values if math.isfinite(value)]
    power = _power(stage, name, finite)
    if power is None:
        return [None, 0, *(list(map(_text_or, values)) for values in processes)]
    whole = [
        [round(_scaled(value, -power)) if math.isfinite(value) else str(value) for value in values]
        for values in processes
    ]
    kept = [one for group in whole for one in group if isinstance(one, int)]
    least = min(kept) if len(kept) > len(processes) else 0  # a few numbers are read as they are
    groups = [[one if isinstance(one, str) else one - least for one in group] for group in whole]
    alike = len(groups) > 1 and all(group == groups[0] for group in groups)
    return [power, least, *(groups[:1] if alike else groups)]


def _power(stage: Stage, name: str, finite: Sequence[float]) -> int | None:
    """That of the last digit that is kept; None where every digit is."""
    if all(value.is_integer() and abs(value) < _MOST_EXACT for value in finite):
        return 0
    if stage in _COUNTED:
        return None
    digits = _PICTURE_DIGITS if stage is Stage.QUALITY and not scores.parse(name) else _DIGITS
    leading = int(f"{max(map(abs, finite)):.{digits - 1}e}".partition("e")[2])
    return max(leading - digits + 1, -_MOST_POWER)


def _text_or(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _scaled(value: float, power: int) -> float:
    return value * 10.0**power if power >= 0 else value / 10.0**-power


def _numbers(values: Sequence[Any], number: int) -> list[float | str]:
    """The values of one process. Raises ValueError for what no power of ten is."""
    power, least, *groups = values
    chosen = groups[0] if len(groups) == 1 else groups[number]
    if type(least) is not int or not (power is None or _is_power(power)):
        raise ValueError("metrics: a power of ten and a whole number must stand before the values")
    try:
        return [
            value if isinstance(value, str) else float(_scaled(least + value, power or 0))
            for value in chosen
        ]
    except OverflowError as error:
        raise ValueError("metrics: a number beyond what a float holds") from error


def _is_power(value: object) -> bool:
    return type(value) is int and -_MOST_POWER <= value <= _MOST_POWER + _DIGITS


def _count(part: Mapping[str, Any]) -> int:
    """How many records a stage has. Raises ValueError where its lists are not of one length."""
    count = len(part["replicates"])
    lengths = {len(values) - 2 for values in part["metrics"].values()} - {1}
    if not lengths | {len(part.get("each") or part["replicates"])} <= {count}:
        raise ValueError("its processes and their values do not match in number")
    return count


def cells_of(records: Iterable[Record]) -> tuple[Cell, ...]:
    """The cells that were measured, in the order of the file; one whose pictures alone are here is none."""
    timed = {
        one.key: one.cell
        for one in records
        if not one.stage.of_pictures and one.stage is not Stage.CANARY
    }
    return tuple(timed.values())
