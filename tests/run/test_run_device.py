"""Which device is chosen, and which refused with what words."""

from __future__ import annotations

import os
import sys
from itertools import cycle

import pytest
from fakes_run import FakeGpu, FakeNvml, MismatchError, NvmlError

from ditbench.devices import device
from ditbench.devices.device import CPU, visible
from ditbench.devices.nvml import Meter, inventory, load, watched
from ditbench.errors import UnfitError, UsageError

ONE = "GPU-11111111-aaaa"
TWO = "GPU-22222222-bbbb"
GIB = 2**30


def choose(wanted, nvml, environ):
    """Without the two seconds of watching."""
    return device.choose(wanted, nvml, environ, sleep=lambda _seconds: None)


def two(**more):
    return FakeNvml([FakeGpu(ONE), FakeGpu(TWO, **more)])


def test_without_nvidia_everything_runs_on_the_cpu():
    assert choose(None, None, {}) is CPU
    assert (CPU.kind, CPU.name, dict(CPU.facts)) == ("cpu", "cpu", {})


def test_the_cpu_may_be_asked_for_beside_idle_gpus():
    assert choose("cpu", two(), {}) is CPU


def test_the_idle_gpu_with_most_free_memory_is_taken_and_named_by_uuid():
    device = choose(None, FakeNvml([FakeGpu(ONE, total=80 * GIB), FakeGpu(TWO)]), {})
    assert (device.kind, device.name) == ("cuda", TWO)


@pytest.mark.parametrize("wanted", ["1", TWO, "GPU-2", "gpu-2222"])
def test_a_gpu_is_found_by_index_and_by_the_beginning_of_its_uuid(wanted):
    assert choose(wanted, two(), {}).name == TWO


def test_facts_are_scalars_in_base_units():
    assert choose("0", two(), {}).facts == {
        "gpu": "NVIDIA H200",
        "gpu_uuid": ONE,
        "gpu_driver": "580.1",
        "gpu_memory": 140 * GIB,
        "gpu_power_limit": 700.0,
        "gpu_power_enforced": 700.0,
        "gpu_sm_clock_max": 1.98e9,
        "gpu_memory_clock_max": pytest.approx(2.619e9),
        "gpu_persistence": True,
        "gpu_ecc": True,
        "gpu_mig": False,
        "gpu_compute_mode": "default",
    }


def test_what_a_device_does_not_say_is_left_out():
    silent = dict.fromkeys(
        ("total", "watts", "utilisation", "enforced", "usual", "sm", "sm_most", "memory_clock",
         "reasons", "persistence", "ecc", "mode")
    )  # fmt: skip
    chosen = choose(None, FakeNvml([FakeGpu(ONE, **silent)]), {})
    assert set(chosen.facts) == {"gpu", "gpu_uuid", "gpu_driver", "gpu_mig"}


def test_a_package_that_lacks_a_question_leaves_its_answer_out():
    class Old(FakeNvml):
        nvmlDeviceGetEnforcedPowerLimit = property()  # noqa: N815 (NVML's name; it raises AttributeError)

    assert "gpu_power_enforced" not in choose(None, Old([FakeGpu(ONE)]), {}).facts


class Older(FakeNvml):
    """A driver before R510 under a package of today."""

    def nvmlDeviceGetComputeRunningProcesses(self, _gpu):  # noqa: N802 (NVML's own)
        raise MismatchError("Unversioned function called and the pyNVML version does not match")


def test_a_driver_too_old_to_tell_its_processes_is_told_by_memory_and_utilisation():
    assert choose(None, Older([FakeGpu(ONE)]), {}).name == ONE
    with pytest.raises(UnfitError, match=r"has 3.00 GiB in use"):
        choose("0", Older([FakeGpu(ONE, used=3 * GIB)]), {})
    assert Meter.of(Older([FakeGpu(ONE)]), ONE).processes() == ()


def test_slices_stand_for_the_gpu_that_is_cut_into_them():
    cut = FakeGpu(
        ONE, slices=(FakeGpu("MIG-1", utilisation=None), FakeGpu("MIG-2", utilisation=None))
    )
    gpus = inventory(FakeNvml([cut, FakeGpu(TWO)]))
    assert [(gpu.index, gpu.uuid) for gpu in gpus] == [
        ("0:0", "MIG-1"),
        ("0:1", "MIG-2"),
        ("1", TWO),
    ]
    assert choose("0:1", FakeNvml([cut]), {}).name == "MIG-2"


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"pids": (os.getpid(),)}, rf"is used by process {os.getpid()} \(.*py.*\)"),
        ({"used": 3 * GIB}, "has 3.00 GiB in use"),
        ({"utilisation": 40}, "is 40.0 % busy"),
    ],
    ids=["foreign process", "memory of a hidden process", "utilisation"],
)
class TestMistake29ABusyGpu:
    def test_mistake_29_is_refused_if_it_was_asked_for(self, state, told):
        with pytest.raises(UnfitError, match=told):
            choose("1", two(**state), {})

    def test_mistake_29_is_passed_over_if_another_is_idle(self, state, told):  # noqa: ARG002 (of each case)
        assert choose(None, two(**state), {}).name == ONE

    def test_mistake_29_stops_the_run_if_none_is_idle(self, state, told):
        with pytest.raises(UnfitError, match=f"no GPU is idle: .*{told}") as caught:
            choose(None, FakeNvml([FakeGpu(ONE, **state)]), {})
        assert caught.value.exit_code == 6


