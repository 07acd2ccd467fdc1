"""What is wrong with this machine for measuring, and the command that mends it. Changes nothing itself."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

from ditbench.devices import device, gpu_checks, host_checks, lock
from ditbench.devices.diagnosis import Finding, Machine, Severity
from ditbench.devices.nvml import Nvml

_CUDA = re.compile(r"^cuda\b.*=\s*(?:'([\d.]+)'|None)\s*$", re.MULTILINE)


def here(
    wanted: str | None, nvml: Nvml | None, environ: Mapping[str, str], results: Path
) -> Machine:
    """The machine that we are on, as far as a run with this --gpu would use it.

    Raises what `device.candidates` raises.
    """
    return Machine(
        gpus=device.candidates(wanted, nvml, environ),
        nvml=nvml,
        environ=environ,
        cpus=host_checks.cpus(),
        torch_cuda=torch_cuda(),
        results=results,
        lock_folder=lock.folder(),
    )


def examine(machine: Machine) -> tuple[Finding, ...]:
    """Everything found, the worst first."""
    found = (*gpu_checks.findings(machine), *host_checks.findings(machine))
    return tuple(sorted(found, key=lambda one: list(Severity).index(one.severity)))


def torch_cuda() -> str | None:
    """The CUDA that torch was built for, read from its files without importing it.

    Empty for a build for CPUs, None where torch is not installed or does not say.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    match = _CUDA.search(text)
    return (match[1] or "") if match else None
