"""The devices of a run, watched from outside: what is written, what a record gets, what it costs."""

from __future__ import annotations

import dataclasses
import json
import os
import time

import pytest
from fakes_ops import core
from fakes_run import FakeGpu, FakeNvml, FakeServer, job
from patient import holds_once

from ditbench.devices import lock
from ditbench.devices.device import CPU, Device
from ditbench.devices.nvml import inventory
from ditbench.errors import UnfitError
from ditbench.jobs import Findings
from ditbench.records import Stage, Status
from ditbench.run.order import jobs_of
from ditbench.run.scheduler import Session, execute
from ditbench.run.server import Answer
from ditbench.run.telemetry import FILE, Telemetry, watches

ONE = "GPU-11111111-aaaa"


@pytest.fixture
def gpu():
    return FakeGpu(ONE)


def telemetry(folder, *gpus, warned=None, nvml=None):
    nvml = nvml or FakeNvml(list(gpus))
    devices = [Device(one) for one in inventory(nvml)] or [CPU]
    warn = warned.append if warned is not None else pytest.fail
    return Telemetry(watches(devices, nvml if gpus else None), folder, warn)


def judged(watch, findings, *, stage=Stage.TIME, device=ONE, seconds=1.0, of=None):
    asked = job(stage=stage, device=device)
    asked = dataclasses.replace(asked, cell=of or asked.cell)
    return watch.judge(asked, Answer(findings, "now", seconds)).findings


def wait(until, seconds=20.0):
    """A machine with much to do may sample late; what is promised comes all the same."""
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        time.sleep(0.05)


def timed(seconds, repeats=4, during=lambda: None, until=lambda: True):
    """What a worker would say of so many seconds, or more, while the samples are taken."""
    begin = time.monotonic_ns()
    during()
    time.sleep(seconds)
    wait(until)
    stretch = [begin, time.monotonic_ns()]
    return Findings(metrics={"latency": (0.1,) * repeats}, facts={"timed_ns": stretch})


def share_of_a_processor(seconds):
    """What this process takes while it does nothing but watch."""
    begun, spent = time.monotonic(), time.process_time()
    time.sleep(seconds)
    return (time.process_time() - spent) / (time.monotonic() - begun)


def lines(folder):
    """Those that are whole: the last may be on its way."""
    text = (folder / FILE).read_text()
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def test_every_look_is_a_line_with_both_clocks_and_its_device(tmp_path, gpu):
    begun = time.monotonic()
    with telemetry(tmp_path, gpu):
        wait(lambda: time.monotonic() - begun > 0.5 and len(lines(tmp_path)) > 2)
        tenths = (time.monotonic() - begun) * 10
    found = lines(tmp_path)
    assert 3 <= len(found) <= tenths + 3
    assert {one["device"] for one in found} == {"0"}
    assert [one["ns"] for one in found] == sorted(one["ns"] for one in found)
    assert abs(found[-1]["at"] - time.time()) < 5
    assert (found[0]["sm_clock"], found[0]["power"], found[0]["reasons"]) == (1.98e9, 500.0, 0)
    assert max(map(len, (tmp_path / FILE).read_text().splitlines())) < 260


def test_a_timed_record_gets_a_summary_and_joules_per_image(tmp_path, gpu):
    with telemetry(tmp_path, gpu) as watch:
        found = judged(watch, timed(1.2))
    told = found.facts["telemetry"]
    assert told["device"] == ONE
    assert told["sm_clock"] == [1.98e9] * 3
    assert told["samples"] >= 2
    assert (told["slowed_share"], told["foreign_share"], told["foreign"]) == (0.0, 0.0, [])
    assert found.metrics["energy"] == (pytest.approx(500 * told["window_s"] / 4, rel=0.02),)
    assert found.facts["energy"]["images"] == 4
    assert found.facts["energy"]["disagreement"] < 0.05
    assert "memory_of_others" not in told


