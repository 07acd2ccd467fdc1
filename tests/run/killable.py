"""A run of many short jobs, to be killed: `python killable.py FOLDER` begins it, or goes on with it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from fakes_run import MODEL, suite
from fakes_runs import fake_run

from ditbench import store
from ditbench.errors import StoreError
from ditbench.jobs import Findings, Timing
from ditbench.records import Cell, Choice
from ditbench.run.order import jobs_of
from ditbench.run.scheduler import Session, execute
from ditbench.run.server import Server

PROCESSES = 2
CELLS = tuple(
    Cell(MODEL, Choice("softmax"), blocks=(0, 1, 2, 3), batch_size=size) for size in (1, 2, 4)
)
JOBS = jobs_of(
    CELLS, suite(metrics=("latency",), timing=Timing(processes=PROCESSES)), "cpu", Path("images")
)


def measure(job, say):
    """A few tens of milliseconds; what is measured twice is never the same. Some leave a daemon behind."""
    say("timing")
    if job.replicate == 1:
        leave_a_daemon()
    time.sleep(0.03)
    chance = os.urandom(8)
    return Findings(
        metrics={"latency": (int.from_bytes(chance) / 2**64,)}, facts={"chance": chance.hex()}
    )


def leave_a_daemon():
    """Out of its worker's session, its group and its children."""
    if not os.fork():
        os.setsid()
        if not os.fork():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        os._exit(0)


def opened(results):
    """The run that was begun, if it came so far, or a new one."""
    try:
        return store.RunWriter.resume(store.find(results, "latest"))
    except StoreError:
        return store.RunWriter.create(results, fake_run(planned=CELLS, records=()))


def main(results):
    with (
        Server("light_preload", "killable:measure", grace_s=0.5) as server,
        opened(results) as writer,
    ):
        session = Session(writer.logs, "env", "code", writer.run.records)
        execute(JOBS, server, session, writer.append)
        writer.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
