"""What is wrong with processors, memory, disks and the environment, for measuring."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from ditbench import environment, units
from ditbench.devices import lock, memory
from ditbench.devices.diagnosis import Finding, Machine, doubtful, fine, nearest, wrong

_CPU = "sys/devices/system/cpu"
# torch and diffusers take two thirds of a GiB before any model.
_LEAST_MEMORY, _SOME_MEMORY = 2**30, 4 * 2**30
# A night's pictures and telemetry.
_LEAST_DISK, _SOME_DISK = 100 * 2**20, 2 * 2**30
_SWAPPED = 64 * 2**20
# Processes that wait for a processor, on average over a minute: one in five is some other program's work.
_LOAD = 0.2


def findings(machine: Machine) -> Iterator[Finding]:
    """Everything that is not a GPU."""
    for check in (_variables, _locks, _held, _disk, _memory, _swap, _pages):
        yield from check(machine)
    for check in (_quota, _threads, _load, _clock):
        yield from check(machine)


def _variables(machine: Machine) -> Iterator[Finding]:
    here = environment.collect("cpu", {}, machine.environ)
    for refusal in environment.refusals(here):
        name = refusal.partition("=")[0]
        setting = f"{name}={machine.environ[name]}"
        yield wrong(f"{setting} is set", refusal.removeprefix(f"{setting} "), f"unset {name}")


def _locks(machine: Machine) -> Iterator[Finding]:
    folder = machine.lock_folder
    if not (folder.is_dir() and machine.writable(folder)):  # no run makes it
        yield wrong(
            f"{folder} cannot be written",
            "devices are locked there, so that two runs do not share one",
            f"export {lock.FOLDER}=...  # a folder that all users of this machine can write",
        )


def _held(machine: Machine) -> Iterator[Finding]:
    if not machine.gpus and (who := lock.holder("cpu")):
        yield doubtful(
            f"{who} measures on the processors",
            "a second run waits until it has them to itself",
            "ps aux | grep ditbench  # wait for it",
        )


def _disk(machine: Machine) -> Iterator[Finding]:
    there = nearest(machine.results)
    if not machine.writable(machine.results):
        yield wrong(
            f"{there} cannot be written",
            "no result could be kept",
            "ditbench run SUITE --out DIR",
        )
        return
    free = shutil.disk_usage(there).free
    told = f"{units.size(free)} of disk are free under {there}"
    why, command = "a run that fills the disk ends there", "ditbench gc  # or --out DIR elsewhere"
    if free < _LEAST_DISK:
        yield wrong(told, why, command)
    elif free < _SOME_DISK:
        yield doubtful(told, why, command)
    else:
        yield fine(told)


def _memory(machine: Machine) -> Iterator[Finding]:
    free = memory.available(machine.root)
    told = f"{units.size(free)} of memory are available"
    why, command = "cells end out of memory that would fit elsewhere", "ps aux --sort=-rss | head"
    if free < _LEAST_MEMORY:
        yield wrong(told, why, command)
    elif free < _SOME_MEMORY:
        yield doubtful(told, why, command)
    else:
        yield fine(told)


def _swap(machine: Machine) -> Iterator[Finding]:
    used = machine.memory("SwapTotal") - machine.memory("SwapFree")
    if used > _SWAPPED:
        yield doubtful(
            f"{units.size(used)} are swapped out",
            "what comes back from disk in the middle of a timed call is in its time",
            "sudo swapoff -a",
        )


def _pages(machine: Machine) -> Iterator[Finding]:
    if "[always]" in machine.text("sys/kernel/mm/transparent_hugepage/enabled"):
        yield doubtful(
            "transparent huge pages are given to everybody",
            "peak memory and first touches depend on what lies free, not on the method",
            "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
        )


def _quota(machine: Machine) -> Iterator[Finding]:
    allowed = cpu_quota(machine)
    if allowed is not None and allowed < len(machine.cpus):
        yield doubtful(
            f"a control group allows {units.digits(allowed)} processors of {len(machine.cpus)}",
            "threads stop all at once when the quota of a tenth of a second is spent",
            "docker run --cpuset-cpus=0-1 ...  # whole processors instead of --cpus",
        )


def cpu_quota(machine: Machine) -> float | None:
    """Processors that control groups allow; None for no limit."""
    found = []
    for folder in memory.groups(machine.root, "cpu", ("cpu.max", "cpu.cfs_quota_us")):
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period")
            )
        if quota.isdigit():  # "max" in version 2, -1 in version 1
            found.append(int(quota) / int(period))
    return min(found, default=None)


def _threads(machine: Machine) -> Iterator[Finding]:
    wanted = machine.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > len(machine.cpus):
        yield doubtful(
            f"OMP_NUM_THREADS={wanted} on {len(machine.cpus)} processors",
            "threads wait for each other's turn",
            f"export OMP_NUM_THREADS={len(machine.cpus)}",
        )


def _load(machine: Machine) -> Iterator[Finding]:
    load = float(machine.text("proc/loadavg").partition(" ")[0] or 0)
    told = f"{load:g} processes wanted a processor in the last minute"
    if load > _LOAD:
        yield doubtful(
            told,
            "what others take of the processors is in our times, of small GPU cells too",
            "top -o %CPU  # end it, or wait for it",
        )
    else:
        yield fine(told)


def _clock(machine: Machine) -> Iterator[Finding]:
    """Frequency and threads of one core, which move times on the CPU and of small cells on a GPU."""
    governors = {
        text
        for cpu in machine.cpus
        if (text := machine.text(f"{_CPU}/cpu{cpu}/cpufreq/scaling_governor"))
    }
    if governors - {"performance"}:
        yield doubtful(
            f"processors are governed by {', '.join(sorted(governors))}",
            "they run slow until a load has lasted",
            "sudo cpupower frequency-set -g performance",
        )
    if machine.number(f"{_CPU}/intel_pstate/no_turbo") == 0:
        yield doubtful(
            "turbo is on",
            "the frequency depends on heat and on what the other cores do",
            "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo",
        )
    elif machine.number(f"{_CPU}/cpufreq/boost") == 1:
        yield doubtful(
            "boost is on",
            "the frequency depends on heat and on what the other cores do",
            "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost",
        )
    if machine.number(f"{_CPU}/smt/active") == 1:
        yield doubtful(
            "two threads share each core",
            "a thread is as fast as its neighbour leaves it",
            "echo off | sudo tee /sys/devices/system/cpu/smt/control",
        )


def cpus() -> tuple[int, ...]:
    """The processors that this process may use."""
    return tuple(sorted(os.sched_getaffinity(0)))
