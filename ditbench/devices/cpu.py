"""How busy the processors are that we may use, how fast they run, and how often heat slowed them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ditbench.devices.family import Family

_TICK = os.sysconf("SC_CLK_TCK")
# Asking a processor for its frequency interrupts it on some machines, so only some are asked.
_ASKED = 4


@dataclass(frozen=True)
class Load:
    """Processor seconds since the start: of everybody, and of ours; hertz; times that heat slowed them.

    None: the machine does not say.
    """

    busy: float
    ours: float
    frequency: float | None
    throttled: int | None


@dataclass(frozen=True)
class CpuMeter:
    """The processors that this process may use, looked at again and again."""

    processes: Family
    cpus: tuple[int, ...]
    proc: Path = Path("/proc")
    sys: Path = Path("/sys/devices/system/cpu")

    def read(self) -> Load:
        """How they do now."""
        asked = self.cpus[:_ASKED]
        hertz = list(_numbers(self.sys / f"cpu{cpu}/cpufreq/scaling_cur_freq" for cpu in asked))
        events = list(
            _numbers(self.sys / f"cpu{cpu}/thermal_throttle/core_throttle_count" for cpu in asked)
        )
        return Load(
            busy=self._busy(),
            ours=self.processes.cpu_seconds(),
            frequency=1e3 * min(hertz) if hertz else None,  # the kernel says kilohertz
            throttled=sum(events) if events else None,
        )

    def _busy(self) -> float:
        wanted = {f"cpu{cpu}" for cpu in self.cpus}
        lines = (line.split() for line in (self.proc / "stat").read_text().splitlines())
        return sum(_ticks(fields) for fields in lines if fields and fields[0] in wanted) / _TICK


def _ticks(fields: Sequence[str]) -> int:
    """All but idle and waiting for a disk: user, nice, system, interrupts, and what the host took."""
    user, nice, system, _idle, _waiting, hard, soft, stolen = map(int, fields[1:9])
    return user + nice + system + hard + soft + stolen


def _numbers(paths: Iterable[Path]) -> Iterable[int]:
    for path in paths:
        try:
            yield int(path.read_text())
        except (OSError, ValueError):
            continue
