"""The disk caches of compilers, empty for one process: a first call finds nothing of an earlier one."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

# Where inductor and triton look, both read when something is compiled.
_PLACES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}


@contextlib.contextmanager
def empty(folder: Path) -> Iterator[None]:
    """Within, both point into this folder, which is new and of this user alone, and is removed afterwards.

    What an earlier process left in it, killed together with its parent, is removed first. Raises OSError
    where it cannot be made: also where somebody else has one of its name, whose code would be run.
    """
    before = {name: os.environ.get(name) for name in _PLACES}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    os.environ |= {name: str(folder / place) for name, place in _PLACES.items()}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)
