# ruff: noqa: N802, D102 (NVML's own functions: its manual says what they do)
"""The GPUs and MIG slices of this machine, as NVML sees them; none where there is no NVML."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Protocol, cast

from ditbench.errors import UnfitError

Handle = Any

# nvml.h: which clock, which sensor.
_SM, _MEMORY = 1, 2
_CORE = 0
_COMPUTE_MODES = ("default", "exclusive thread", "prohibited", "exclusive process")


class Nvml(Protocol):
    """The part of NVML that is asked, under its own names; `pynvml` is one.

    Each function may raise `NVMLError`: not every question has an answer on every device.
    """

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...
    def nvmlSystemGetDriverVersion(self) -> str: ...
    def nvmlSystemGetCudaDriverVersion(self) -> int: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Handle: ...
    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Handle: ...
    def nvmlDeviceGetUUID(self, handle: Handle) -> str: ...
    def nvmlDeviceGetName(self, handle: Handle) -> str: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Handle) -> Any: ...  # noqa: ANN401 (a struct of C)
    def nvmlDeviceGetUtilizationRates(self, handle: Handle) -> Any: ...  # noqa: ANN401 (likewise)
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Handle) -> list[Any]: ...
    def nvmlDeviceGetPowerManagementLimit(self, handle: Handle) -> int: ...
    def nvmlDeviceGetPowerManagementDefaultLimit(self, handle: Handle) -> int: ...
    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Handle) -> int: ...
    def nvmlDeviceGetPowerUsage(self, handle: Handle) -> int: ...
    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Handle) -> int: ...
    def nvmlDeviceGetTemperature(self, handle: Handle, sensor: int) -> int: ...
    def nvmlDeviceGetClockInfo(self, handle: Handle, clock: int) -> int: ...
    def nvmlDeviceGetMaxClockInfo(self, handle: Handle, clock: int) -> int: ...
    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Handle) -> int: ...
    def nvmlDeviceGetPersistenceMode(self, handle: Handle) -> int: ...
    def nvmlDeviceGetEccMode(self, handle: Handle) -> list[int]: ...
    def nvmlDeviceGetComputeMode(self, handle: Handle) -> int: ...
    def nvmlDeviceGetMigMode(self, handle: Handle) -> list[int]: ...
    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Handle) -> int: ...
    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Handle, index: int) -> Handle: ...
    def nvmlDeviceSetGpuLockedClocks(self, handle: Handle, least: int, most: int) -> None: ...
    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: Handle) -> Handle: ...


@dataclass(frozen=True)
class Setup:
    """How a GPU is set up; of a slice, how the GPU is that it was cut from. None: the device does not say.

    Clocks in hertz, power in watts. reasons: NVML's bits for what holds the clock down now.
    """

    power_default: float | None = None
    power_enforced: float | None = None
    sm_clock: float | None = None
    sm_clock_max: float | None = None
    memory_clock: float | None = None
    memory_clock_max: float | None = None
    reasons: int | None = None
    persistence: bool | None = None
    ecc: bool | None = None
    compute_mode: str | None = None
    mig: bool | None = None


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a slice of one.

    index: in the order of the PCI bus, "1", or "1:0" for the first slice of it. memory in bytes, power in
    watts, utilisation from 0 to 1; None where the device does not say. processes: ids as NVML sees them,
    which in a container may be those of the host.
    """

    index: str
    uuid: str
    name: str
    driver: str
    memory_total: int | None
    memory_used: int | None
    utilisation: float | None
    power_limit: float | None
    processes: tuple[int, ...] = ()
    setup: Setup = Setup()


@dataclass(frozen=True)
class Reading:
    """One look at a GPU in use: hertz, degrees Celsius, watts, joules, bytes, utilisation from 0 to 1.

    energy: what the GPU has used since its driver was loaded. reasons: NVML's bits for what holds the clock
    down. None: the device does not say.
    """

    sm_clock: float | None
    memory_clock: float | None
    temperature: float | None
    power: float | None
    energy: float | None
    reasons: int | None
    utilisation: float | None
    memory_used: int | None


