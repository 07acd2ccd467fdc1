"""The doctor: each illness of a machine planted alone, told with what it does and the command against it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes_run import FakeGpu, FakeNvml

from ditbench import cli
from ditbench.devices import doctor, lock, nvml
from ditbench.devices.diagnosis import Machine, Severity
from ditbench.devices.doctor import examine, torch_cuda
from ditbench.devices.nvml import inventory

ONE = "GPU-11111111-aaaa"
HOST = "pid:[4026531836]"
HEALTHY = {
    "proc/meminfo": "MemTotal: 64000000 kB\nMemAvailable: 60000000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
    "proc/loadavg": "0.05 0.10 0.20 1/200 4242\n",
    "proc/self/cgroup": "0::/job\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "1\n",
    "sys/devices/system/cpu/smt/active": "0\n",
}


@pytest.fixture
def machine(tmp_path):
    """A healthy machine with two processors; other files and parts as given."""

    def machine(files=(), gpus=(), namespace=HOST, cuda=13000, driver=None, **parts):
        for name, text in (HEALTHY | dict(files)).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        pid = tmp_path / "proc/self/ns/pid"
        pid.parent.mkdir(exist_ok=True)
        pid.symlink_to(namespace)
        driver = driver or (FakeNvml(list(gpus), cuda) if gpus else None)
        plain = Machine(
            gpus=inventory(driver),
            nvml=driver,
            environ={},
            cpus=(0, 1),
            torch_cuda="13.0",
            results=tmp_path / "results",
            lock_folder=tmp_path,
            root=tmp_path,
        )
        return dataclasses.replace(plain, **parts)

    return machine


def ill(machine):
    """The one illness that was found."""
    (found,) = [one for one in examine(machine) if one.severity is not Severity.FINE]
    return found


@pytest.mark.parametrize("gpus", [(), (FakeGpu(ONE),)], ids=["processors", "GPU"])
def test_a_healthy_machine_has_nothing_to_mend(machine, gpus):
    found = examine(machine(gpus=gpus))
    assert {one.severity for one in found} == {Severity.FINE}
    assert not any(one.why or one.command for one in found)


@pytest.mark.parametrize(
    ("gpu", "severity", "what", "command"),
    [
        ({"persistence": 0}, "doubtful", "persistence mode is off", "sudo nvidia-smi -i 0 -pm 1"),
        ({"enforced": 500}, "doubtful", "capped at 500 W of 700 W", "sudo nvidia-smi -i 0 -pl 700"),
        ({"reasons": 1, "sm": 345}, "doubtful", "clock is not locked", "sudo nvidia-smi -i 0 -lgc 1980"),
        ({"reasons": 0x40}, "wrong", "slowed by heat", "nvidia-smi -q -d PERFORMANCE"),
        ({"used": 5 * 2**30}, "wrong", "has 5.00 GiB in use", "nvidia-smi -i 0"),
        ({"pids": (os.getpid(),)}, "wrong", f"is used by process {os.getpid()}", "nvidia-smi -i 0"),
        ({"mode": 2}, "wrong", "compute mode prohibited", "sudo nvidia-smi -i 0 -c DEFAULT"),
        ({"slices": (FakeGpu("MIG-1"),)}, "doubtful", "is a slice", "sudo nvidia-smi -i 0 -mig 0"),
    ],
    ids=["persistence", "power", "clock", "heat", "memory", "process", "prohibited", "slice"],
)  # fmt: skip
def test_mistake_29_an_ill_gpu_is_told_with_its_cure(machine, gpu, severity, what, command):
    found = ill(machine(gpus=[FakeGpu(ONE, **gpu)]))
    assert (found.severity, what in found.what) == (severity, True)
    assert found.command.startswith(command)
    assert found.why


def test_a_gpu_that_says_nothing_is_not_called_ill(machine):
    silent = dict.fromkeys(("enforced", "usual", "sm", "sm_most", "reasons", "persistence", "ecc"))
    assert {one.severity for one in examine(machine(gpus=[FakeGpu(ONE, **silent)]))} == {"fine"}


def test_a_gpu_in_mig_mode_without_a_slice_is_wrong(machine):
    class Cut(FakeNvml):
        def nvmlDeviceGetMigMode(self, _gpu):  # noqa: N802 (NVML's own)
            return [1, 1]

    driver = Cut([FakeGpu(ONE)])
    found = ill(machine(driver=driver))
    assert "MIG mode and has no slice" in found.what
    assert found.command == "sudo nvidia-smi -i 0 -mig 0"


def test_gpus_of_several_kinds_are_doubtful(machine):
    found = ill(machine(gpus=[FakeGpu(ONE), FakeGpu("GPU-2", "NVIDIA T4")]))
    assert found.what == "GPUs of several kinds: NVIDIA H200, NVIDIA T4"
    assert found.command.endswith(f"--gpu {ONE}")


@pytest.mark.parametrize(
    ("torch", "cuda", "what"),
    [
        ("", 13000, "torch is a build for CPUs beside a GPU"),
        ("13.0", 12040, "torch was built for CUDA 13.0, the driver knows 12.4 at most"),
    ],
    ids=["CPU build", "old driver"],
)
def test_a_torch_that_cannot_use_the_gpu_is_wrong(machine, torch, cuda, what):
    found = ill(machine(gpus=[FakeGpu(ONE)], torch_cuda=torch, cuda=cuda))
    assert (found.severity, found.what) == ("wrong", what)
    assert found.command.startswith("pip install")


@pytest.mark.parametrize(
    ("cuda", "index"),
    [(12090, "cu128"), (12070, "cu126"), (12040, "cu124"), (12020, "cu121"), (11080, "cu118")],
)
def test_the_index_that_an_old_driver_is_sent_to_exists(machine, cuda, index):
    found = ill(machine(gpus=[FakeGpu(ONE)], cuda=cuda))
    assert f"https://download.pytorch.org/whl/{index} " in found.command


def test_a_driver_too_old_for_every_torch_is_sent_for_a_newer_one(machine):
    found = ill(machine(gpus=[FakeGpu(ONE)], cuda=11040))
    assert found.command == "# install a newer driver: https://www.nvidia.com/drivers"


def test_an_older_driver_of_the_same_major_version_will_do(machine):
    found = examine(machine(gpus=[FakeGpu(ONE)], torch_cuda="12.9", cuda=12040))
    assert {one.severity for one in found} == {Severity.FINE}


def test_a_driver_that_cannot_be_asked_is_not_the_same_as_no_gpu(machine):
    found = ill(machine({"proc/driver/nvidia/version": "NVRM version: 580"}))
    assert (found.severity, "NVML cannot be asked" in found.what) == ("wrong", True)


def test_a_container_without_the_hosts_processes_is_doubtful(machine):
    found = ill(machine(gpus=[FakeGpu(ONE)], namespace="pid:[4026532999]"))
    assert found.command.startswith("docker run --pid=host")


CPU = "sys/devices/system/cpu"


@pytest.mark.parametrize(
    ("files", "what", "command"),
    [
        ({"proc/loadavg": "1.50 1 1 2/3 4"}, "1.5 processes wanted", "top"),
        ({"proc/meminfo": "MemAvailable: 2000000 kB\n"}, "1.91 GiB of memory", "ps aux"),
        ({"proc/meminfo": "MemAvailable: 60000000 kB\nSwapTotal: 900000 kB\nSwapFree: 100000 kB\n"},
         "781 MiB are swapped out", "sudo swapoff -a"),
        ({"sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never"},
         "huge pages", "echo madvise"),
        ({f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave\n"}, "governed by performance, powersave",
         "sudo cpupower frequency-set -g performance"),
        ({f"{CPU}/intel_pstate/no_turbo": "0\n"}, "turbo is on", "echo 1"),
        ({f"{CPU}/intel_pstate/no_turbo": "", f"{CPU}/cpufreq/boost": "1\n"}, "boost is on", "echo 0"),
        ({f"{CPU}/smt/active": "1\n"}, "two threads share each core", "echo off"),
        ({"sys/fs/cgroup/job/cpu.max": "150000 100000\n"}, "allows 1.50 processors of 2",
         "docker run --cpuset-cpus"),
        ({"proc/self/cgroup": "3:cpu,cpuacct:/job\n", "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "50000",
          "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000"}, "allows 0.500 processors of 2", "docker"),
    ],
    ids=["load", "memory", "swap", "huge pages", "governor", "turbo", "boost", "threads", "quota",
         "quota of version 1"],
)  # fmt: skip
def test_what_makes_numbers_wander_is_doubtful_with_its_cure(machine, files, what, command):
    found = ill(machine(files))
    assert (found.severity, what in found.what) == ("doubtful", True), found.what
    assert found.command.startswith(command)
    assert found.why


@pytest.mark.parametrize(
    "files",
    [
        {"sys/fs/cgroup/job/cpu.max": "max 100000\n"},
        {"sys/fs/cgroup/job/cpu.max": "400000 100000\n"},
        {"proc/self/cgroup": "3:cpu,cpuacct:/job\n", "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "-1",
         "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000"},
    ],
    ids=["no quota", "enough", "no quota in version 1"],
)  # fmt: skip
def test_a_quota_that_binds_nobody_is_fine(machine, files):
    assert {one.severity for one in examine(machine(files))} == {Severity.FINE}


def test_too_little_memory_for_any_model_is_wrong(machine):
    found = ill(machine({"proc/meminfo": "MemAvailable: 900000 kB\n"}))
    assert found.severity is Severity.WRONG


def test_mistake_40_a_variable_that_a_run_refuses_is_wrong(machine):
    found = ill(machine(environ={"NVIDIA_TF32_OVERRIDE": "1 "}))
    assert (found.severity, found.command) == ("wrong", "unset NVIDIA_TF32_OVERRIDE")
    assert found.what == "NVIDIA_TF32_OVERRIDE=1  is set"
    assert found.why.startswith("changes the precision")


def test_more_threads_than_processors_are_doubtful(machine):
    found = ill(machine(environ={"OMP_NUM_THREADS": "8"}))
    assert found.command == "export OMP_NUM_THREADS=2"


@pytest.mark.parametrize(
    ("part", "told"), [("lock_folder", "locked there"), ("results", "no result")]
)
def test_a_folder_that_cannot_be_written_is_wrong(machine, tmp_path, part, told):
    """A file in the way stands for missing rights, which root does not miss."""
    (tmp_path / "file").write_text("")
    found = ill(machine(**{part: tmp_path / "file"}))
    assert (found.severity, told in found.why) == ("wrong", True)
    assert "TMPDIR" not in found.command


def test_a_folder_for_locks_that_is_not_there_is_wrong(machine, tmp_path):
    found = ill(machine(lock_folder=tmp_path / "none"))
    assert (found.severity, found.what) == ("wrong", f"{tmp_path / 'none'} cannot be written")


@pytest.mark.parametrize(("free", "severity"), [(50 * 2**20, "wrong"), (2**30, "doubtful")])
def test_a_disk_that_is_nearly_full_is_told(machine, monkeypatch, free, severity):
    from shutil import disk_usage

    there = disk_usage("/")
    monkeypatch.setattr("shutil.disk_usage", lambda _path: there._replace(free=free))
    found = ill(machine())
    assert (found.severity, "of disk are free" in found.what) == (severity, True)


def test_another_run_on_the_processors_is_named(machine):
    with lock.take("cpu", lambda _phase: None):
        found = ill(machine())
    assert found.what.endswith("measures on the processors")
    assert str(os.getpid()) in found.what


def test_the_worst_comes_first(machine):
    found = examine(machine({"proc/loadavg": "9 9 9 1/1 1"}, environ={"NVIDIA_TF32_OVERRIDE": "1"}))
    severities = [one.severity for one in found]
    assert severities[:2] == ["wrong", "doubtful"]
    assert set(severities[2:]) == {"fine"}


@pytest.mark.parametrize(
    ("line", "cuda"),
    [
        ("cuda: Optional[str] = '12.8'", "12.8"),
        ("cuda: Optional[str] = None", ""),
        ("cuda = '13.0'", "13.0"),
        ("hip = None", None),
    ],
)
def test_torchs_cuda_is_read_without_importing_it(tmp_path, monkeypatch, line, cuda):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise RuntimeError('was imported')")
    (tmp_path / "torch/version.py").write_text(
        f"debug = False\n{line}\nhip: Optional[str] = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert torch_cuda() == cuda


class TestTheVerb:
    def told(self, capsys, *arguments):
        code = cli.main(["doctor", *arguments])
        return code, capsys.readouterr().out

    def test_a_wrong_machine_is_exit_6_and_a_list_for_programs(self, capsys, monkeypatch):
        monkeypatch.setattr(nvml, "load", lambda: FakeNvml([FakeGpu(ONE, used=5 * 2**30)]))
        code, out = self.told(capsys, "--json")
        found = json.loads(out)
        assert code == 6
        assert set(found[0]) == {"severity", "what", "why", "command"}
        assert any("has 5.00 GiB in use" in one["what"] for one in found)

    def test_what_would_not_be_measured_on_is_not_looked_at(self, capsys, monkeypatch, tmp_path):
        monkeypatch.setattr(nvml, "load", lambda: FakeNvml([FakeGpu(ONE, used=5 * 2**30)]))
        code, out = self.told(capsys, "--gpu", "cpu", "--out", str(tmp_path))
        assert code == 0
        assert "GiB in use" not in out
        assert "0 wrong" in out

    def test_it_imports_no_torch(self):
        code = (
            "import sys; from ditbench.cli import main; main(['doctor', '--gpu', 'cpu']); "
            "assert 'torch' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

    def test_it_looks_at_the_machine_that_it_is_on(self, tmp_path):
        here = doctor.here("cpu", None, {}, tmp_path)
        assert here.cpus
        assert here.root == Path("/")
        assert here.memory("MemTotal") > 2**20
