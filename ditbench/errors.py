"""Mistakes that a person can make, each with its place, its cause, its way out and its exit code."""

from __future__ import annotations

import re

OK = 0
INTERNAL = 1
USAGE = 2
CELLS_FAILED = 3
PERFORMANCE = 4
QUALITY = 5
ENVIRONMENT = 6
NOTHING_COMPARABLE = 7
INTERRUPTED = 130

# Where several hold, the first of these is what the process says with its exit code.
PRECEDENCE = (
    USAGE,
    INTERNAL,
    QUALITY,
    PERFORMANCE,
    CELLS_FAILED,
    ENVIRONMENT,
    NOTHING_COMPARABLE,
)

# Control characters, line separators, marks that turn the direction of writing, halves of surrogate pairs.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class DitbenchError(Exception):
    """A failure with a message for a person and an exit code, never shown as a traceback."""

    exit_code = INTERNAL


class UsageError(DitbenchError):
    """The command, a file that it names, or a suite is wrong."""

    exit_code = USAGE


class PluginError(UsageError):
    """A plug-in that was found and cannot be used: its own mistake, and no other's."""


class SuiteError(UsageError):
    """One or more mistakes in a suite, all told at once, one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class StoreError(UsageError):
    """A results or baseline file that cannot be read, named by file and line."""


class UnfitError(DitbenchError):
    """The machine is not fit to measure on now: busy, throttled, or without what was asked for."""

    exit_code = ENVIRONMENT


def one_line(text: str) -> str:
    """A text from outside as part of a message: on one line, and nothing in it that moves a cursor."""
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))


def first_of(codes: set[int]) -> int:
    """The exit code to end with where several hold (DESIGN, Verdicts)."""
    return next((code for code in PRECEDENCE if code in codes), OK)
