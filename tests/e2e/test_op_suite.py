"""The suite of attention cores that ships with ditbench, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SUITE = str(Path(__file__).parents[2] / "suites" / "attention-ops-cpu.yaml")
SMALL = ("--quick", "--set", "op.tokens=16,32", "--set", "attention=sdpa,linear")


@pytest.fixture(scope="module")
def ended(shell):
    return shell("run", SUITE, *SMALL)


def test_cores_are_measured_told_and_shown(shell, ended):
    assert ended.code == 0, ended.err
    rows = json.loads(shell("show", "--json").out)
    assert {(row["axes"]["tokens"], row["axes"]["cache"]) for row in rows} == {
        ("16", "cold"), ("16", "hot"), ("32", "cold"), ("32", "hot"),
    }  # fmt: skip
    assert {row["status"] for row in rows} == {"ok"}
    assert all(0 < row["shares"]["matrix"] < 2 for row in rows)
    assert all(row["estimates"]["latency"]["value"] > 0 for row in rows)
    page = (shell.run_folder() / "report.md").read_text()
    assert "Where methods cross" in page
    assert page.count("](charts/time-against-tokens-") == 2


def test_a_cold_cell_flushed_what_a_hot_one_did_not(shell, ended):
    lines = (shell.run_folder() / "records.jsonl").read_text().splitlines()
    timed = [one for one in map(json.loads, lines) if one["stage"] == "time"]
    flushed = {
        one["cell"]["model"]["settings"]["cache"]: one["facts"]["flushed_bytes"] for one in timed
    }
    assert flushed["cold"] > 0
    assert flushed["hot"] == 0
