"""What must start at once does, and without torch."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

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
    """Less than eight starts of Python beyond what typer takes: processor time, without the tracer's."""
    commands = (["-c", "pass"], ["-c", "import typer"], ["-m", "ditbench", "--help"])
    untraced = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    shortest = [60.0, 60.0, 60.0]
    for _ in range(3):
        for number, words in enumerate(commands):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(
                [sys.executable, *words], capture_output=True, text=True, check=True, env=untraced
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            shortest[number] = min(shortest[number], spent)
    assert "run" in done.stdout
    nothing, typer, ours = shortest
    assert ours - typer < 8 * nothing
