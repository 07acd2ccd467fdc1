"""What dies takes only itself along: four failed cells of the right kind, all others measured, exit 3."""

from __future__ import annotations

import json

import pytest

SUITE = """
name: deadly
model: TINY
attention:
  - deadly:Allocates
  - deadly:Sleeps
  - softmax
  - deadly:Exits
  - deadly:Segfaults
  - sdpa
steps: 2
timing: {warmup: 0, warmup_cap_s: 0, repeats: 2, processes: 1, timeout_s: 20}
metrics: [latency, macs]
"""


@pytest.fixture(scope="module")
def ended(shell):
    return shell("run", shell.suite(SUITE))


@pytest.fixture(scope="module")
def records(shell, ended):
    lines = (shell.run_folder() / "records.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_it_is_exit_3(ended):
    assert ended.code == 3, ended.err


@pytest.mark.parametrize(
    ("method", "status", "words"),
    [
        ("deadly:Allocates", "out of memory", ""),
        ("deadly:Sleeps", "timeout", "no answer within 20"),
        ("deadly:Exits", "crashed", "exited with 7"),
        ("deadly:Segfaults", "crashed", "SIGSEGV"),
    ],
)
def test_each_death_is_a_record_of_its_kind(records, method, status, words):
    mine = [record for record in records if record["cell"]["attention"]["name"] == method]
    assert [record["status"] for record in mine] == [status]
    assert words in mine[0]["reason"]


def test_the_others_are_measured(records):
    timed = {
        r["cell"]["attention"]["name"]
        for r in records
        if r["stage"] == "time" and r["status"] == "ok"
    }
    assert timed == {"softmax", "sdpa"}


def test_the_report_names_all_four(shell, ended):
    page = (shell.run_folder() / "report.html").read_text()
    for name in ("deadly:Allocates", "deadly:Sleeps", "deadly:Exits", "deadly:Segfaults"):
        assert name in page
    assert "SIGSEGV" in page