@pytest.mark.parametrize(
    ("stage", "findings"),
    [(Stage.GATE, Findings()), (Stage.TIME, Findings(Status.CRASHED, "segmentation fault"))],
    ids=["gate", "crash"],
)
def test_what_has_no_time_gets_no_telemetry(tmp_path, gpu, stage, findings):
    with telemetry(tmp_path, gpu) as watch:
        assert judged(watch, findings, stage=stage) == findings


def test_without_stamps_the_whole_process_is_the_stretch(tmp_path, gpu):
    with telemetry(tmp_path, gpu) as watch:
        time.sleep(0.3)
        found = judged(watch, Findings(metrics={"latency": (0.1,)}), seconds=0.2)
    assert found.facts["telemetry"]["window_s"] == pytest.approx(0.2, abs=0.05)
    assert "timed for" in found.facts["energy"]["missing"]
    assert "energy" not in found.metrics


def test_mistake_29_a_throttled_stretch_is_in_the_record(tmp_path, gpu):
    with telemetry(tmp_path, gpu) as watch:
        found = judged(watch, timed(0.6, during=lambda: setattr(gpu, "reasons", 0x40)))
    assert found.facts["telemetry"]["slowed_share"] > 0.7
    assert set(found.facts["telemetry"]["slowed"]) == {"heat"}


