"""Rules in order: each says what it saw, and the first that can gives the verdict.

What every rule saw stays with the finding, so that a verdict explains itself without being computed twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from ditbench import units
from ditbench.compare.verdicts import Finding, Step, Verdict
from ditbench.gating import GATE
from ditbench.metrics import Metric
from ditbench.records import Stage

MEMORY = 0.01
# One first call a process has no median: what loads and compiles varies by more than warm calls do.
FIRST_CALL = 0.10
# Gates are never below so many measured floors: equal arms reach the floor itself now and then.
FLOORS = 2


@dataclass(frozen=True)
class Ruling:
    """What one rule said; its outcome is the reason of the verdict, where it gives one.

    floor: the relative change that this rule lets pass, and change what it held against that; None where it
    is not of that kind.
    """

    step: Step
    verdict: Verdict | None = None
    floor: float | None = None
    change: float | None = None


class Subject(Protocol):
    """What rules look at."""

    def finding(self, verdict: Verdict, reason: str) -> Finding:
        """The verdict, with its figures beside it."""


S = TypeVar("S", bound=Subject)
Rules = tuple[Callable[[S], Ruling | None], ...]


def judged(subject: S, rules: Rules[S]) -> Finding:
    """The finding of the first rule that gives a verdict; a rule may have nothing to say.

    Raises ValueError where none gives one: the last of every list does.
    """
    steps: list[Step] = []
    floor = change = None
    for rule in rules:
        ruling = rule(subject)
        if ruling is None:
            continue
        steps.append(ruling.step)
        floor = floor if ruling.floor is None else ruling.floor
        change = change if ruling.change is None else ruling.change
        if ruling.verdict is not None:
            found = subject.finding(ruling.verdict, ruling.step.outcome)
            return replace(found, steps=tuple(steps), floor=floor, screened=change)
    raise ValueError("no rule gave a verdict")


def said(rule: str, numbers: str, outcome: str, verdict: Verdict | None = None) -> Ruling:
    """A ruling in one line."""
    return Ruling(Step(rule, numbers, outcome), verdict)


def usual(metric: Metric) -> float:
    """The relative change that is let pass where neither a suite nor a measured floor says otherwise."""
    if metric.stage is Stage.FIT:
        return 0.0
    if metric.unit == "B":
        return MEMORY
    return FIRST_CALL if metric.name == "first_call" else GATE


@dataclass(frozen=True)
class Gate:
    """The relative change that is let pass: what the suite names, or the usual, and never below the noise.

    measured: what equal arms were seen to differ by on this machine, None where nobody measured.
    """

    named: float | None
    measured: float | None = None
    usual: float = GATE

    @property
    def asked(self) -> float:
        """The suite's threshold, else the usual one."""
        return self.usual if self.named is None else self.named

    @property
    def value(self) -> float:
        """What is gated by."""
        return max(self.asked, FLOORS * (self.measured or 0.0))

    @property
    def ruling(self) -> Ruling:
        """Where the gate comes from, and whether noise raised it."""
        whose = "the usual gate" if self.named is None else "the suite's gate"
        numbers = f"{whose} {units.percent(self.asked)}; floor not measured"
        told = units.percent(self.value)
        if self.measured is not None:
            numbers = f"{whose} {units.percent(self.asked)}; floor {units.percent(self.measured)}"
        if self.value > self.asked:
            told = f"{told}, raised to {FLOORS} x the measured floor"
        return Ruling(Step("gate", numbers, told), floor=self.value)
