"""Sessions of two arms and floors of noise: what is written is read, what is damaged is named."""

from __future__ import annotations

import dataclasses

import pytest
from fakes_runs import cell, timed

from ditbench.environment import Environment
from ditbench.errors import StoreError
from ditbench.store import (
    Arm,
    Floor,
    Noise,
    Session,
    SessionWriter,
    noise_read,
    noise_write,
    session_read,
)
from ditbench.store.sessions import ARMS as ARM_NAMES
from ditbench.store.sessions import share

HERE = Environment({"device": "cpu", "cpu": "z80"})
ARMS = (Arm("git:main", {"version": "1"}, HERE), Arm("git:HEAD", {"version": "2"}, HERE))


def session(path) -> Session:
    return Session(
        path=path,
        suite="toy",
        suite_path="toy.yaml",
        started="2026-11-22T03:00:00+00:00",
        arms=ARMS,
        inside=False,
        pairs=((cell(), cell()),),
        gate={"latency": 0.02},
        effort={"timing": {"repeats": 3}},
    )


def records():
    for number, record in enumerate(timed(cell(), (1.0, 1.1), (1.2, 1.3))):
        yield dataclasses.replace(record, facts={"arm": "ab"[number % 2], "process": number})


def written(path, *, end=True):
    with SessionWriter.create(session(path)) as writer:
        for record in records():
            writer.append(record)
        if end:
            writer.finish()
    return path


def test_a_session_is_read_as_it_was_written(tmp_path):
    found = session_read(written(tmp_path / "one.session.jsonl"))
    assert found == dataclasses.replace(
        session(found.path), records=tuple(records()), finished=True
    )


def test_a_session_that_was_cut_off_keeps_what_had_ended(tmp_path):
    path = written(tmp_path / "one.session.jsonl", end=False)
    path.write_bytes(path.read_bytes()[:-20])
    found = session_read(path)
    assert not found.finished
    assert len(found.records) == 1
    assert [f"{path}:3" in problem for problem in found.problems] == [True]


def test_a_changed_digit_is_found(tmp_path):
    path = written(tmp_path / "one.session.jsonl")
    path.write_text(path.read_text().replace("1.3", "1.4"))
    assert "checksum" in session_read(path).problems[0]


@pytest.mark.parametrize("text", ["", "{}", '{"sum": "00000000","schema": 2}'])
def test_a_session_without_a_head_is_one_line(tmp_path, text):
    path = tmp_path / "one.session.jsonl"
    path.write_text(text)
    with pytest.raises(StoreError, match=r"one\.session\.jsonl:1"):
        session_read(path)


def test_nothing_is_written_over(tmp_path):
    path = written(tmp_path / "one.session.jsonl")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="is there already"):
        SessionWriter.create(session(path))
    assert path.read_bytes() == before


def noise() -> Noise:
    floor = Floor(cell().id, 0.004, 0.02, 10)
    return Noise("toy", "2026-11-22", HERE, {"version": "1"}, {cell().key: {"latency": floor}})


def test_floors_are_read_as_they_were_written_and_twice_the_same(tmp_path):
    path = tmp_path / "toy.noise.json"
    noise_write(path, noise())
    before = path.read_bytes()
    assert noise_read(path) == noise()
    noise_write(path, noise_read(path))
    assert path.read_bytes() == before


def test_floors_that_nobody_measured_are_none(tmp_path):
    assert noise_read(tmp_path / "toy.noise.json") is None
    assert noise().floor("0" * 16, "latency") is None


def test_edited_floors_are_refused(tmp_path):
    path = tmp_path / "toy.noise.json"
    noise_write(path, noise())
    path.write_text(path.read_text().replace("0.004", "0.4"))
    with pytest.raises(StoreError, match=r"toy.noise.json:1: its checksum"):
        noise_read(path)


def test_an_arms_share_of_a_process_is_its_own_values_with_what_both_have_in_common():
    one = dataclasses.replace(
        next(records()),
        metrics={},
        facts={
            "threads": 2,
            "arms": {
                "a": {"metrics": {"latency": [1, 2]}, "facts": {"rows": 4}},
                "b": {"metrics": {"latency": [3, 4]}, "warmups": {"first_call": [9]}},
            },
        },
    )
    a, b = (share(one, arm, cell("sdpa"), {"process": 3}) for arm in ARM_NAMES)
    assert (a.metrics, a.facts) == (
        {"latency": (1.0, 2.0)},
        {"threads": 2, "rows": 4, "process": 3},
    )
    assert (b.metrics, b.warmups["first_call"]) == ({"latency": (3.0, 4.0)}, (9.0,))
    assert {a.cell, b.cell} == {cell("sdpa")}


def test_a_process_that_ran_one_cell_is_all_that_cells():
    one = next(records())
    assert share(one, "b", cell(), {}) == one
