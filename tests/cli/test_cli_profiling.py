"""The parent's side of `ditbench profile`."""

from __future__ import annotations

import dataclasses
import importlib

import pytest
from fakes_ops import core
from fakes_runs import cell

from ditbench import errors, units
from ditbench.cli import preparing, profiling
from ditbench.records import LARGEST


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(errors.UsageError, match=r"file/x: cannot be written: Not a directory$"):
        preparing.folder_of(tmp_path / "file/x", tmp_path, cell())


def test_without_a_wish_each_profile_has_a_folder_of_its_own(tmp_path):
    folder = preparing.folder_of(None, tmp_path / "profiles", cell())
    assert folder.parent == tmp_path / "profiles"
    assert folder.name.endswith(cell().key)


def test_a_search_for_the_largest_batch_is_no_cell_to_profile():
    with pytest.raises(errors.UsageError, match="name one, as with --set batch_size=8"):
        profiling._that_can_be_traced(dataclasses.replace(cell(), batch_size=LARGEST))


def test_a_cell_that_fails_is_exit_3():
    assert profiling.CellFailedError("x").exit_code == errors.CELLS_FAILED


def test_a_core_by_itself_can_be_profiled_and_nothing_is_said_of_projections(capsys):
    cell = profiling._that_can_be_traced(core("sdpa", 64))
    facts = {"calls": 5, "on": "cpu", "total_s": 2.0, "top": [["aten::bmm", 10, 1.5]]}
    profiling._show(cell, facts | {"trace": "here.json.gz", "bytes": 1000})
    printed = capsys.readouterr().out
    assert "5 warm calls on cpu" in printed
    assert units.percent(0.75) in printed
    assert "projections" not in printed
    assert "compiled" not in printed


def test_a_core_by_itself_and_a_model_have_an_instrument_each():
    told = [profiling._instrument(one).partition(":") for one in (core("sdpa", 64), cell())]
    found = [getattr(importlib.import_module(room), name) for room, _, name in told]
    assert [one.__module__.rpartition(".")[2] for one in found] == ["op_profiling", "profiling"]
