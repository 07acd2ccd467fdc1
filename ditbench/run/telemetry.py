"""Watches the devices of a run from outside the workers, and says what they did while a cell was timed.

A thread of the parent looks at each GPU ten times a second, at the processors twice. Every look is a line of
`telemetry.jsonl` in the run's folder: `ns` of the monotonic clock, `at` in seconds since 1970, the `device`
(index of a GPU, or "cpu"), then the readings in base units, those that the device tells. A record gets a
summary of its own timed stretch and never the series.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol, Self

from ditbench.devices import lock, readings
from ditbench.devices.cpu import CpuMeter
from ditbench.devices.device import IDLE_MEMORY, Device
from ditbench.devices.family import Family
from ditbench.devices.nvml import Meter, Nvml
from ditbench.devices.readings import CpuSample, GpuSample, Stretch, Window
from ditbench.jobs import Job
from ditbench.records import Stage, Status, Values
from ditbench.run.server import Answer

FILE = "telemetry.jsonl"
_GPU_PERIOD_S = 0.1
_CPU_PERIOD_S = 0.5
# Asking who computes on a GPU costs the driver more than all else together.
_LOOKS_PER_CENSUS = 10
_LOOKS_AT_REST = 5
_FLUSH_S = 1.0
# Days of one GPU. What is beyond is sampled all the same, and not written.
_LARGEST = 2**28
# Stages whose times the machine may have spoilt.
_WATCHED = frozenset({Stage.TIME, Stage.CANARY})
_KEPT = 72_000  # samples of one job: two hours at the higher rate

Metrics = dict[str, Values]
Warn = Callable[[str], None]


class Watch(Protocol):
    """One device that is looked at."""

    @property
    def device(self) -> str:
        """As a job names it."""
        ...

    @property
    def period_s(self) -> float:
        """Between two looks."""
        ...

    def look(self) -> Any:  # noqa: ANN401 (a sample of its kind)
        """How it does now: a sample."""
        ...

    def line(self, sample: Any) -> Mapping[str, Any]:  # noqa: ANN401 (of its kind)
        """A sample as plain data."""
        ...

    def tell(self, job: Job, metrics: Mapping[str, Values], window: Window[Any]) -> _Told:
        """What the samples around a timed stretch say of it; metrics: what the worker measured."""
        ...

    def spoilt(self, window: Window[Any]) -> list[Stretch]:
        """When something physical slowed the device, or somebody else was on it."""
        ...


@dataclass(frozen=True)
class _Told:
    facts: dict[str, Any]
    metrics: Metrics = field(default_factory=dict)


@dataclass
class GpuWatch:
    """A GPU or a slice: clocks, temperature, power, energy, what slows it, who else is on it."""

    index: str
    device: str
    meter: Meter
    processes: Family
    period_s: float = _GPU_PERIOD_S
    _looks: int = 0
    _foreign: tuple[str, ...] = ()

    def look(self) -> GpuSample:
        """The readings of now, and who was there at the last census."""
        if self._looks % _LOOKS_PER_CENSUS == 0:
            self._foreign = self.processes.foreign(self.meter.processes())
        self._looks += 1
        return GpuSample(time.monotonic_ns(), self.meter.read(), self._foreign)

    def line(self, sample: GpuSample) -> Mapping[str, Any]:
        """Clocks in hertz, watts, joules, bytes."""
        told = dataclasses.asdict(sample.reading) | {"foreign": sample.foreign or None}
        return {"device": self.index} | {k: _short(v) for k, v in told.items() if v is not None}

    def tell(self, job: Job, metrics: Mapping[str, Values], window: Window[GpuSample]) -> _Told:
        """Telemetry and energy of a worker that has ended."""
        self._looks = 0  # so that whom the census saw leave is not seen in the next job
        told = readings.gpu(window) | {"device": self.device}
        if others := self._memory_of_others():
            told["memory_of_others"] = others
        if job.stage is Stage.CANARY:  # it makes no image
            return _Told({"telemetry": told})
        if self.meter.cut:
            missing = "a slice of a GPU has no energy counter of its own"
            return _Told({"telemetry": told, "energy": {"missing": missing}})
        if job.cell.op:
            missing = "between the calls of a core by itself the GPU works on other things"
            return _Told({"telemetry": told, "energy": {"missing": missing}})
        images = job.cell.batch_size * len(metrics.get("latency", ()))
        found = readings.energy(window)
        if "joules" not in found or not images:
            return _Told({"telemetry": told, "energy": found})
        per_image = found["joules"] / images
        facts = {"telemetry": told, "energy": found | {"images": images}}
        return _Told(facts, {"energy": (per_image,)})

    def spoilt(self, window: Window[GpuSample]) -> list[Stretch]:
        """When it was slowed by heat, brake or hardware, or computed for others."""
        return readings.gpu_spoilt(window)

    def _memory_of_others(self) -> int:
        """Bytes in use though our worker has ended; a driver may take a moment to have its memory back."""
        used = 0
        for _ in range(_LOOKS_AT_REST):
            used = self.meter.read().memory_used or 0
            # Another run that waited for our lock may have begun by now: that is no trespass.
            if used <= IDLE_MEMORY or lock.holder(self.device):
                return 0
            time.sleep(self.period_s)
        return used


@dataclass
class CpuWatch:
    """The processors that this process may use: what others took of them, frequency, heat."""

    meter: CpuMeter
    device: str = "cpu"
    period_s: float = _CPU_PERIOD_S

    def look(self) -> CpuSample:
        """The counters of now."""
        return CpuSample(time.monotonic_ns(), self.meter.read())

    def line(self, sample: CpuSample) -> Mapping[str, Any]:
        """Processor seconds and hertz."""
        told = dataclasses.asdict(sample.load)
        return {"device": "cpu"} | {k: _short(v) for k, v in told.items() if v is not None}

    def tell(
        self,
        job: Job,  # noqa: ARG002 (what a GPU needs)
        metrics: Mapping[str, Values],  # noqa: ARG002 (likewise)
        window: Window[CpuSample],
    ) -> _Told:
        """Telemetry; a processor tells no energy here."""
        return _Told({"telemetry": readings.cpu(window) | {"device": self.device}})

    def spoilt(self, window: Window[CpuSample]) -> list[Stretch]:
        """When heat slowed them."""
        return readings.cpu_spoilt(window)


def watches(devices: Iterable[Device], nvml: Nvml | None) -> tuple[Watch, ...]:
    """What watches these devices. Raises UnfitError for a GPU that has gone."""
    processes = Family(os.getpid())
    found: list[Watch] = []
    for device in devices:
        if device.gpu and nvml:
            meter = Meter.of(nvml, device.name)
            found.append(GpuWatch(device.gpu.index, device.name, meter, processes))
        elif Path("/proc/stat").exists():
            found.append(CpuWatch(CpuMeter(processes, tuple(sorted(os.sched_getaffinity(0))))))
    return tuple(found)


class Telemetry:
    """Looks at devices from entering to leaving; `judge` puts what it saw into an answer.

    folder: the run's, where telemetry.jsonl is written. warn: hears, once, why nothing more is written or
    looked at; neither ends the run.
    """

    def __init__(self, watched: Iterable[Watch], folder: Path, warn: Warn) -> None:
        self._watches = {watch.device: watch for watch in watched}
        self._samples: dict[str, deque[Any]] = {
            device: deque(maxlen=_KEPT) for device in self._watches
        }
        self._paper = _Paper(folder / FILE, warn)
        self._warn = warn
        self._guard = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="telemetry", daemon=True)

    def __enter__(self) -> Self:
        for watch in tuple(self._watches.values()):
            self._look(watch)  # so that the first job's beginning lies between two samples
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self._thread.join()
        self._paper.close()

    def judge(self, job: Job, answer: Answer) -> Answer:
        """The answer with what its device did meanwhile. Call it when the worker has ended."""
        watch = self._watches.get(job.device)
        if watch is None:
            return answer
        end = time.monotonic_ns()
        begin = end - round(answer.seconds * 1e9)
        self._look(watch)
        samples = self._since_last(job.device)
        findings = answer.findings
        if job.stage not in _WATCHED or findings.status is not Status.OK:
            return answer
        begin, end = findings.facts.get("timed_ns", (begin, end))
        window = Window(samples, begin, end)
        told = watch.tell(job, findings.metrics, window)
        calls = [begin + at for at in findings.facts.get("calls_ns", ())]
        out = readings.left_out(calls, end, watch.spoilt(window))
        excluded = {"excluded": [list(one) for one in out]} if out else {}
        return dataclasses.replace(
            answer,
            findings=dataclasses.replace(
                findings,
                metrics={**findings.metrics, **told.metrics},
                facts={**findings.facts, **told.facts, **excluded},
            ),
        )

    def _since_last(self, device: str) -> list[Any]:
        """The samples of this job, and the one before it; the last begins the next job's."""
        with self._guard:
            kept = self._samples[device]
            samples = list(kept)
            kept.clear()
            kept.extend(samples[-1:])
        return samples

    def _look_on(self) -> None:
        due = dict.fromkeys(self._watches, time.monotonic())
        while due and not self._over.wait(max(0.0, min(due.values()) - time.monotonic())):
            now = time.monotonic()
            for device in tuple(due):
                watch = self._watches.get(device)
                if watch is None:  # it failed: nothing is waited for on its account
                    del due[device]
                elif due[device] <= now:
                    self._look(watch)
                    # A look that came late is not made up for: the next comes a whole period later.
                    due[device] = max(due[device] + watch.period_s, now + watch.period_s / 2)

    def _look(self, watch: Watch) -> None:
        with self._guard:
            try:
                sample = watch.look()
            except Exception as error:  # noqa: BLE001 (whatever it is, it must not end the run)
                if self._watches.pop(watch.device, None):
                    self._warn(f"{watch.device} is not watched any more: {error!r}")
                return
            self._samples[watch.device].append(sample)
            at = {"ns": sample.ns, "at": round(time.time(), 3)}
            line = json.dumps({**at, **watch.line(sample)}, separators=(",", ":"))
            self._paper.write(line + "\n")


