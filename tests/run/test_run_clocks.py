"""Clocks are locked only on request, and let go of however the run ends, a kill included."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fakes_run import FakeGpu, FakeNvml, NvmlError

from ditbench import environment, errors
from ditbench.cli import main
from ditbench.devices import clocks, gpu_checks
from ditbench.devices.device import CPU, Device, facts_of
from ditbench.devices.nvml import inventory
from ditbench.errors import UnfitError, UsageError

ONE = "GPU-11111111-1111-1111-1111-111111111111"
# What the guardian, and in the last tests the run itself, gets for NVML: it writes what is asked of it.
PYNVML = """
import os
class NVMLError(Exception): pass
def _write(line):
    with open(os.environ["CALLS"], "a") as file: file.write(line + "\\n")
def nvmlInit(): pass
def nvmlDeviceGetHandleByUUID(uuid): return uuid
def nvmlDeviceSetGpuLockedClocks(handle, least, most): _write(f"lock {handle} {least} {most}")
def nvmlDeviceResetGpuLockedClocks(handle): _write(f"reset {handle}")
def nvmlDeviceGetMaxClockInfo(handle, clock): return 1980
"""
HOLDER = """
import sys, time
from ditbench.devices import clocks, nvml
from ditbench.devices.device import Device
from ditbench.devices.nvml import Gpu
gpu = Gpu("0", sys.argv[1], "H100", "580", None, None, None, None)
with clocks.locked(nvml.load(), (Device(gpu),), "max"):
    print("locked", flush=True)
    time.sleep(600)
"""


class Driver(FakeNvml):
    """One that locks, or refuses."""

    refuses: str = ""
    base: int = 1410

    def nvmlDeviceSetGpuLockedClocks(self, gpu, least, most):  # noqa: N802 (NVML's name)
        if self.refuses:
            raise NvmlError(self.refuses)
        with Path(os.environ["CALLS"]).open("a") as file:
            file.write(f"lock {gpu.uuid} {least} {most}\n")

    def nvmlDeviceGetDefaultApplicationsClock(self, _gpu, _clock):  # noqa: N802 (NVML's name)
        if not self.base:
            raise NvmlError("not supported")
        return self.base


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Where NVML's calls are written; the guardian's NVML is the one above."""
    (tmp_path / "pynvml.py").write_text(PYNVML)
    file = tmp_path / "calls"
    file.touch()
    monkeypatch.setenv("CALLS", str(file))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return file


def driver():
    return Driver([FakeGpu(ONE)])


def devices(nvml):
    return tuple(Device(gpu) for gpu in inventory(nvml))


def test_without_the_option_nothing_is_locked_and_nobody_watches(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *_: pytest.fail("a guardian was started"))
    with clocks.locked(None, (CPU,), "") as found:
        assert found == (CPU,)


