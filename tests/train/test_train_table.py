"""Arms side by side: nobody can call a comparison fair that is not."""

from __future__ import annotations

import json

import pytest
import torch
from fakes_training import BLIND, GQA, UNET, choice, seed_protocol, training, write_data

from ditbench.records import Choice
from ditbench.train import loop, network, table
from ditbench.train.spec import Arm


def facts(arm, parameters=1000, **more):
    known = {
        "arm": arm, "model": "gqa-dit", "settings": {"kv_heads": 2, "hidden": 64},
        "attention": "softmax", "parameters": parameters, "hears_time": True, "hears_class": True,
        "precision": "float32", "checkpointing": False, "features": False, "processes": 1,
        "device": "cpu", "threads": 2, "steps": 100,
    }  # fmt: skip
    return {**known, **more}


def test_one_difference_is_what_the_figures_are_about():
    found = table.differences(facts("a"), facts("b", attention="linear"))
    assert found.told == (
        "differ in one thing alone, which the figures are then about: attention: softmax against linear"
    )


def test_mistake_38_arms_that_differ_in_more_than_what_is_compared():
    """31 times the weights and no timestep input, in a comparison that is called controlled."""
    unet = facts("unet", 860, model="unet", settings={"hidden": 56, "levels": 2}, hears_time=False)
    told = table.differences(facts("dit", 26_560), unet).told
    assert "network: gqa-dit against unet" in told
    assert "dit has 30.9 times the parameters" in told
    assert "unet is never told the time" in told
    assert "no figure above is about one of these 3 by itself" in told


@pytest.mark.parametrize(
    ("fact", "value"),
    [("precision", "bfloat16"), ("device", "H100"), ("steps", 90), ("threads", 1)],
)
def test_what_arms_were_trained_under_is_a_difference_too(fact, value):
    told = table.differences(facts("a"), facts("b", **{fact: value})).told
    assert f"{fact}: {facts('a')[fact]} against {value}" in told


@pytest.mark.parametrize(
    ("model", "hears"),
    [
        (GQA, (True, True)),
        (UNET, (True, True)),
        (BLIND, (False, True)),
        (choice("unet", hidden=8), (False, False)),  # a norm over each channel by itself
    ],
    ids=["dit", "unet", "blind", "normed away"],
)
def test_what_a_network_is_told_is_found_by_asking_it(model, hears):
    nature = network.try_out(Arm("a", model), torch.device("cpu"), "float32")
    assert (nature.hears_time, nature.hears_class) == hears


def test_the_page_has_every_arm_what_it_cost_and_what_is_missing(tmp_path):
    data = write_data(tmp_path)
    arms = (
        Arm("two", GQA, Choice("softmax")),
        Arm("one", choice("gqa-dit", hidden=16, depth=2, heads=4, kv_heads=1, patch=7)),
        Arm("late", GQA, Choice("linear")),
    )
    made = seed_protocol(training(data))
    made = type(made)(**{**made.__dict__, "arms": arms, "steps": 7})
    for arm in arms[:2]:
        loop.train(made, arm, tmp_path / "out" / arm.name)
    page = table.write(made, tmp_path / "out").read_text()
    assert "| two | gqa-dit" in page
    assert "Not trained, or not to the end of an epoch: late." in page
    assert "**two and one** differ in kv_heads 2 against 1" in page
    assert "peak resident memory of this process" in page
    told = json.loads((tmp_path / "out" / "training.json").read_text())
    assert list(told["arms"]) == ["two", "one"]
    assert told["arms"]["two"]["epochs"][0]["epoch"] == "1"
    assert told["missing"] == ["late"]