@dataclass
class _Paper:
    """A file that is flushed once a second, and given up with one warning where it cannot be written."""

    path: Path
    warn: Warn
    _file: IO[str] | None = None
    _given_up: bool = False
    _flushed: float = 0.0

    def write(self, line: str) -> None:
        if self._given_up:
            return
        try:
            self._file = self._file or self.path.open("a", encoding="utf-8")
            self._file.write(line)
            if time.monotonic() - self._flushed > _FLUSH_S:
                self._file.flush()
                self._flushed = time.monotonic()
            if self._file.tell() > _LARGEST:
                self._give_up("it is long enough")
        except OSError as error:
            self._give_up(error.strerror or str(error))

    def close(self) -> None:
        try:
            if self._file:
                self._file.close()
        except OSError as error:
            self._give_up(error.strerror or str(error))

    def _give_up(self, why: str) -> None:
        if not self._given_up:
            self._given_up = True
            self.warn(f"{self.path}: no more telemetry is written: {why}; the run goes on")
        with contextlib.suppress(OSError):
            if self._file:
                self._file.close()


def _short(value: Any) -> Any:  # noqa: ANN401 (any reading)
    """A sensor knows no more than thousandths of its unit."""
    if not isinstance(value, float):
        return value
    return int(value) if value.is_integer() else round(value, 3)
