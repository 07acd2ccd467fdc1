"""One fork server for the tests of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ditbench.run.server import Server


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        with Server("light_preload", "fakes_run:measure", grace_s=0.5) as running:
            yield running
