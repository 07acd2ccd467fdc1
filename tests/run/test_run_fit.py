"""The search for the largest batch, with workers that are functions: one record, whatever ends it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fakes_run import FakeServer, cell, job, suite

from ditbench.jobs import Findings, Timing
from ditbench.metrics import LARGEST_BATCH
from ditbench.records import LARGEST, Record, Stage, Status
from ditbench.run import fit
from ditbench.run.events import Ended, Phase
from ditbench.run.interrupts import InterruptedRunError
from ditbench.run.order import jobs_of
from ditbench.run.scheduler import Session, execute
from ditbench.run.server import Answer

LIMIT = 4 * 2**30
NO_MEMORY = Findings(Status.OUT_OF_MEMORY, "MemoryError (a worker may hold 4.00 GiB)")
JOB = replace(
    job(stage=Stage.FIT), cell=cell(batch_size=LARGEST), timing=Timing(memory_limit=LIMIT)
)


class Workers:
    """Each picture takes one byte of `room`; `odd` answers come first, by batch."""

    def __init__(self, room, odd=None):
        self.room, self.odd, self.jobs = room, odd or {}, []

    def __call__(self, one):
        self.jobs.append(one)
        batch = one.cell.batch_size
        fits = Findings(facts={"peak": "peak_resident", "peak_bytes": 1000 + batch})
        findings = self.odd.get(batch) or (fits if batch <= self.room else NO_MEMORY)
        return Answer(findings, f"2030-01-01T00:00:{len(self.jobs):02}+00:00", 0.5)


def asked(room, odd=None):
    workers, said = Workers(room, odd), []
    return fit.find(JOB, workers, said.append), workers, said


def test_the_answer_is_a_metric_and_every_trial_a_fact():
    answer, workers, _ = asked(5)
    found = answer.findings
    assert found.status is Status.OK
    assert found.metrics == {LARGEST_BATCH: (5.0,)}
    assert found.facts["trials"] == [
        [1, "fits", 1001, 0.5],
        [2, "fits", 1002, 0.5],
        [4, "fits", 1004, 0.5],
        [8, "out of memory", None, 0.5],
        [6, "out of memory", None, 0.5],
        [5, "fits", 1005, 0.5],
        [5, "fits", 1005, 0.5],
        [6, "out of memory", None, 0.5],
    ]
    assert (found.facts["fails"], found.facts["wavering"]) == (6, [])
    assert found.facts["peak"] == "peak_resident"
    assert {one.stage for one in workers.jobs} == {Stage.FIT}


def test_the_record_began_with_its_first_trial_and_took_as_long_as_all_of_them():
    answer, workers, _ = asked(5)
    assert answer.started == "2030-01-01T00:00:01+00:00"
    assert answer.seconds == 0.5 * len(workers.jobs)


def test_each_trial_is_told_with_what_fits_so_far():
    _, _, said = asked(2)
    assert said == [
        "trying 1",
        "trying 2, 1 fits",
        "trying 4, 2 fits",
        "trying 3, 2 fits",
        "trying 2, 2 fits",
        "trying 3, 2 fits",
    ]


def test_a_cell_of_which_not_even_one_fits_is_out_of_memory_in_the_words_of_its_trial():
    found = asked(0)[0].findings
    assert found.status is Status.OUT_OF_MEMORY
    assert found.reason == f"not even a batch of 1 fits: {NO_MEMORY.reason}"
    assert found.metrics == {}
    assert [one[0] for one in found.facts["trials"]] == [1, 1]


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.CRASHED, Status.NOT_FINITE])
def test_a_trial_that_ends_in_another_way_ends_the_search_and_is_named(status):
    answer, workers, _ = asked(100, {8: Findings(status, "why")})
    assert answer.findings.status is status
    assert answer.findings.reason == "batch 8: why; a batch of 4 fitted"
    assert answer.findings.metrics == {}
    assert [one.cell.batch_size for one in workers.jobs] == [1, 2, 4, 8]
    assert answer.findings.facts["trials"][-1][:2] == [8, str(status)]


def test_the_memory_that_there_was_is_recorded():
    assert asked(3)[0].findings.facts["memory_limit"] == LIMIT
    on_gpu = {1: Findings(facts={"peak": "peak_allocated", "device_memory": 80 * 2**30})}
    found = asked(3, on_gpu)[0].findings
    assert found.facts["memory_limit"] == 80 * 2**30
    assert found.facts["peak"] == "peak_allocated"


def test_a_run_without_a_limit_fixes_one_and_a_resumed_run_goes_on_with_it():
    assert fit.limit(()) > 0
    earlier = Record(cell(), Stage.FIT, Status.OK, facts={"memory_limit": 12345})
    other = Record(cell(), Stage.GATE, Status.OK, facts={"memory_limit": 1})
    assert fit.limit((other, earlier)) == 12345


class Server(FakeServer):
    """Searches meet `room`; everything else is as in any fake server."""

    room = 6

    def run_job(self, job, log, hear):
        answer = super().run_job(job, log, hear)
        self.logs = [*getattr(self, "logs", []), log.name]
        if job.stage is not Stage.FIT:
            return answer
        if job.cell.batch_size == 2:
            hear("waiting for cpu, which process 7 holds")
        fits = Findings(facts={"peak_bytes": 1})
        findings = fits if job.cell.batch_size <= self.room else NO_MEMORY
        return Answer(findings, answer.started, answer.seconds)


CELLS = (cell("softmax"), cell("softmax", batch_size=LARGEST), cell("sdpa", batch_size=LARGEST))
SUITE = suite(metrics=("latency", LARGEST_BATCH), timing=Timing(processes=1))


def executed(server, done=(), tell=lambda _event: None):
    records = []
    session = Session(Path("logs"), "env", "code", tuple(done))
    jobs = jobs_of(CELLS, SUITE, "cpu", Path("images"), LIMIT)
    execute(jobs, server, session, records.append, tell)
    return records


def test_a_search_is_one_record_of_its_cell_after_gates_and_times():
    server = Server()
    records = executed(server)
    told = [(r.stage, r.cell.attention.name, r.cell.axes["batch_size"]) for r in records]
    assert told == [
        (Stage.GATE, "softmax", "1"),
        (Stage.GATE, "softmax", "max"),
        (Stage.GATE, "sdpa", "max"),
        (Stage.TIME, "softmax", "1"),
        (Stage.FIT, "softmax", "max"),
        (Stage.FIT, "sdpa", "max"),
    ]
    assert records[-1].metrics == {LARGEST_BATCH: (6.0,)}
    assert records[-1].facts["memory_limit"] == LIMIT


def test_the_logs_of_trials_are_found_by_the_key_of_their_cell():
    server = Server()
    executed(server)
    searched = [name for name in server.logs if "-fit-" in name]
    assert {name.partition("-")[0] for name in searched} == {one.key for one in CELLS[1:]}
    assert f"{CELLS[1].key}-fit-8.log" in searched


def test_a_cell_that_failed_its_gate_is_not_searched():
    server = Server({("sdpa", Stage.GATE): Findings(Status.FAILED_GATE, "wrong")})
    assert [r.cell.attention.name for r in executed(server) if r.stage is Stage.FIT] == ["softmax"]


def test_the_display_hears_the_trials_and_of_their_phases_only_a_wait():
    events = []
    executed(Server(), tell=events.append)
    phases = [e.text for e in events if isinstance(e, Phase) and e.job.stage is Stage.FIT]
    assert phases[:3] == ["trying 1", "trying 2, 1 fits", "waiting for cpu, which process 7 holds"]
    assert not any("timing" in text for text in phases)
    assert sum(isinstance(e, Ended) for e in events) == 6


def test_mistake_34_a_search_that_is_cut_off_leaves_no_record_and_begins_again():
    kept = []
    server = Server(interrupt_at=7)  # in the middle of the first search
    jobs = jobs_of(CELLS, SUITE, "cpu", Path("images"), LIMIT)
    with pytest.raises(InterruptedRunError):
        execute(jobs, server, Session(Path("logs"), "", ""), kept.append)
    assert [r.stage for r in kept] == [Stage.GATE] * 3 + [Stage.TIME]
    again = Server()
    rest = executed(again, done=kept)
    assert [r.stage for r in rest] == [Stage.FIT, Stage.FIT]
    assert again.logs[0] == f"{CELLS[1].key}-fit-1.log"
