"""What the two kinds of process are given to do, and the imports that both pay for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from multiprocessing.connection import Connection

from ditbench.jobs import Findings, Job

PRELOAD = "ditbench.run.preload"


def measure(_job: Job, _say: Callable[[str], None]) -> Findings:
    """For a worker of the fork server."""
    return Findings()


def spawned(connection: Connection) -> None:
    """For a spawned process, which has to import for itself what the server has imported once."""
    importlib.import_module(PRELOAD)
    connection.send(Findings())
