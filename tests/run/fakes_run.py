"""Fakes: cells and jobs, measuring functions that misbehave, a server without processes, NVML."""

# ruff: noqa: N802 (NVML's own names)

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import signal
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from ditbench.devices import lock
from ditbench.errors import SuiteError
from ditbench.jobs import Findings, Job, Quality, Timeouts, Timing
from ditbench.records import Cell, Choice, Sampling, Stage, Status
from ditbench.run.events import Phase
from ditbench.run.scheduler import Session, execute
from ditbench.run.server import Answer
from ditbench.suite.spec import Suite

LIMIT = 2**30
MODEL = Choice("dit", (("depth", 4), ("hidden", 32)))


def cell(attention="softmax", **more):
    blocks = more.pop("blocks", (0, 1, 2, 3))
    return Cell(MODEL, Choice(attention), blocks=blocks, sampling=Sampling(), **more)


def job(attention="softmax", stage=Stage.TIME, replicate=0, *, timeout_s=60.0, device="cpu"):
    return Job(
        cell(attention),
        stage,
        replicate,
        Timing(timeout_s=Timeouts(3600, timeout_s, 3600), memory_limit=LIMIT),
        Quality(),
        ("latency",),
        device,
        Path("images"),
    )


def suite(**more):
    base = {"name": "s", "path": "s.yaml", "text": "", "models": (MODEL,), "attentions": ()}
    return Suite(**(base | more))


# What a worker may be told to run, as "fakes_run:<name>".


def measure(job, say):
    """Do what the cell's attention is called: one server in a test serves every misbehaviour."""
    say("loading")
    return globals()[job.cell.attention.name](job, say)


def softmax(job, _say):
    return Findings(metrics={"latency": (0.25,)}, facts={"device": job.device, "pid": os.getpid()})


def hangs(_job, say):
    say("timing 3/20")
    time.sleep(600)


def tells_who_it_is_and_hangs(_job, say):
    say(f"{os.getpid()} {os.getppid()}")
    time.sleep(600)


def fills_its_caches_and_hangs(job, say):
    (job.caches / "inductor").mkdir(parents=True, exist_ok=True)
    say("cached")
    time.sleep(600)


def fills_its_caches_and_dies(job, say):
    (job.caches / "inductor").mkdir(parents=True, exist_ok=True)
    say("cached")
    os.kill(os.getpid(), signal.SIGKILL)


def takes_its_time(_job, say):
    for phase in ("timing 1", "timing 2", "judging"):
        say(phase)
        time.sleep(0.1)
    return Findings()


def leaves(_job, _say):
    os._exit(7)


def segfaults(_job, _say):
    ctypes.string_at(0)


def killed_from_outside(_job, _say):
    os.kill(os.getpid(), 9)


def takes_all_memory(_job, _say):
    hoard = []
    while True:
        hoard.append(bytearray(16 * 2**20))


CHUNK = LIMIT // 16


def takes_a_chunk_a_picture(job, _say):
    hoard = [bytearray(CHUNK) for _ in range(job.cell.batch_size)]
    return Findings(facts={"peak": "peak_resident", "peak_bytes": sum(map(len, hoard))})


def takes_chunks_and_hangs_at_four(job, say):
    return hangs(job, say) if job.cell.batch_size == 4 else takes_a_chunk_a_picture(job, say)


def torch_cannot_allocate(_job, _say):
    raise RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"
    )


def cuda_cannot_allocate(_job, _say):
    raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later")


def cublas_cannot_allocate(_job, _say):
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


class BackendError(Exception):
    """As compilers wrap what went wrong."""


def runs_out_inside_a_compiler(_job, _say):
    raise BackendError("could not compile") from MemoryError()


def cannot_fork(_job, _say):
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def ended_from_outside(_job, _say):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(600)


def ignores_sigterm(_job, say):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say(str(os.getpid()))
    time.sleep(600)


def lingers(job, _say):
    """Answer, and tell the log after it who holds the device."""

    def tell():
        threading.main_thread().join()
        os.write(1, lock.holder(job.device).encode())

    threading.Thread(target=tell).start()
    return Findings()


def lingers_and_raises(job, say):
    lingers(job, say)
    raise ZeroDivisionError


def takes_a_second(_job, _say):
    time.sleep(1)
    return Findings()


def floods_without_end(_job, _say):
    for number in itertools.count():
        os.write(1, f"line {number}\n".encode() * (1 if number < 100 else 1000))


