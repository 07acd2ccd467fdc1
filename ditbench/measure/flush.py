"""Laying a core's inputs bare: the last-level cache is filled with something else before a cold call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ditbench import units

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
# Times the cache: no policy of replacing lines keeps any of what was there before.
_TIMES = 2


def cache_bytes(device: torch.device) -> int:
    """Size of the device's last-level cache; 0 where nothing tells it."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).L2_cache_size)
    return cpu_cache_bytes()


def cpu_cache_bytes(folder: Path = _CACHES) -> int:
    """Size of the first processor's cache of the highest level, as Linux tells it; 0 where it does not."""
    try:
        caches = [
            (int((one / "level").read_text()), (one / "size").read_text().strip())
            for one in folder.glob("index*")
        ]
    except (OSError, ValueError):
        return 0
    _, size = max(caches, default=(0, "0"))
    return units.parse_size(size.replace("K", " KiB").replace("M", " MiB")) or 0


@dataclass(frozen=True)
class Flush:
    """Calling it writes every line of a buffer of twice the cache."""

    buffer: torch.Tensor

    @classmethod
    def of(cls, device: torch.device) -> Flush:
        """A buffer for this device."""
        numbers = _TIMES * cache_bytes(device) // torch.int32.itemsize
        return cls(torch.zeros(numbers, dtype=torch.int32, device=device))

    def __call__(self) -> None:
        """Read and write: a processor's plain fill may go around the cache, and would leave it as it is."""
        self.buffer.add_(1)

    @property
    def bytes(self) -> int:
        """Size of the buffer."""
        return self.buffer.numel() * self.buffer.itemsize
