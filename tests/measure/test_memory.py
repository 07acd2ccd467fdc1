"""Peaks on a GPU that is not there: what is asked of torch and NVML, in which order, and what is believed."""

from __future__ import annotations

import os
import sys

import pytest
import torch

from ditbench.measure.memory import Peak


class Card:
    """torch's allocator with so many bytes held, of which the warm-up used more once."""

    def __init__(self) -> None:
        self.held = self.peak = 900
        self.calls: list[str] = []

    def empty_cache(self):
        self.calls.append("empty")
        self.held = 500

    def reset_peak_memory_stats(self, _device):
        self.calls.append("reset")
        self.peak = self.held

    def max_memory_reserved(self, _device):
        return self.peak

    def max_memory_allocated(self, _device):
        return 400

    def mem_get_info(self, _device):
        return 10_000 - 3_000, 10_000


class Nvml:
    """One device, one process on it."""

    def __init__(self, pid, used):
        self.pid, self.usedGpuMemory = pid, used

    def nvmlInit(self):  # noqa: N802 (NVML's name)
        """Nothing to do."""

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802 (NVML's name)
        assert uuid == "GPU-1"
        return self

    def nvmlDeviceGetComputeRunningProcesses(self, handle):  # noqa: N802 (NVML's name)
        return [handle]


@pytest.fixture
def card(monkeypatch):
    made = Card()
    for name in (name for name in dir(Card) if not name.startswith("_")):
        monkeypatch.setattr(torch.cuda, name, getattr(made, name))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1")
    return made


def told(monkeypatch, nvml):
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    peak = Peak(torch.device("cuda"), 0)
    peak.reset()
    return {name: values[0] for name, values in peak.read().items()}, peak.facts()


def test_mistake_14_the_reserve_of_the_warm_up_is_given_back_before_the_peak_is_reset(
    card, monkeypatch
):
    found, _ = told(monkeypatch, None)
    assert card.calls == ["empty", "reset"]
    assert (found["peak_reserved"], found["peak_allocated"]) == (500, 400)


def test_the_use_of_the_device_is_this_processs_where_nvml_knows_it(card, monkeypatch):
    found, facts = told(monkeypatch, Nvml(os.getpid(), 1_200))
    assert (found["device_used"], facts["device_used_by"]) == (1_200, "this process")


@pytest.mark.parametrize(
    "nvml",
    [
        pytest.param(None, id="no NVML"),
        pytest.param(Nvml(-1, 1_200), id="only others"),
        pytest.param(Nvml(os.getpid(), None), id="no figure"),
        pytest.param(Nvml(os.getpid(), 100), id="another process by the same number"),
    ],
)
def test_where_nvml_does_not_know_it_is_everyones_and_says_so(card, monkeypatch, nvml):
    found, facts = told(monkeypatch, nvml)
    assert (found["device_used"], facts["device_used_by"]) == (3_000, "everyone on the device")
