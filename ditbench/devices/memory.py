"""How much memory there is to give away, and whether the kernel has killed for want of it."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from pathlib import Path

_LIMITS = ("memory.max", "memory.limit_in_bytes")
SHARE = 0.8  # of what is available: the parent, its server and the page cache need the rest


def limit(root: Path = Path("/")) -> int:
    """Bytes that one worker may hold."""
    return int(SHARE * available(root))


def bounded(size: int) -> int:
    """So many bytes, or what `ulimit` lets a process hold where that is less."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    return size if hard == resource.RLIM_INFINITY else min(size, hard)


def available(root: Path = Path("/")) -> int:
    """Bytes that can be had without swapping, by the machine's account and by every control group's."""
    machine = _number(root / "proc/meminfo", "MemAvailable:") * 1024
    return min([machine, *(_free(folder) for folder in groups(root, "memory", _LIMITS))])


def kills(root: Path = Path("/")) -> int:
    """How often, all told, the kernel has killed a process here because memory ended."""
    machine = _number(root / "proc/vmstat", "oom_kill")
    group = next(groups(root, "memory", _LIMITS), root)
    files = ("memory.events", "memory.oom_control")  # version 2, version 1
    return machine + sum(_number(group / file, "oom_kill") for file in files)


def groups(root: Path, controller: str, files: tuple[str, ...]) -> Iterator[Path]:
    """The folders of our control group and of those above it that limit something, innermost first.

    controller: what version 1 calls it. files: where a limit stands, in version 2 and in version 1.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        innermost = top / path.lstrip("/")
        for folder in (innermost, *innermost.parents):
            if any((folder / file).exists() for file in files):
                yield folder
            if folder == top:
                break


def _free(group: Path) -> int:
    """What the group may still take; cached files do not count, the kernel gives them up."""
    most = _text(group / "memory.max") or _text(group / "memory.limit_in_bytes")
    if not most.strip().isdigit():  # "max"
        return 2**63
    used = _text(group / "memory.current") or _text(group / "memory.usage_in_bytes")
    cached = _number(group / "memory.stat", "inactive_file")
    return max(0, int(most) - int(used or 0) + cached)


def _number(file: Path, name: str) -> int:
    """The number behind a name at the start of a line; 0 where there is none."""
    match = re.search(rf"^{re.escape(name)}\s+(\d+)", _text(file), re.MULTILINE)
    return int(match[1]) if match else 0


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except OSError:
        return ""
