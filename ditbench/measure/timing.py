"""The stopwatch: whole sampling runs, warm until steady, raw values in order, the device waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import torch

from ditbench.jobs import Findings, Job, Timing
from ditbench.measure import caches, calibration, decisions, memory, replay
from ditbench.measure.bench import Bench, set_up
from ditbench.models.seam import Placement
from ditbench.records import Status
from ditbench.stopping import Stopping, Warmup

# A bound is known well enough after so many runs.
_MOST_REPLAYS = 10


class Stopwatch(Protocol):
    """Times the steps of one sampling run."""

    def start(self) -> None:
        """Wait for what came before, forget old marks."""

    def mark(self, step: int) -> None:
        """For `on_step`: the beginning of a step, and at last the end of the run."""

    def seconds(self) -> list[float]:
        """Seconds of each step, after the device has finished."""
        ...


class CpuStopwatch:
    """Readings of the monotonic clock."""

    def __init__(self) -> None:
        self._marks: list[int] = []

    def start(self) -> None:
        """Forget old marks; the CPU waits for itself."""
        self._marks = []

    def mark(self, step: int) -> None:  # noqa: ARG002 (the loop's signature)
        """Read the clock."""
        self._marks.append(time.perf_counter_ns())

    def seconds(self) -> list[float]:
        """Seconds between marks."""
        return [(end - start) / 1e9 for start, end in pairwise(self._marks)]


class CudaStopwatch:
    """CUDA events, recorded without waiting and read after one synchronisation."""

    def __init__(self) -> None:
        self._marks: list[torch.cuda.Event] = []

    def start(self) -> None:
        """Wait until the GPU is idle."""
        torch.cuda.synchronize()
        self._marks = []

    def mark(self, step: int) -> None:  # noqa: ARG002 (the loop's signature)
        """Record an event in the stream."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch leaves it so
        event.record()
        self._marks.append(event)

    def seconds(self) -> list[float]:
        """Seconds between events, once the GPU has reached the last."""
        torch.cuda.synchronize()
        return [start.elapsed_time(end) / 1e3 for start, end in pairwise(self._marks)]


def stopwatch(device: torch.device) -> Stopwatch:
    """The clock of a device."""
    return CudaStopwatch() if device.type == "cuda" else CpuStopwatch()


class Runs(Protocol):
    """What is timed again and again: whole samplings, or calls of a core."""

    def once(self) -> list[float]:
        """Seconds of each step of one more, on numbers of its own."""
        ...


@dataclass
class Samplings:
    """One sampling run after the other, each on a batch of its own.

    What a method has kept of a batch that it saw would show as speed. The inputs are made before the clock
    starts, and only one batch of them exists at a time. finite: whether all latents were. layers: what is
    opened, where it is not the cell's own.
    """

    bench: Bench
    watch: Stopwatch
    made: int = 0
    finite: bool = True
    layers: Placement | None = None

    def once(self) -> list[float]:
        """A sampling run on the next batch: seconds of each step."""
        self.made += 1
        return self.on(self.made - 1)

    def on(self, number: int) -> list[float]:
        """A sampling run, opened anew, on the batch of that number: seconds of each step."""
        size = self.bench.cell.batch_size
        inputs = self.bench.inputs(range(number * size, (number + 1) * size))
        self.bench.denoiser.install(self.layers or self.bench.layers)
        self.watch.start()
        latents = self.bench.sample(inputs, on_step=self.watch.mark)
        steps = self.watch.seconds()
        self.finite &= bool(torch.isfinite(latents).all())
        return steps

    @property
    def facts(self) -> dict[str, Any]:
        """What was run, for the record."""
        cell = self.bench.cell
        return {"weights": self.bench.weights, "rows": cell.rows, "nfe": cell.steps}


@dataclass(frozen=True)
class Series:
    """Seconds of the steps of each run, and when each began and the last ended (monotonic clock)."""

    steps: list[list[float]]
    begin_ns: int
    end_ns: int
    begins_ns: tuple[int, ...] = ()

    @property
    def runs(self) -> tuple[float, ...]:
        """Seconds of each run."""
        return tuple(sum(steps) for steps in self.steps)

    @property
    def elapsed_s(self) -> float:
        """Seconds from the beginning to the end."""
        return (self.end_ns - self.begin_ns) / 1e9


def until(
    runs: Runs, over: Callable[[list[float], float], bool], say: Callable[[int], None]
) -> Series:
    """As many runs as it takes. over: told the seconds of each run and since the first began."""
    done: list[list[float]] = []
    begins: list[int] = []
    begin = now = time.monotonic_ns()
    while not over([sum(steps) for steps in done], (now - begin) / 1e9):
        begins.append(now)
        say(len(done) + 1)
        done.append(runs.once())
        now = time.monotonic_ns()
    return Series(done, begin, now, tuple(begins))


