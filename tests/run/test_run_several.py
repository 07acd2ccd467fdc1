"""Several devices at once, and a time that does not suffice."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes_run import FakeServer, cell, suite

from ditbench.errors import UnfitError
from ditbench.jobs import Findings, Quality, Timing
from ditbench.records import Stage, Status
from ditbench.run import crew, scheduler, waiting
from ditbench.run.events import Ended, Started
from ditbench.run.interrupts import InterruptedRunError
from ditbench.run.order import jobs_of, with_canaries
from ditbench.run.scheduler import Session, execute
from ditbench.run.server import Answer
from ditbench.run.waiting import Budget

PAIR = ("GPU-a", "GPU-b")
SUITE = suite(metrics=("latency", "psnr"), timing=Timing(processes=3), quality=Quality(samples=4))
CELLS = tuple(
    cell(name, batch_size=size) for size in (1, 2, 4) for name in ("softmax", "sdpa", "monarch")
)


@dataclass
class Busy:
    """A server on which jobs overlap: none ends before `together` have been running at once."""

    together: int = 1
    answers: dict[tuple[str, Stage], Findings] = field(default_factory=dict)
    ran: list = field(default_factory=list)
    running: set = field(default_factory=set)
    most: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    condition: threading.Condition = field(default_factory=threading.Condition)

    def stop(self):
        self.stopped.set()
        with self.condition:
            self.condition.notify_all()

    def run_job(self, job, log, hear):  # noqa: ARG002 (no process writes)
        hear("at it")
        with self.condition:
            self.ran.append(job)
            assert job.device not in {one.device for one in self.running}
            self.running.add(job)
            self.most = max(self.most, len(self.running))
            self.condition.notify_all()
            self.condition.wait_for(
                lambda: self.most >= self.together or self.stopped.is_set(), timeout=10
            )
            self.running.discard(job)
        if self.stopped.is_set():
            raise InterruptedRunError("stopped")
        findings = self.answers.get((job.cell.attention.name, job.stage), Findings())
        return Answer(findings, "2030-01-01T00:00:00+00:00", 2.0)


def executed(server, *, devices=PAIR, cells=CELLS, suite=SUITE, done=(), write=None, **more):
    records = []
    tell = more.pop("tell", lambda _event: None)
    session = Session(Path("logs"), "env", "code", tuple(done), devices=devices, **more)
    jobs = jobs_of(cells, suite, devices[0], Path("images"))
    left = execute(jobs, server, session, write or records.append, tell)
    return records, left


def ratio(of):
    return of.batch_size


def test_two_devices_work_at_the_same_time_and_each_job_is_done_once():
    server = Busy(together=2)
    records, left = executed(server)
    assert server.most == 2
    assert left == 0
    assert len(records) == len({(r.key, r.stage, r.replicate) for r in records}) == 9 * 4 + 6
    assert {r.facts["gpu_uuid"] for r in records} == set(PAIR)


def test_cells_whose_times_stand_in_one_ratio_are_timed_on_one_device():
    records, _ = executed(Busy(together=2))
    homes = {}
    for record in records:
        if record.stage is Stage.TIME:
            homes.setdefault(ratio(record.cell), set()).add(record.facts["gpu_uuid"])
    assert all(len(devices) == 1 for devices in homes.values())
    # Which of them has which is a race; both are at work.
    assert {record.facts["gpu_uuid"] for record in records} == set(PAIR)


def test_a_canary_runs_on_the_device_that_it_is_of():
    server = Busy()
    jobs = with_canaries(jobs_of(CELLS[:3], SUITE, PAIR[0], Path("images")), PAIR)
    session = Session(Path("logs"), "env", "code", devices=PAIR)
    records = []
    assert execute(jobs, server, session, records.append) == 0
    canaries = [one for one in records if one.stage is Stage.CANARY]
    assert {one.replicate: one.facts["gpu_uuid"] for one in canaries} == {
        0: PAIR[0], 1: PAIR[0], 2: PAIR[0], 3: PAIR[1], 4: PAIR[1], 5: PAIR[1],
    }  # fmt: skip


def test_a_canary_that_crashes_costs_its_own_figures_and_nothing_else():
    lost = {("canary", Stage.CANARY): Findings(Status.CRASHED, "signal 9")}
    jobs = with_canaries(jobs_of(CELLS[:3], SUITE, "cpu", Path("images")), ["cpu"])
    records = []
    execute(jobs, Busy(answers=lost), Session(Path("logs"), "", ""), records.append)
    failed = {(one.stage, one.replicate) for one in records if one.status is not Status.OK}
    assert failed == {(Stage.CANARY, place) for place in range(3)}
    assert len(records) == len(jobs)


def test_a_resumed_run_measures_no_canary_twice():
    jobs = with_canaries(jobs_of(CELLS[:3], SUITE, "cpu", Path("images")), ["cpu"])
    records = []
    execute(jobs, Busy(), Session(Path("logs"), "", ""), records.append)
    rest = []
    cut = records[: len(records) // 2]
    execute(jobs, Busy(), Session(Path("logs"), "", "", done=tuple(cut)), rest.append)
    again = [one.replicate for one in (*cut, *rest) if one.stage is Stage.CANARY]
    assert again == [0, 1, 2]


def test_a_resumed_run_times_them_where_it_began():
    whole, _ = executed(Busy(together=2), cells=CELLS[:3])
    first = next(r for r in whole if r.stage is Stage.TIME)
    done = [r for r in whole if r.stage is Stage.GATE] + [first]
    rest, _ = executed(Busy(), cells=CELLS[:3], done=done, devices=PAIR[::-1])
    timed = [r for r in rest if r.stage is Stage.TIME]
    assert len(timed) == 8
    assert {r.facts["gpu_uuid"] for r in timed} == {first.facts["gpu_uuid"]}


def test_no_cell_is_timed_before_its_gate_and_no_pictures_come_before_their_judges():
    records, _ = executed(Busy(together=2))
    place = {(r.key, r.stage, r.replicate): n for n, r in enumerate(records)}
    for record in records:
        if record.stage is Stage.TIME:
            assert (
                place[record.key, Stage.GATE, 0] < place[record.key, Stage.TIME, record.replicate]
            )
    pictures = [r for r in records if r.stage is Stage.QUALITY]
    assert pictures[0].cell.attention.name == "softmax"


def test_a_cell_that_fails_its_gate_on_one_device_is_timed_on_none():
    server = Busy(answers={("sdpa", Stage.GATE): Findings(Status.NOT_FINITE, "NaN")})
    records, _ = executed(server)
    assert {r.stage for r in records if r.cell.attention.name == "sdpa"} == {Stage.GATE}


def test_records_are_written_and_events_told_by_the_main_thread_alone():
    threads = set()
    executed(
        Busy(together=2),
        write=lambda _record: threads.add(threading.current_thread()),
        tell=lambda _event: threads.add(threading.current_thread()),
    )
    assert threads == {threading.main_thread()}


def test_two_running_jobs_are_shown_and_the_time_left_is_shared():
    events = []
    executed(Busy(together=2), tell=events.append)
    running = itertools.accumulate(
        isinstance(event, Started) - isinstance(event, Ended) for event in events
    )
    assert max(running) == 2
    first = next(event for event in events if isinstance(event, Ended))
    assert first.progress.eta_s == (len(CELLS) * 4 + 6 - 1) * 2.0 / 2


def test_what_cannot_be_written_stops_the_other_devices_too():
    class Endless(Busy):
        def run_job(self, job, log, hear):
            answer = super().run_job(job, log, hear)
            if job.device == "GPU-b":
                self.stopped.wait(10)
            return answer

    def write(_record):
        raise OSError("no space left")

    server = Endless(together=2)
    with pytest.raises(OSError, match="no space left"):
        executed(server, write=write)
    assert server.stopped.is_set()


def test_what_ended_on_one_device_is_kept_where_another_is_not_fit():
    class Unfit(Busy):
        def run_job(self, job, log, hear):  # noqa: ARG002 (no process writes)
            if job.device == "GPU-b":
                raise UnfitError("b fell off the bus")
            self.stopped.wait(10)  # and has come to its end by then
            return Answer(Findings(), "2030-01-01T00:00:00+00:00", 2.0)

    kept = []
    with pytest.raises(UnfitError, match="b fell off the bus"):
        executed(Unfit(), write=kept.append)
    assert [record.facts["gpu_uuid"] for record in kept] == ["GPU-a"]


@pytest.mark.parametrize("place", ["heard", "judged", "told"])
def test_ctrl_c_between_the_end_of_a_job_and_its_record_loses_nothing(place, monkeypatch):
    """Wherever it comes: every job that has ended is one record."""
    places = [place]

    def reach(here):
        if here in places:
            places.remove(here)
            os.kill(os.getpid(), signal.SIGINT)

    class Crew(crew.Crew):
        def hear(self):
            told = super().hear()
            reach("heard" if isinstance(told, crew.Done) else "")
            return told

    class Watch:
        def judge(self, _job, answer):
            reach("judged")
            return answer

    def tell(event):
        reach("told" if isinstance(event, Ended) else "")

    monkeypatch.setattr(scheduler, "Crew", Crew)
    server, kept = FakeServer(), []
    with pytest.raises(InterruptedRunError):
        executed(server, devices=("cpu",), write=kept.append, watch=Watch(), tell=tell)
    ended = [(one.cell.attention.name, one.stage, one.replicate) for one in kept]
    assert ended == server.ran
    assert len(ended) == 1


def test_one_device_has_one_job_at_a_time_in_the_order_of_the_plan():
    server, alone = Busy(), FakeServer()
    executed(server, devices=("GPU-a",))
    executed(alone, devices=("cpu",))
    ran = [(job.cell.attention.name, job.stage, job.replicate) for job in server.ran]
    assert ran == alone.ran
    assert server.most == 1


# A time that does not suffice.


class Clocked(FakeServer):
    """Every job takes as long as it says, by a clock that nobody else moves."""

    now = 0.0

    def run_job(self, job, log, hear):
        answer = super().run_job(job, log, hear)
        self.now += answer.seconds
        return answer


@pytest.fixture
def within(monkeypatch):
    def within(seconds, *, first=frozenset(), cells=CELLS[:3], done=(), took=2.0, suite=SUITE):
        server = Clocked(seconds=took)
        monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: server.now))
        records, left = executed(
            server,
            devices=("cpu",),
            cells=cells,
            done=done,
            suite=suite,
            budget=Budget(seconds, first),
        )
        assert server.now <= seconds
        return records, left

    return within


def stages(records):
    return [f"{r.stage} {r.cell.attention.name} {r.replicate}" for r in records]


def test_all_jobs_run_where_the_time_suffices(within):
    records, left = within(36.0)
    assert (len(records), left) == (18, 0)


def test_a_round_is_timed_whole_or_not_at_all(within):
    records, left = within(6 + 6 + 5)
    timed = [r for r in records if r.stage is Stage.TIME]
    assert [r.replicate for r in timed] == [0, 0, 0]
    assert left == 6 + 4


def test_what_is_left_of_the_time_goes_to_pictures(within):
    records, _ = within(6 + 6 + 5)
    assert stages(records)[-2:] == ["sample softmax 0", "quality softmax 0"]


def test_shards_that_the_time_does_not_suffice_for_leave_their_judges_too(within):
    records, left = within(6 + 18 + 3)
    assert stages(records)[-1] == "sample softmax 0"
    assert left == 5  # softmax's judge did not fit either; nobody waits for ever


def test_several_devices_share_the_shards_and_the_judge_comes_after_the_last():
    many = suite(metrics=("psnr",), quality=Quality(samples=64, micro_batch=4, shard=8))
    whole, _ = executed(Busy(), cells=CELLS[:2], suite=many)
    gates = [r for r in whole if r.stage is Stage.GATE]
    server = Busy(together=2)
    records, left = executed(server, cells=CELLS[:2], suite=many, done=gates)
    assert left == 0
    assert server.most == 2
    assert {job.stage for job in server.ran[:2]} == {Stage.SAMPLE}
    assert server.ran[0].device != server.ran[1].device
    for name in ("softmax", "sdpa"):
        stages = [r.stage for r in records if r.cell.attention.name == name]
        assert stages == [Stage.SAMPLE] * 8 + [Stage.QUALITY]


def test_the_methods_that_others_are_held_against_are_timed_first(within):
    cells = CELLS[2::-1]
    records, _ = within(6 + 4, cells=cells, first=frozenset({"softmax", "sdpa"}))
    assert stages(records)[3:] == ["time sdpa 0", "time softmax 0"]


def test_without_time_for_all_gates_nothing_is_timed_that_has_none(within):
    records, left = within(4.5)
    assert stages(records) == ["gate softmax 0", "gate sdpa 0"]
    assert left == 16


def test_a_run_that_stopped_goes_on_to_the_same_records(within):
    whole, _ = within(1000.0)
    some, left = within(15.0)
    assert left
    rest, left = within(1000.0, done=some)
    assert left == 0
    assert {(r.key, r.stage, r.replicate) for r in some + rest} == {
        (r.key, r.stage, r.replicate) for r in whole
    }
    assert len(some) + len(rest) == len(whole)


def test_a_round_that_was_cut_off_is_weighed_by_what_is_left_of_it(within):
    whole, _ = within(1000.0)
    done = [
        r for r in whole if r.stage is Stage.GATE or (r.stage is Stage.TIME and r.replicate < 2)
    ]
    rest, left = within(4.5, done=done[:-2])
    assert stages(rest) == ["time sdpa 1", "time softmax 1"]
    assert left == 9
