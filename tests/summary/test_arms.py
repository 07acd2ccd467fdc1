"""Mistake 38: two arms that differ in more than the thing compared, each difference planted and named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes_runs import SAMPLING, cell, fake_run, gate, timed

from ditbench.records import Choice
from ditbench.summary import gather
from ditbench.summary.arms import differences


def arm(of, told=(), replaced=(), processes=3, **facts):
    """Evidence of a cell. told: facts of its gate; replaced: fields of its timed records; facts: of those."""
    times = timed(of, *((0.5,) * 5 for _ in range(processes)))
    times = [replace(one, facts={**one.facts, **facts}, **dict(replaced)) for one in times]
    (found,) = gather(fake_run(gate(of, **dict(told)), *times))
    return found


MONARCH = cell("monarch")


def clocked(**readings):
    """Telemetry of a steady machine."""
    return {"samples": 9, **{name: [0.9 * at, at, 1.1 * at] for name, at in readings.items()}}


def test_arms_that_differ_in_method_and_blocks_only_differ_in_nothing():
    half = cell("monarch", blocks=(0, 1, 2), blocks_label="first-half")
    assert differences(arm(half), arm(cell())) == ()


@pytest.mark.parametrize(
    ("axes", "told"),
    [
        ({"model": Choice("other")}, "model other against fashion-dit"),
        ({"weights": "random"}, "weights random against embedded"),
        ({"compile": True}, "compile on against off"),
        ({"batch_size": 8}, "batch size 8 against 1"),
        ({"steps": 50}, "steps 50 against 20"),
        ({"sampling": replace(SAMPLING, dtype="bfloat16")}, "dtype bfloat16 against float32"),
        ({"sampling": replace(SAMPLING, guidance_scale=1.0)}, "guidance scale 1 against 1.5"),
        (
            {"sampling": replace(SAMPLING, sampler="dpmsolver++")},
            "sampler dpmsolver++ against ddim",
        ),
        ({"sampling": replace(SAMPLING, seed=7)}, "seed 7 against 0"),
    ],
)
def test_mistake_38_every_axis_but_the_compared_ones_is_told(axes, told):
    assert differences(arm(cell("monarch", **axes)), arm(cell())) == (told,)


@pytest.mark.parametrize(
    ("mine", "told"),
    [
        ({"told": {"parameters": 28_900_000}}, "28.9 M parameters against 2.10 M (13.8x)"),
        ({"told": {"weights": "77aa"}}, "weights 77aa against 5f2c"),
        ({"threads": 1}, "threads 1 against 2"),
        ({"replaced": {"environment": "ab12"}}, "environment ab12 against {environment}"),
        ({"replaced": {"code": "0.2.0"}}, "code 0.2.0 against 0.1.0+0123abcd"),
        ({"processes": 1}, "processes 1 against 3"),
    ],
)
def test_mistake_38_every_fact_that_both_arms_tell_is_held_against_the_others(mine, told):
    other = arm(cell())
    told = told.format(environment=other.times[0].environment)
    assert differences(arm(MONARCH, **mine), other) == (told,)


@pytest.mark.parametrize(
    ("fact", "mine", "theirs", "told"),
    [
        ("gpu_uuid", "GPU-1", "GPU-2", "GPU GPU-1 against GPU-2"),
        ("rows", 1, 2, "rows of a forward 1 against 2"),
        ("nfe", 10, 20, "forwards 10 against 20"),
        (
            "warmup",
            {"stable": False, "unmet": "still moving", "cap_s": 10},
            {"stable": True, "unmet": "", "cap_s": 10},
            "processes that were not warm 3 against 0",
        ),
        (
            "stopping",
            {"unmet": "2 % where 1 % was asked for"},
            {"unmet": None},
            "processes not timed as precisely as asked 3 against 0",
        ),
        (
            "telemetry",
            clocked(sm_clock=1.41e9),
            clocked(sm_clock=1.98e9),
            "the GPU's clock 1.41 GHz against 1.98 GHz",
        ),
        (
            "telemetry",
            clocked(temperature=45),
            clocked(temperature=80),
            "the GPU's temperature 45 \N{DEGREE SIGN}C against 80 \N{DEGREE SIGN}C",
        ),
    ],
)
def test_mistake_38_what_happened_while_both_were_timed_is_told(fact, mine, theirs, told):
    one, other = arm(MONARCH, **{fact: mine}), arm(cell(), **{fact: theirs})
    assert differences(one, other) == (told,)
    assert differences(one, one) == ()
    assert differences(one, arm(cell())) == ()  # nobody knows of the other arm


def test_clocks_that_a_steady_machine_may_show_are_no_difference():
    near = (clocked(sm_clock=1.98e9, temperature=70), clocked(sm_clock=1.95e9, temperature=78))
    one, other = (arm(of, telemetry=seen) for of, seen in zip((MONARCH, cell()), near, strict=True))
    assert differences(one, other) == ()


def test_numbers_that_a_method_brings_along_are_told():
    one, other = arm(MONARCH, {"own_numbers": 49_152}), arm(cell(), {"own_numbers": 0})
    assert differences(one, other) == ("49.2 k numbers of the method's own against 0",)
