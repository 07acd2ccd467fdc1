"""Where the time of an attention core by itself goes: a trace of a few calls, and what it amounts to.

The calls are those of the stopwatch, cold or hot as the cell says, and the label around each says which. What
empties the cache before a cold one has a label of its own, and no part in the shares.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import profile, record_function

from ditbench.jobs import Findings, Job
from ditbench.measure.flush import Flush
from ditbench.measure.op import Core, set_up, sizes_of
from ditbench.measure.profiling import PREFIX, facts_of, own, tracer, written

if TYPE_CHECKING:
    from torch.autograd.profiler_util import FunctionEvent

CALLS = 5
FLUSH = f"{PREFIX}flush of the cache"
# What a label has for itself: Python on a processor, a kernel that no operator launched on a GPU.
OUTSIDE = "outside any operator"
_WARM_UPS = 2


def measure(job: Job, say: Callable[[str], None]) -> Findings:
    """Profile a few warm calls of a core. job.pictures: the folder for the trace.

    facts: `trace` (path), `bytes`, `calls`, `on` ("cpu", "cuda"); seconds of the profiled calls there:
    `total_s`; `top`: name, calls and seconds of the operators that took most.
    """
    say("loading")
    core = set_up(job.cell, job.device)
    if job.cell.compile:
        core.compile()
    cache = sizes_of(job.cell).cache
    flush = Flush.of(core.device) if cache == "cold" else None
    with torch.inference_mode():
        say("warming up")
        for _ in range(_WARM_UPS):
            core()
        say("profiling")
        label = f"{PREFIX}call with a {cache} cache"
        trace = _profiled(core, flush, label)
    facts = _facts(trace, core.device.type, label)
    return Findings(facts={**written(trace, job), "calls": CALLS, **facts})


def _profiled(core: Core, flush: Flush | None, label: str) -> profile:
    trace = tracer(core.device)
    with trace:
        for _ in range(CALLS):
            if flush:
                with record_function(FLUSH):
                    flush()
            with record_function(label):
                core()
        if core.device.type == "cuda":
            torch.cuda.synchronize()
    return trace


def _facts(trace: profile, kind: str, label: str) -> dict[str, Any]:
    events: defaultdict[str, FunctionEventAvg] = defaultdict(FunctionEventAvg)
    for event in trace.events() or ():  # type: ignore[no-untyped-call]  # torch leaves it so
        if any(one.key == label for one in _above(event)):
            events[event.key].add(event)  # type: ignore[no-untyped-call]  # torch leaves it so
    facts = facts_of(events.values(), kind, label)
    calls = events[label]
    top = [*facts["top"], [OUTSIDE, calls.count, own(calls, kind) / 1e6]]
    return facts | {"top": sorted((row for row in top if row[2]), key=lambda row: -row[2])}


def _above(event: FunctionEvent | None) -> Iterator[FunctionEvent]:
    """An event, the one that it is part of, and so on."""
    while event is not None:
        yield event
        event = event.cpu_parent
