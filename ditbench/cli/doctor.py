"""The verb that looks at the machine: doctor."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

import typer

from ditbench import errors
from ditbench.cli import output
from ditbench.cli.options import RESULTS, Gpu, Json, Out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.devices.diagnosis import Finding


def add_to(app: typer.Typer) -> None:
    """Register this verb."""
    app.command("doctor")(doctor)


def doctor(gpu: Gpu = None, out: Out = RESULTS, json: Json = False) -> int:
    """Say what is wrong with this machine for measuring, and the command that mends it; changes nothing."""
    from ditbench.devices import doctor as logic
    from ditbench.devices import nvml

    found = logic.examine(logic.here(gpu, nvml.load(), os.environ, out))
    if json:
        output.as_json([dataclasses.asdict(one) for one in found])
    else:
        _show(found)
    return errors.ENVIRONMENT if _count(found, "wrong") else errors.OK


def _show(found: Sequence[Finding]) -> None:
    output.table(
        "this machine, for measuring",
        ["", "what", "why it matters", "what mends it"],
        ([str(one.severity), one.what, one.why, one.command] for one in found),
    )
    print(f"{_count(found, 'wrong')} wrong, {_count(found, 'doubtful')} doubtful")


def _count(found: Sequence[Finding], severity: str) -> int:
    return sum(one.severity == severity for one in found)
