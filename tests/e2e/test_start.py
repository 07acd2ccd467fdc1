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
        "devices.device",
    ],
)
def test_the_torch_wall_holds(module):
    code = f"import sys, ditbench.{module}; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_starts_at_once():
    """Less than eight starts of Python beyond what typer takes; in turn, so that a busy machine slows all."""
    commands = (["-c", "pass"], ["-c", "import typer"], ["-m", "ditbench", "--help"])
    shortest = [60.0, 60.0, 60.0]
    for _ in range(5):
        for number, words in enumerate(commands):
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, *words], capture_output=True, text=True, check=True
            )
            shortest[number] = min(shortest[number], time.perf_counter() - start)
    assert "run" in done.stdout
    nothing, typer, ours = shortest
    assert ours - typer < 8 * nothing