def warm_up(runs: Runs, timing: Timing, say: Callable[[str], None]) -> Series:
    """Runs until their speed is steady, as far as the suite waits for it."""
    return until(runs, warmup_of(timing).over, lambda n: say(f"warm-up {n}"))


def timed_runs(runs: Runs, timing: Timing, say: Callable[[str], None]) -> Series:
    """Runs until the suite's number of them, or its precision, is reached."""
    stopping = stopping_of(timing)
    return until(
        runs,
        lambda seconds, elapsed_s: bool(stopping.reason(seconds, elapsed_s)),
        lambda n: say(f"timing {n}"),
    )


def conduct(timing: Timing, warm: Series, timed: Series) -> dict[str, Any]:
    """How it was timed, for the record."""
    return {
        "threads": torch.get_num_threads(),
        "warmup": warmup_of(timing).facts(warm.runs, warm.elapsed_s),
        "stopping": stopping_of(timing).facts(timed.runs, timed.elapsed_s),
        # For what is sampled from outside: telemetry and energy of the timed calls alone.
        "timed_ns": [timed.begin_ns, timed.end_ns],
        # When each began since the first did; it ended when the next began.
        "calls_ns": [at - timed.begin_ns for at in timed.begins_ns],
    }


def warmup_of(timing: Timing) -> Warmup:
    """When the stopwatch may start."""
    return Warmup(timing.warmup, timing.warmup_cap_s)


def stopping_of(timing: Timing) -> Stopping:
    """When there are enough timed runs."""
    return Stopping(timing.repeats, timing.precision, timing.most, timing.cap_s)


def run(job: Job, say: Callable[[str], None]) -> Findings:
    """Time one cell in this process, which has run nothing before, with nothing compiled beforehand."""
    with caches.empty(job.caches):
        return _time(job, say)


def _time(job: Job, say: Callable[[str], None]) -> Findings:
    start_bytes = memory.resident()
    say("loading")
    bench = calibration.ready(job, set_up(job.cell, job.device), say)
    if job.cell.compile:
        bench.denoiser.compile()
    runs = Samplings(bench, stopwatch(bench.device))
    say("first call")
    first = runs.once()
    warm = warm_up(runs, job.timing, say)
    peak = memory.Peak(bench.device, start_bytes)
    peak.reset()
    if bench.device.type == "cuda":
        runs.once()  # the allocator gave its memory back, and takes it again here, untimed
    timed = timed_runs(runs, job.timing, say)
    measured = peak.read()
    if not runs.finite:
        return Findings(Status.NOT_FINITE, "the latents of a timed sampling run are not finite")
    replayed = _replays(runs, len(timed.runs), say)
    return Findings(
        status=Status.OK,
        metrics={
            "first_call": (sum(first),),
            "latency": timed.runs,
            "step_latency": tuple(step for steps in timed.steps for step in steps),
            **measured,
            **replayed.metrics,
        },
        warmups={"latency": warm.runs},
        facts={
            **runs.facts,
            **conduct(job.timing, warm, timed),
            **peak.facts(),
            **replayed.facts,
        },
    )


@dataclass(frozen=True)
class Replays:
    """Seconds of runs of the method's own pattern with nothing where it reused, and of its own runs beside.

    Pair by pair of the same batch; what drifts between the timed calls and these cancels in their ratio.
    """

    runs: tuple[float, ...] = ()
    beside: tuple[float, ...] = ()

    @property
    def metrics(self) -> dict[str, tuple[float, ...]]:
        """The bound's own times."""
        return {"replay_latency": self.runs} if self.runs else {}

    @property
    def facts(self) -> dict[str, Any]:
        """What they are read against."""
        return {"replay_beside": list(self.beside)} if self.runs else {}


def _replays(runs: Samplings, times: int, say: Callable[[str], None]) -> Replays:
    """The pattern of a run against that run itself, on the same batch, in turns A B B A.

    What is reused may hang on the noise, so each batch has a pattern of its own. None where the last run
    reused nothing: then there is nothing that its pattern would bound.
    """
    told = decisions.of(runs.bench.denoiser)
    if not any(one.reused for every in told.values() for one in every):
        return Replays()
    say("the bound")
    _replay(runs, told).on(runs.made - 1)  # the first of its kind is no time
    own: list[float] = []
    bound: list[float] = []
    for _ in range((min(times, _MOST_REPLAYS) + 1) // 2):
        own.append(sum(runs.once()))
        number = runs.made - 1
        replayed = _replay(runs, decisions.of(runs.bench.denoiser))
        bound += [sum(replayed.on(number)), sum(replayed.on(number))]
        own.append(sum(runs.on(number)))
    return Replays(tuple(bound), tuple(own))


def _replay(runs: Samplings, told: decisions.Decisions) -> Samplings:
    return Samplings(runs.bench, runs.watch, layers=replay.placement(runs.bench, told))
