"""Which device to measure on: the GPU that was asked for, the idle one with most room, or the CPU.

A device is always named by its UUID, because an index means one thing to NVML (the order of the PCI bus)
and another to CUDA (the fastest first).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ditbench import units
from ditbench.devices import lock
from ditbench.devices.family import Family
from ditbench.devices.nvml import Gpu, Nvml, inventory, watched
from ditbench.errors import UnfitError, UsageError
from ditbench.records import Scalar

# A driver keeps some memory of an idle card for itself: up to about half a GiB on the largest.
IDLE_MEMORY = 2**30
IDLE_UTILISATION = 0.05
ALL = "all"
_ONCE = "name each GPU once, and nothing but GPUs"
_REQUEST = re.compile(r"\d+(:\d+)?|(GPU|MIG)-[0-9A-Za-z/-]*", re.IGNORECASE)


@dataclass(frozen=True)
class Device:
    """Where jobs run; `gpu` is None on the CPU. clocks: how they were set for this run, if they were."""

    gpu: Gpu | None = None
    clocks: str = ""

    @property
    def kind(self) -> Literal["cpu", "cuda"]:
        """As torch calls it."""
        return "cuda" if self.gpu else "cpu"

    @property
    def name(self) -> str:
        """What a job's `device` says: a UUID, or "cpu"."""
        return self.gpu.uuid if self.gpu else "cpu"

    @property
    def facts(self) -> Mapping[str, Scalar]:
        """For the environment's card, of a GPU only; what the device does not say is left out."""
        if self.gpu is None:
            return {}
        facts = {
            "gpu": self.gpu.name,
            "gpu_uuid": self.gpu.uuid,
            "gpu_driver": self.gpu.driver,
            "gpu_memory": self.gpu.memory_total,
            "gpu_power_limit": self.gpu.power_limit,
            "gpu_power_enforced": self.gpu.setup.power_enforced,
            "gpu_sm_clock_max": self.gpu.setup.sm_clock_max,
            "gpu_memory_clock_max": self.gpu.setup.memory_clock_max,
            "gpu_persistence": self.gpu.setup.persistence,
            "gpu_ecc": self.gpu.setup.ecc,
            "gpu_mig": self.gpu.setup.mig,
            "gpu_compute_mode": self.gpu.setup.compute_mode,
            "gpu_clocks": self.clocks or None,
        }
        return {name: value for name, value in facts.items() if value is not None}


CPU = Device()


def choose(
    wanted: str | None,
    nvml: Nvml | None,
    environ: Mapping[str, str],
    sleep: Callable[[float], None] = time.sleep,
) -> Device:
    """The device to measure on.

    wanted: None, "cpu", an index in the order of the PCI bus ("1", or "1:0" for a slice), or a UUID or
    the beginning of one. environ: CUDA_VISIBLE_DEVICES is respected. sleep: waits between two looks at how
    busy a GPU is. Raises UnfitError where the device is not there or busy, UsageError for what is neither
    index nor UUID.
    """
    seen = candidates(wanted, nvml, environ, sleep)
    if not seen:
        return CPU
    idle = [gpu for gpu in seen if not busy(gpu)]
    if idle:
        return Device(max(idle, key=_free))
    if wanted is not None:
        raise UnfitError(f"--gpu {wanted}: {seen[0].name} ({seen[0].uuid}) {busy(seen[0])}")
    told = "; ".join(f"GPU {gpu.index} ({gpu.name}) {busy(gpu)}" for gpu in seen)
    raise UnfitError(f"no GPU is idle: {told}. Wait, or measure on the CPU with --gpu cpu")


def choose_all(
    wanted: str | None,
    nvml: Nvml | None,
    environ: Mapping[str, str],
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Device, ...]:
    """The devices to measure on, one cell at a time on each.

    wanted: as for `choose`, several with commas between them, or "all" that CUDA_VISIBLE_DEVICES leaves.
    Raises what `choose` raises, and UnfitError where GPUs differ: their times could not stand side by side.
    """
    if wanted != ALL and "," not in (wanted or ""):
        return (choose(wanted, nvml, environ, sleep),)
    seen = candidates(wanted, nvml, environ, sleep)
    if not seen:
        raise UnfitError(f"--gpu {wanted}: there is no GPU")
    for gpu in seen:
        if reason := busy(gpu):
            raise UnfitError(f"--gpu {wanted}: {gpu.name} ({gpu.uuid}) {reason}")
    devices = tuple(map(Device, seen))
    _check_together(str(wanted), devices)
    return devices


def candidates(
    wanted: str | None,
    nvml: Nvml | None,
    environ: Mapping[str, str],
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Gpu, ...]:
    """The GPUs that may be meant, busy ones too, watched for two seconds; none where the CPU is meant.

    Arguments and errors as of `choose_all`, but that busy and different GPUs are none.
    """
    if wanted == "cpu":
        return ()
    gpus = inventory(nvml)
    if wanted is None or wanted == ALL:
        seen = visible(gpus, environ)
    else:
        seen = tuple(_wanted(name, gpus, environ) for name in _names(wanted))
    return watched(nvml, seen, sleep=sleep) if seen and nvml else ()


