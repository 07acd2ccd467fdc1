"""Peak memory: the allocator's and the device's on a GPU, the process's own on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def resident() -> int:
    """Bytes of this process in memory now."""
    return _status("VmRSS")


@dataclass
class Peak:
    """The peak since `reset`, which comes after the warm-up, so that no earlier phase shows in it.

    start_bytes: resident bytes when the worker began, which it shares with the fork server.
    """

    device: torch.device
    start_bytes: int
    was_reset: bool = True

    def reset(self) -> None:
        """Begin anew. Where the kernel does not allow it the peak is the whole process's, and says so."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        try:
            _CLEAR.write_text(_RESET_PEAK)
        except OSError:
            self.was_reset = False

    def read(self) -> dict[str, tuple[float, ...]]:
        """Bytes by metric name."""
        if self.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self.device)
            return {
                "peak_allocated": (float(torch.cuda.max_memory_allocated(self.device)),),
                "peak_reserved": (float(torch.cuda.max_memory_reserved(self.device)),),
                "device_used": (float(total - free),),
            }
        return {"peak_resident": (float(_status("VmHWM") - self.start_bytes),)}

    def facts(self) -> dict[str, bool]:
        """Whether the peak leaves the warm-up out."""
        return {"peak_without_warmup": self.was_reset}


def _status(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024
