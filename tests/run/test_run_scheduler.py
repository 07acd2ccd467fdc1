"""What runs, what is left out, what is written, and how a run ends from outside."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fakes_run import FakeServer, cell, suite
from patient import holds_once

from ditbench.errors import INTERRUPTED
from ditbench.jobs import Findings, Quality, Timing
from ditbench.records import Record, Stage, Status
from ditbench.run.events import Ended, Phase, Started
from ditbench.run.interrupts import InterruptedRunError
from ditbench.run.ledger import Ledger
from ditbench.run.order import jobs_of
from ditbench.run.scheduler import Session, execute

CELLS = (cell("softmax"), cell("sdpa"))
SUITE = suite(metrics=("latency", "psnr"), timing=Timing(processes=2), quality=Quality(samples=4))
CRASH = Findings(Status.CRASHED, "segmentation fault (SIGSEGV)")


def executed(server, cells=CELLS, done=(), tell=lambda _event: None, suite=SUITE):
    records = []
    session = Session(Path("logs"), "env", "code", tuple(done))
    execute(jobs_of(cells, suite, "cpu", Path("images")), server, session, records.append, tell)
    return records


def statuses(records):
    return [(r.cell.attention.name, r.stage, r.replicate, r.status) for r in records]


def test_every_job_becomes_one_record_in_the_order_run():
    server = FakeServer()
    records = executed(server)
    assert [entry[:3] for entry in statuses(records)] == server.ran
    assert len(records) == 10


def test_who_watches_sees_every_job_that_ran_before_its_record_is_made():
    class Thermometer:
        def judge(self, job, answer):
            facts = {**answer.findings.facts, "hot": job.stage is Stage.TIME}
            return replace(answer, findings=replace(answer.findings, facts=facts))

    records = []
    session = Session(Path("logs"), "env", "code", watch=Thermometer())
    server = FakeServer({("softmax", Stage.QUALITY): CRASH})
    execute(jobs_of(CELLS, SUITE, "cpu", Path("images")), server, session, records.append)
    heats = [r.facts.get("hot") for r in records]
    assert heats == [False] * 2 + [True] * 4 + [False] * 2 + [None]


def test_a_record_says_when_where_and_with_which_code():
    record = executed(FakeServer())[0]
    assert (record.started, record.seconds) == ("2030-01-01T00:00:00+00:00", 2.0)
    assert (record.environment, record.code) == ("env", "code")


def test_mistake_27_a_cell_that_fails_its_gate_is_neither_timed_nor_pictured():
    server = FakeServer({("sdpa", Stage.GATE): Findings(Status.NOT_FINITE, "NaN in block 3")})
    executed(server)
    assert [entry for entry in server.ran if entry[0] == "sdpa"] == [("sdpa", Stage.GATE, 0)]


def test_pictures_shared_by_two_cells_are_made_if_one_of_them_passed_its_gate():
    class SmallOnly(FakeServer):
        def run_job(self, job, log, hear):
            answer = super().run_job(job, log, hear)
            if job.stage is Stage.GATE and job.cell.batch_size == 8:
                return type(answer)(Findings(Status.OUT_OF_MEMORY, "too big"), answer.started, 1.0)
            return answer

    server = SmallOnly()
    executed(server, (cell("softmax", batch_size=8), cell("softmax")))
    assert ("softmax", Stage.QUALITY, 0) in server.ran


def test_a_failed_replicate_spares_the_cell_the_rest_and_says_so():
    server = FakeServer({("sdpa", Stage.TIME): Findings(Status.TIMEOUT, "no answer within 30 s")})
    records = executed(server)
    timed = [r for r in records if r.stage is Stage.TIME and r.cell.attention.name == "sdpa"]
    assert [r.status for r in timed] == [Status.TIMEOUT]
    assert timed[0].facts["replicates_skipped"] == 1
    assert server.ran.count(("softmax", Stage.TIME, 1)) == 1


def test_pictures_without_softmaxs_are_a_record_that_says_so():
    server = FakeServer({("softmax", Stage.QUALITY): CRASH})
    last = executed(server)[-1]
    assert (last.cell.attention.name, last.stage, last.status) == (
        "sdpa",
        Stage.QUALITY,
        Status.CRASHED,
    )
    assert last.reason == "no softmax pictures to judge by: segmentation fault (SIGSEGV)"
    assert last.facts["unjudged"] == cell("softmax").quality_key
    assert ("sdpa", Stage.QUALITY, 0) not in server.ran


def test_pictures_are_refused_too_where_softmax_failed_its_gate():
    server = FakeServer({("softmax", Stage.GATE): Findings(Status.FAILED_GATE, "vacuous")})
    last = executed(server)[-1]
    assert (last.stage, last.status) == (Stage.QUALITY, Status.FAILED_GATE)
    assert last.reason == "no softmax pictures to judge by: vacuous"


def test_a_judge_waits_for_every_shard_and_is_refused_where_one_failed():
    many = replace(SUITE, quality=Quality(samples=12, micro_batch=2, shard=4))

    class SecondShard(FakeServer):
        def run_job(self, job, log, hear):
            answer = super().run_job(job, log, hear)
            lost = (job.stage, job.replicate, job.cell.attention.name) == (Stage.SAMPLE, 1, "sdpa")
            return replace(answer, findings=CRASH) if lost else answer

    records = executed(server := SecondShard(), suite=many)
    pictures = [entry[:3] for entry in statuses(records) if entry[1].of_pictures]
    assert pictures == [
        *(("softmax", Stage.SAMPLE, number) for number in range(3)),
        ("softmax", Stage.QUALITY, 0),
        ("sdpa", Stage.SAMPLE, 0),
        ("sdpa", Stage.SAMPLE, 1),
        ("sdpa", Stage.QUALITY, 0),
    ]
    told = "its pictures were not all made: shard 1: segmentation fault (SIGSEGV)"
    assert (records[-1].status, records[-1].reason) == (Status.CRASHED, told)
    assert ("sdpa", Stage.QUALITY, 0) not in server.ran
    assert executed(again := FakeServer(), done=records, suite=many) == []
    assert again.ran == []


def test_no_pictures_are_made_that_nobody_could_judge():
    server = FakeServer({("softmax", Stage.SAMPLE): CRASH})
    records = executed(server)
    assert [entry for entry in server.ran if entry[1].of_pictures] == [("softmax", Stage.SAMPLE, 0)]
    told = "its pictures were not all made: shard 0: segmentation fault (SIGSEGV)"
    assert [r.reason for r in records[-2:]] == [
        told,
        f"no softmax pictures to judge by: {told}",
    ]


@pytest.mark.parametrize("cut", range(11))
def test_a_resumed_run_does_exactly_the_rest(cut):
    whole = executed(FakeServer())
    rest = executed(FakeServer(), done=whole[:cut])
    assert statuses(whole[:cut] + rest) == statuses(whole)


def test_a_resumed_run_remembers_what_failed():
    server = FakeServer({("sdpa", Stage.TIME): CRASH})
    whole = executed(server)
    again = FakeServer()
    assert executed(again, done=whole) == []
    assert again.ran == []


def test_mistake_35_a_resumed_run_does_not_care_where_a_cell_stands():
    whole = executed(FakeServer())
    assert executed(FakeServer(), cells=CELLS[::-1], done=whole) == []


def test_events_tell_starts_phases_ends_and_the_time_left():
    events = []
    executed(FakeServer(seconds=3.0), tell=events.append)
    assert [type(event) for event in events] == [Started, Phase, Ended] * 10
    assert events[0].progress.eta_s is None
    assert (events[2].progress.done, events[2].progress.total) == (1, 10)
    assert events[2].progress.eta_s == 27.0
    assert (events[-1].progress.done, events[-1].progress.eta_s) == (10, 0.0)


def test_jobs_that_drop_out_are_no_longer_waited_for():
    events = []
    server = FakeServer({("sdpa", Stage.GATE): CRASH})
    executed(server, tell=events.append)
    ends = [event.progress.total for event in events if isinstance(event, Ended)]
    assert ends == [10, 6, 6, 6, 6, 6]


def test_an_interrupt_keeps_what_has_ended_and_exits_with_130():
    records = []
    session = Session(Path("logs"), "", "")
    jobs = jobs_of(CELLS, SUITE, "cpu", Path("images"))
    with pytest.raises(InterruptedRunError, match="interrupted after 3 jobs") as caught:
        execute(jobs, FakeServer(interrupt_at=3), session, records.append)
    assert caught.value.exit_code == INTERRUPTED
    assert len(records) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_mistake_34_a_signal_never_tears_the_line_that_is_being_written(number):
    written = []

    def write(record: Record) -> None:
        os.kill(os.getpid(), number)
        written.append(record)

    jobs = jobs_of(CELLS, SUITE, "cpu", Path("images"))
    before = signal.getsignal(number)
    with pytest.raises(InterruptedRunError):
        execute(jobs, FakeServer(), Session(Path("logs"), "", ""), write)
    assert len(written) == 1
    assert signal.getsignal(number) is before


def test_the_parents_work_a_job_does_not_grow_with_the_number_of_cells():
    def seconds_a_job(count):
        cells = tuple(cell("softmax", batch_size=size) for size in range(1, count + 1))
        return _timed(lambda: executed(FakeServer(), cells)) / (4 * count)

    # A look at every waiting job would make the larger run 20 times dearer a job.
    assert holds_once(lambda: seconds_a_job(1000) < 4 * seconds_a_job(50))


def _timed(call):
    start = time.process_time()
    call()
    return time.process_time() - start


def test_what_has_ended_is_remembered_without_its_raw_values():
    raw = Record(CELLS[0], Stage.TIME, Status.OK, metrics={"latency": (1.0,) * 9}, facts={"a": [1]})
    (kept,) = Ledger.of([raw]).ended.values()
    assert (kept.metrics, kept.warmups, kept.facts) == ({}, {}, {})
    assert (kept.key, kept.stage, kept.status) == (raw.key, raw.stage, raw.status)
