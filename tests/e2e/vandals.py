"""Methods in whose time something happens to the results of the run, once."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deadly import Deadly


@dataclass(frozen=True)
class Deletes(Deadly):
    name: ClassVar[str] = "deletes"

    def die(self) -> None:
        if not Path("deleted").exists():
            Path("deleted").touch()
            (records,) = Path("results").glob("*/*/records.jsonl")
            records.unlink()


@dataclass(frozen=True)
class Fills(Deadly):
    """The disk of the results, to the last byte."""

    name: ClassVar[str] = "fills"

    def die(self) -> None:
        ballast = Path(os.environ["BALLAST"])
        if not ballast.exists():
            try:
                with ballast.open("wb", buffering=0) as file:
                    while file.write(bytes(1024)):
                        pass
            except OSError:
                return


@dataclass(frozen=True)
class Closes(Deadly):
    """The folder of the results turns read-only."""

    name: ClassVar[str] = "closes"

    def die(self) -> None:
        if not Path("closed").exists():
            Path("closed").touch()
            disk = str(Path(os.environ["BALLAST"]).parent)
            for how in (["--bind", disk, disk], ["-o", "remount,ro,bind", disk]):
                subprocess.run(["mount", *how], check=True)
