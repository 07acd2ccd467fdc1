"""Seconds that decisions take, apart from what they decide about.

What a decision looks at is done inside `with watched():`, which costs next to nothing until somebody listens
with `with collect(device) as spent:`. Then the device is waited for before and after, or its queue would be
timed in the place of the decision: a run that is listened to is slower, and its own seconds are no latency.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch


@dataclass
class Spent:
    """What was collected. seconds: of all that was watched, `times` times. aside: of what was only told."""

    device: torch.device
    seconds: float = 0.0
    times: int = 0
    aside: float = 0.0

    def settle(self) -> None:
        """Wait until the device has nothing left to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


_LISTENING: ContextVar[Spent | None] = ContextVar("listening", default=None)


@contextmanager
def collect(device: torch.device | str) -> Iterator[Spent]:
    """Listen to what is watched in this thread. device: where it may queue work."""
    found = Spent(torch.device(device))
    before = _LISTENING.set(found)
    try:
        yield found
    finally:
        _LISTENING.reset(before)


def told(find: Callable[[], dict[str, float]]) -> dict[str, float]:
    """What is only told and never used: found out where somebody listens, at no cost to the run."""
    listening = _LISTENING.get()
    if listening is None:
        return {}
    listening.settle()
    start = time.perf_counter()
    found = find()
    listening.settle()
    listening.aside += time.perf_counter() - start
    return found


@contextmanager
def watched() -> Iterator[None]:
    """Its seconds count as spent on a decision; one inside another is the outer one's."""
    found = _LISTENING.get()
    if found is None:
        yield
        return
    found.settle()
    inner = _LISTENING.set(None)
    start = time.perf_counter()
    try:
        yield
        found.settle()
    finally:
        found.seconds += time.perf_counter() - start
        found.times += 1
        _LISTENING.reset(inner)
