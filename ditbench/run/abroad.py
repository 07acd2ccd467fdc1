"""A command in another environment, which ends with this process however that ends."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ditbench.devices import processes
from ditbench.errors import one_line

# Between asking it to end and killing it: a turn has a worker to see out.
_GRACE_S = 15.0
_LINES = 3


def ran(command: Sequence[str], folder: Path, environ: Mapping[str, str], log: Path) -> int:
    """The command's exit code. folder: where it runs. log: takes all that it says.

    It leads a session of its own, so that a Ctrl-C is this process's alone to pass on.
    """
    with log.open("wb") as told:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            start_new_session=True,
            preexec_fn=processes.die_with_parent,  # noqa: PLW1509 (one system call, and no thread holds a lock)
        )
    try:
        return process.wait()
    finally:
        _end(process)


def last_words(log: Path) -> str:
    """The end of what a command said, on one line."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    told = [line.removeprefix("ditbench: ") for line in lines if line.strip()]
    return "; ".join(map(one_line, told[-_LINES:])) or "it said nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
