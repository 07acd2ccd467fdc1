"""Which of the exit codes that hold for a run end it: those that --fail-on names. Reports keep them all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from ditbench import errors
from ditbench.cli import output

# What a night that says nothing ends with is one word: an unfit machine, or nothing to compare with.
_WORDS = {
    "regression": frozenset({errors.PERFORMANCE}),
    "quality": frozenset({errors.QUALITY}),
    "error": frozenset({errors.CELLS_FAILED}),
    "noise": frozenset({errors.ENVIRONMENT, errors.NOTHING_COMPARABLE}),
    "none": frozenset[int](),
}
_ALL = frozenset[int]().union(*_WORDS.values())

FailOn = Annotated[
    str,
    typer.Option(
        "--fail-on",
        metavar=",".join(_WORDS).replace(",none", "|none"),
        help="Which findings end it with their code; default: every one. Reports keep them all.",
    ),
]


def passed(text: str) -> frozenset[int]:
    """The codes that are let pass. text: words with commas, empty for none let pass. Raises UsageError."""
    from ditbench.registry import did_you_mean

    words = [word.strip() for word in text.split(",")] if text else []
    for word in words:
        if word not in _WORDS:
            known = ", ".join(_WORDS)
            raise errors.UsageError(
                f"--fail-on {text}: {word!r} is none of {known}{did_you_mean(word, _WORDS)}"
            )
    if not words:
        return frozenset()
    return _ALL.difference(*(_WORDS[word] for word in words))


def code_of(holding: Iterable[int], let_pass: frozenset[int]) -> int:
    """What the process ends with; a code that is let pass in its place is told."""
    codes = set(holding)
    code = errors.first_of(codes - let_pass)
    if (first := errors.first_of(codes)) != code:
        output.warn(f"exit code {first} holds, and --fail-on lets it pass")
    return code
