"""The parent's side of `ditbench trace`."""

from __future__ import annotations

import math

import pytest
from fakes_ops import core
from fakes_runs import cell
from fakes_traces import line

from ditbench import errors
from ditbench.cli import tracing
from ditbench.records import LARGEST, Choice


def test_reasons_are_counted_and_errors_within_tolerances(capsys):
    lines = [
        *(line(step=n, error=e) for n, e in enumerate((0.005, 0.015, 0.03, math.inf))),
        line(step=9, error=None, reused=False, reason="too old"),
    ]
    tracing._show("tiny", lines)
    told = capsys.readouterr().out.splitlines()
    assert [" ".join(row.split()) for row in told[2:4]] == [
        "gates reused 4 80.0 %",
        "too old computed 1 20.0 %",
    ]
    assert told[4] == (
        "errors of the 4 reuses: 25.0 % within 0.01, 50.0 % within 0.02, 75.0 % within 0.05, "
        "75.0 % within 0.1, 75.0 % within 0.2"
    )


@pytest.mark.parametrize(
    ("one", "cause"),
    [
        (core("sdpa", 64), "a core by itself has no steps to reuse anything between"),
        (cell("sdpa", LARGEST), "batch_size: max is a search: name one"),
        (cell("sdpa", accelerator=Choice("pab")), "what an accelerator skips decides nothing"),
    ],
)
def test_what_makes_no_decisions_is_told_before_anything_runs(one, cause):
    with pytest.raises(errors.UsageError, match=cause):
        tracing._traceable(one)


def test_methods_without_a_memory_are_told_once_each_and_are_no_trace_by_themselves(capsys):
    cells = [cell("softmax"), cell("softmax", 8), cell("sdpa")]
    tracing._tell_left_out(cells, [line(step=0)])
    assert "left out, without a memory: softmax, sdpa\n" in capsys.readouterr().err
    tracing._tell_left_out([], [line(step=0)])
    assert not capsys.readouterr().err
    with pytest.raises(errors.UsageError, match="no method here has a memory"):
        tracing._tell_left_out(cells, [])


def test_without_a_wish_each_trace_is_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    to = tracing._place(None, cell())
    assert to.parent.name == "traces"
    assert to.name.endswith(f"{cell().key}.jsonl")


@pytest.mark.parametrize("name", ["", "x.html"])
def test_a_trace_is_a_file_and_no_page(tmp_path, name):
    with pytest.raises(errors.UsageError, match="name a file, as trace"):
        tracing._place(tmp_path / name, cell())


def test_a_place_that_cannot_be_written_is_told_before_anything_runs(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(errors.UsageError, match="cannot be written"):
        tracing._place(tmp_path / "file/x.jsonl", cell())
