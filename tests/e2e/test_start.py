"""What must start at once does, and without torch."""

from __future__ import annotations

import os
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


# Each takes longer to load than all of ours that a page of help needs.
HEAVY = {"torch", "numpy", "pandas", "jinja2", "altair", "yaml", "importlib.metadata", "socket"}


def test_help_loads_what_typer_needs_and_little_of_ours():
    """How long it takes is for `make bench`: a time in a test says how busy the machine was."""
    code = """if True:
        import sys, typer.rich_utils
        before = set(sys.modules)
        try:
            sys.argv = ["ditbench", "--help"]
            from ditbench.__main__ import main
            main()
        finally:
            print("LOADED", *sorted(set(sys.modules) - before), file=sys.stderr)
    """
    bare = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=bare
    )
    assert (done.returncode, "run" in done.stdout) == (0, True)
    loaded = set(done.stderr.split()) - {"LOADED"}
    assert not loaded & HEAVY
    assert "ditbench.cli" in loaded
    ours = {name for name in loaded if name.startswith("ditbench")}
    assert len(ours) < 35  # a file a verb
    assert len(loaded - ours) < 25