def leaves_a_daemon(_job, _say):
    """As daemons do: fork, lead a session, fork again, and be nobody's child."""
    reader, writer = os.pipe()
    if not os.fork():
        os.setsid()
        if not os.fork():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(1, str(os.getpid()).encode())
            os.write(writer, b"!")
            time.sleep(600)
        os._exit(0)
    os.read(reader, 1)
    return Findings()


def leaves_a_daemon_and_dies(job, say):
    leaves_a_daemon(job, say)
    os.kill(os.getpid(), signal.SIGKILL)


def meets(job, _say):
    """Wait for the worker of the other device."""
    folder = Path(tempfile.gettempdir())
    other = {"GPU-meets-a": "GPU-meets-b", "GPU-meets-b": "GPU-meets-a"}[job.device]
    (folder / f"{job.device}.here").touch()
    end = time.monotonic() + 20
    while not (folder / f"{other}.here").exists():
        if time.monotonic() > end:
            raise TimeoutError("nobody came")
        time.sleep(0.01)
    time.sleep(0.2)
    (folder / f"{other}.here").unlink()
    return Findings()


def aborts_on_bad_alloc(_job, _say):
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def raises(_job, _say):
    raise ZeroDivisionError("first line\nsecond line")


def answers_with_an_object(_job, _say):
    return Findings(facts={"kernel": object()})


def fails_without_reason(_job, _say):
    return Findings(Status.NOT_FINITE)


def not_finite(_job, _say):
    return Findings(Status.NOT_FINITE, "NaN", metrics={"latency": (float("nan"),)})


def floods(_job, _say):
    for _ in range(20_000):
        print("a line that nobody wants on the terminal")  # noqa: T201 (the flood)
    os.write(2, b"and one from C\n")
    return Findings()


def tells_environment(_job, _say):
    names = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
    return Findings(
        facts={name: os.environ.get(name) for name in names}
        | {"parent": os.getppid(), "session": os.getsid(0), "pid": os.getpid()}
    )


def leaves_a_child(_job, _say):
    child = os.fork()
    if not child:
        time.sleep(600)
    return Findings(facts={"child": child})


def add(one, other):
    return one + other


def where(device="cpu"):
    """What CUDA may see here, and whether anybody holds the lock of a device."""
    held = bool(lock.holder(device))
    return os.environ["CUDA_VISIBLE_DEVICES"], held


def refuse():
    raise SuiteError(["a.yaml:1:1: one", "a.yaml:2:1: two"])


def stumble():
    raise KeyError("nothing there")


def sleep():
    time.sleep(600)


def execute_a_hang(server, logs):
    """Run a job that never ends, printing the worker's id and its parent's."""

    def tell(event):
        if isinstance(event, Phase) and event.text != "loading":
            print(event.text, flush=True)  # noqa: T201 (a script's output)

    jobs = [job("tells_who_it_is_and_hangs", Stage.GATE)]
    execute(jobs, server, Session(logs, "", ""), print, tell)


@dataclass
class FakeServer:
    """Answers at once with what it was given by (attention, stage), else with success; keeps the order."""

    answers: dict[tuple[str, Stage], Findings] = field(default_factory=dict)
    seconds: float = 2.0
    ran: list[tuple[str, Stage, int]] = field(default_factory=list)
    interrupt_at: int | None = None

    def stop(self):
        pass

    def run_job(self, job, log, hear):  # noqa: ARG002 (no process writes)
        if len(self.ran) == self.interrupt_at:
            raise KeyboardInterrupt
        name = job.cell.attention.name
        self.ran.append((name, job.stage, job.replicate))
        hear("timing 1/1")
        answer = self.answers.get((name, job.stage), Findings(metrics={"latency": (0.5,)}))
        return Answer(answer, "2030-01-01T00:00:00+00:00", self.seconds)


@dataclass
class Ring(FakeServer):
    """Answers jobs of two arms too.

    speeds: seconds of A's and B's first call by process; the second takes one more. facts: of each process.
    """

    speeds: list[tuple[float, float]] = field(default_factory=lambda: [(1.0, 3.0)] * 8)
    jobs: list[Job] = field(default_factory=list)
    facts: dict = field(default_factory=dict)

    def run_job(self, job, log, hear):
        self.jobs.append(job)
        answer = super().run_job(job, log, hear)
        if not job.beside or answer.findings.status is not Status.OK:
            return answer
        arms = {
            name: {
                "metrics": {"latency": [seconds, seconds + 1]},
                "warmups": {"first_call": [9.0]},
                "facts": {"rows": 2},
            }
            for name, seconds in zip("ab", self.speeds[job.replicate], strict=True)
        }
        told = Findings(facts={"arms": arms, "begins": "a", "threads": 2, **self.facts})
        return Answer(told, answer.started, answer.seconds)


