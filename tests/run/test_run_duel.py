"""Two arms side by side: what runs, in which order, what is written, and what a failure costs."""

from __future__ import annotations

import dataclasses

import pytest
from fakes_run import Ring, cell, suite

from ditbench import machine
from ditbench.devices.device import Device
from ditbench.environment import Environment
from ditbench.errors import INTERRUPTED, StoreError, UsageError
from ditbench.jobs import Findings, Timing
from ditbench.records import Stage, Status
from ditbench.run import duel as fighting
from ditbench.run.duel import Match, duel
from ditbench.run.interrupts import InterruptedRunError
from ditbench.store import Arm, session_read

HERE = Environment({"device": "cpu"})
ARMS = tuple(Arm(said, {"version": "1", "commit": "0123abcdef"}, HERE) for said in "ab")
PAIRS = (
    (cell("softmax"), cell("sdpa")),
    (cell("softmax", batch_size=2), cell("sdpa", batch_size=2)),
)
CRASH = Findings(Status.CRASHED, "segmentation fault (SIGSEGV)")


def match(tmp_path, pairs=PAIRS, **more):
    what = suite(timing=Timing(repeats=20, processes=3), gate=more.pop("gate", {}))
    return Match(what, pairs, ARMS, tmp_path / "one.session.jsonl", **({"processes": 2} | more))


def fought(asked, server):
    return duel(asked, server, (Device(),), pytest.fail)


def told(session):
    return [
        (r.cell.attention.name, r.cell.batch_size, r.facts["arm"], r.facts["process"], r.status)
        for r in session.records
    ]


def test_gates_of_both_arms_come_first_and_then_rounds_over_all_pairs(tmp_path):
    server = Ring()
    fought(match(tmp_path), server)
    ran = [(job.stage, job.cell.batch_size, job.replicate) for job in server.jobs]
    assert [stage for stage, *_ in ran] == [Stage.GATE] * 4 + [Stage.TIME] * 4
    assert [one[1:] for one in ran[4:]] == [(1, 0), (2, 0), (2, 1), (1, 1)]
    assert {job.beside.attention.name for job in server.jobs[4:]} == {"softmax"}


def test_each_process_is_a_record_of_either_arm_with_its_raw_values(tmp_path):
    session = fought(match(tmp_path), Ring())
    ok = Status.OK
    assert told(session)[:4] == [
        ("softmax", 1, "a", 0, ok),
        ("sdpa", 1, "b", 0, ok),
        ("softmax", 2, "a", 0, ok),
        ("sdpa", 2, "b", 0, ok),
    ]
    a, b = session.records[:2]
    assert (a.metrics, b.metrics) == ({"latency": (1.0, 2.0)}, {"latency": (3.0, 4.0)})
    assert a.warmups == {"first_call": (9.0,)}
    assert {name: a.facts[name] for name in ("begins", "threads", "rows")} == {
        "begins": "a",
        "threads": 2,
        "rows": 2,
    }
    assert "arms" not in a.facts
    assert (a.environment, a.code) == (HERE.id, "1+0123abcd")
    assert session.finished
    assert session.inside
    assert session.pairs == PAIRS


def test_an_arm_against_itself_is_two_records_a_process(tmp_path):
    session = fought(match(tmp_path, ((cell(), cell()),)), server := Ring())
    assert [job.stage for job in server.jobs].count(Stage.GATE) == 1
    assert [one[2:4] for one in told(session)] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


@pytest.mark.parametrize(("failing", "arm"), [("softmax", "a"), ("sdpa", "b")])
def test_mistake_27_an_arm_that_fails_its_gate_keeps_its_pairs_from_the_stopwatch(
    tmp_path, failing, arm
):
    gate = Findings(Status.FAILED_GATE, "lies 1.02 from softmax in float64")
    server = Ring({(failing, Stage.GATE): gate})
    session = fought(match(tmp_path), server)
    assert {job.stage for job in server.jobs} == {Stage.GATE}
    assert told(session) == [(failing, n, arm, 0, Status.FAILED_GATE) for n in (1, 2)]
    assert {record.stage for record in session.records} == {Stage.TIME}
    assert session.finished


class Crashing(Ring):
    """The second pair crashes in these processes."""

    def __init__(self, *processes):
        super().__init__()
        self.lost = processes

    def run_job(self, job, log, hear):
        answer = super().run_job(job, log, hear)
        lost = job.beside and job.cell.batch_size == 2 and job.replicate in self.lost
        return dataclasses.replace(answer, findings=CRASH) if lost else answer


