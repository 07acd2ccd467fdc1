"""Traces: one line of JSON a decision, with what it looked at and what a reuse would have cost.

    {"trace": 1, "model": ..., "method": ..., "seed": 0, "sample": 3, "site": ..., "block": 0, "step": 7,
     "steps": 20, "branch": "both", "reused": true, "reason": ..., "seen": {...}, "error": 0.03}

What is not finite is the text "inf", "-inf" or "nan", as everywhere in ditbench.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ditbench.errors import one_line

VERSION = 1
BRANCHES = ("both", "conditional", "unconditional")


@dataclass(frozen=True)
class Line:
    """A decision of one forward, about the rows of one sample.

    model: with its weights; method: with its settings; both in words. seed, sample: which noise, and so which
    trajectory. branch: which halves of guided rows it is about; of a run without guidance the conditional.
    seen: see `Decision`. error: of what the reuse gave, in relative L2 from what computing gave; None where
    nothing was reused.
    """

    model: str
    method: str
    seed: int
    sample: int
    site: str
    block: int
    step: int
    steps: int
    branch: str
    reused: bool
    reason: str
    seen: Mapping[str, float]
    error: float | None = None

    @property
    def decision(self) -> tuple[str | int, ...]:
        """What there can be only one line of."""
        return (*self.trajectory, self.model, self.method, self.site, self.step, self.branch)

    @property
    def trajectory(self) -> tuple[int, int]:
        """Whose lines resemble each other: of one noise."""
        return self.seed, self.sample


@dataclass(frozen=True)
class Trace:
    """Lines as read. problems: those that could not be, each "file:line: cause"."""

    lines: tuple[Line, ...]
    problems: tuple[str, ...] = ()


def text(lines: Iterable[Line]) -> str:
    """The file of these lines."""
    return "".join(f"{json.dumps(_plain(line), allow_nan=False)}\n" for line in lines)


def parse(place: str, data: bytes) -> Trace:
    """The lines in a file's bytes; one that is damaged is told, and hides no other. place: of the file."""
    lines: dict[tuple[str | int, ...], Line] = {}
    problems = []
    for number, raw in enumerate(data.splitlines(), start=1):
        try:
            line = _line(raw)
        except (ValueError, RecursionError) as error:
            problems.append(f"{place}:{number}: {_cause(error)}")
            continue
        if lines.setdefault(line.decision, line) is not line:
            problems.append(f"{place}:{number}: a second line of one decision; the first is kept")
    return Trace(tuple(lines.values()), tuple(problems))


def joined(traces: Iterable[Trace]) -> Trace:
    """Several as one; a decision that stands in two of them counts once, and is told."""
    lines: dict[tuple[str | int, ...], Line] = {}
    problems: list[str] = []
    for trace in traces:
        problems += trace.problems
        twice = sum(line.decision in lines for line in trace.lines)
        if twice:
            problems.append(f"{twice} decisions stand in two traces; the first of each is kept")
        lines = {line.decision: line for line in trace.lines} | lines
    return Trace(tuple(lines.values()), tuple(problems))


def _plain(line: Line) -> dict[str, Any]:
    plain = dataclasses.asdict(line)
    plain["seen"] = {name: _told(value) for name, value in line.seen.items()}
    plain["error"] = None if line.error is None else _told(line.error)
    return {"trace": VERSION, **plain}


def _told(value: float) -> float | str:
    return value if math.isfinite(value) else str(float(value))


def _line(raw: bytes) -> Line:
    """Raises ValueError with the cause, on anything else."""
    plain = json.loads(raw.decode())
    if not isinstance(plain, dict) or plain.pop("trace", None) != VERSION:
        raise ValueError(f"is no line of a trace of version {VERSION}")
    lacking = [name for name in _FIELDS if name not in plain]
    if lacking or len(plain) > len(_FIELDS):
        odd = next((name for name in plain if name not in _FIELDS), "")
        raise ValueError(f"lacks {lacking[0]!r}" if lacking else f"has an unknown field {odd!r}")
    wrong = [name for name, fits in _FIELDS.items() if not fits(plain[name])]
    if wrong:
        raise ValueError(f"{wrong[0]} cannot be {json.dumps(plain[wrong[0]])}")
    seen = {name: float(value) for name, value in plain["seen"].items()}
    error = plain["error"]
    return Line(**{**plain, "seen": seen, "error": None if error is None else float(error)})


def _words(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _whole(value: object) -> bool:
    return type(value) is int and value >= 0


def _number(value: object) -> bool:
    return type(value) in {int, float} or value in {"inf", "-inf", "nan"}


def _seen(value: object) -> bool:
    return isinstance(value, dict) and all(map(_number, value.values()))


def _error(value: object) -> bool:
    """A distance that could not be taken, of what is not finite, is nan."""
    return value is None or (_number(value) and not float(value) < 0)  # type: ignore[arg-type]  # a number by now


_FIELDS: Mapping[str, Callable[[Any], bool]] = {
    "model": _words,
    "method": _words,
    "seed": _whole,
    "sample": _whole,
    "site": _words,
    "block": _whole,
    "step": _whole,
    "steps": _whole,
    "branch": lambda value: value in BRANCHES,
    "reused": lambda value: isinstance(value, bool),
    "reason": _words,
    "seen": _seen,
    "error": _error,
}


def _cause(error: Exception) -> str:
    """What is wrong with a line, as a clause."""
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON ({error.msg} in column {error.colno})"
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8"
    return "is nested too deeply" if isinstance(error, RecursionError) else one_line(str(error))
