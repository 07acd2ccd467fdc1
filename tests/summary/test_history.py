"""The nights before a run: which of them count, what gates, and where the level changed."""

from __future__ import annotations

import dataclasses
import math

import fakes_scale
import numpy as np
import pytest
from fakes_runs import FACTS, cell, fake_run, gate, quality, record, timed

from ditbench.environment import Environment
from ditbench.records import SCHEMA, Stage, Status
from ditbench.summary import summarise
from ditbench.summary.history import History, Point, changes, history

CELL = cell("sdpa")
KEY = CELL.key
SCHEMA_TOLD = f'"schema": {SCHEMA}'.encode()
EFFORT = {
    "timing": {"processes": 2, "repeats": 3, "memory_limit": None},
    "quality": {"samples": 0},
    "metrics": ["latency"],
}


def night(number, seconds=0.1, records=(), **parts):
    """Run number so-and-so of one cell, timed in two processes, 1 % apart."""
    own = records or (gate(CELL), *timed(CELL, (seconds,) * 3, (1.01 * seconds,) * 3))
    plain = {"id": f"2026{number + 1000:04}-100000-aaaa", "effort": EFFORT} | parts
    return fake_run(*own, **plain)


def busy(others):
    """The cell's records beside other programs that kept so many processors busy."""
    facts = {"telemetry": {"samples": 10, "others": others}}
    own = timed(CELL, (0.1,) * 3, (0.1,) * 3)
    return gate(CELL), *(dataclasses.replace(one, facts=one.facts | facts) for one in own)


def after(tmp_path, *nights, **parts):
    """The history of a run after those."""
    for one in nights:
        fakes_scale.write(tmp_path, one)
    return history(tmp_path, night(2000, **parts))


def test_a_night_is_the_median_of_its_process_medians_and_holds_every_figure(tmp_path):
    found = after(tmp_path, night(1, records=(gate(CELL), *timed(CELL, (3, 1, 2), (5, 4, 9)))))
    (point,) = found.points[KEY, "latency"]
    assert point == Point(
        night(1).id, night(1).started, 3.5, (2.0, 5.0), clean=True, code="0.1.0+0123abcd"
    )
    assert {name for _, name in found.points} == {"latency", "first_call", "peak_resident"}
    assert found.runs == (night(1).id,)
    row = summarise(night(1, records=(gate(CELL), *timed(CELL, (3, 1, 2), (5, 4, 9))))).rows[0]
    assert point.value == row.estimates["latency"].value


def test_only_earlier_finished_runs_of_the_same_suite_effort_and_environment_count(tmp_path):
    other = EFFORT | {"timing": EFFORT["timing"] | {"repeats": 9}}
    limits = EFFORT | {"timing": EFFORT["timing"] | {"memory_limit": 2**30}}
    found = after(
        tmp_path,
        night(1),
        night(2, suite="another"),
        night(3, finished=False),
        night(4, effort=other),
        night(5, environment=Environment(FACTS | {"torch": "2.14.0"})),
        night(6, effort=limits),
        night(7, environment=Environment(FACTS | {"kernel": "6.1"})),
        night(2000),
        night(2001),
    )
    assert found.runs == (night(1).id, night(6).id, night(7).id)
    assert found.problems == ()


def test_cells_that_the_run_does_not_have_are_not_read(tmp_path):
    more = (gate(cell("monarch")), *timed(cell("monarch"), (0.1,), (0.1,)))
    path = fakes_scale.write(tmp_path, night(1, records=(*night(1).records, *more)))
    lines = (path / "records.jsonl").read_text().splitlines(keepends=True)
    changed = [line.replace("0.1]", "0.2]") for line in lines]
    (path / "records.jsonl").write_text("".join(lines[:3] + changed[3:]))
    assert changed[3:] != lines[3:]
    found = history(tmp_path, night(2))
    assert (found.runs, found.problems) == ((night(1).id,), ())


def test_pictures_have_points_even_where_another_batch_made_them(tmp_path):
    of, beside = cell("sdpa", 4), cell("sdpa", 1)
    both = (gate(of), *timed(of, (1.0,), (1.0,)), gate(beside), *timed(beside, (1.0,), (1.0,)))
    fakes_scale.write(tmp_path, night(1, records=(*both, quality(beside, 0.1))))
    found = history(tmp_path, night(2, records=(gate(of), *timed(of, (1.0,), (1.0,)))))
    assert len(found.points[of.key, "latent_drift"]) == 1


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("records.jsonl", lambda data: data[:-20], "records.jsonl:3: torn: the line breaks off"),
        ("records.jsonl", lambda data: data.replace(b"0.1,", b"0.2,", 1), "its checksum is"),
        ("records.jsonl", lambda data: data.partition(b"\n")[2], "1 of the 3 records it had are"),
        ("records.jsonl", lambda _data: None, "is gone, and with it all that the run measured"),
        ("run.json", lambda data: data[:50], "run.json:1: is not JSON"),
        ("run.json", lambda data: data.replace(SCHEMA_TOLD, b'"schema": 99'), "schema 99"),
    ],
    ids=["torn", "changed", "cut", "gone", "head torn", "head of tomorrow"],
)
def test_a_run_that_cannot_be_read_is_left_out_and_told(tmp_path, name, change, told):
    fakes_scale.write(tmp_path, night(1))
    path = fakes_scale.write(tmp_path, night(2, written=3)) / name
    data = change(path.read_bytes())
    path.unlink() if data is None else path.write_bytes(data)
    left = sorted(file.name for file in path.parent.iterdir())
    found = history(tmp_path, night(3))
    assert found.runs == (night(1).id,)
    (problem,) = found.problems
    assert told in problem
    assert str(path.parent) in problem
    assert sorted(file.name for file in path.parent.iterdir()) == left