@pytest.mark.parametrize(("wanted", "clock"), [("1200", 1200), ("base", 1410), ("max", 1980)])
def test_clocks_are_locked_within_and_let_go_of_behind(calls, wanted, clock):
    nvml = driver()
    with clocks.locked(nvml, devices(nvml), wanted):
        assert calls.read_text() == f"lock {ONE} {clock} {clock}\n"
    assert calls.read_text().splitlines()[1:] == [f"reset {ONE}"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_exception_and_ctrl_c_let_go_too(calls, error):
    nvml = driver()
    with pytest.raises(error), clocks.locked(nvml, devices(nvml), "1200"):
        raise error
    assert calls.read_text().splitlines()[1:] == [f"reset {ONE}"]


def test_without_the_right_to_lock_it_is_one_line_and_exit_6(calls):
    nvml = driver()
    nvml.refuses = "Insufficient Permissions"
    with pytest.raises(UnfitError) as told, clocks.locked(nvml, devices(nvml), "1200"):
        pytest.fail("it went on")
    assert str(told.value).startswith(
        "--lock-clocks: the driver refuses 1200 MHz: Insufficient Permissions; it needs the rights of root"
    )
    assert "\n" not in str(told.value)
    assert "lock" not in calls.read_text()


@pytest.mark.parametrize("wanted", ["fast", "0", "-1", "1.4GHz"])
def test_what_is_no_clock_is_a_mistake_of_use(wanted):
    nvml = driver()
    told = f"--lock-clocks {wanted}: say megahertz"
    with pytest.raises(UsageError, match=told), clocks.locked(nvml, devices(nvml), wanted):
        pytest.fail("it went on")


def test_a_processor_a_slice_and_a_gpu_without_a_base_clock_are_refused(calls):
    nvml = driver()
    nvml.base = 0
    with pytest.raises(UnfitError, match="a CPU's clock"), clocks.locked(nvml, (CPU,), "max"):
        pytest.fail("it went on")
    with pytest.raises(UnfitError, match="does not say what that is"):
        clocks.locked(nvml, devices(nvml), "base").__enter__()
    cut = inventory(nvml)[0].__class__("0:0", "MIG-1", "slice", "580", None, None, None, None)
    with pytest.raises(UnfitError, match="MIG-1 is a slice"):
        clocks.locked(nvml, (Device(cut),), "max").__enter__()
    assert calls.read_text() == ""


def test_on_a_machine_without_a_gpu_a_run_ends_with_6_before_anything_is_measured(
    tmp_path, capsys, monkeypatch
):
    suite = tmp_path / "suite.yaml"
    suite.write_text("name: a\nmodel: fashion-dit\nattention: [softmax]\n")
    monkeypatch.setattr("ditbench.devices.nvml.load", lambda: None)
    assert main(["run", str(suite), "--lock-clocks", "max"]) == errors.ENVIRONMENT
    told = "--lock-clocks: a CPU's clock is not ours to lock: leave it out, or name a GPU"
    assert capsys.readouterr().err == f"ditbench: {told}\n"
    assert main(["run", str(suite), "--lock-clocks", "fast"]) == errors.USAGE


@pytest.mark.parametrize("arm", ["git:HEAD", "pip:torch"])
def test_arms_of_other_code_would_not_know_of_a_lock(tmp_path, capsys, arm):
    suite = tmp_path / "suite.yaml"
    suite.write_text("name: a\nmodel: fashion-dit\nattention: [softmax]\n")
    asked = ["ab", str(suite), "--a", arm, "--b", ".", "--lock-clocks", "1410"]
    assert main(asked) == errors.USAGE
    assert "lock by hand with sudo nvidia-smi -lgc MHZ" in capsys.readouterr().err


def test_locked_clocks_are_a_fact_of_the_environment_that_must_agree(calls):
    nvml = driver()
    loose = environment.collect("cuda", facts_of(devices(nvml)), {})
    with clocks.locked(nvml, devices(nvml), "1410") as found:
        fast = environment.collect("cuda", facts_of(found), {})
    assert fast.facts["gpu_clocks"] == "locked at 1.41 GHz"
    assert calls.read_text() != ""
    assert environment.incompatible(loose, fast) == ["gpu_clocks: not set -> locked at 1.41 GHz"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_is_killed_leaves_no_locked_clock(calls, number):
    """The guardian lives on for a moment; it is waited for by the end of what it holds: our pipe."""
    run = subprocess.Popen([sys.executable, "-c", HOLDER, ONE], stdout=subprocess.PIPE, text=True)
    assert run.stdout.readline() == "locked\n"
    (guardian,) = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    watched = os.pidfd_open(int(guardian))
    assert os.getsid(int(guardian)) == int(guardian)
    assert calls.read_text() == f"lock {ONE} 1980 1980\n"
    run.send_signal(number)
    run.wait(30)
    assert select.select([watched], [], [], 60)[0], "the guardian did not end"
    os.close(watched)
    run.stdout.close()
    assert calls.read_text().splitlines()[1:] == [f"reset {ONE}"]


def test_the_guardian_hears_no_ctrl_c_and_no_closed_terminal(calls):
    guardian = subprocess.Popen(
        [sys.executable, "-m", "ditbench.devices.guardian", ONE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert guardian.stdout.readline() == clocks.READY
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        guardian.send_signal(number)
    assert calls.read_text() == ""
    guardian.communicate(timeout=30)
    assert guardian.returncode == 0
    assert calls.read_text() == f"reset {ONE}\n"


def resting(sm):
    nvml = FakeNvml([FakeGpu(ONE, reasons=1, sm=sm)])
    (gpu,) = inventory(nvml)
    return [f"{one.severity}: {one.what}" for one in gpu_checks._gpu(gpu)]


def test_a_doctor_tells_a_locked_clock_and_how_to_let_it_go():
    told = [line for line in resting(1410) if "stays at" in line]
    held = "fine: GPU 0: its clock stays at 1.41 GHz while nothing runs, as a locked one does"
    assert told == [f"{held} (sudo nvidia-smi -i 0 -rgc lets it go)"]
    assert not any("stays at" in line for line in resting(345))
    assert any("clock is not locked" in line for line in resting(345))
