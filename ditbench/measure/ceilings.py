"""What a device gives at most, measured where methods are: a large matrix product, and a large copy.

Every value is a rate of one product or one copy, in the order in which they were made; the best is the
ceiling.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from ditbench.measure.flush import cache_bytes
from ditbench.measure.timing import stopwatch

# Sides of the product: large enough for any device's best rate.
_CPU_SIDE, _GPU_SIDE = 1024, 8192
# Bytes of the buffer that is copied: twice the cache, within what a machine has to spare.
_LEAST, _MOST = 2**26, 2**29


def matrix_rates(
    device: torch.device, dtype: torch.dtype, seconds: float = 0.05
) -> tuple[float, ...]:
    """Multiply-adds a second in products of two square matrices, for so many seconds and twice at least."""
    side = _CPU_SIDE if device.type == "cpu" else _GPU_SIDE
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty(side, side, device=device, dtype=dtype)
    return _rates(lambda: torch.mm(left, right, out=out), float(side**3), device, seconds)


def bandwidths(device: torch.device, seconds: float = 0.05) -> tuple[float, ...]:
    """Bytes a second, read and written, in copies of a buffer that no cache holds."""
    size = min(max(2 * cache_bytes(device), _LEAST), _MOST)
    source, target = (torch.ones(size // 4, dtype=torch.int32, device=device) for _ in range(2))
    return _rates(lambda: target.copy_(source), 2.0 * size, device, seconds)


def _rates(
    work: Callable[[], object], amount: float, device: torch.device, seconds: float
) -> tuple[float, ...]:
    """The amount over the seconds of each repetition; the first, which is not counted, warms up."""
    watch = stopwatch(device)
    found: list[float] = []
    with torch.inference_mode():
        work()
        begin = time.monotonic()
        while len(found) < 2 or time.monotonic() - begin < seconds:
            watch.start()
            watch.mark(0)
            work()
            watch.mark(1)
            found.append(amount / sum(watch.seconds()))
    return tuple(found)
