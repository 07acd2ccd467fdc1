"""The disk caches of compilers, empty for one process: a first call finds nothing of an earlier one."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

# Where inductor and triton look, both read when something is compiled.
_PLACES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}


@contextlib.contextmanager
def empty() -> Iterator[None]:
    """Within, both point into a folder of this process alone, which is made when it is needed and removed."""
    before = {name: os.environ.get(name) for name in _PLACES}
    folder = Path(tempfile.gettempdir()) / f"ditbench-{uuid.uuid4().hex}"
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
