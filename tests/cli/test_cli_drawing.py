"""The parent's side of `ditbench draw`: whose matrices are drawn."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
from fakes_runs import cell

from ditbench import errors
from ditbench.cli import drawing
from ditbench.records import LARGEST


def plan(*cells, refused=()):
    suite = SimpleNamespace(path="suites/x.yaml")
    entries = [SimpleNamespace(cell=one, reason=why) for one, why in refused]
    return SimpleNamespace(suite=suite, runnable=cells, refused=entries)


def test_the_first_cell_of_softmax_is_sampled_at_batch_size_one():
    planned = plan(cell("sdpa"), cell("softmax", LARGEST), cell("softmax", 8))
    assert drawing._softmax(planned, "") == cell("softmax")


@pytest.mark.parametrize(
    ("select", "told"),
    [
        ("sdpa", "no cell of softmax is left.*: write -k 'softmax|sdpa'"),
        ("", "no cell of softmax is left.*, and this suite has none"),
    ],
)
def test_without_softmax_there_is_nothing_to_give(select, told):
    with pytest.raises(errors.UsageError, match=told.replace("|", r"\|")):
        drawing._softmax(plan(cell("sdpa")), select)


def test_each_method_of_that_model_is_drawn_once_softmax_first():
    elsewhere = cell("linear", weights="random")
    half = cell("monarch", blocks=(0, 1, 2), blocks_label="first-half")
    planned = plan(
        cell("monarch"),
        half,
        cell("softmax", 4),
        cell("monarch", 4),
        elsewhere,
        refused=((cell("flash"), "needs a GPU"), (cell("monarch", 64), "excluded")),
    )
    found = drawing._methods(planned, cell())
    assert [method.name for method in found] == ["softmax", "monarch"]
    assert drawing._refused(planned, cell()) == (("flash", "needs a GPU"),)


def test_the_middle_step_is_drawn_unless_another_is_named():
    assert drawing._step(None, dataclasses.replace(cell(), steps=7)) == 3
    assert drawing._step(0, cell()) == 0
