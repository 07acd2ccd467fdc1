"""A Python that has imported nothing yet."""

import subprocess
import sys

import pytest


@pytest.fixture
def fresh_python():
    def run(code):
        subprocess.run([sys.executable, "-c", code], check=True)

    return run
