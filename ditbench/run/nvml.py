# ruff: noqa: N802, D102 (NVML's own functions: its manual says what they do)
"""The GPUs and MIG slices of this machine, as NVML sees them; none where there is no NVML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

Handle = Any


class Nvml(Protocol):
    """The part of NVML that is asked, under its own names; `pynvml` is one.

    Each function may raise `NVMLError`: not every question has an answer on every device.
    """

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...
    def nvmlSystemGetDriverVersion(self) -> str: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Handle: ...
    def nvmlDeviceGetUUID(self, handle: Handle) -> str: ...
    def nvmlDeviceGetName(self, handle: Handle) -> str: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Handle) -> Any: ...  # noqa: ANN401
    def nvmlDeviceGetUtilizationRates(self, handle: Handle) -> Any: ...  # noqa: ANN401
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Handle) -> list[Any]: ...
    def nvmlDeviceGetPowerManagementLimit(self, handle: Handle) -> int: ...
    def nvmlDeviceGetMigMode(self, handle: Handle) -> list[int]: ...
    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Handle) -> int: ...
    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Handle, index: int) -> Handle: ...


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
    asked = _Asked(nvml)
    driver = str(asked.ask("nvmlSystemGetDriverVersion", default="unknown"))
    found = []
    for index in range(asked.ask("nvmlDeviceGetCount", default=0)):
        whole = asked.ask("nvmlDeviceGetHandleByIndex", index)
        if whole is None:
            continue
        slices = list(asked.slices(whole))
        parts = [(f"{index}:{number}", part) for number, part in slices] or [(str(index), whole)]
        found += [asked.gpu(label, part, driver) for label, part in parts]
    return tuple(found)


@dataclass(frozen=True)
class _Asked:
    """NVML, of which a question without an answer gives a default."""

    nvml: Nvml

    def ask(self, question: str, *arguments: Any, default: Any = None) -> Any:  # noqa: ANN401 (as NVML answers)
        try:
            return getattr(self.nvml, question)(*arguments)
        except self.nvml.NVMLError:
            return default

    def slices(self, whole: Handle) -> Iterator[tuple[int, Handle]]:
        current, *_pending = self.ask("nvmlDeviceGetMigMode", whole, default=[0])
        if not current:
            return
        for number in range(self.ask("nvmlDeviceGetMaxMigDeviceCount", whole, default=0)):
            part = self.ask("nvmlDeviceGetMigDeviceHandleByIndex", whole, number)
            if part is not None:
                yield number, part

    def gpu(self, index: str, handle: Handle, driver: str) -> Gpu:
        memory = self.ask("nvmlDeviceGetMemoryInfo", handle)
        rates = self.ask("nvmlDeviceGetUtilizationRates", handle)
        limit = self.ask("nvmlDeviceGetPowerManagementLimit", handle)
        running = self.ask("nvmlDeviceGetComputeRunningProcesses", handle, default=[])
        return Gpu(
            index=index,
            uuid=str(self.ask("nvmlDeviceGetUUID", handle, default="")),
            name=str(self.ask("nvmlDeviceGetName", handle, default="unknown")),
            driver=driver,
            memory_total=memory and int(memory.total),
            memory_used=memory and int(memory.used),
            utilisation=rates and rates.gpu / 100,
            power_limit=limit and limit / 1000,  # NVML says milliwatts
            processes=tuple(process.pid for process in running),
        )
