"""The file of a plan: what it says, where it fits, and what is kept for it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ditbench.errors import UsageError
from ditbench.records import Cell, Choice, Sampling
from ditbench.reuse import plans
from ditbench.reuse.plans import Plan, Task, Way

PLAN = Plan(
    "dit", 2.0, 0.125, (0, 1), ("FF", "W=", "w=", "Ff"), threshold=0.1, forwards=9, samples=2
)


def cell(**fields):
    attention = Choice("ditfastattn", (("window", 0.125), ("threshold", 0.1)))
    usual = {
        "attention": attention,
        "blocks": (0, 1),
        "steps": 4,
        "sampling": Sampling(guidance_scale=2.0),
    }
    return Cell(Choice("dit"), **(usual | fields))


def written(**changes):
    plain = PLAN.as_json() | changes
    return json.dumps({name: one for name, one in plain.items() if one != "gone"}).encode()


def test_a_plan_is_read_as_it_was_written():
    assert plans.read(written(), "plan.json") == PLAN


def test_what_a_calibration_kept_is_a_plan_too():
    """The file beside the pictures of a run: what was found stands in it among other things."""
    kept = {"cell": "a line", "seconds": 1.5, "found": PLAN.as_json()}
    assert plans.read(json.dumps(kept).encode(), "calibration.json") == PLAN


def test_a_plan_by_hand_needs_neither_threshold_nor_legend():
    by_hand = written(threshold="gone", legend="gone", forwards="gone", samples="gone")
    assert plans.read(by_hand, "x") == dataclasses.replace(
        PLAN, threshold=None, forwards=0, samples=0
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": "gone"}, "'model' is missing"),
        ({"steps": "gone"}, "'steps' is missing"),
        ({"steps": 5}, "it says 5 steps and has a line for 4"),
        ({"steps": True}, "steps is true, not a whole number"),
        ({"window": "wide"}, 'window is "wide", not a number'),
        ({"window": -1}, "window is -1, not at least 0"),
        ({"guidance_scale": float("nan")}, "guidance_scale is nan, not at least 0"),
        ({"threshold": "0.1"}, 'threshold is "0.1", not a number'),
        ({"blocks": []}, "blocks is [], not block numbers"),
        ({"blocks": [1, 1]}, "blocks is [1, 1], not block numbers, each once and ascending"),
        ({"blocks": [1, 0]}, "blocks is [1, 0], not block numbers, each once and ascending"),
        ({"blocks": [-1, 0]}, "blocks is [-1, 0], not block numbers, each once and ascending"),
        ({"blocks": [True, 2]}, "blocks is [true, 2], not block numbers, each once and ascending"),
        ({"forwards": []}, "forwards is [], not a whole number"),
        ({"samples": -1}, "samples is -1, not at least 0"),
        ({"plan": ["FF", 3]}, 'plan is ["FF", 3], not a line for each step'),
        ({"plan": "FFFF"}, 'plan is "FFFF", not a line for each step'),
        ({"plan": ["FF", "W=", "w", "Ff"]}, "step 2 has 1 letters for 2 blocks"),
        ({"plan": ["FF", "W=", "wX", "Ff"]}, "step 2 has 'X', which is none of FWfw="),
        ({"plan": ["F=", "W=", "w=", "Ff"]}, "step 0 has nothing to share: write F or f"),
        ({"guidance_scale": 1.0}, "step 2 attends on one branch, and without guidance there is"),
    ],
)
def test_what_is_wrong_with_a_plan_is_told_in_one_line(changes, told):
    with pytest.raises(UsageError) as caught:
        plans.read(written(**changes), "my/plan.json")
    assert str(caught.value).startswith("my/plan.json: is no plan: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "is no JSON"),
        (b"\xff", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[1]", "is no plan: it is [1], not a table"),
        (written(window=10**400), "is no plan: "),
        (written(model="a\nb", steps=9), "is no plan: "),
    ],
    ids=range(6),
)
def test_a_file_that_holds_something_else(content, told):
    with pytest.raises(UsageError, match=r"^p\.json: ") as caught:
        plans.read(content, "p.json")
    assert told in str(caught.value)
    assert "docs/ditfastattn.md" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plan_fits_its_own_cell_and_says_why_no_other():
    assert PLAN.misfits(cell()) == []
    assert PLAN.misfits(cell(blocks=(0, 1, 2))) == []  # those that it does not name attend in full
    assert PLAN.misfits(cell(steps=8)) == ["steps 4, not 8"]
    other = cell(
        blocks=(1,),
        sampling=Sampling(guidance_scale=4.0),
        attention=Choice("ditfastattn", (("window", 0.25), ("threshold", 0.1))),
    )
    assert PLAN.misfits(dataclasses.replace(other, model=Choice("pixart"))) == [
        "model dit, not pixart",
        "guidance_scale 2.0, not 4.0",
        "window 0.125, not 0.25",
        "blocks 0, 1, not 1",
    ]


def test_a_threshold_must_be_the_one_that_it_was_found_under():
    other = Choice("ditfastattn", (("window", 0.125), ("threshold", 0.05)))
    assert PLAN.misfits(cell(attention=other)) == ["threshold 0.1, not 0.05"]
    by_hand = dataclasses.replace(PLAN, threshold=None)
    assert by_hand.misfits(cell(attention=other)) == []


def tasks(column):
    plan = Plan("dit", 2.0, 0.125, (3,), tuple(column))
    return [plan.task(3, step, len(column)) for step in range(len(column))]


def test_what_no_later_step_asks_for_is_not_kept():
    assert tasks("FFF") == [Task(Way.FULL)] * 3


def test_a_residual_is_kept_from_the_last_full_step_to_the_last_window_that_asks_for_it():
    kept = [task.residual for task in tasks("FFWwF=f=WF")]
    assert kept == [False, True, True, False, False, False, True, True, False, False]


def test_an_output_is_kept_for_the_next_step_alone():
    assert [task.output for task in tasks("FF==WF=F")] == [
        False, True, True, False, False, True, False, False,
    ]  # fmt: skip


def test_a_run_of_another_length_goes_by_the_same_share_of_the_plan():
    plan = Plan("dit", 2.0, 0.125, (0,), ("F", "W", "F", "=", "W", "f", "w", "="))
    assert [plan.task(0, step, 4).way for step in range(4)] == list("FFWw")
    assert [plan.task(0, step, 4).residual for step in range(4)] == [False, True, True, False]
    assert plan.task(0, 0, 1) == Task(Way.FULL)
    assert [plan.task(0, step, 16).way for step in (0, 1, 2, 15)] == ["F", "F", "W", "="]


def test_a_block_that_no_plan_names_attends_in_full():
    assert PLAN.task(7, 2, 4) == Task(Way.FULL)
