"""A run of the tests locks devices of its own: nobody else on this machine waits for it, nor it for them."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

_TEMPORARY = tempfile.mkdtemp(prefix="ditbench-tests-")
# Before anything asks where temporary files go; what tests start inherits it.
os.environ["TMPDIR"] = os.environ["DITBENCH_LOCKS"] = tempfile.tempdir = _TEMPORARY

# Where no GPU is, Triton's kernels run in its interpreter; Triton asks for this once, when it is imported.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@atexit.register
def _clean(made_by: int = os.getpid()) -> None:
    if os.getpid() == made_by:  # and not in a fork of ours
        shutil.rmtree(_TEMPORARY, ignore_errors=True)


_FIRST: dict[str, dict] = {}  # by module, the state of its generator of random numbers


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order(request: pytest.FixtureRequest) -> None:
    """A module's `RNG` is for each test as it was for the module's first: none hangs on which ran before."""
    generator = getattr(getattr(request, "module", None), "RNG", None)
    if generator is not None:
        bits = generator.bit_generator
        bits.state = _FIRST.setdefault(request.module.__name__, bits.state)
