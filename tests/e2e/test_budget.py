"""A time budget: what does not fit is left, said on every channel, and measured later."""

from __future__ import annotations

import pytest

SUITE = """
name: budget
model: TINY
attention: [softmax, sdpa]
steps: 2
timing: {warmup: 0, repeats: 2, processes: 2}
metrics: [latency, macs]
"""


def test_a_budget_that_is_too_small_is_exit_3_with_the_way_on_and_the_page_says_it(shell):
    """The server alone takes longer to start."""
    ended = shell("run", shell.suite(SUITE), "--time-budget", "0.1s")
    assert ended.code == 3
    run = shell.run_folder().name
    line = f"ditbench: stopped after 100 ms: 9 of 9 jobs left; go on with --resume {run}"
    assert line in ended.err.splitlines()
    told = "did not come to its end (stopped after 100 ms: 9 of 9 jobs left)"
    assert told in ended.out
    page = (shell.run_folder() / "report.html").read_text()
    assert told in page
    assert "2 cells planned: 2 not run." in page

    again = shell.again(
        "run", "suite.yaml", "--resume", run, "--time-budget", "1h", "--baseline", "none"
    )
    assert again.code == 0, again.err
    assert "did not come to its end" not in (shell.run_folder() / "report.html").read_text()
    assert (shell.run_folder() / "records.jsonl").read_text().count("\n") == 9


@pytest.mark.parametrize("text", ["soon", "30", "0s"])
def test_what_is_no_time_is_one_line_and_exit_2(shell, text):
    ended = shell.again("run", shell.suite(SUITE), "--time-budget", text)
    assert ended.code == 2
    assert ended.err == f"ditbench: --time-budget {text}: write a time, as 90s, 30m or 1h30m\n"
