"""GitHub drops a job's summary above 1 MiB: the Markdown stays below it, whatever a run holds."""

from __future__ import annotations

import re

import pytest
from fakes_runs import cell, fake_run, measured, record

from ditbench import compare, summary
from ditbench.records import Stage, Status
from ditbench.report import render as rendering

LIMIT = 2**20
# Four bytes a letter, and as many letters as a field takes.
REASON = "\N{CHEQUERED FLAG}" * 400
MANY = 3000
BATCHES = (1, 2, 4, 8)


def run(run_id, slower=1.0):
    """Cells that were measured, some slower than then, and thousands that crashed, each with much to say."""
    factors = {"softmax": 1.0, "sdpa": slower, "monarch": slower}
    rows = [
        one
        for batch in BATCHES
        for label, factor in factors.items()
        for one in measured(label, batch, factor)
    ]
    crashed = (
        record(
            cell("sdpa", batch_size=1000 + number),
            Stage.GATE,
            status=Status.CRASHED,
            reason=f"{number} {REASON}",
        )
        for number in range(MANY)
    )
    return fake_run(*rows, *crashed, id=run_id)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def of():
    """What is rendered."""
    then, now = run("20261120-100000-aaaa"), run("20261121-100000-bbbb", slower=1.2)
    return now, summary.summarise(now), compare.compare(now, then, "then")


def page(of, folder):
    return rendering.render(*of, folder).with_name("report.md")


def test_a_page_of_thousands_of_cells_is_below_the_limit_and_says_what_is_left_out(of, tmp_path):
    text = page(of, tmp_path).read_text()
    assert LIMIT / 4 < len(text.encode()) < LIMIT
    absent = text.partition("## Cells without a result")[2]
    rows = len(re.findall("crashed .*\N{CHEQUERED FLAG}", absent))
    assert 100 < rows < MANY
    assert f"\n{rows} shown, {MANY - rows} more in the run's records.\n" in absent


def test_its_charts_are_files_beside_it(of, tmp_path):
    text = page(of, tmp_path).read_text()
    named = re.findall(r"!\[[^\]]*\]\((charts/[^)]+\.svg)\)", text)
    assert named
    assert [name for name in named if "<svg " not in (tmp_path / name).read_text()] == []
    assert "<svg" not in text


def test_without_a_limit_it_would_be_too_long(of, tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "_MARKDOWN_BYTES", 10 * LIMIT)
    assert len(page(of, tmp_path).read_bytes()) > LIMIT
