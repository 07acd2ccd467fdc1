"""Ten thousand records are read, compared and reported in seconds, and the page stays one to open.

Limits are in seconds of the processor, so that a busy machine does not fail them.
"""

from __future__ import annotations

import time

import fakes_scale
import pytest

from ditbench import compare, store, summary
from ditbench.report.render import render


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    then = fakes_scale.write(folder, fakes_scale.many("20261120-100000-aaaa"))
    now = fakes_scale.write(folder, fakes_scale.many("20261121-100000-bbbb", slower=1.15))
    return store.read(then), store.read(now)


@pytest.mark.long
def test_ten_thousand_records_are_compared_in_five_seconds_and_reported_in_twenty(runs, tmp_path):
    then, now = runs
    assert len(now.records) > 10_000
    begin = time.process_time()
    comparison = compare.compare(now, then, "then")
    compared = time.process_time()
    page = render(now, summary.summarise(now), comparison, tmp_path)
    assert compared - begin < 5
    assert time.process_time() - compared < 20
    assert page.stat().st_size < 10e6
    moved = [one for one in comparison.findings if one.verdict is compare.Verdict.INCONCLUSIVE]
    assert len(moved) >= 40
    assert "more in the run's records.jsonl" in page.read_text()
