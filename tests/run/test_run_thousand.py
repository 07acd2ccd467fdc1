"""A suite of a thousand cells: nothing in the parent grows with what has ended."""

from __future__ import annotations

import os
import resource
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from fakes_run import cell, suite
from fakes_runs import fake_run

from ditbench import store
from ditbench.jobs import Timing
from ditbench.run.display import display_of
from ditbench.run.events import Ended
from ditbench.run.order import jobs_of
from ditbench.run.scheduler import Session, execute
from ditbench.run.server import Server

HERE = Path(__file__).parent
CELLS, PROCESSES = 1000, 1
EARLY = 100


def resident():
    """Bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def children():
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return set(listed.split())


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """The run, and what the parent held after its first jobs and at its end."""
    folder = tmp_path_factory.mktemp("thousand")
    cells = tuple(cell("softmax", batch_size=size) for size in range(1, CELLS + 1))
    head = fake_run(id="", records=(), planned=cells, finished=False, suite="thousand")
    asked = suite(metrics=("latency",), timing=Timing(processes=PROCESSES))
    marks, before = {}, os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(HERE)
    try:
        with (
            Server("light_preload", "fakes_run:measure") as server,
            store.RunWriter.create(folder, replace(head, records=())) as writer,
        ):
            jobs = jobs_of(cells, asked, "cpu", writer.images)
            with display_of(jobs) as display:

                def tell(event):
                    display(event)
                    if isinstance(event, Ended) and event.progress.done in {EARLY, len(jobs)}:
                        marks[event.progress.done] = held()

                execute(jobs, server, Session(writer.logs, "", ""), writer.append, tell)
            writer.finish()
    finally:
        os.environ["PYTHONPATH"] = before or ""
    return store.read(writer.folder), marks[EARLY], marks[len(jobs)]


def held():
    return {
        "bytes": resident(),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "children": children(),
        "seconds": sum(resource.getrusage(resource.RUSAGE_SELF)[:2]),
    }


@pytest.mark.long
def test_every_cell_of_a_thousand_has_all_its_records(seen):
    run, _, _ = seen
    assert run.finished
    assert run.problems == ()
    assert len(run.records) == CELLS * (1 + PROCESSES)


@pytest.mark.long
def test_the_parents_memory_stays_flat(seen):
    """A record that has ended is a line on disk and a few hundred bytes of what follows from it."""
    run, early, late = seen
    grown = late["bytes"] - early["bytes"]
    assert grown < 8192 * len(run.records)


@pytest.mark.long
def test_no_descriptor_thread_or_process_is_left_by_any_job(seen):
    _, early, late = seen
    assert late["descriptors"] <= early["descriptors"] + 1
    assert late["threads"] <= early["threads"] + 1
    assert late["children"] <= early["children"]


@pytest.mark.long
def test_a_job_costs_the_parent_milliseconds_to_the_end(seen):
    run, early, late = seen
    rest = late["seconds"] - early["seconds"]
    assert rest / (len(run.records) - EARLY) < 0.02