def facts_of(devices: Sequence[Device]) -> Mapping[str, Scalar]:
    """What the environment's card says of all devices together: they differ in their UUIDs only."""
    facts = dict(devices[0].facts)
    if len(devices) > 1:
        facts |= {"gpu_uuid": ", ".join(device.name for device in devices), "gpus": len(devices)}
    return facts


def _check_together(wanted: str, devices: Sequence[Device]) -> None:
    """Raises UsageError for a device named twice, UnfitError for GPUs that differ."""
    first, *others = devices
    if len({device.name for device in devices}) < len(devices):
        raise UsageError(f"--gpu {wanted}: {_ONCE}")
    different = [
        f"{name} is {first.facts.get(name)} on {first.name} and {other.facts.get(name)} on {other.name}"
        for other in others
        for name in first.facts
        if name != "gpu_uuid" and first.facts.get(name) != other.facts.get(name)
    ]
    if different:
        raise UnfitError(f"--gpu {wanted}: these GPUs are not alike: {'; '.join(different)}")


def visible(gpus: Sequence[Gpu], environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves: unset is all, empty or -1 is none.

    Raises UnfitError for one that is not there, UsageError for an index that could mean two GPUs.
    """
    setting = environ.get("CUDA_VISIBLE_DEVICES")
    if setting is None:
        return tuple(gpus)
    entries = [entry.strip() for entry in setting.split(",") if entry.strip()]
    if not gpus or not entries or entries[0] == "-1":
        return ()
    by_index = any(entry.isdigit() for entry in entries)
    in_bus_order = environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if by_index and not in_bus_order and len({gpu.name for gpu in gpus}) > 1:
        raise UsageError(
            f"CUDA_VISIBLE_DEVICES={setting} counts from the fastest GPU, nvidia-smi from the first on the "
            "bus, and the GPUs differ: name a UUID, or set CUDA_DEVICE_ORDER=PCI_BUS_ID"
        )
    return tuple(_find(entry, gpus, "CUDA_VISIBLE_DEVICES") for entry in entries)


def busy(gpu: Gpu) -> str:
    """What else the GPU is doing, as a clause; empty for nothing.

    Process ids alone would not do: a container may hide them, so memory and utilisation speak too.
    """
    if who := lock.holder(gpu.uuid):
        return f"is held by another ditbench run ({who})"
    return _shut(gpu) or _used(gpu)


def _shut(gpu: Gpu) -> str:
    """How it is set up so that nobody can compute on it."""
    if gpu.setup.mig and not gpu.uuid.startswith("MIG-"):
        return "is in MIG mode and has no slice to compute on"
    return "is in compute mode prohibited" if gpu.setup.compute_mode == "prohibited" else ""


def _used(gpu: Gpu) -> str:
    """Who uses it, or the traces of somebody."""
    if gpu.processes:
        known = Family(os.getpid())
        return f"is used by {', '.join(map(known.told, gpu.processes))}"
    if (gpu.memory_used or 0) > IDLE_MEMORY:
        return f"has {units.size(gpu.memory_used or 0)} in use"
    if (gpu.utilisation or 0) > IDLE_UTILISATION:
        return f"is {units.percent(gpu.utilisation or 0)} busy"
    return ""


def _names(wanted: str) -> list[str]:
    """Each GPU of a list. Raises UsageError for the CPU among them."""
    if "," not in wanted:
        return [wanted]
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    if "cpu" in names:
        raise UsageError(f"--gpu {wanted}: {_ONCE}")
    return names


def _wanted(wanted: str, gpus: Sequence[Gpu], environ: Mapping[str, str]) -> Gpu:
    if not _REQUEST.fullmatch(wanted):
        raise UsageError(f"--gpu {wanted}: say an index as nvidia-smi counts, a UUID, or cpu")
    gpu = _find(wanted, gpus, "--gpu")
    if gpu not in visible(gpus, environ):
        setting = environ["CUDA_VISIBLE_DEVICES"]
        raise UnfitError(f"--gpu {wanted} is outside CUDA_VISIBLE_DEVICES={setting}")
    return gpu


def _find(entry: str, gpus: Sequence[Gpu], asker: str) -> Gpu:
    """The one GPU that an index or the beginning of a UUID names."""
    if entry[0].isdigit():
        found = [gpu for gpu in gpus if gpu.index == entry]
    else:
        found = [gpu for gpu in gpus if gpu.uuid.lower().startswith(entry.lower())]
    if len(found) > 1:
        raise UsageError(f"{asker} {entry}: {len(found)} GPUs begin so; write more of the UUID")
    if not found:
        there = ", ".join(f"{gpu.index} = {gpu.uuid}" for gpu in gpus) or "no GPU at all"
        raise UnfitError(f"{asker} {entry}: no such GPU; there is {there}")
    return found[0]


def _free(gpu: Gpu) -> int:
    return (gpu.memory_total or 0) - (gpu.memory_used or 0)
