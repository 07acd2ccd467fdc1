"""What goes through the pipe from a worker to its parent: plain data, readable without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ditbench.errors import DitbenchError
from ditbench.jobs import Findings, Job
from ditbench.records import Status


@dataclass(frozen=True)
class Order:
    """A job and how its process shall run.

    measure: "module:function". memory_limit: bytes of private memory, None for no limit. preload: the
    module that the server must have imported.
    """

    job: Job
    log: Path
    measure: str
    preload: str
    memory_limit: int | None = None


@dataclass(frozen=True)
class Question:
    """A call of "module:function" whose result is wanted, and no record.

    device: the only one that it may see. alone: whether it needs that device to itself.
    """

    function: str
    arguments: tuple[Any, ...]
    preload: str
    device: str = "cpu"
    alone: bool = False


@dataclass(frozen=True)
class Said:
    """The worker has reached this phase."""

    phase: str


@dataclass(frozen=True)
class Queued:
    """The worker waits for its device; until it has it, no time counts."""

    phase: str


@dataclass(frozen=True)
class Locked:
    """The worker has its device to itself: from here on its time counts. waited_s: what went by before."""

    waited_s: float


@dataclass(frozen=True)
class Answered:
    """The worker is done: findings of a job, or the result of a question."""

    value: Any


@dataclass(frozen=True)
class Refused:
    """An error of ours, taken apart: pickle would call its `__init__` with the finished message."""

    kind: type[DitbenchError]
    arguments: tuple[Any, ...]
    state: Mapping[str, Any]

    @classmethod
    def because(cls, error: DitbenchError) -> Refused:
        """The error, ready to travel."""
        return cls(type(error), error.args, vars(error))

    @property
    def error(self) -> DitbenchError:
        """The error as it was raised."""
        error = self.kind.__new__(self.kind, *self.arguments)
        vars(error).update(self.state)
        return error


Message = Said | Queued | Locked | Answered | Refused


def plain(findings: Findings) -> Findings:
    """Findings with nothing in them that JSON cannot say.

    A tensor among the facts would be torch in the parent. Raises TypeError for such, and ValueError
    where status and reason disagree.
    """
    if (findings.status is Status.OK) == bool(findings.reason):
        raise ValueError(f"findings of status {findings.status} with reason {findings.reason!r}")
    return replace(
        findings,
        metrics={name: tuple(map(float, values)) for name, values in findings.metrics.items()},
        warmups={name: tuple(map(float, values)) for name, values in findings.warmups.items()},
        facts=json.loads(json.dumps(dict(findings.facts))),
    )
