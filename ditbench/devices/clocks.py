"""GPU clocks locked for a run, only where a person asks for it, and let go of however the run ends.

A guardian, a process in a session of its own, holds the reading end of a pipe whose only writing end is
ours: when we end, be it by SIGKILL, the pipe closes, and the guardian lets the clocks go. It stands before
anything is locked, and lets go in every other case too, so that there is one way back and not two.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ditbench import units
from ditbench.devices.device import Device
from ditbench.devices.nvml import Asked, Handle, Nvml
from ditbench.errors import UnfitError, UsageError

BASE, MOST = "base", "max"
READY = b"ready\n"
_SM = 1  # nvml.h: which clock
_OPTION = "--lock-clocks"
# The guardian needs NVML alone to let go; a driver that hangs shall not keep us.
_PATIENCE_S = 20.0


@contextmanager
def locked(
    nvml: Nvml | None, devices: Sequence[Device], wanted: str
) -> Iterator[tuple[Device, ...]]:
    """The devices with their clocks locked, which they say; as they are where nothing is wanted.

    wanted: megahertz as text, "base", "max", or empty. Raises UsageError for what is none of these,
    UnfitError where there is no GPU, a slice of one, or no right to lock.
    """
    if not wanted:
        yield tuple(devices)
        return
    asked, gpus = _lockable(nvml, devices, wanted)
    handles = [_handle(asked, gpu.name) for gpu in gpus]
    megahertz = [_megahertz(asked, handle, wanted) for handle in handles]
    with _guarded([gpu.name for gpu in gpus]):
        for handle, clock in zip(handles, megahertz, strict=True):
            _lock(asked, handle, clock)
        yield tuple(
            replace(device, clocks=f"locked at {units.count(clock * 1e6, 'Hz')}")
            for device, clock in zip(gpus, megahertz, strict=True)
        )


def release(nvml: Nvml, uuids: Sequence[str]) -> None:
    """Let go of the clocks of these GPUs, whoever locked them."""
    asked = Asked(nvml)
    for uuid in uuids:
        asked.ask("nvmlDeviceResetGpuLockedClocks", asked.ask("nvmlDeviceGetHandleByUUID", uuid))


def _lockable(
    nvml: Nvml | None, devices: Sequence[Device], wanted: str
) -> tuple[Asked, tuple[Device, ...]]:
    if wanted not in {BASE, MOST} and not (wanted.isdecimal() and int(wanted)):
        raise UsageError(f"{_OPTION} {wanted}: say megahertz, as 1410, or {BASE}, or {MOST}")
    if nvml is None or not all(device.gpu for device in devices):
        raise UnfitError(
            f"{_OPTION}: a CPU's clock is not ours to lock: leave it out, or name a GPU"
        )
    if cut := [device.name for device in devices if device.name.startswith("MIG-")]:
        raise UnfitError(
            f"{_OPTION}: {cut[0]} is a slice of a GPU, whose clock its neighbours share"
        )
    return Asked(nvml), tuple(devices)


def _handle(asked: Asked, uuid: str) -> Handle:
    found = asked.ask("nvmlDeviceGetHandleByUUID", uuid)
    if found is None:
        raise UnfitError(f"{uuid}: NVML does not find this GPU any more; see nvidia-smi")
    return found


def _megahertz(asked: Asked, handle: Handle, wanted: str) -> int:
    if wanted.isdecimal():
        return int(wanted)
    question = {
        MOST: "nvmlDeviceGetMaxClockInfo",
        BASE: "nvmlDeviceGetDefaultApplicationsClock",
    }[wanted]
    found = asked.ask(question, handle, _SM)
    if not found:
        raise UnfitError(f"{_OPTION} {wanted}: this GPU does not say what that is: give megahertz")
    return int(found)


def _lock(asked: Asked, handle: Handle, clock: int) -> None:
    try:
        asked.nvml.nvmlDeviceSetGpuLockedClocks(handle, clock, clock)
    except asked.nvml.NVMLError as error:
        raise UnfitError(
            f"{_OPTION}: the driver refuses {clock} MHz: {error}; it needs the rights of root and a "
            "clock that the GPU has (nvidia-smi -q -d SUPPORTED_CLOCKS): leave it out, or lock by hand with "
            f"sudo nvidia-smi -lgc {clock}"
        ) from error


@contextmanager
def _guarded(uuids: Sequence[str]) -> Iterator[None]:
    """A guardian of these GPUs, ready before the block; they are let go of when it has ended."""
    guardian = subprocess.Popen(
        [sys.executable, "-m", "ditbench.devices.guardian", *uuids],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # so that no Ctrl-C and no closed terminal ends it before us
    )
    assert guardian.stdin  # noqa: S101 (asked for above)
    assert guardian.stdout  # noqa: S101 (likewise)
    try:
        if guardian.stdout.readline() != READY:
            raise UnfitError(
                f"{_OPTION}: nothing would unlock them if this run were killed: its guardian did not start"
            )
        yield
    finally:
        guardian.stdin.close()
        guardian.stdout.close()
        try:
            guardian.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise UnfitError(
                "the driver does not let go of the clocks: sudo nvidia-smi -rgc"
            ) from None