class NvmlError(Exception):
    """What this NVML raises."""


class MismatchError(Exception):
    """What it raises of a driver that is older than itself, which is no kind of the other."""


@dataclass
class FakeGpu:
    """Numbers as NVML gives them: bytes, per cent, watts, megahertz. None: the device does not say.

    watts: the limit. draw: what it takes now, which its energy counter adds up from its birth on.
    """

    uuid: str
    name: str = "NVIDIA H200"
    total: int | None = 140 * 2**30
    used: int = 2**20
    utilisation: int | None = 0
    watts: int | None = 700
    pids: tuple[int, ...] = ()
    slices: tuple[FakeGpu, ...] = ()
    enforced: int | None = 700
    usual: int | None = 700
    draw: float | None = 500.0
    counts: bool = True
    heat: int | None = 60
    sm: int | None = 1980
    sm_most: int | None = 1980
    memory_clock: int | None = 2619
    reasons: int | None = 0
    persistence: int | None = 1
    ecc: int | None = 1
    mode: int | None = 0
    born: int = field(default_factory=time.monotonic_ns)
    whole: FakeGpu | None = None

    def __post_init__(self):
        for part in self.slices:
            part.whole = self


@dataclass
class FakeNvml:
    """NVML over a list of fake GPUs."""

    gpus: list[FakeGpu]
    cuda: int = 13000
    NVMLError: type[Exception] = NvmlError
    NVMLLibraryMismatchError: type[Exception] = MismatchError

    def nvmlInit(self):
        pass

    def nvmlSystemGetDriverVersion(self):
        return "580.1"

    def nvmlSystemGetCudaDriverVersion(self):
        return self.cuda

    def nvmlDeviceGetCount(self):
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):
        return self.gpus[index]

    def nvmlDeviceGetHandleByUUID(self, uuid):
        every = [part for gpu in self.gpus for part in (gpu, *gpu.slices)]
        return _said(next((gpu for gpu in every if gpu.uuid == uuid), None))

    def nvmlDeviceGetUUID(self, gpu):
        return gpu.uuid

    def nvmlDeviceGetName(self, gpu):
        return gpu.name

    def nvmlDeviceGetMemoryInfo(self, gpu):
        return SimpleNamespace(total=_said(gpu.total), used=gpu.used)

    def nvmlDeviceGetUtilizationRates(self, gpu):
        return SimpleNamespace(gpu=_said(gpu.utilisation))

    def nvmlDeviceGetComputeRunningProcesses(self, gpu):
        return [SimpleNamespace(pid=pid) for pid in gpu.pids]

    def nvmlDeviceGetPowerManagementLimit(self, gpu):
        return _said(gpu.watts) * 1000

    def nvmlDeviceGetPowerManagementDefaultLimit(self, gpu):
        return _said(gpu.usual) * 1000

    def nvmlDeviceGetEnforcedPowerLimit(self, gpu):
        return _said(gpu.enforced) * 1000

    def nvmlDeviceGetPowerUsage(self, gpu):
        return round(_said(gpu.draw) * 1000)

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu):
        if not gpu.counts:
            raise NvmlError("not supported")
        return round(gpu.draw * (time.monotonic_ns() - gpu.born) / 1e6)

    def nvmlDeviceGetTemperature(self, gpu, _sensor):
        return _said(gpu.heat)

    def nvmlDeviceGetClockInfo(self, gpu, clock):
        return _said({1: gpu.sm, 2: gpu.memory_clock}[clock])

    def nvmlDeviceGetMaxClockInfo(self, gpu, clock):
        return _said({1: gpu.sm_most, 2: gpu.memory_clock}[clock])

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, gpu):
        return _said(gpu.reasons)

    def nvmlDeviceGetPersistenceMode(self, gpu):
        return _said(gpu.persistence)

    def nvmlDeviceGetEccMode(self, gpu):
        return [_said(gpu.ecc), gpu.ecc]

    def nvmlDeviceGetComputeMode(self, gpu):
        return _said(gpu.mode)

    def nvmlDeviceGetMigMode(self, gpu):
        return [int(bool(gpu.slices)), int(bool(gpu.slices))]

    def nvmlDeviceGetMaxMigDeviceCount(self, _gpu):
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu, index):
        if index >= len(gpu.slices):
            raise NvmlError("not found")
        return gpu.slices[index]

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, gpu):
        return _said(gpu.whole)


def _said(value):
    if value is None:
        raise NvmlError("not supported")
    return value