@pytest.mark.parametrize(
    ("records", "parts"),
    [
        ((gate(CELL), *timed(CELL, (0.1,) * 3)), {}),
        (
            (
                gate(CELL),
                *(
                    record(
                        CELL,
                        Stage.TIME,
                        replicate=number,
                        metrics={"latency": (0.1,)},
                        facts={"telemetry": {"samples": 10, "foreign_share": 0.5}},
                    )
                    for number in (0, 1)
                ),
            ),
            {},
        ),
        (busy(0.6), {}),
        ((), {"environment": Environment(FACTS | {"TORCH_COMPILE_DISABLE": "1"})}),
    ],
    ids=[
        "a replicate is missing",
        "the machine was shared",
        "other programs crowded it",
        "a variable that must not be",
    ],
)
def test_only_a_clean_night_gates(tmp_path, records, parts):
    found = after(tmp_path, night(1, records=records, **parts), **parts)
    (point,) = found.points[KEY, "latency"]
    assert not point.clean
    assert found.clean(KEY, "latency") == ()


def test_a_night_that_others_hardly_touched_is_clean(tmp_path):
    found = after(tmp_path, night(1, records=busy(0.4)))
    assert found.clean(KEY, "latency") == (0.1,)


def test_nights_of_before_a_moment_do_not_count_since_it(tmp_path):
    started = [f"2026-11-2{number}T10:00:00+00:00" for number in range(3)]
    found = after(tmp_path, *(night(n, 0.1 + n, started=at) for n, at in enumerate(started)))
    assert len(found.clean(KEY, "latency")) == 3
    later = found.since(started[1])
    assert later.clean(KEY, "latency") == pytest.approx((1.1055, 2.1105))
    assert later.runs == found.runs


def test_a_cell_that_failed_has_no_point(tmp_path):
    broken = record(CELL, Stage.TIME, status=Status.CRASHED, reason="SIGSEGV", replicate=1)
    found = after(tmp_path, night(1, records=(gate(CELL), *timed(CELL, (0.1,)), broken)))
    assert found.points == {}
    assert found.runs == (night(1).id,)


def points(*values):
    of = tuple(
        Point(str(n), "", value, (value,), clean=True, code="") for n, value in enumerate(values)
    )
    return History(points={(KEY, "latency"): of})


def test_a_lucky_night_does_not_tighten_the_gate():
    usual = points(*[0.100] * 9, 0.1)
    lucky = points(*[0.100] * 9, 0.05)
    assert len(lucky.clean(KEY, "latency")) == 10
    medians = [np.median(one.clean(KEY, "latency")) for one in (usual, lucky)]
    assert medians == [0.1, 0.1]


def test_a_gate_looks_back_ten_clean_nights_and_no_further():
    assert points(*range(1, 31)).clean(KEY, "latency") == tuple(range(21, 31))


def test_a_slow_drift_is_seen_against_the_first_ten_nights():
    rising = [1.001**number for number in range(60)]
    assert points(*rising).drift(KEY, "latency") == pytest.approx(1.001**50 - 1)
    assert points(*rising[:19]).drift(KEY, "latency") is None
    assert points(*[0.0] * 30).drift(KEY, "latency") is None


def test_the_anchor_stays_the_first_ten_runs_however_many_follow(tmp_path):
    found = after(tmp_path, *(night(number) for number in range(65)))
    ids = [night(number).id for number in range(65)]
    assert found.runs == (*ids[:10], *ids[-50:])


def noise(count, seed=0, sigma=0.005):
    return np.exp(np.random.default_rng(seed).normal(0, sigma, count))


def test_a_change_of_level_is_found_where_it_happened():
    values = noise(30)
    values[17:] *= 1.05
    assert changes(values.tolist()) == (17,)
    values[24:] *= 0.9
    assert changes(values.tolist()) == (17, 24)


def test_one_night_that_stands_out_is_no_change():
    values = noise(30)
    values[17] *= 1.5
    assert changes(values.tolist()) == ()


def test_a_quiet_history_rarely_shows_a_change():
    assert sum(bool(changes(noise(20, seed).tolist())) for seed in range(100)) <= 8


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1.0] * 7,
        [1.0] * 30,
        [1.0] * 4 + [2.0] * 3,
        [0.0] * 4 + [1.0] * 8,
        [-1.0] * 10,
        [1.0] * 9 + [math.inf],
        [1.0] * 9 + [math.nan],
    ],
    ids=str,
)
def test_there_is_no_change_without_enough_values_that_have_a_logarithm(values):
    assert changes(values) == ()


def test_a_step_in_a_history_without_noise_is_found():
    assert changes([1.0] * 4 + [1.05] * 4) == (4,)
