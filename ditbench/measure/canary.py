"""The canary: a fixed matrix product and a fixed copy, so that a change of theirs is the machine's alone.

Each is repeated very often and kept very short: the best of many short repetitions is what the machine can do
when it is left alone, and on shared processors only that figure is steady. Measured on two processors under
a load of five: over fresh processes the best of such a product and copy scattered by 0.15 % (1.4826 MAD, some
processes up to 7 % away), their medians by 0.4 % and 1 %; the best of larger copies by 10 % or more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from ditbench.jobs import Findings, Job
from ditbench.measure.timing import Stopwatch, stopwatch


@dataclass(frozen=True)
class Load:
    """What is done: a product of two square matrices of `side`, a copy of so many bytes, in turns of blocks.

    warm_s: seconds of it before the first that counts.
    """

    side: int
    dtype: torch.dtype
    copied: int
    repetitions: int
    warm_s: float


# On processors: a tenth of a millisecond each, far below the slice of time that a scheduler gives to another
# program, by one thread, which finds a free processor where two would wait for each other. The copy lies
# beyond the second-level cache. On GPUs: large enough to fill the largest and to lie beyond its cache (some
# tenths of a millisecond there, some milliseconds on a small one), after a clock that rested has risen.
_LOADS = {
    "cpu": Load(128, torch.float32, 2**22, 1500, 0.02),
    "cuda": Load(4096, torch.float16, 2**28, 200, 0.5),
}

# A copy empties the caches: the product right after it takes what memory gives, and only that one.
_BLOCK = 20


def run(job: Job, say: Callable[[str], None]) -> Findings:
    """Seconds of each product and each copy, in order, in this process, which has run nothing before."""
    say("canary")
    device = torch.device("cpu" if job.device == "cpu" else "cuda")
    return measured(device, _LOADS[device.type])


def measured(device: torch.device, load: Load) -> Findings:
    """The canary of one load."""
    watch = stopwatch(device)
    product, copy = _works(device, load)
    with torch.inference_mode(), _one_thread():
        begin = time.monotonic()
        while time.monotonic() - begin < load.warm_s:
            _seconds(watch, product)
            _seconds(watch, copy)
        begin_ns = time.monotonic_ns()
        products: list[float] = []
        copies: list[float] = []
        for _ in range(load.repetitions // _BLOCK):
            products += [_seconds(watch, product) for _ in range(_BLOCK)]
            copies += [_seconds(watch, copy) for _ in range(_BLOCK)]
        end_ns = time.monotonic_ns()
    return Findings(
        metrics={"canary_matrix": tuple(products), "canary_copy": tuple(copies)},
        facts={"side": load.side, "copied": load.copied, "timed_ns": [begin_ns, end_ns]},
    )


def _works(device: torch.device, load: Load) -> Iterator[Callable[[], object]]:
    """The product and the copy; the numbers are always the same, for power depends on them too."""
    seeded = torch.Generator().manual_seed(0)
    left, right = (
        torch.randn(load.side, load.side, generator=seeded).to(device, load.dtype) for _ in range(2)
    )
    out = torch.empty_like(left)
    source, target = (
        torch.ones(load.copied // 4, dtype=torch.int32, device=device) for _ in range(2)
    )
    yield lambda: torch.mm(left, right, out=out)
    yield lambda: target.copy_(source)


def _seconds(watch: Stopwatch, work: Callable[[], object]) -> float:
    watch.start()
    watch.mark(0)
    work()
    watch.mark(1)
    return sum(watch.seconds())


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
