"""Where the time of one cell goes: a trace by torch's profiler, and what it amounts to.

The cell runs as it does under the stopwatch, but with labels around its blocks and its attention, put on from
outside: nothing that is timed elsewhere changes. A profiler slows what it watches, so these are shares and
never speeds, and no record comes of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from ditbench.jobs import Findings, Job
from ditbench.measure import calibration
from ditbench.measure.bench import Bench, Inputs, set_up
from ditbench.models.seam import Placement

if TYPE_CHECKING:
    from torch.autograd.profiler_util import FunctionEventAvg

    from ditbench.attention.base import Finish, Layer, Moment, Output, Project

P = ParamSpec("P")
T = TypeVar("T")

TRACE = "trace.json.gz"
STEPS = 3
# A browser still opens a trace of so many events; about 20 MiB once it is compressed.
MOST_EVENTS = 500_000
_TOP = 12
_WARM_UPS = 2
PREFIX = "ditbench: "
_RUN, _ATTENTION, _PROJECTIONS = (
    f"{PREFIX}{part}" for part in ("sampling run", "attention", "projections")
)


@dataclass(frozen=True)
class _Labelled:
    """A layer with a label around it, and another around the projections that it asks for, the last too."""

    layer: Layer

    @property
    def stateless(self) -> bool:
        """As the layer itself."""
        return self.layer.stateless

    def __call__(self, x: torch.Tensor, project: Project, finish: Finish, now: Moment) -> Output:
        with record_function(_ATTENTION):
            return self.layer(x, _labelled(project), _labelled(finish), now)


def _labelled(projection: Callable[P, T]) -> Callable[P, T]:
    def labelled(*args: P.args, **settings: P.kwargs) -> T:
        with record_function(_PROJECTIONS):
            return projection(*args, **settings)

    return labelled


def measure(job: Job, say: Callable[[str], None]) -> Findings:
    """Profile a few steps of a cell, warm. job.pictures: the folder for the trace.

    facts: `trace` (path), `bytes`, `steps`, `on` ("cpu", "cuda"); seconds of the profiled time there:
    `total_s`, `core_s`, `projections_s` (absent where the cell is compiled: labels do not survive
    that); `top`: name, calls and seconds of the operators that took most.
    """
    say("loading")
    bench = calibration.ready(job, set_up(job.cell, job.device), say)
    inputs = bench.inputs(range(job.cell.batch_size))
    if job.cell.compile:
        bench.denoiser.compile()
    steps = min(STEPS, job.cell.steps)
    say("warming up")
    for _ in range(_WARM_UPS):
        _run(bench, inputs, steps)
    say("profiling")
    with _labelled_blocks(bench):
        trace = _profiled(bench, inputs, 1)
        steps = max(1, min(steps, MOST_EVENTS // max(1, _count(trace))))
        trace = _profiled(bench, inputs, steps)
    kind = bench.device.type
    facts = facts_of(trace.key_averages(), kind, _RUN)
    if not job.cell.compile:
        facts |= parts_of(trace.key_averages(), kind)
    return Findings(facts={**written(trace, job), "steps": steps, **facts})


def tracer(device: torch.device) -> profile:
    """A profiler for what runs on this device, not started yet."""
    cuda = [ProfilerActivity.CUDA] if device.type == "cuda" else []
    return profile(activities=[ProfilerActivity.CPU, *cuda], acc_events=True)


def written(trace: profile, job: Job) -> dict[str, Any]:
    """Write a trace into the job's folder. `trace`: its path; `bytes`: its size."""
    path = job.pictures / TRACE
    path.parent.mkdir(parents=True, exist_ok=True)
    trace.export_chrome_trace(str(path))
    return {"trace": str(path), "bytes": path.stat().st_size}


def _count(trace: profile) -> int:
    return len(trace.events() or ())  # type: ignore[no-untyped-call]  # torch leaves it so


def _run(bench: Bench, inputs: Inputs, steps: int) -> None:
    bench.denoiser.install(_layers(bench))
    bench.sample(inputs, steps=steps)
    if bench.device.type == "cuda":
        torch.cuda.synchronize()


def _layers(bench: Bench) -> Placement:
    """The cell's placement with labels; without where it is compiled, for the compiler cuts them out."""
    if bench.cell.compile:
        return bench.layers
    return dataclasses.replace(bench.layers, dressed=_Labelled)


@contextlib.contextmanager
def _labelled_blocks(bench: Bench) -> Iterator[None]:
    """Each block of the model under its number, until the end."""
    if bench.cell.compile:
        yield
        return
    with contextlib.ExitStack() as hooks:
        for number, block in bench.denoiser.blocks().items():
            label = record_function(f"{PREFIX}block {number}")
            before = block.register_forward_pre_hook(lambda *_, label=label: _open(label))
            after = block.register_forward_hook(lambda *_, label=label: _close(label))
            hooks.callback(before.remove)
            hooks.callback(after.remove)
        yield


def _open(label: record_function) -> None:
    label.__enter__()  # type: ignore[no-untyped-call]  # torch leaves it so


def _close(label: record_function) -> None:
    label.__exit__(None, None, None)


def _profiled(bench: Bench, inputs: Inputs, steps: int) -> profile:
    trace = tracer(bench.device)
    with trace, record_function(_RUN):
        _run(bench, inputs, steps)
    return trace


def facts_of(events: Iterable[FunctionEventAvg], kind: str, run: str) -> dict[str, Any]:
    """Where the time on the device of this kind ("cpu", "cuda") went, under the label `run`."""
    called = _called(events)
    operators = [event for event in called if not _is_label(event)]
    top = sorted(operators, key=lambda event: own(event, kind), reverse=True)[:_TOP]
    rows = [[event.key, event.count, own(event, kind) / 1e6] for event in top if own(event, kind)]
    return {"on": kind, "total_s": _spent(called, kind)[run], "top": rows}


def parts_of(events: Iterable[FunctionEventAvg], kind: str) -> dict[str, float]:
    """What of it attention took, its projections told apart."""
    spent = _spent(_called(events), kind)
    projections = spent.get(_PROJECTIONS, 0.0)  # a method that replaces them asks for none
    return {"core_s": spent[_ATTENTION] - projections, "projections_s": projections}


def own(event: FunctionEventAvg, kind: str) -> float:
    """Microseconds that this event took on the device of this kind, without those below it."""
    return float(event.self_cpu_time_total if kind == "cpu" else event.self_device_time_total)


def _spent(called: Iterable[FunctionEventAvg], kind: str) -> dict[str, float]:
    """Seconds by label, with all that is below it."""
    return {
        str(event.key): float(event.cpu_time_total if kind == "cpu" else event.device_time_total)
        / 1e6
        for event in called
        if _is_label(event)
    }


def _called(events: Iterable[FunctionEventAvg]) -> list[FunctionEventAvg]:
    """Of a GPU the profiler also lists each kernel, and each label as seen there: the same time once more."""
    return [event for event in events if event.device_type == DeviceType.CPU]


def _is_label(event: FunctionEventAvg) -> bool:
    return str(event.key).startswith(PREFIX)
