"""Peak memory: the allocator's and the device's on a GPU, the process's own on the CPU."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    used_by: str = ""

    def reset(self) -> None:
        """Begin anew. Where the kernel does not allow it the peak is the whole process's, and says so.

        On a GPU the allocator gives back what the warm-up left unused, which it would hold on to else.
        """
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        try:
            _CLEAR.write_text(_RESET_PEAK)
        except OSError:
            self.was_reset = False

    def read(self) -> dict[str, tuple[float, ...]]:
        """Bytes by metric name."""
        if self.device.type == "cuda":
            reserved = torch.cuda.max_memory_reserved(self.device)
            used = _own_share(os.environ.get("CUDA_VISIBLE_DEVICES", ""), reserved)
            self.used_by = "this process" if used else "everyone on the device"
            if used is None:
                free, total = torch.cuda.mem_get_info(self.device)
                used = total - free
            return {
                "peak_allocated": (float(torch.cuda.max_memory_allocated(self.device)),),
                "peak_reserved": (float(reserved),),
                "device_used": (float(used),),
            }
        return {"peak_resident": (float(_status("VmHWM") - self.start_bytes),)}

    def facts(self) -> dict[str, Any]:
        """Whether the peak leaves the warm-up out; on a GPU, after `read`, whose use of it was told."""
        told = {"device_used_by": self.used_by} if self.used_by else {}
        return {"peak_without_warmup": self.was_reset, **told}


def _own_share(uuid: str, held: int) -> int | None:
    """Bytes that NVML says this process has on a device, CUDA's own among them; None where it cannot say.

    In a container NVML gives the host's process numbers, and ours may be another's there: less than torch's
    own allocator holds is not ours. held: bytes of the allocator.
    """
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        device = nvml.nvmlDeviceGetHandleByUUID(uuid)
        processes = nvml.nvmlDeviceGetComputeRunningProcesses(device)
    except Exception:  # noqa: BLE001 (NVML is a help, never a need; its errors are made when it is loaded)
        return None
    used = next((one.usedGpuMemory for one in processes if one.pid == os.getpid()), None)
    return used if used is not None and used >= held else None


def _status(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024
