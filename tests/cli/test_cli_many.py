"""Long lists on the terminal cost no work per pair of lines."""

from __future__ import annotations

import time

from fakes_runs import cell
from patient import holds_once

from ditbench.cli import output
from ditbench.compare import Comparison, Finding, Verdict


def seconds(number: int) -> float:
    findings = [
        Finding(cell(batch_size=n + 1), "latency", verdict, "a reason", change=0.1)
        for n in range(number)
        for verdict in (Verdict.UNCHANGED, Verdict.INCONCLUSIVE)
    ]
    comparison = Comparison("main", tuple(findings), (), False, frozenset())
    begin = time.process_time()
    output.show_findings(comparison)
    return time.process_time() - begin


def test_twice_the_findings_take_about_twice_as_long(capsys):
    seconds(50)
    assert holds_once(lambda: seconds(1600) < 8 * seconds(400))
    assert "unchanged: 1600" in capsys.readouterr().out
