"""Disks that refuse: a small one, one that is read-only, and a limit on the size of a file."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@cache
def may_mount() -> bool:
    """Whether a process here may have a disk of its own."""
    asked = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True,
        check=False,
    )
    return asked.returncode == 0


def on_a_disk(folder: Path, size: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own that sees a disk of that size at `folder`; nobody else does."""
    if not may_mount():
        pytest.skip("this machine lets nobody mount; the same is tested with a limit on file sizes")
    folder.mkdir(exist_ok=True)
    mounted = f'mount -t tmpfs -o size={size} tmpfs {folder} && exec {sys.executable} -c "$CODE"'
    start = (
        "import sys, subprocess; from pathlib import Path; from fakes_runs import *\n"
        "from ditbench.errors import *; from ditbench.store import *\n"
        f"folder = Path({str(folder)!r})\n"
    )
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", mounted],
        env={**os.environ, "CODE": start + code, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Within, a write beyond `size` bytes of any file fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
