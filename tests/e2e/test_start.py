"""What must start at once does, and without torch."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "cli",
        "suite.parse",
        "store",
        "plan",
        "summary",
        "compare",
        "report.render",
        "run.scheduler",
        "run.device",
    ],
)
def test_the_torch_wall_holds(module):
    code = f"import sys, ditbench.{module}; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_starts_at_once():
    """The best of five: the machine may be busy, and half a second is the promise."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "ditbench", "--help"], capture_output=True, text=True, check=True
        )
        seconds.append(time.perf_counter() - start)
    assert "run" in done.stdout
    assert min(seconds) < 0.5
