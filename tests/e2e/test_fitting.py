"""`batch_size: max` on the command line: found, checked by an ordinary run, compared, cut off and resumed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

# 1024 tokens and four heads: softmax holds 16 MiB of scores a picture, so that few fit.
SUITE = """
name: fitting
model: {name: dit, hidden: 64, depth: 1, heads: 4, size: 64, channels: 1, out_channels: 1, classes: 10}
attention: softmax
batch_size: max
steps: 3
sampling: {guidance_scale: 1}
timing: {warmup: 0, warmup_cap_s: 0, repeats: 1, processes: 1, memory_limit: 768 MiB}
metrics: [latency, macs]
"""


@pytest.fixture(scope="module")
def first(shell):
    return shell("run", shell.suite(SUITE))


@pytest.fixture(scope="module")
def row(shell, first):
    (row,) = json.loads(shell.again("show", "--json").out)
    return row


def test_a_plan_says_about_how_many_trials_there_will_be(shell):
    said = shell.again("plan", shell.suite(SUITE)).out
    assert re.search(r"largest batch of 1 of them: about \d+ trials each", said)
    assert re.search(r"GMAC an image|MMAC an image", said)


def test_it_ends_well_and_says_what_it_found(first, row):
    assert first.code == 0, first.err
    assert f"fit  ok  max {row['fit']['largest']}" in first.err
    assert re.search(rf"largest batch.*\n.*softmax +{row['fit']['largest']}\b", first.out)


def test_what_was_found_is_above_one_exact_and_free_of_doubt(row):
    fit = row["fit"]
    assert fit["largest"] > 1
    assert fit["fails"] == fit["largest"] + 1
    assert fit["memory_limit"] == 768 * 2**20
    assert fit["peak_bytes"] < fit["memory_limit"]
    assert (fit["wavering"], row["doubts"]) == ([], [])
    assert row["estimates"]["largest_batch"]["value"] == fit["largest"]


def test_the_page_has_the_table(shell, first):
    page = (shell.run_folder() / "report.html").read_text()
    assert '<h2 id="largest">Largest batch</h2>' in page


def test_ordinary_cells_agree_that_half_as_many_fit_and_one_more_does_not(shell, row):
    """Gates and times of another code path, under the same limit, with what their gates hold besides."""
    fits, fails = row["fit"]["largest"] // 2, row["fit"]["fails"]
    sizes = f"batch_size={fits},{fails}"
    ended = shell.again(
        "run", shell.suite(SUITE), "--set", sizes, "--baseline", "none", "--out", "plain"
    )
    rows = json.loads(shell.again("show", "--json", "--out", "plain").out)
    assert [(one["axes"]["batch_size"], one["status"]) for one in rows] == [
        (str(fits), "ok"),
        (str(fails), "out of memory"),
    ]
    assert ended.code == 3


def test_another_memory_limit_is_another_question(shell, first, row):
    less = ("--set", "timing.memory_limit=900 MiB")
    told = shell.again("run", shell.suite(SUITE), *less, "--baseline", "latest")
    assert told.code == 7, told.err
    (finding,) = json.loads(shell.again("compare", run_id(first), "--json").out)
    assert (finding["metric"], finding["verdict"]) == ("largest_batch", "incomparable")
    assert "768 MiB" in finding["reason"].partition("then")[0]
    assert "900 MiB" in finding["reason"].partition("then")[2]


def run_id(ended):
    """The id of the run that a command ended with."""
    return re.search(r"run (\d{8}-\d{6}-\w{4})", ended.out)[1]


def test_mistake_34_a_search_that_was_killed_begins_again_and_is_there_once(shell):
    """SIGKILL of the parent in the middle of the trials."""
    out = shell.folder / "killed"
    command = [sys.executable, "-m", "ditbench", "run", shell.suite(SUITE), "--out", str(out)]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=shell.folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        end = time.monotonic() + 120
        while not list(out.glob("*/*/logs/*-fit-2.log")) and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    (folder,) = (path.parent for path in out.glob("*/*/run.json"))
    assert "largest_batch" not in (folder / "records.jsonl").read_text()
    resumed = shell.again("run", shell.suite(SUITE), "--resume", folder.name, "--out", str(out))
    assert resumed.code == 0, resumed.err
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert [one["stage"] for one in records] == ["gate", "fit"]
    assert records[1]["facts"]["trials"][0][0] == 1
