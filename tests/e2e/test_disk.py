"""Records deleted under a run, and a disk that fills: one line, exit 2, and the run goes on from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes_disks import may_mount

HERE = Path(__file__).parent
SUITE = """
name: vandals
model: TINY
attention: [softmax, METHOD, sdpa]
steps: 2
timing: {warmup: 0, warmup_cap_s: 0, repeats: 2, processes: 1}
metrics: [latency, macs]
"""


def ended(text):
    """Key, stage and replicate of each line."""
    lines = [json.loads(line) for line in text.splitlines()]
    return [(one["cell"]["key"], one["stage"], one["replicate"]) for one in lines]


def test_records_deleted_under_a_run_cost_one_line_and_nothing_else(shell):
    suite = shell.suite(SUITE.replace("METHOD", "vandals:Deletes"))
    first = shell("run", suite)
    assert first.code == 2
    last = first.err.splitlines()[-1]
    assert "records.jsonl: was deleted or replaced while this run was writing; all" in last
    assert last.endswith("records are safe in records.jsonl: go on with --resume")
    before = (shell.run_folder() / "records.jsonl").read_text()
    assert before
    again = shell.again("run", suite, "--resume", "latest", "--baseline", "none")
    assert again.code == 0, again.err
    after = (shell.run_folder() / "records.jsonl").read_text()
    assert after.startswith(before)
    assert len(ended(after)) == len(set(ended(after))) == 8


ON_A_DISK = """
mount -t tmpfs -o size=8m tmpfs disk
"$PYTHON" -m ditbench run suite.yaml --out disk; echo "exit $?" >&2
cp disk/*/*/records.jsonl before.jsonl
MEND
"$PYTHON" -m ditbench run suite.yaml --out disk --resume latest --baseline none; echo "exit $?" >&2
cp disk/*/*/records.jsonl after.jsonl
"""


@pytest.mark.parametrize(
    ("method", "told", "mend"),
    [
        pytest.param(
            "Fills",
            "cannot be written: No space left on device; make room, then go on with --resume",
            ': > "$BALLAST"',
            id="a disk that fills",
        ),
        pytest.param(
            "Closes",
            ".log: cannot be written: Read-only file system; make it writable, or name another folder",
            "umount disk",
            id="a folder that turns read-only",
        ),
    ],
)
def test_a_disk_that_refuses_under_a_run_costs_one_line_and_the_run_goes_on(
    shell, method, told, mend
):
    if not may_mount():
        pytest.skip("this machine lets nobody mount; tests/store has the same with a size limit")
    shell.suite(SUITE.replace("METHOD", f"vandals:{method}"))
    disk = shell.folder / "disk"
    disk.mkdir(exist_ok=True)
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", ON_A_DISK.replace("MEND", mend)],
        cwd=shell.folder,
        env={
            **os.environ,
            "PYTHONPATH": str(HERE),
            "OMP_NUM_THREADS": "1",
            "PYTHON": sys.executable,
            "BALLAST": str(disk / "ballast"),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = done.stderr.splitlines()
    assert lines[lines.index("exit 2") - 1].endswith(told), done.stderr
    before, after = ((shell.folder / f"{name}.jsonl").read_text() for name in ("before", "after"))
    assert before
    assert after.startswith(before)
    assert len(ended(after)) == len(set(ended(after))) == 8, done.stderr
