"""A run on a GPU that is not ours to use, through the command line, with an NVML of our own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes_run import FakeGpu, FakeNvml

from ditbench import cli
from ditbench.devices import nvml

ONE = "GPU-11111111-aaaa"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Exit code and what stood on stderr of `ditbench run` on this GPU."""

    def run(gpu, *arguments):
        monkeypatch.setattr(nvml, "load", lambda: FakeNvml([gpu]))
        monkeypatch.chdir(tmp_path)
        (tmp_path / "suite.yaml").write_text("name: x\nmodel: fashion-dit\nattention: softmax\n")
        return cli.main(["run", "suite.yaml", *arguments]), capsys.readouterr().err

    return run


def test_mistake_29_a_busy_gpu_is_exit_6_with_its_process_named(run, tmp_path):
    code, told = run(FakeGpu(ONE, pids=(os.getpid(),)))
    assert code == 6
    assert f"GPU 0 (NVIDIA H200) is used by process {os.getpid()} (" in told
    assert "pytest" in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_mistake_29_a_process_that_cannot_be_seen_is_told_by_its_number(run):
    code, told = run(FakeGpu(ONE, pids=(2**30,)), "--gpu", "0")
    assert code == 6
    assert str(2**30) in told


def test_mistake_29_memory_in_use_is_enough_where_no_process_is_shown(run):
    code, told = run(FakeGpu(ONE, used=5 * 2**30))
    assert code == 6
    assert "has 5.00 GiB in use" in told


_A_RUN = """
import os, sys
from fakes_run import FakeGpu, FakeNvml
from ditbench import cli
from ditbench.run import telemetry
from ditbench.devices.family import Family
from ditbench.devices.nvml import Meter

gpu = FakeGpu("GPU-1", reasons=int(sys.argv[1]))
meter = Meter.of(FakeNvml([gpu]), gpu.uuid)
watch = telemetry.GpuWatch("0", "cpu", meter, Family(os.getpid()))
telemetry.watches = lambda devices, nvml: (watch,)
sys.exit(cli.main(["run", "suite.yaml", "--gpu", "cpu"]))
"""
_SUITE = """
name: x
model: {name: dit, hidden: 32, depth: 2, heads: 2, size: 8, channels: 1, out_channels: 1, classes: 10}
attention: softmax
steps: 12
timing: {warmup: 1, warmup_cap_s: 0, repeats: 150, processes: 1}
metrics: [latency, energy]
"""


@pytest.mark.slow
@pytest.mark.parametrize(("reasons", "code"), [(0x40, 6), (0x04, 0)], ids=["heat", "power cap"])
def test_mistake_29_a_run_on_a_gpu_that_was_slowed_is_exit_6(tmp_path, reasons, code):
    """Worker, records, report and exit code are real; only the GPU that is watched is not."""
    (tmp_path / "suite.yaml").write_text(_SUITE)
    done = subprocess.run(
        [sys.executable, "-c", _A_RUN, str(reasons)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    page = next(tmp_path.glob("results/*/*/report.html")).read_text()
    slowed = "the GPU was slowed by heat in 100 % of samples"
    assert (slowed in done.stdout, slowed in page) == (code == 6, code == 6)
    assert "joules per image" in page
    lines = next(tmp_path.glob("results/*/*/records.jsonl")).read_text().splitlines()
    timed = next(one for one in map(json.loads, lines) if one["stage"] == "time")
    facts, metrics = timed["facts"], timed["metrics"]
    # The fake's energy counter counts 500 W.
    begin, end = facts["timed_ns"]
    joules = 500 * (end - begin) / 1e9 / len(metrics["latency"])
    assert metrics["energy"] == [pytest.approx(joules, rel=0.02)]
    assert len(next(tmp_path.glob("results/*/*/telemetry.jsonl")).read_text().splitlines()) > 10
