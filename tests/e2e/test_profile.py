"""`ditbench profile`: one cell, a trace, shares, no record."""

from __future__ import annotations

import gzip
import json

import pytest

SUITE = """
name: tiny
model: TINY
attention: [softmax, sdpa]
steps: 2
batch_size: [1, 2]
timing: {memory_limit: 4 GiB}
"""


@pytest.fixture(scope="module")
def suite(shell):
    return shell.suite(SUITE)


def test_one_cell_gives_a_trace_and_a_table(shell, suite):
    ended = shell("profile", suite, "-k", "sdpa.* batch_size=2", "--to", "here")
    assert ended.code == 0, ended.err
    assert "attention core" in ended.out
    assert "aten::addmm" in ended.out
    assert ended.out.splitlines()[-1] == "here/trace.json.gz"
    with gzip.open(shell.folder / "here/trace.json.gz") as file:
        assert json.load(file)["traceEvents"]
    assert not list(shell.folder.rglob("records.jsonl"))


def test_several_cells_are_named_and_none_is_profiled(shell, suite):
    ended = shell.again("profile", suite, "-k", "softmax|sdpa")
    assert ended.code == 2
    lines = ended.err.splitlines()
    assert lines[0] == (
        "ditbench: -k 'softmax|sdpa' matches 4 cells, and one is profiled at a time:"
    )
    assert [line.startswith("  model=dit") for line in lines[1:]] == [True] * 4
    assert not (shell.folder / "results").exists()
