"""What a command says of times, though nobody chose the programs beside it.

ditbench answers 6 where others kept the processors busy, and is right to: that is no answer to a test. So a
command is given a processor before others where the kernel lets us, is asked again where it was disturbed all
the same, and in the end the test is skipped with what disturbed it. It never passes on a 6.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")
TRIES = 3
# What may disturb: others on its processors, or what they leave of caches and clocks, which the canary tells.
OTHERS, CHANGED = "other programs kept", "the machine changed while it measured"


def first_in_line() -> None:
    """For `preexec_fn`: one processor, and there before all that is not real-time, where this person may.

    A niceness would not do: Linux weighs whole sessions of processes against each other.
    """
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def undisturbed(attempt: Callable[[int], tuple[T, str]]) -> T:
    """What an attempt came to, and nobody disturbed it. attempt: gets its number; what, and who disturbed."""
    told = []
    for number in range(TRIES):
        found, disturbed = attempt(number)
        if not disturbed:
            return found
        told.append(disturbed)
    others = [one for one in told if not (OTHERS in one or CHANGED in one)]
    assert others == []  # for any other reason it must not be skipped
    pytest.skip(f"disturbed in each of {TRIES} tries: {'; '.join(dict.fromkeys(told))}")
