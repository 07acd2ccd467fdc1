"""What a doctor of machines looks at, and what one finds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ditbench.devices.nvml import Gpu, Nvml


class Severity(StrEnum):
    """wrong: numbers would be false or there would be none. doubtful: they would wander. fine: no harm."""

    WRONG = "wrong"
    DOUBTFUL = "doubtful"
    FINE = "fine"


@dataclass(frozen=True)
class Finding:
    """One thing about a machine. why: what it does to numbers. command: what mends it; both empty if fine."""

    severity: Severity
    what: str
    why: str = ""
    command: str = ""


@dataclass(frozen=True)
class Machine:
    """All that is looked at.

    gpus: those that may be measured on. torch_cuda: the CUDA that torch was built for, as "13.0", empty for a
    build for CPUs, None where there is no torch. results: where runs would be kept. lock_folder: where
    devices are locked. root: the file system.
    """

    gpus: tuple[Gpu, ...]
    nvml: Nvml | None
    environ: Mapping[str, str]
    cpus: tuple[int, ...]
    torch_cuda: str | None
    results: Path
    lock_folder: Path
    root: Path = Path("/")

    def text(self, path: str) -> str:
        """What a file of the kernel says, without blanks at its ends; empty where there is none."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def number(self, path: str) -> int | None:
        """The number that a file of the kernel holds, if any."""
        text = self.text(path)
        return int(text) if text.lstrip("-").isdigit() else None

    def memory(self, name: str) -> int:
        """Bytes of a line of /proc/meminfo; 0 where there is none."""
        for line in self.text("proc/meminfo").splitlines():
            key, _, rest = line.partition(":")
            if key == name:
                return int(rest.split()[0]) * 1024
        return 0

    def writable(self, folder: Path) -> bool:
        """Whether a file can be made there, or in the nearest folder above it that exists."""
        there = nearest(folder)
        return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def nearest(folder: Path) -> Path:
    """A folder, or the nearest above it that exists."""
    folder = folder.absolute()
    return next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))


def wrong(what: str, why: str, command: str) -> Finding:
    """Numbers would be false, or there would be none."""
    return Finding(Severity.WRONG, what, why, command)


def doubtful(what: str, why: str, command: str) -> Finding:
    """Numbers would wander."""
    return Finding(Severity.DOUBTFUL, what, why, command)


def fine(what: str) -> Finding:
    """No harm."""
    return Finding(Severity.FINE, what)
