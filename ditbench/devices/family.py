"""Which processes are of our own family, which are strangers, and which a container cannot see."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ditbench.devices.processes import described

# linux/proc_ns.h: the number of the namespace of process ids that the machine itself lives in.
_HOST_NAMESPACE = "pid:[4026531836]"
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Family:
    """The processes that /proc shows. root: the first of our own, whose descendants are ours too."""

    root: int
    proc: Path = Path("/proc")

    @property
    def host(self) -> bool:
        """Whether ids here are those of the machine, as NVML's are; in most containers they are not."""
        try:
            return str((self.proc / "self/ns/pid").readlink()) == _HOST_NAMESPACE
        except OSError:
            return False

    def told(self, pid: int) -> str:
        """A process for people: by what was started where /proc shows it."""
        if (self.proc / str(pid)).exists():
            return described(pid)
        if self.host:
            return f"process {pid}, which has ended or is hidden"
        return f"a process this container cannot see (host id {pid})"

    def ours(self, pid: int) -> bool:
        """Whether a process is `root` or descends from it."""
        while pid > 1:
            if pid == self.root:
                return True
            fields = self._stat(pid)
            pid = int(fields[1]) if fields else 0
        return False

    def foreign(self, pids: Sequence[int]) -> tuple[str, ...]:
        """Those that are not ours, told for people, of the processes on a device that we hold.

        Where ids are not those of the machine, our worker is among them under an id we do not know: one
        stranger alone is taken to be it.
        """
        strangers = [pid for pid in pids if not self.ours(pid)]
        if self.host or len(strangers) < len(pids):
            return tuple(self.told(pid) for pid in strangers)
        if len(strangers) < 2:
            return ()
        ids = " or ".join(map(str, strangers))
        return (f"a process this container cannot see (host id {ids}, one of which is our own)",)

    def cpu_seconds(self) -> float:
        """Processor time of `root` and of all that descends from it, those that have ended included."""
        return sum(map(self._seconds, self._tree()))

    def _tree(self) -> list[int]:
        found, waiting = [], [self.root]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            for children in (self.proc / str(pid) / "task").glob("*/children"):
                waiting += map(int, _text(children).split())
        return found

    def _seconds(self, pid: int) -> float:
        """Of one process, and of those of its children that it has seen out."""
        fields = self._stat(pid)
        return sum(map(int, fields[11:15])) / _TICK if fields else 0.0

    def _stat(self, pid: int) -> list[str]:
        """The fields of /proc/<pid>/stat from the third on; the second, a name, may hold anything."""
        return _text(self.proc / str(pid) / "stat").rpartition(")")[2].split()


def _text(path: Path) -> str:
    """What it says; nothing where it has gone, as processes do."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
