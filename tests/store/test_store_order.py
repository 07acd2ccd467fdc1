"""The order of runs holds whatever the clock does, and a clock that was set back is told."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest
from fakes_runs import cell, fake_run, gate, record

from ditbench.cli.concluding import previous
from ditbench.records import Stage
from ditbench.store import RunWriter, clock_notes, find, order, read, runs, writing
from ditbench.summary import summarise

RUN = fake_run()
NOON = dt.datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=dt.UTC)


@pytest.fixture
def at(tmp_path, monkeypatch):
    """Write a finished run at that moment of the machine's dt."""

    def at(moment, suite="fashion"):
        class Clock(dt.datetime):
            @classmethod
            def now(cls, _zone=None):
                return moment

        monkeypatch.setattr(writing, "datetime", Clock)
        with RunWriter.create(tmp_path, fake_run(suite=suite)) as writer:
            writer.finish()
        return read(writer.folder)

    return at


def test_two_runs_in_one_second_stand_in_the_order_in_which_they_began(tmp_path, at):
    made = [at(NOON).id for _ in range(5)]
    assert made == sorted(made)
    assert len({name[:15] for name in made}) == 5
    assert [entry.id for entry in runs(tmp_path)] == made[::-1]
    assert find(tmp_path, "latest").name == made[-1]


def test_a_clock_set_back_between_runs_confuses_neither_latest_nor_previous(tmp_path, at):
    first = at(NOON)
    second = at(NOON - dt.timedelta(days=30))
    third = at(NOON - dt.timedelta(days=29), suite="other")
    assert first.id < second.id < third.id
    assert find(tmp_path, "latest").name == third.id
    assert previous(second, tmp_path).id == first.id
    assert previous(first, tmp_path) is None
    assert second.started == "2026-10-22T12:00:00+00:00"


def test_a_clock_set_back_between_runs_is_told(at):
    assert list(clock_notes(at(NOON))) == []
    back = at(NOON - dt.timedelta(hours=2))
    told = (
        "The clock was set back before this run: it began at 2026-11-21T10:00:00+00:00, after a run of "
        "2026-11-21 12:00:01. Its id goes on from there, so that the order of runs holds."
    )
    assert list(clock_notes(back)) == [told]
    assert told in summarise(back).notes


def test_a_clock_that_is_right_again_is_followed_again(at):
    at(NOON)
    at(NOON - dt.timedelta(hours=2))
    assert at(NOON + dt.timedelta(hours=1)).id.startswith("20261121-130000")


def test_a_run_that_lost_its_head_keeps_its_place(tmp_path, at):
    (at(NOON).folder / "run.json").unlink()
    assert at(NOON).id.startswith("20261121-120001")


@pytest.mark.parametrize("name", ["20269999-000000-aaaa", "99991231-235959-aaaa", "notes"])
def test_folders_that_are_no_runs_move_no_id(tmp_path, at, name):
    (tmp_path / "fashion" / name).mkdir(parents=True)
    assert at(NOON).id.startswith("20261121-120000")


def ended(batch, started, seconds):
    return dataclasses.replace(gate(cell(batch_size=batch)), started=started, seconds=seconds)


def test_a_clock_set_back_during_a_run_is_told_with_how_far():
    run = fake_run(
        ended(1, "2026-11-21T10:00:00+00:00", 60.0),
        ended(2, "2026-11-21T08:00:00+00:00", 30.0),
        ended(3, "2026-11-21T08:01:00+00:00", 30.0),
    )
    (note,) = clock_notes(run)
    assert note == (
        "The clock was set back during this run, by 2:00:30 or more: durations do not depend on it, "
        "the times at which records began do."
    )


def test_long_jobs_beside_short_ones_and_merged_runs_are_no_clock_set_back():
    long_beside_short = (
        ended(1, "2026-11-21T10:30:00+00:00", 1.0),
        ended(2, "2026-11-21T10:00:00+00:00", 1900.0),
    )
    assert list(clock_notes(fake_run(*long_beside_short))) == []
    merged = fake_run(
        ended(1, "2026-11-21T10:00:00+00:00", 1.0),
        ended(2, "2026-11-20T10:00:00+00:00", 1.0),
        origins=({"run": "a"},),
    )
    assert list(clock_notes(merged)) == []


@pytest.mark.parametrize("started", ["", "yesterday", "2026-11-21T10:00:00"])
def test_times_that_are_none_are_passed_over(started):
    of = record(cell(), Stage.GATE, started=started)
    assert list(order.clock_notes(fake_run(of, started=started))) == []
