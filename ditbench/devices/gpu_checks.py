"""What is wrong with GPUs and what drives them, for measuring."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ditbench import units
from ditbench.devices import device
from ditbench.devices.diagnosis import Finding, Machine, doubtful, fine, wrong
from ditbench.devices.family import Family
from ditbench.devices.nvml import Asked, Gpu
from ditbench.devices.readings import HELD_BY_IDLENESS, SLOWED_AT_ALL

# A clock below this share of the highest, while nothing runs, is not locked: a resting GPU falls to a sixth.
_LOCKED = 0.5
# The versions of CUDA that PyTorch has an index of wheels for.
_INDEXES = (118, 121, 124, 126, 128, 130)


def findings(machine: Machine) -> Iterator[Finding]:
    """Driver, torch, and each GPU."""
    yield from _driver(machine)
    yield from _torch(machine)
    yield from _alike(machine)
    yield from _container(machine)
    for gpu in machine.gpus:
        yield from _gpu(gpu)


def _driver(machine: Machine) -> Iterator[Finding]:
    """A driver that cannot be asked is not the same as no GPU."""
    present = machine.text("proc/driver/nvidia/version")
    if machine.nvml is None and present:
        yield wrong(
            "an NVIDIA driver is loaded, but NVML cannot be asked",
            "ditbench would measure on the CPU and say nothing of the GPU",
            "nvidia-smi  # its error is the cause: rights on /dev/nvidia*, or a library that does not fit",
        )
    elif not machine.gpus:
        yield fine("no NVIDIA GPU to measure on: everything runs on the CPU")


def _torch(machine: Machine) -> Iterator[Finding]:
    """A torch that cannot use these GPUs."""
    if not machine.gpus or machine.torch_cuda is None:
        return
    if not machine.torch_cuda:
        yield wrong(
            "torch is a build for CPUs beside a GPU",
            "no cell could run on the GPU",
            "pip install --force-reinstall torch  # the CUDA build; or measure with --gpu cpu",
        )
        return
    known = machine.nvml and Asked(machine.nvml).ask("nvmlSystemGetCudaDriverVersion")
    if not known:
        return
    major, minor = known // 1000, known % 1000 // 10
    # Within one major version an older driver runs what a newer toolkit built.
    if int(machine.torch_cuda.partition(".")[0]) > major:
        yield wrong(
            f"torch was built for CUDA {machine.torch_cuda}, the driver knows {major}.{minor} at most",
            "CUDA would not start",
            _other_torch(major * 10 + minor),
        )
    else:
        yield fine(f"torch for CUDA {machine.torch_cuda} on a driver for {major}.{minor}")


def _other_torch(driver: int) -> str:
    """The command for a torch that a driver for this CUDA knows, where there is one. driver: 124 is 12.4."""
    known = [index for index in _INDEXES if index <= driver]
    if not known:
        return "# install a newer driver: https://www.nvidia.com/drivers"
    index = f"https://download.pytorch.org/whl/cu{max(known)}"
    return f"pip install torch --index-url {index}  # or a newer driver"


def _alike(machine: Machine) -> Iterator[Finding]:
    names = sorted({gpu.name for gpu in machine.gpus})
    if len(names) > 1:
        yield doubtful(
            f"GPUs of several kinds: {', '.join(names)}",
            "which one is measured on may change from night to night, and their numbers do not compare",
            f"ditbench run SUITE --gpu {machine.gpus[0].uuid}",
        )


def _container(machine: Machine) -> Iterator[Finding]:
    if machine.gpus and not Family(os.getpid(), machine.root / "proc").host:
        yield doubtful(
            "this container cannot see the processes of its host",
            "a stranger on the GPU shows by memory and utilisation only, and has no name",
            "docker run --pid=host ...",
        )


def _gpu(gpu: Gpu) -> Iterator[Finding]:
    """One GPU or slice, most harmful first."""
    found = [*_use(gpu), *_heat(gpu), *_settings(gpu)]
    yield from found
    if not found:
        yield fine(f"GPU {gpu.index} ({gpu.name}, driver {gpu.driver}) is idle and steady")
    if _held(gpu):
        clock = units.count(gpu.setup.sm_clock or 0, "Hz")
        yield fine(
            f"GPU {gpu.index}: its clock stays at {clock} while nothing runs, as a locked one does "
            f"(sudo nvidia-smi -i {_card(gpu)} -rgc lets it go)"
        )


def _use(gpu: Gpu) -> Iterator[Finding]:
    if reason := device.busy(gpu):
        mends = {
            "is in MIG mode": f"sudo nvidia-smi -i {_card(gpu)} -mig 0",
            "is in compute mode": f"sudo nvidia-smi -i {_card(gpu)} -c DEFAULT",
        }
        waits = f"nvidia-smi -i {_card(gpu)}  # end it, or wait for it"
        yield wrong(
            f"GPU {gpu.index} ({gpu.name}) {reason}",
            "it would not be ours alone, and a run refuses it",
            next((mend for start, mend in mends.items() if reason.startswith(start)), waits),
        )
    if gpu.uuid.startswith("MIG-"):
        yield doubtful(
            f"GPU {gpu.index} is a slice of a GPU",
            "neighbours share its clock and power, and a slice has no energy counter",
            f"sudo nvidia-smi -i {_card(gpu)} -mig 0",
        )


def _heat(gpu: Gpu) -> Iterator[Finding]:
    if (gpu.setup.reasons or 0) & SLOWED_AT_ALL:
        yield wrong(
            f"GPU {gpu.index} is slowed by heat or hardware while nothing runs",
            "its times say nothing of a method",
            f"nvidia-smi -q -d PERFORMANCE,TEMPERATURE,POWER -i {_card(gpu)}",
        )


def _settings(gpu: Gpu) -> Iterator[Finding]:
    setup, card = gpu.setup, _card(gpu)
    if setup.persistence is False:
        yield doubtful(
            f"GPU {gpu.index}: persistence mode is off",
            "the driver unloads between processes: each first call pays for it, and clocks start anew",
            f"sudo nvidia-smi -i {card} -pm 1",
        )
    if setup.power_default and setup.power_enforced and setup.power_enforced < setup.power_default:
        yield doubtful(
            f"GPU {gpu.index}: power is capped at {units.count(setup.power_enforced, 'W')} of "
            f"{units.count(setup.power_default, 'W')}",
            "large products are slower than they can be, and only runs under the same cap compare",
            f"sudo nvidia-smi -i {card} -pl {setup.power_default:.0f}",
        )
    if _loose(gpu):
        most = f"{setup.sm_clock_max or 0:.0f}"[:-6]
        yield doubtful(
            f"GPU {gpu.index}: its clock is not locked",
            "it climbs and falls with load and heat, so equal code takes unequal time",
            f"sudo nvidia-smi -i {card} -lgc {most}  # afterwards: -rgc; or ditbench run --lock-clocks",
        )


def _loose(gpu: Gpu) -> bool:
    """Whether the clock has fallen because nothing runs, as a locked one does not."""
    share = _resting(gpu)
    return share is not None and share < _LOCKED


def _held(gpu: Gpu) -> bool:
    """Whether the clock has not fallen although nothing runs."""
    share = _resting(gpu)
    return share is not None and share >= _LOCKED


def _resting(gpu: Gpu) -> float | None:
    """The clock as a share of the highest, of a GPU on which nothing runs; None of any other."""
    setup = gpu.setup
    idle = (setup.reasons or 0) & HELD_BY_IDLENESS
    if not idle or not setup.sm_clock or not setup.sm_clock_max:
        return None
    return setup.sm_clock / setup.sm_clock_max


def _card(gpu: Gpu) -> str:
    """The index that nvidia-smi knows: a slice's is its GPU's."""
    return gpu.index.partition(":")[0]