@dataclass(frozen=True)
class Asked:
    """NVML, of which a question without an answer gives a default."""

    nvml: Nvml

    def ask(self, question: str, *arguments: Any, default: Any = None) -> Any:  # noqa: ANN401 (as NVML answers)
        """The answer; the default where this device, driver or package has none."""
        try:
            return getattr(self.nvml, question)(*arguments)
        except (self.nvml.NVMLError, AttributeError, self._mismatch):
            return default

    @property
    def _mismatch(self) -> type[Exception]:
        """What newer packages raise of a driver that is too old for the question: it is no NVMLError."""
        return getattr(self.nvml, "NVMLLibraryMismatchError", AttributeError)

    def number(self, question: str, *arguments: Any, scale: float = 1.0) -> float | None:  # noqa: ANN401 (as NVML asks)
        """The answer in base units."""
        found = self.ask(question, *arguments)
        return None if found is None else found * scale

    def memory(self, handle: Handle) -> tuple[int | None, int | None]:
        """Bytes: all, and in use; a part whose memory is the host's says neither."""
        found = self.ask("nvmlDeviceGetMemoryInfo", handle)
        return (None, None) if found is None else (int(found.total), int(found.used))

    def utilisation(self, handle: Handle) -> float | None:
        """From 0 to 1, over NVML's own last moment of up to a second."""
        rates = self.ask("nvmlDeviceGetUtilizationRates", handle)
        return None if rates is None else rates.gpu / 100

    def processes(self, handle: Handle) -> tuple[int, ...]:
        """Ids of those that compute on it."""
        running = self.ask("nvmlDeviceGetComputeRunningProcesses", handle, default=[])
        return tuple(process.pid for process in running)

    def whole(self, handle: Handle) -> Handle:
        """The GPU that a slice was cut from; of a whole one, itself."""
        found = self.ask("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle)
        return handle if found is None else found

    def slices(self, whole: Handle) -> Iterator[tuple[int, Handle]]:
        """The slices that a GPU is cut in, each with its number."""
        current, *_pending = self.ask("nvmlDeviceGetMigMode", whole, default=[0])
        if not current:
            return
        for number in range(self.ask("nvmlDeviceGetMaxMigDeviceCount", whole, default=0)):
            part = self.ask("nvmlDeviceGetMigDeviceHandleByIndex", whole, number)
            if part is not None:
                yield number, part

    def setup(self, whole: Handle) -> Setup:
        """How a GPU is set up."""
        ecc, mig = (self.ask(f"nvmlDeviceGet{what}Mode", whole) for what in ("Ecc", "Mig"))
        mode = self.ask("nvmlDeviceGetComputeMode", whole)
        persistence = self.ask("nvmlDeviceGetPersistenceMode", whole)
        watts = {"scale": 1e-3}  # NVML says milliwatts
        hertz = {"scale": 1e6}  # and megahertz
        return Setup(
            power_default=self.number("nvmlDeviceGetPowerManagementDefaultLimit", whole, **watts),
            power_enforced=self.number("nvmlDeviceGetEnforcedPowerLimit", whole, **watts),
            sm_clock=self.number("nvmlDeviceGetClockInfo", whole, _SM, **hertz),
            sm_clock_max=self.number("nvmlDeviceGetMaxClockInfo", whole, _SM, **hertz),
            memory_clock=self.number("nvmlDeviceGetClockInfo", whole, _MEMORY, **hertz),
            memory_clock_max=self.number("nvmlDeviceGetMaxClockInfo", whole, _MEMORY, **hertz),
            reasons=self.ask("nvmlDeviceGetCurrentClocksThrottleReasons", whole),
            persistence=None if persistence is None else bool(persistence),
            ecc=None if ecc is None else bool(ecc[0]),
            compute_mode=_COMPUTE_MODES[mode] if mode in range(len(_COMPUTE_MODES)) else None,
            mig=None if mig is None else bool(mig[0]),
        )

    def gpu(self, index: str, handle: Handle, driver: str, setup: Setup) -> Gpu:
        """Everything about one GPU or slice."""
        total, used = self.memory(handle)
        return Gpu(
            index=index,
            uuid=str(self.ask("nvmlDeviceGetUUID", handle, default="")),
            name=str(self.ask("nvmlDeviceGetName", handle, default="unknown")),
            driver=driver,
            memory_total=total,
            memory_used=used,
            utilisation=self.utilisation(handle),
            power_limit=self.number("nvmlDeviceGetPowerManagementLimit", handle, scale=1e-3),
            processes=self.processes(handle),
            setup=setup,
        )


@dataclass(frozen=True)
class Meter:
    """One GPU or slice, looked at again and again.

    A slice has its own memory and processes; clocks, temperature and power are the whole GPU's. It has no
    energy of its own to tell, so power and energy of a slice are None.
    """

    asked: Asked
    handle: Handle
    whole: Handle
    cut: bool

    @classmethod
    def of(cls, nvml: Nvml, uuid: str) -> Meter:
        """The meter of that GPU or slice. Raises UnfitError where it has gone."""
        asked = Asked(nvml)
        handle = asked.ask("nvmlDeviceGetHandleByUUID", uuid)
        if handle is None:
            raise UnfitError(f"{uuid}: NVML does not find this GPU any more; see nvidia-smi")
        return cls(asked, handle, asked.whole(handle), cut=uuid.startswith("MIG-"))

    def read(self) -> Reading:
        """How it does now; costs a few system calls."""
        asked, whole = self.asked, self.whole
        power = energy = None
        if not self.cut:
            power = asked.number("nvmlDeviceGetPowerUsage", whole, scale=1e-3)
            energy = asked.number("nvmlDeviceGetTotalEnergyConsumption", whole, scale=1e-3)
        return Reading(
            sm_clock=asked.number("nvmlDeviceGetClockInfo", whole, _SM, scale=1e6),
            memory_clock=asked.number("nvmlDeviceGetClockInfo", whole, _MEMORY, scale=1e6),
            temperature=asked.number("nvmlDeviceGetTemperature", whole, _CORE),
            power=power,
            energy=energy,
            reasons=asked.ask("nvmlDeviceGetCurrentClocksThrottleReasons", whole),
            utilisation=asked.utilisation(self.handle),
            memory_used=asked.memory(self.handle)[1],
        )

    def processes(self) -> tuple[int, ...]:
        """Ids of those that compute on it."""
        return self.asked.processes(self.handle)


def load() -> Nvml | None:
    """NVML, ready to be asked, or None: no package, no driver, no library."""
    try:
        import pynvml  # noqa: PLC0415 (optional: ditbench runs on the CPU without it)
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return cast("Nvml", pynvml)


def inventory(nvml: Nvml | None) -> tuple[Gpu, ...]:
    """All that can be computed on: a GPU that is cut in slices is not itself among them."""
    if nvml is None:
        return ()
    asked = Asked(nvml)
    driver = str(asked.ask("nvmlSystemGetDriverVersion", default="unknown"))
    found = []
    for index in range(asked.ask("nvmlDeviceGetCount", default=0)):
        whole = asked.ask("nvmlDeviceGetHandleByIndex", index)
        if whole is None:
            continue
        slices = list(asked.slices(whole))
        parts = [(f"{index}:{number}", part) for number, part in slices] or [(str(index), whole)]
        setup = asked.setup(whole)
        found += [asked.gpu(label, part, driver, setup) for label, part in parts]
    return tuple(found)


def watched(
    nvml: Nvml,
    gpus: Sequence[Gpu],
    seconds: float = 2.0,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Gpu, ...]:
    """The same GPUs with the mean of their utilisation over so many seconds, without its two highest looks.

    One reading would not do: it is of a moment, in which a busy GPU may rest. Nor would all: a driver that
    wakes up cleans the memory of an idle GPU first, and says for a moment that all of it is busy.
    """
    asked, looks, highest = Asked(nvml), 8, 2
    handles = {gpu.uuid: asked.ask("nvmlDeviceGetHandleByUUID", gpu.uuid) for gpu in gpus}
    seen: dict[str, list[float]] = {gpu.uuid: [] for gpu in gpus}
    for _ in range(looks):
        sleep(seconds / looks)
        for uuid, handle in handles.items():
            share = None if handle is None else asked.utilisation(handle)
            if share is not None:
                seen[uuid].append(share)
    usual = {uuid: sorted(shares)[:-highest] for uuid, shares in seen.items()}
    return tuple(
        dataclasses.replace(gpu, utilisation=fmean(usual[gpu.uuid])) if usual[gpu.uuid] else gpu
        for gpu in gpus
    )
