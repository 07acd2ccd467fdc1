"""On a GPU: what watching costs, what energy is worth, whether a device is ours alone, who is on it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cells import registered

from ditbench.devices import device, nvml
from ditbench.errors import UnfitError
from ditbench.jobs import Job, Quality, Timing
from ditbench.records import Cell, Choice, Sampling, Stage, Status
from ditbench.run.server import Server
from ditbench.run.telemetry import Telemetry, watches

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]

HERE = Path(__file__).parent
# Steps without end, each told with its end and its length on the GPU's own clock.
_STEPS = """
import time, torch
from cells import registered
from ditbench.measure import timing
from ditbench.measure.bench import set_up
from ditbench.records import Cell, Choice, Sampling
cell = Cell(registered("dit-xl/2-256"), Choice("sdpa", (("backend", "auto"),)), blocks=tuple(range(28)),
            batch_size=8, steps=20, sampling=Sampling(dtype="bfloat16"))
bench = set_up(cell, "cuda")
inputs = bench.inputs(range(8))
watch = timing.CudaStopwatch()
while True:
    bench.denoiser.install(bench.layers)
    watch.start()
    bench.sample(inputs, on_step=watch.mark)
    print([time.monotonic_ns(), watch.seconds()], flush=True)
"""
_HOLDS = """
import torch, time
kept = torch.ones(2**31, dtype=torch.uint8, device="cuda")
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def gpu():
    """The device that a run would choose."""
    return device.choose(None, nvml.load(), os.environ)


def child(script, gpu, out=subprocess.PIPE):
    environ = os.environ | {
        "CUDA_VISIBLE_DEVICES": gpu.name,
        "PYTHONPATH": str(HERE),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
    command = [sys.executable, "-c", script]
    return subprocess.Popen(command, stdout=out, text=True, env=environ)


def job(gpu, folder, repeats=20):
    cell = Cell(
        registered("dit-xl/2-256"), Choice("sdpa", (("backend", "auto"),)), blocks=tuple(range(28)),
        batch_size=8, steps=20, sampling=Sampling(dtype="bfloat16"),
    )  # fmt: skip
    timing = Timing(warmup=2, repeats=repeats, processes=1)
    return Job(cell, Stage.TIME, 0, timing, Quality(), ("latency",), gpu.name, folder)


def test_watching_costs_less_than_two_thousandths_of_a_step(gpu, tmp_path):
    """One process steps on while we watch for two seconds, look away for two, ten times over."""
    steps = tmp_path / "steps"
    with steps.open("w") as out:
        stepping = child(_STEPS, gpu, out)
    stretches = {True: [], False: []}
    try:
        while not steps.read_text():  # the first run, cold
            assert stepping.poll() is None
            time.sleep(1)
        time.sleep(5)
        for turn in range(20):
            watched, begin = turn % 2 == turn // 2 % 2, time.monotonic_ns()  # A B B A
            if watched:
                with Telemetry(watches([gpu], nvml.load()), tmp_path, pytest.fail):
                    time.sleep(2)
            else:
                time.sleep(2)
            stretches[watched].append((begin, time.monotonic_ns()))
    finally:
        stepping.kill()
        stepping.wait()
    lines = steps.read_text().splitlines(keepends=True)
    told = [json.loads(line) for line in lines if line.endswith("]\n")]

    def median(which):
        """Of the steps of the runs that lay wholly in such a stretch."""
        return statistics.median(
            second
            for end, seconds in told
            for second in seconds
            if any(a + sum(seconds) * 1e9 < end < b for a, b in stretches[which])
        )

    assert median(True) / median(False) - 1 < 0.002


def test_the_energy_counter_agrees_with_integrated_power_within_five_per_cent(gpu, tmp_path):
    with Server() as server, Telemetry(watches([gpu], nvml.load()), tmp_path, pytest.fail) as watch:
        asked = job(gpu, tmp_path, repeats=60)
        found = watch.judge(asked, server.run_job(asked, tmp_path / "a.log")).findings
    assert found.status is Status.OK, found.reason
    energy = found.facts["energy"]
    assert energy["source"] == "counter"
    assert energy["disagreement"] < 0.05
    assert 1 < found.metrics["energy"][0] < 1000
    told = found.facts["telemetry"]
    assert told["samples"] > 10
    assert told["foreign"] == []
    assert told["sm_clock"][1] > 5e8


def test_two_processes_take_turns_on_a_device_and_each_sees_no_other(gpu, tmp_path):
    heard = []
    with Server() as server, ThreadPoolExecutor(2) as hands:
        asked = [replace(job(gpu, tmp_path), replicate=number) for number in range(2)]
        answers = list(
            hands.map(
                lambda one: server.run_job(one, tmp_path / f"{one.replicate}.log", heard.append),
                asked,
            )
        )
    # `place` in the worker has compared CUDA's UUID with the one that was chosen.
    assert [one.findings.status for one in answers] == [Status.OK] * 2
    (_, first_end), (second, _) = sorted(one.findings.facts["timed_ns"] for one in answers)
    assert first_end < second
    assert any(phase.startswith(f"waiting for {gpu.name}") for phase in heard)


def test_mistake_29_a_real_process_makes_a_gpu_busy(gpu):
    holding = child(_HOLDS, gpu)
    try:
        assert holding.stdout.readline() == "ready\n"
        with pytest.raises(UnfitError) as caught:
            device.choose(gpu.name, nvml.load(), {})
    finally:
        holding.kill()
        holding.wait()
    assert (
        f"process {holding.pid} (" in str(caught.value)
        or "in use" in str(caught.value)
        or ("cannot see (host id" in str(caught.value))
    )
