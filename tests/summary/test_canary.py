"""The canary tells a machine that changed from one that is merely noisy."""

from __future__ import annotations

import numpy as np
import pytest
from fakes_runs import fake_run, measured, record

from ditbench.records import CANARY, Stage, Status
from ditbench.report import conduct
from ditbench.summary import canary, summarise
from ditbench.summary.canary import drift, failures, figures, moved

SIZE = {"side": 192, "copied": 2**22}


def series(best, noise=0.0, seed=0):
    """Repetitions of which the best of each part lie so far apart, and the others far above."""
    rng = np.random.default_rng(seed)
    values = best * (1.1 + rng.exponential(0.2, 500))
    values[50::100] = best * (1 + noise * np.arange(5))
    return tuple(values.tolist())


def sung(place, matrix=1e-4, copy=2e-4, noise=0.0, facts=SIZE):
    return record(
        CANARY,
        Stage.CANARY,
        replicate=place,
        metrics={"canary_matrix": series(matrix, noise), "canary_copy": series(copy, noise, 1)},
        facts=facts,
    )


def run(*matrix, **more):
    """A run whose canary's product took so long at start, middle and end."""
    canaries = [sung(place, seconds, **more) for place, seconds in enumerate(matrix)]
    return fake_run(*measured("softmax"), *measured("sdpa"), *canaries)


STEADY = run(1e-4, 1.005e-4, 1.002e-4)


def test_figures_are_the_best_and_the_median_at_each_place():
    start, middle, end = figures(STEADY)["canary_matrix"]
    assert [one.place for one in (start, middle, end)] == ["start", "middle", "end"]
    assert (start.best, middle.best) == (1e-4, 1.005e-4)
    assert start.median == pytest.approx(1.259e-4, rel=0.001)
    assert (start.spread, start.device) == (0.0, 0)


def test_a_steady_machine_is_told_of_by_nobody():
    assert drift(STEADY) == ""
    assert moved(STEADY, STEADY) == ""
    assert not any("canary" in note for note in summarise(STEADY).notes)


def test_a_machine_that_slows_down_during_the_run_is_a_note_with_the_largest_change():
    hot = run(1e-4, 1.02e-4, 1.05e-4)
    told = (
        "its matrix product took 100 µs at the start and 105 µs at the end, "
        "+5.00 % beyond a floor of 1.50 %"
    )
    assert drift(hot) == told
    assert f"The machine changed while it measured: {told} (the canary)." in summarise(hot).notes


def test_what_lies_within_the_canarys_own_spread_is_no_drift():
    assert drift(run(1e-4, 1e-4, 1.05e-4, noise=0.02)) == ""


def test_a_canary_beside_other_programs_is_no_drift_for_it_tells_of_them():
    busy = {"device": "cpu", "samples": 2, "window_s": 0.2, "others": 1.2}
    crowded = fake_run(
        *measured("softmax"), sung(0), sung(1), sung(2, 1.4e-4, facts=SIZE | {"telemetry": busy})
    )
    assert drift(crowded) == ""
    told = dict(conduct.sentences(crowded, summarise(crowded)))["The canary"]
    assert told.endswith("Those that other programs left alone agree.")
    alone = SIZE | {"telemetry": busy | {"others": 0.1}}
    assert drift(fake_run(*measured("softmax"), sung(0), sung(2, 1.4e-4, facts=alone))) != ""


def test_a_machine_that_is_slower_than_at_the_baseline_has_moved():
    slower = run(1.04e-4, 1.043e-4, 1.041e-4)
    told = "its matrix product took 100 µs then and 104 µs now, +4.00 % beyond a floor of 1.50 %"
    assert moved(STEADY, slower) == told
    assert moved(slower, STEADY).startswith(
        "its matrix product took 104 µs then and 100 µs now, \N{MINUS SIGN}3.85 %"
    )


def test_a_copy_that_moved_is_enough():
    assert moved(STEADY, run(1e-4, 1e-4, 1e-4, copy=2.1e-4)).startswith("its copy took 200 µs then")


def test_one_slow_process_of_three_is_no_moved_machine():
    assert moved(STEADY, run(1.2e-4, 1.0e-4, 1.1e-4)) == ""


def test_places_that_lie_apart_raise_the_floor():
    wide = run(1.05e-4, 1.12e-4, 1.05e-4)
    assert moved(STEADY, wide) == ""


def test_a_run_without_a_canary_or_with_one_of_another_size_says_nothing():
    none = fake_run(*measured("softmax"))
    assert (drift(none), moved(none, STEADY), moved(STEADY, none)) == ("", "", "")
    other = run(3e-4, 3e-4, facts={"side": 256, "copied": 2**22})
    assert moved(STEADY, other) == ""


@pytest.mark.parametrize("values", [(), (0.0, 1.0), (float("nan"),), (float("inf"), 1.0), (-1.0,)])
def test_what_is_no_time_is_no_figure(values):
    bad = record(CANARY, Stage.CANARY, metrics={"canary_matrix": values}, facts=SIZE)
    edited = fake_run(*measured("softmax"), bad)
    assert figures(edited)["canary_matrix"] == ()
    assert moved(STEADY, edited) == drift(edited) == ""


def test_a_canary_that_failed_is_a_note_and_fails_nothing():
    lost = record(CANARY, Stage.CANARY, status=Status.CRASHED, reason="signal 9", replicate=1)
    found = fake_run(*measured("softmax"), sung(0), lost)
    assert failures(found) == ("middle: signal 9",)
    summary = summarise(found)
    assert "The canary was not measured at the middle: signal 9." in summary.notes
    assert [row.status for row in summary.rows] == [Status.OK]


def test_a_canary_is_no_row_of_any_table():
    assert [row.cell.attention.name for row in summarise(STEADY).rows] == ["softmax", "sdpa"]


def test_the_page_says_what_the_canary_found():
    told = dict(conduct.sentences(STEADY, summarise(STEADY)))["The canary"]
    assert "matrix product start 100 µs (126 µs); middle " in told
    assert told.endswith("They agree.")
    hot = run(1e-4, 1e-4, 1.2e-4)
    told = dict(conduct.sentences(hot, summarise(hot)))["The canary"]
    assert "The machine changed meanwhile: its matrix product took 100 µs at the start and" in told
    bare = fake_run(*measured("softmax"))
    assert "The canary" not in dict(conduct.sentences(bare, summarise(bare)))


def test_devices_are_held_against_themselves_alone():
    two = fake_run(*measured("softmax"), sung(0), sung(3, 2e-4), sung(5, 2e-4))
    assert drift(two) == ""
    assert [one.device for one in figures(two)["canary_matrix"]] == [0, 1, 1]


def test_the_best_of_parts_of_the_best_of_parts_is_itself():
    parts = canary.machine.best_of_parts(series(1e-4, 0.01))
    assert len(parts) == 5
    assert canary.machine.best_of_parts(parts) == parts
    assert canary.machine.best_of_parts((3.0, 1.0)) == (3.0, 1.0)