def test_a_process_that_crashes_is_a_record_of_both_arms_and_costs_itself(tmp_path):
    session = fought(match(tmp_path, processes=5), Crashing(0))
    second = [one for one in told(session) if one[1] == 2]
    assert second[:2] == [
        ("softmax", 2, "a", 0, Status.CRASHED),
        ("sdpa", 2, "b", 0, Status.CRASHED),
    ]
    assert {one[3] for one in second if one[4] is Status.OK} == {1, 2, 3, 4}
    assert {one[4] for one in told(session) if one[1] == 1} == {Status.OK}


def test_the_second_process_of_a_pair_that_crashes_ends_the_trying_of_it_alone(tmp_path):
    session = fought(match(tmp_path, processes=5), Crashing(0, 2))
    second = {one[3]: one[4] for one in told(session) if one[1] == 2}
    assert second == {0: Status.CRASHED, 1: Status.OK, 2: Status.CRASHED}
    assert len([one for one in told(session) if one[1] == 1]) == 10


def test_pairs_that_want_more_processes_get_them_once_all_have_had_theirs(tmp_path, capsys):
    asked = []

    def wants_more(session):
        asked.append(len(session.records))
        return PAIRS[1:]

    server = Ring()
    session = fought(match(tmp_path, most=4, wants_more=wants_more), server)
    assert asked == [8]
    timed = [(job.cell.batch_size, job.replicate) for job in server.jobs if job.beside]
    assert timed[4:] == [(2, 2), (2, 3)]
    assert [job.stage for job in server.jobs].count(Stage.GATE) == 4
    assert len(session.records) == 12
    assert "time 3/2" not in capsys.readouterr().err


def test_a_process_is_to_know_its_ratio_to_a_quarter_of_the_gate(tmp_path):
    timing = match(tmp_path, gate={"latency": 0.1}).timing
    assert (timing.precision, timing.repeats, timing.cap_s) == (0.025, 20, 20.0)
    assert match(tmp_path).timing.precision == 0.005


def test_ctrl_c_leaves_what_had_ended_and_says_where(tmp_path):
    asked = match(tmp_path)
    with pytest.raises(InterruptedRunError) as caught:
        fought(asked, Ring(interrupt_at=6))
    assert caught.value.exit_code == INTERRUPTED
    assert str(caught.value) == (
        f"interrupted; the 2 processes that had ended are in {asked.path}, "
        "which nothing goes on with: measure anew into another file"
    )
    session = session_read(asked.path)
    assert len(session.records) == 4
    assert not session.finished


def test_a_cell_in_two_pairs_of_an_arm_is_refused_before_anything_is_written(tmp_path):
    pairs = ((cell("softmax"), cell("sdpa")), (cell("monarch"), cell("sdpa")))
    with pytest.raises(UsageError, match=r"attention=sdpa .*: stands in two pairs of arm b"):
        fought(match(tmp_path, pairs), Ring())
    assert list(tmp_path.iterdir()) == []


def test_a_session_that_is_there_already_is_left_alone(tmp_path):
    asked = match(tmp_path)
    asked.path.write_text("kept")
    with pytest.raises(StoreError, match="is there already: name another place, or remove it"):
        fought(asked, server := Ring())
    assert (asked.path.read_text(), server.ran) == ("kept", [])


def test_evidence_that_is_no_finite_number_is_written_all_the_same(tmp_path):
    gate = Findings(Status.NOT_FINITE, "not finite", facts={"numeric_error": float("inf")})
    session = fought(match(tmp_path), Ring({("sdpa", Stage.GATE): gate}))
    assert session.records[0].facts["numeric_error"] == "inf"
    assert session.problems == ()


def test_logs_and_telemetry_lie_beside_the_session(tmp_path):
    fought(match(tmp_path), Ring())
    assert (tmp_path / "one.logs" / fighting.telemetry.FILE).is_file()


def test_processes_of_two_modes_ask_for_more_and_others_do_not(tmp_path):
    """What counts are each process's own ratios: modes that both arms share cancel in them."""
    both_slow = [(3.0, 3.0), (1.0, 1.0), (3.0, 3.0), (1.0, 1.0), (1.0, 1.0)]
    one_slow = [(1.0, 1.2), (1.0, 1.0), (1.0, 1.2), (1.0, 1.0), (1.0, 1.0)]
    for speeds, found in ((both_slow, ()), (one_slow, PAIRS)):
        path = tmp_path / str(len(found))
        session = fought(match(path, processes=5, wants_more=lambda _s: ()), Ring(speeds=speeds))
        assert fighting.two_modes(session) == found
    assert match(tmp_path).wants_more is fighting.two_modes


def test_mistake_29_what_spoilt_one_call_takes_its_pair_along_in_both_arms(tmp_path):
    spoilt = {"calls_ns": [0, 5], "excluded": [[1, "slowed by heat"]]}
    session = fought(match(tmp_path), Ring(facts=spoilt))
    left = [machine.kept(record).metrics["latency"] for record in session.records[:2]]
    assert left == [(1.0,), (3.0,)]
