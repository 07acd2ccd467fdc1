"""The GPU that CUDA shows a worker is the one that was chosen, or nothing is measured."""

from __future__ import annotations

import ctypes
import uuid
from types import SimpleNamespace

import pytest
import torch

from ditbench.errors import UnfitError
from ditbench.measure import bench
from ditbench.measure.catalog import macs_per_second

CHOSEN = "4a1f0c5e-0000-1111-2222-333344445555"


@pytest.fixture
def cuda(monkeypatch):
    """A CUDA that shows `count` GPUs, of which the first has this UUID; the driver knows slices."""

    def show(seen, count=1, *, error=0):
        def uuid_of(found, _device):
            ctypes.memmove(found, uuid.UUID(seen).bytes, 16)
            return error

        whole = SimpleNamespace(uuid="00000000-0000-0000-0000-000000000000" if error else seen)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "init", lambda: None)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: whole)
        monkeypatch.setattr(bench, "driver", lambda: SimpleNamespace(cuDeviceGetUuid_v2=uuid_of))

    return show


def test_the_cpu_needs_no_proof():
    assert bench.place("cpu").type == "cpu"


@pytest.mark.parametrize("kind", ["GPU", "MIG"])
def test_mistake_40_the_chosen_device_alone_is_measured_on(cuda, kind):
    cuda(CHOSEN)
    assert bench.place(f"{kind}-{CHOSEN}").type == "cuda"


@pytest.mark.parametrize("kind", ["GPU", "MIG"])
def test_mistake_40_another_device_is_refused_with_both_names(cuda, kind):
    other = CHOSEN.replace("4a1f", "ffff")
    cuda(other)
    with pytest.raises(
        UnfitError, match=f"{kind}-{CHOSEN} alone and sees {kind}-{other}, 1 in all"
    ):
        bench.place(f"{kind}-{CHOSEN}")


@pytest.mark.parametrize(("count", "told"), [(0, "sees no GPU at all, 0"), (2, ", 2 in all")])
def test_mistake_40_more_or_fewer_devices_than_one_are_refused(cuda, count, told):
    cuda(CHOSEN, count)
    with pytest.raises(UnfitError, match=told):
        bench.place(f"GPU-{CHOSEN}")


def test_a_driver_that_does_not_say_which_slice_it_is_is_not_believed(cuda):
    cuda(CHOSEN, error=101)
    with pytest.raises(UnfitError, match="error 101 of the CUDA driver"):
        bench.place(f"MIG-{CHOSEN}")


def test_the_yardstick_of_a_plan_is_held_to_the_chosen_device_too(cuda):
    cuda(CHOSEN.replace("4a1f", "ffff"))
    with pytest.raises(UnfitError, match="was to run on"):
        macs_per_second(f"GPU-{CHOSEN}")
