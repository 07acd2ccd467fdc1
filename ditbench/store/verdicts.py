"""verdict.json: what a run was concluded with, for programs, and for whoever renders it again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ditbench import shape
from ditbench.errors import first_of
from ditbench.records import SCHEMA
from ditbench.store.disk import load, write_whole
from ditbench.store.reading import well_formed

VERDICT, CONFIRM = "verdict.json", "confirm.json"


@dataclass(frozen=True)
class Against:
    """What a run is compared with: the baseline's or the run's name as a command line takes it.

    name: empty for nothing; of a run in another folder of results its own folder, absolute. run: the id of
    the run whose records these are. required: whether something must compare.
    """

    name: str = ""
    run: str = ""
    required: bool = False

    @property
    def called(self) -> str:
        """For people: "baseline main", or "run 20261121-100000-1f2e"; empty for nothing."""
        if not self.name:
            return ""
        of_run = self.name == self.run or (
            Path(self.name).is_absolute() and not self.name.endswith(".jsonl")
        )
        return f"run {self.run}" if of_run else f"baseline {self.name}"

    @property
    def whole(self) -> str:
        """As `called`, with the run whose records these are: a baseline's name may get others."""
        return self.called if self.called == f"run {self.run}" else f"{self.called}, run {self.run}"


def write_verdict(
    folder: Path,
    findings: Sequence[Mapping[str, Any]],
    exit_codes: Iterable[int],
    against: Against = Against(),
) -> None:
    """Write the findings as plain objects, every exit code that holds, and what was compared with.

    Raises StoreError.
    """
    codes = set(exit_codes)
    verdict = {
        "schema": SCHEMA,
        "exit_code": first_of(codes),
        "exit_codes": sorted(codes),
        "against": {"name": against.name, "run": against.run, "required": against.required},
        "findings": list(findings),
    }
    text = json.dumps(verdict, indent=1, allow_nan=False) + "\n"
    write_whole(folder / VERDICT, text, "write it again with `ditbench report`")


def concluded_with(folder: Path) -> tuple[int, ...] | None:
    """Every exit code that held when the run was concluded; None where no verdict says so.

    Raises StoreError.
    """
    path = folder / VERDICT
    if not path.exists():
        return None

    def read() -> tuple[int, ...]:
        plain = json.loads(load(path).decode())
        shape.check(plain, shape.VERDICT)
        return tuple(plain["exit_codes"])

    return well_formed(f"{path}:1", read)


def concluded_against(folder: Path) -> Against | None:
    """What the run was compared with; None where no verdict says so. Raises StoreError."""
    path = folder / VERDICT
    if not path.exists():
        return None

    def read() -> Against | None:
        plain = json.loads(load(path).decode())
        if "against" not in plain:
            return None
        shape.check(plain["against"], shape.AGAINST, "against")
        return Against(**plain["against"])

    return well_formed(f"{path}:1", read)


def write_hindrance(folder: Path, against: Against, why: str) -> None:
    """Keep why what moved against a baseline was not measured side by side. Raises StoreError."""
    plain = {"schema": SCHEMA, "against": against.whole, "why": why}
    text = json.dumps(plain, indent=1) + "\n"
    write_whole(folder / CONFIRM, text, "run it again with --confirm")


def hindrance(folder: Path, against: Against) -> str:
    """What `write_hindrance` kept of this baseline; empty for nothing. Raises StoreError."""
    path = folder / CONFIRM
    if not path.exists():
        return ""

    def read() -> str:
        plain = json.loads(load(path).decode())
        shape.check(plain, {"against": shape.LINE, "why": shape.LINE})
        return str(plain["why"]) if plain["against"] == against.whole else ""

    return well_formed(f"{path}:1", read)
