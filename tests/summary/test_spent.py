"""Where a run's wall time went, from what its workers told."""

from __future__ import annotations

import pytest
from fakes_runs import cell, fake_run, record

from ditbench.records import Stage, Status
from ditbench.report.conduct import sentences
from ditbench.summary import Summary, overhead, spent

START = "2026-11-21T10:00:00+00:00"


def ran(minute, seconds, stage=Stage.TIME, replicate=0, **phases):
    started = f"2026-11-21T10:{minute:02d}:00+00:00"
    facts = {"phase_s": phases} if phases else {}
    return record(cell(), stage, replicate=replicate, started=started, seconds=seconds, facts=facts)


def test_a_runs_time_is_divided_into_measuring_workers_and_what_lies_between():
    run = fake_run(
        ran(1, 50.0, Stage.GATE, counting=5.0, loading=3.0, gates=40.0),
        ran(2, 60.0, loading=4.0, **{"first call": 10.0, "warm-up": 15.0, "timing": 20.0}),
        ran(3, 60.0, Stage.QUALITY, pictures=45.0, judging=6.0),
        started=START,
    )
    found = spent(run)
    assert (found.wall, found.measuring, found.workers) == (240.0, 130.0, 40.0)
    assert found.between == 70.0
    assert found.share == pytest.approx(130 / 240)


def test_two_devices_have_twice_the_time():
    parts = [ran(0, 60.0, replicate=n, timing=45.0) for n in (0, 1)]
    for number, part in enumerate(parts):
        part.facts["gpu_uuid"] = f"GPU-{number}"
    assert spent(fake_run(*parts, started=START)).share == pytest.approx(0.75)


def test_the_pause_before_a_run_goes_on_is_not_its_own():
    run = fake_run(
        ran(0, 60.0, timing=60.0), ran(50, 60.0, replicate=1, timing=30.0), started=START
    )
    assert spent(run).wall == 120.0


def test_what_failed_counts_as_no_measuring():
    bad = record(
        cell(),
        Stage.TIME,
        replicate=1,
        status=Status.TIMEOUT,
        reason="no answer",
        started="2026-11-21T10:01:00+00:00",
        seconds=60.0,
    )
    assert spent(fake_run(ran(0, 60.0, timing=60.0), bad, started=START)).share == 0.5


def test_a_run_that_does_not_tell_has_no_account():
    assert spent(fake_run(ran(0, 60.0))) is None
    assert spent(fake_run(ran(0, 60.0, timing=1.0), started="yesterday")) is None
    assert overhead([ran(0, 60.0)]) is None


def test_the_overhead_of_a_worker_is_all_but_its_measuring():
    assert overhead([ran(0, 10.0, timing=8.0), ran(0, 5.0, loading=2.0, timing=1.0)]) == 3.0


def test_the_page_says_how_much_of_its_time_a_run_spent_measuring():
    run = fake_run(ran(0, 100.0, timing=62.0, loading=8.0), started=START)
    told = dict(sentences(run, Summary(())))["Time spent"]
    assert told.startswith("62.0 % of the run's 100 s went into measuring")
    assert "38.0 % went into starting workers" in told