class Restless(FakeNvml):
    """Busy in every other moment, beginning with a quiet one."""

    shares = cycle([0, 40])

    def nvmlDeviceGetUtilizationRates(self, gpu):  # noqa: N802 (NVML's own)
        gpu.utilisation = next(self.shares)
        return super().nvmlDeviceGetUtilizationRates(gpu)


def test_mistake_29_a_gpu_that_rests_for_a_moment_is_busy_all_the_same():
    with pytest.raises(UnfitError, match=r"is 13.3 % busy"):
        choose(None, Restless([FakeGpu(ONE)]), {})


@pytest.mark.parametrize("place", range(8))
def test_an_idle_gpu_whose_driver_wakes_up_is_idle(place):
    """It cleans its memory for a moment, at 100 %, wherever among the eight looks that is."""

    class Waking(Restless):
        shares = iter([0] + [100 if look in {place, place + 1} else 0 for look in range(8)])

    assert choose(None, Waking([FakeGpu(ONE)]), {}).name == ONE


def test_a_gpu_is_watched_for_two_seconds():
    slept = []
    nvml = two()
    watched(nvml, inventory(nvml), sleep=slept.append)
    assert sum(slept) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("gpu", "told"),
    [
        (FakeGpu(ONE, mode=2), "is in compute mode prohibited"),
        (FakeGpu(ONE), "is in MIG mode and has no slice to compute on"),
    ],
    ids=["prohibited", "cut without a slice"],
)
def test_a_gpu_that_nobody_can_compute_on_is_refused(gpu, told):
    class Cut(FakeNvml):
        def nvmlDeviceGetMigMode(self, _gpu):  # noqa: N802 (NVML's own)
            return [int("MIG" in told), 0]

    with pytest.raises(UnfitError, match=told):
        choose("0", Cut([gpu]), {})


@pytest.mark.parametrize(
    ("setting", "seen"),
    [
        ({}, [ONE, TWO]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"CUDA_VISIBLE_DEVICES": "1"}, [TWO]),
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, [TWO, ONE]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-2"}, [TWO]),
    ],
    ids=["unset", "empty", "minus one", "index", "two", "uuid"],
)
def test_mistake_40_cuda_visible_devices_is_respected(setting, seen):
    assert [gpu.uuid for gpu in visible(inventory(two()), setting)] == seen


def test_mistake_40_an_empty_cuda_visible_devices_means_the_cpu():
    assert choose(None, two(), {"CUDA_VISIBLE_DEVICES": ""}) is CPU


def test_mistake_40_an_index_among_unlike_gpus_is_refused_unless_the_order_is_said():
    mixed = FakeNvml([FakeGpu(ONE, "NVIDIA T4"), FakeGpu(TWO)])
    setting = {"CUDA_VISIBLE_DEVICES": "0"}
    with pytest.raises(UsageError, match="name a UUID, or set CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        choose(None, mixed, setting)
    assert choose(None, mixed, setting | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}).name == ONE


def test_mistake_40_a_gpu_outside_cuda_visible_devices_is_refused():
    with pytest.raises(UnfitError, match="--gpu 1 is outside CUDA_VISIBLE_DEVICES=0"):
        choose("1", two(), {"CUDA_VISIBLE_DEVICES": "0"})


def test_a_gpu_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(UnfitError, match=f"--gpu 5: no such GPU; there is 0 = {ONE}, 1 = {TWO}"):
        choose("5", two(), {})
    with pytest.raises(UnfitError, match="--gpu 0: no such GPU; there is no GPU at all"):
        choose("0", None, {})


@pytest.mark.parametrize("nonsense", ["", "fast", "-1", "cuda:0"])
def test_nonsense_is_a_mistake_in_the_command(nonsense):
    with pytest.raises(UsageError, match="say an index"):
        choose(nonsense, two(), {})


def test_a_beginning_that_two_uuids_share_is_refused():
    with pytest.raises(UsageError, match="2 GPUs begin so"):
        choose("GPU-", two(), {})


class TestLoadingNvml:
    def test_without_the_package_there_is_none(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pynvml", None)
        assert load() is None

    def test_without_a_driver_there_is_none(self, monkeypatch):
        def refuses():
            raise NvmlError("driver not loaded")

        broken = FakeNvml([])
        broken.nvmlInit = refuses
        monkeypatch.setitem(sys.modules, "pynvml", broken)
        assert load() is None

    def test_with_both_it_is_ready_to_be_asked(self, monkeypatch):
        working = two()
        monkeypatch.setitem(sys.modules, "pynvml", working)
        assert load() is working

    def test_a_gpu_that_gives_no_handle_is_passed_over(self):
        class Lost(FakeNvml):
            def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802 (NVML's own)
                if index == 0:
                    raise NvmlError("GPU is lost")
                return super().nvmlDeviceGetHandleByIndex(index)

        assert [gpu.uuid for gpu in inventory(Lost(two().gpus))] == [TWO]