def test_mistake_29_calls_during_heat_are_named_in_the_record_and_their_values_stay(tmp_path, gpu):
    with telemetry(tmp_path, gpu) as watch:
        found = timed(0.4, during=lambda: setattr(gpu, "reasons", 0x40))
        begin, end = found.facts["timed_ns"]
        quarters = [(end - begin) * part // 4 for part in range(4)]
        facts = {"timed_ns": [begin, end], "calls_ns": quarters}
        found = judged(watch, dataclasses.replace(found, facts=facts))
    hot = "the GPU was slowed by heat"
    assert found.facts["excluded"] == [[place, hot] for place in range(4)]
    assert found.metrics["latency"] == (0.1,) * 4


def test_nothing_is_left_out_of_a_quiet_stretch(tmp_path, gpu):
    with telemetry(tmp_path, gpu) as watch:
        found = timed(0.3)
        found = judged(watch, dataclasses.replace(found, facts={**found.facts, "calls_ns": [0]}))
    assert "excluded" not in found.facts


def test_mistake_29_a_process_that_comes_during_the_run_is_named(tmp_path, gpu):
    parent = os.getppid()

    def seen():
        return any("foreign" in one for one in lines(tmp_path))

    with telemetry(tmp_path, gpu) as watch:
        came = timed(0.3, during=lambda: setattr(gpu, "pids", (parent,)), until=seen)
        found = judged(watch, came)
    told = found.facts["telemetry"]
    assert told["foreign_share"] > 0
    assert told["foreign"][0].startswith(f"process {parent} (")
    assert any(f"process {parent}" in str(one.get("foreign")) for one in lines(tmp_path))


def test_our_own_worker_is_no_stranger(tmp_path, gpu):
    gpu.pids = (os.getpid(),)
    with telemetry(tmp_path, gpu) as watch:
        assert judged(watch, timed(0.3)).facts["telemetry"]["foreign"] == []


def test_mistake_29_memory_that_stays_when_our_worker_has_gone_is_somebody_elses(tmp_path, gpu):
    with telemetry(tmp_path, gpu) as watch:
        found = judged(watch, timed(0.3, during=lambda: setattr(gpu, "used", 3 * 2**30)))
    assert found.facts["telemetry"]["memory_of_others"] == 3 * 2**30


def test_memory_of_another_run_that_waited_for_our_lock_is_no_trespass(tmp_path, gpu):
    with telemetry(tmp_path, gpu) as watch, lock.take(ONE, lambda _phase: None):
        found = judged(watch, timed(0.05, during=lambda: setattr(gpu, "used", 3 * 2**30)))
    assert "memory_of_others" not in found.facts["telemetry"]


def test_memory_that_the_driver_takes_back_late_is_nobodys(tmp_path):
    class Late(FakeGpu):
        """Holds our worker's memory for two looks more."""

        looks = 0

    class Nvml(FakeNvml):
        def nvmlDeviceGetMemoryInfo(self, gpu):  # noqa: N802 (NVML's own)
            gpu.looks += gpu.used > 2**30
            gpu.used = gpu.used if gpu.looks < 3 else 2**20
            return super().nvmlDeviceGetMemoryInfo(gpu)

    gpu = Late(ONE)
    with telemetry(tmp_path, gpu, nvml=Nvml([gpu])) as watch:
        ended = timed(0.05)
        gpu.used = 3 * 2**30
        assert "memory_of_others" not in judged(watch, ended).facts["telemetry"]


def test_a_slice_is_told_of_its_whole_gpu_and_has_no_energy_of_its_own(tmp_path):
    part = FakeGpu("MIG-1", utilisation=None, heat=None, sm=None, draw=None)
    with telemetry(tmp_path, FakeGpu(ONE, slices=(part,), heat=71)) as watch:
        found = judged(watch, timed(0.3), device="MIG-1")
    assert found.facts["telemetry"]["temperature"] == [71, 71.0, 71]
    assert "power" not in found.facts["telemetry"]
    assert "slice" in found.facts["energy"]["missing"]
    assert "energy" not in found.metrics


def test_two_gpus_keep_their_samples_apart(tmp_path, gpu):
    with telemetry(tmp_path, gpu, FakeGpu("GPU-2", heat=80)) as watch:
        findings = timed(0.3)
        both = [judged(watch, findings, device=name) for name in (ONE, "GPU-2")]
    assert [one.facts["telemetry"]["temperature"][1] for one in both] == [60, 80]


def test_the_processors_are_watched_where_there_is_no_gpu(tmp_path):
    with telemetry(tmp_path) as watch:
        time.sleep(0.2)
        found = judged(watch, timed(0.8), device="cpu")
    told = found.facts["telemetry"]
    assert told["device"] == "cpu"
    assert (
        0 <= told["others"] <= 1.2 * os.cpu_count()
    )  # the kernel counts in hundredths of a second
    assert {"busy", "ours"} <= set(lines(tmp_path)[0])
    assert "energy" not in found.metrics


def test_a_device_that_is_not_watched_leaves_the_answer_as_it_is(tmp_path, gpu):
    with telemetry(tmp_path, gpu) as watch:
        assert judged(watch, Findings(), device="GPU-other") == Findings()


def test_a_full_disk_costs_one_warning_and_not_the_run(tmp_path, gpu):
    (tmp_path / FILE).symlink_to("/dev/full")
    warned = []
    with telemetry(tmp_path, gpu, warned=warned) as watch:
        found = judged(watch, timed(0.3, until=lambda: warned))
    assert found.facts["telemetry"]["samples"] > 0
    assert len(warned) == 1
    assert "No space left on device; the run goes on" in warned[0]


def test_a_folder_that_has_gone_costs_one_warning(tmp_path, gpu):
    warned = []
    with telemetry(tmp_path / "gone", gpu, warned=warned):
        time.sleep(0.3)
    assert len(warned) == 1


def test_a_file_that_is_long_enough_ends_with_one_warning(tmp_path, gpu, monkeypatch):
    monkeypatch.setattr("ditbench.run.telemetry._LARGEST", 500)
    warned = []
    with telemetry(tmp_path, gpu, warned=warned):
        wait(lambda: warned)
    assert len(warned) == 1
    assert (tmp_path / FILE).stat().st_size < 1000


def test_a_failure_of_the_watcher_itself_is_told_once_and_ends_nothing(tmp_path, gpu):
    class Broken(FakeNvml):
        def nvmlDeviceGetTemperature(self, _gpu, _sensor):  # noqa: N802 (NVML's own)
            raise RuntimeError("the bus is on fire")

    warned = []
    with telemetry(tmp_path, gpu, warned=warned, nvml=Broken([gpu])) as watch:
        time.sleep(0.3)
        assert judged(watch, Findings()) == Findings()
    assert warned == [f"{ONE} is not watched any more: RuntimeError('the bus is on fire')"]


def test_a_job_longer_than_samples_are_kept_says_so(tmp_path, gpu, monkeypatch):
    monkeypatch.setattr("ditbench.run.telemetry._KEPT", 4)
    with telemetry(tmp_path, gpu) as watch:
        found = judged(watch, timed(1.2, until=lambda: len(lines(tmp_path)) > 8))
    assert found.facts["energy"] == {"missing": "timed for longer than samples are kept"}
    assert "energy" not in found.metrics


def test_of_two_watches_one_may_fail_and_the_other_costs_no_more_than_before(tmp_path, gpu):
    class Broken(FakeNvml):
        def nvmlDeviceGetTemperature(self, gpu, _sensor):  # noqa: N802 (NVML's own)
            if gpu.heat > 100:
                raise RuntimeError("the bus is on fire")
            return gpu.heat

    warned = []
    nvml = Broken([gpu, FakeGpu("GPU-2")])
    with telemetry(tmp_path, *nvml.gpus, warned=warned, nvml=nvml) as watch:
        nvml.gpus[1].heat = 101
        wait(lambda: warned)
        assert holds_once(lambda: share_of_a_processor(seconds=1) < 0.1)
        found = judged(watch, timed(0.3))
    assert len(warned) == 1
    assert found.facts["telemetry"]["samples"] >= 2


def test_a_gpu_that_falls_off_the_bus_is_silent_and_ends_nothing(tmp_path, gpu):
    silent = dict.fromkeys(
        ("heat", "sm", "memory_clock", "reasons", "draw", "total", "utilisation")
    )
    with telemetry(tmp_path, gpu) as watch:
        vars(gpu).update(silent | {"counts": False})
        found = judged(watch, timed(0.3))
    assert found.facts["telemetry"]["slowed_share"] == 0.0


def test_a_gpu_that_has_gone_before_the_run_is_refused(gpu):
    nvml = FakeNvml([gpu])
    (known,) = inventory(nvml)
    nvml.gpus.clear()
    with pytest.raises(UnfitError, match="does not find this GPU any more"):
        watches([Device(known)], nvml)


@pytest.mark.slow  # and so without the tracer of coverage, which would double it
@pytest.mark.parametrize("gpus", [0, 1], ids=["processors", "GPU"])
def test_watching_costs_less_than_a_hundredth_of_one_processor(tmp_path, gpus):
    """The whole process while nothing else in it works."""
    with telemetry(tmp_path, *(FakeGpu(ONE) for _ in range(gpus))):
        time.sleep(0.2)
        assert holds_once(lambda: share_of_a_processor(seconds=2) < 0.01)


def test_a_run_keeps_what_was_watched_and_never_the_series(tmp_path, gpu):
    class Slow(FakeServer):
        def run_job(self, job, log, hear):
            answer = super().run_job(job, log, hear)
            return dataclasses.replace(answer, findings=timed(0.25, repeats=2))

    from fakes_run import cell, suite

    records = []
    jobs = jobs_of([cell()], suite(metrics=("latency",)), ONE, tmp_path)
    with telemetry(tmp_path, gpu) as watch:
        execute(jobs, Slow(), Session(tmp_path, "", "", watch=watch), records.append)
    assert [("telemetry" in one.facts) for one in records] == [False, True, True, True]
    assert all(len(json.dumps(one.facts)) < 2000 for one in records)


def test_a_core_by_itself_has_no_energy_for_other_work_lies_between_its_calls(tmp_path, gpu):
    with telemetry(tmp_path, gpu) as watch:
        found = judged(watch, timed(0.3), of=core("sdpa", 64))
    assert "other things" in found.facts["energy"]["missing"]
    assert "energy" not in found.metrics
    assert "telemetry" in found.facts
