"""What the gate tells of a cell's layers, for whoever reads its speed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from cells import cell

from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import gates, opened
from ditbench.measure.bench import set_up
from ditbench.measure.cost import cost
from ditbench.records import Stage


def told(of):
    return opened.facts(set_up(of, "cpu"))


@pytest.mark.parametrize(
    ("method", "settings", "core_only"),
    [
        ("softmax", (), True),
        ("identity", (), True),
        ("window", (("size", 3),), True),
        ("linformer", (("rank", 4),), True),
        ("zero", (), False),
    ],
)
def test_a_method_whose_layer_is_its_own_may_leave_the_projections_out(method, settings, core_only):
    assert told(cell(method, settings=settings))["core_only"] is core_only


def test_numbers_that_a_method_brings_along_are_counted_in_its_own_blocks():
    both, first = (
        told(cell("linformer", settings=(("rank", 4),), blocks=blocks))["own_numbers"]
        for blocks in ((0, 1), (0,))
    )
    assert (both, first) == (2 * 4 * 16, 4 * 16)
    assert told(cell("sdpa"))["own_numbers"] == 0


def test_numbers_are_found_wherever_a_layer_keeps_them_and_shared_ones_once():
    shared = torch.zeros(5)

    @dataclass
    class Layer:
        network: torch.nn.Module = field(default_factory=lambda: torch.nn.Linear(3, 2))
        kept: dict = field(default_factory=lambda: {"one": shared, "more": [shared, torch.ones(2)]})

    assert opened.numbers([Layer()]) == 3 * 2 + 2 + 5 + 2


def test_mistake_15_the_gates_own_run_tells_knobs_apart_without_pictures():
    def digest(**settings):
        of = cell("nystromformer", settings=tuple(settings.items()), steps=1)
        job = Job(of, Stage.GATE, 0, Timing(), Quality(), (), "cpu", Path())
        return gates.run(job, lambda _phase: None).facts["knob_digest"]

    assert digest(rank=4) == digest(rank=4, iterations=6) != digest(rank=5)


def test_the_projections_are_those_of_all_attention_modules():
    spec, price = cell().model, cost(cell())
    tokens, width = 16, int(spec["hidden"])
    assert price.projections == cell().rows * int(spec["depth"]) * 4 * tokens * width**2
    assert cost(cell("zero")).projections == price.projections


def test_what_holds_itself_is_counted_once():
    held = {"kept": torch.zeros(3)}
    held["again"] = [held, held["kept"]]
    assert opened.numbers([held]) == 3
    assert opened.size([held]) == 12
