"""A writer that is killed at any moment: every record that it was told is safe is there once, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fakes_runs import cell, fake_run, timed

from ditbench.store import RunWriter, find, read
from ditbench.store.writing import to_plain

TESTS = Path(__file__).parent.parent
SEEDS = range(3)

WRITES = """
import sys; from pathlib import Path
from fakes_runs import *; from ditbench.store import RunWriter
writer = (RunWriter.create(Path(sys.argv[1]), fake_run()) if sys.argv[2] == "new"
          else RunWriter.resume(Path(sys.argv[2])))
first = len(writer.run.records)
for number in range(first, 100_000):
    one = timed(cell(batch_size=number + 1), tuple(0.1 + 1e-9 * i * number for i in range(200)))[0]
    writer.append(one)
    print(number, flush=True)
"""


def expected(number):
    return timed(cell(batch_size=number + 1), tuple(0.1 + 1e-9 * i * number for i in range(200)))[0]


def killed(results, which, chance):
    """Let a process append as fast as it can, kill it at a random moment; how many it was told are safe."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITES, str(results), which],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        text=True,
    )
    with writer:
        writer.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.3))
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines(keepends=True)
    assert writer.returncode == -signal.SIGKILL
    return rest


@pytest.mark.parametrize("seed", SEEDS)
def test_a_kill_at_any_moment_loses_no_record_that_was_acknowledged(tmp_path, seed):
    told = killed(tmp_path, "new", np.random.default_rng(seed))
    acknowledged = 1 + sum(line.endswith("\n") for line in told)
    back = read(find(tmp_path, "latest"))
    assert (
        acknowledged <= len(back.records) <= acknowledged + 1
    )  # the last may be safe and not yet told
    assert back.records == tuple(map(expected, range(len(back.records))))
    plain = [json.dumps(to_plain(one), sort_keys=True) for one in back.records]
    assert plain == [json.dumps(to_plain(expected(n)), sort_keys=True) for n in range(len(plain))]
    assert not back.finished


@pytest.mark.parametrize("seed", SEEDS[:1])
def test_killed_again_and_again_a_run_that_goes_on_has_every_record_once(tmp_path, seed):
    chance = np.random.default_rng(100 + seed)
    killed(tmp_path, "new", chance)
    folder = find(tmp_path, "latest")
    for _ in range(2):
        killed(tmp_path, str(folder), chance)
    with RunWriter.resume(folder) as writer:
        count = len(writer.run.records)
        writer.append(expected(count))
        writer.finish()
    back = read(folder)
    assert back.problems == ()
    assert back.records == tuple(map(expected, range(count + 1)))
    assert back.finished


@pytest.mark.parametrize("seed", SEEDS)
def test_a_line_torn_at_any_byte_is_cut_and_nothing_before_it(tmp_path, seed):
    chance = np.random.default_rng(200 + seed)
    with RunWriter.create(tmp_path, fake_run()) as writer:
        for number in range(4):
            writer.append(expected(number))
    path = writer.folder / "records.jsonl"
    whole = path.read_bytes()
    last = whole[:-1].rfind(b"\n") + 1
    for end in sorted(chance.choice(range(last, len(whole)), 20, replace=False).tolist()):
        path.write_bytes(whole[:end])
        with RunWriter.resume(writer.folder) as again:
            kept = 4 if end == len(whole) - 1 else 3
            assert again.run.records == tuple(map(expected, range(kept)))
        assert path.read_bytes() == (whole if kept == 4 else whole[:last])
