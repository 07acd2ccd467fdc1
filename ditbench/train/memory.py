"""What training holds at its most: of the GPU's allocator, or of this process."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"

MIB = 2**20
OF_GPU = "torch.cuda.max_memory_allocated, reset before each epoch, of training alone"
OF_PROCESS = (
    "peak resident memory of this process above what it held before the network was built, "
    "reset before each epoch, of training alone"
)


class Peak:
    """The highest since `reset`. Made before the network: what the process holds already is not counted."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._held = 0 if device.type == "cuda" else _status("VmRSS")
        self._before = 0

    @property
    def of(self) -> str:
        """What the numbers are of, in words."""
        return OF_GPU if self._device.type == "cuda" else OF_PROCESS

    def reset(self) -> None:
        """Begin anew. Where the kernel does not allow it the peak is that of the epochs before too."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        with contextlib.suppress(OSError):
            _CLEAR.write_text(_RESET_PEAK)

    def read(self) -> int:
        """Bytes."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        return max(0, _status("VmHWM") - self._held)

    def pause(self) -> None:
        """What is held from here to `go_on` is not training's: a judge's network stays when it has judged."""
        if self._device.type == "cpu":
            self._before = _status("VmRSS")

    def go_on(self) -> None:
        """Training again."""
        if self._device.type == "cpu":
            self._held += max(0, _status("VmRSS") - self._before)
        self.reset()


def _status(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024
