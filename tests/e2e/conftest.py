"""A command as a person types it, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TINY = "{name: dit, hidden: 32, depth: 2, heads: 2, size: 8, channels: 1, out_channels: 1, classes: 10}"


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Shell:
    folder: Path
    python: str = sys.executable

    def __call__(self, *arguments: str, timeout: float = 300, **environ: str) -> Ended:
        done = subprocess.run(
            [self.python, "-m", "ditbench", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", **environ},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def suite(self, text: str, name: str = "suite.yaml") -> str:
        (self.folder / name).write_text(text.replace("TINY", TINY))
        return name

    def run_folder(self) -> Path:
        """The newest run's folder."""
        return max(
            self.folder.glob("results/*/*/run.json"), key=lambda path: path.parent.name
        ).parent


@pytest.fixture(scope="module")
def shell(tmp_path_factory) -> Shell:
    return Shell(tmp_path_factory.mktemp("home"))
