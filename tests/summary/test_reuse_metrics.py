"""Metrics of methods with memory: in the unit that a reader takes them for."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fakes_reuse import dqar, remembering
from fakes_runs import STEPS, fake_run

from ditbench.metrics import COUNTS
from ditbench.records import Stage
from ditbench.summary import rows_to_json, summarise

BATCH = 4


def answered(metric, per, **metrics):
    """What a run of one cell answers to a claim about it."""
    of = dqar(batch_size=BATCH)
    asked = {
        "metric": metric,
        "value": 1.0,
        "tolerance": 0.1,
        "source": "a paper",
        "per": per,
        "where": {},
    }
    (found,) = summarise(fake_run(*remembering(of, **metrics), claims=(asked,))).claims
    return found.measured, found.title


@pytest.mark.parametrize(
    ("metric", "per", "measured", "title"),
    [
        ("trajectory_macs", "step", 8e9 / STEPS, "trajectory macs per step"),
        ("trajectory_macs", "image", 8e9 / BATCH, "trajectory macs per image"),
        ("calibration_time", "step", 8e9, "calibration time"),
        ("replay_latency", "image", 8e9 / BATCH, "replay latency per image"),
        ("cache_bytes", "step", 8e9, "cache bytes"),
        ("reuse_ratio", "step", 8e9, "reuse ratio"),
    ],
)
def test_a_claim_about_reuse_is_in_its_own_unit(metric, per, measured, title):
    assert answered(metric, per, **{metric: 8e9}) == (measured, title)


def test_the_work_of_an_image_is_what_the_trajectory_took():
    of = dqar(batch_size=BATCH)
    (row,) = summarise(fake_run(*remembering(of, trajectory_macs=8e9), claims=())).rows
    assert row.estimates["macs_per_image"].value == 8e9 / BATCH


def test_no_shape_tells_what_a_memory_spares():
    found = {"trajectory_macs", "reuse_ratio", "cache_bytes", "calibration_time", "replay_latency"}
    assert COUNTS.isdisjoint(found)


def test_a_profile_is_the_median_of_each_step_over_all_calls():
    of = dqar()
    records = [
        replace(one, metrics={**one.metrics, "step_latency": (1.0,) * STEPS + (n + 1.0,) * STEPS})
        if one.stage is Stage.TIME
        else one
        for n, one in enumerate(remembering(of))
    ]
    (row,) = summarise(fake_run(*records, claims=())).rows
    assert row.profile == (1.5,) * STEPS  # of 1, 1, 1, 2, 3, 4


def test_steps_that_no_call_has_all_of_make_no_profile():
    records = [
        replace(one, metrics={**one.metrics, "step_latency": (1.0,) * (STEPS + 1)})
        if one.stage is Stage.TIME
        else one
        for one in remembering(dqar())
    ]
    (row,) = summarise(fake_run(*records, claims=())).rows
    assert row.profile == ()


def test_json_has_the_pattern_as_records_have_it():
    records = remembering(dqar())
    summary = summarise(fake_run(*records, claims=()))
    (plain,) = rows_to_json(summary)
    assert plain["reuse"] == records[0].facts["reuse"]
    assert len(plain["profile"]) == STEPS
    assert json.dumps(plain)
