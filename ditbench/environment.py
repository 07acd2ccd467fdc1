"""Where numbers were taken: facts of the machine, and which of them must agree before two runs compare.

The code that measured is told here too, because the answer to "what was this?" needs both.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any

import ditbench
from ditbench.records import Scalar, digest

# What ditbench computes with, and what its methods may be made of: attention kernels by their distributions.
_PACKAGES = (
    "torch",
    "diffusers",
    "triton",
    "numpy",
    "safetensors",
    "xformers",
    "flash-attn",
    "flash-attn-3",
    "flashattn-hopper",
    "flash-attn-4",
    "sageattention",
)
# Before the names of distributions that bring plug-ins, whatever they are called.
_PLUGIN = "plugin."
_GROUPS = ("ditbench.attention", "ditbench.models", "ditbench.extractors")
# Variables that change what is computed, which kernel runs, or how fast: they must agree.
_INFLUENTIAL = (
    "ATEN_CPU_CAPABILITY",
    "CUBLASLT_*",
    "CUBLAS_*",
    "CUDA_DEVICE_MAX_CONNECTIONS",
    "CUDA_DISABLE_PTX_JIT",
    "CUDA_FORCE_PTX_JIT",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "CUDNN_*",
    "DIFFUSERS_ATTN_BACKEND",
    "DISABLE_ADDMM_CUDA_LT",
    "DNNL_*",
    "GOMP_*",
    "KMP_*",
    "LD_PRELOAD",
    "LRU_CACHE_CAPACITY",
    "MALLOC_*",
    "MKL_*",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_*",
    "ONEDNN_*",
    "OPENBLAS_NUM_THREADS",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_JIT",
    "PYTORCH_NO_CUDA_MEMORY_CACHING",
    "PYTORCH_TUNABLEOP_*",
    "PYTORCH_USE_CUDA_DSA",
    "TORCHDYNAMO_*",
    "TORCHINDUCTOR_*",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_*",
    "TORCH_COMPILE_*",
    "TORCH_CUDA_SANITIZER",
    "TORCH_CUDNN_*",
    "TORCH_LINALG_*",
    "TORCH_LINEAR_FLATTEN_3D",
    "TORCH_LOGS",
    "TORCH_MKLDNN_*",
    "TORCH_TRACE",
    "XFORMERS_*",
)
# Variables that say where things are, or what is checked: told, and free to differ. The compilers' folders
# are here because a timed process has its own.
_TOLD = (
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "DIFFUSERS_ATTN_CHECKS",
    "HF_HUB_OFFLINE",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_*",
)


@dataclass(frozen=True)
class _Refusal:
    """Why a variable must not be set, and the way out. idle: values that do nothing; on: where it matters."""

    because: str
    idle: tuple[str, ...] = ("",)
    on: tuple[str, ...] = ("cpu", "cuda")


_EAGER = "makes compiled cells eager ones: unset it and write compile: off"
_PRECISION = "changes the precision of every product in float32, softmax's too: unset it"
_CACHED = "lets a first call take compiled code from elsewhere: unset it"
_CUDA = ("cuda",)
# Variables that change softmax as well as the method, or what a metric means. What does nothing is as torch
# and CUDA read each: some ask for "1", some for any text, some only whether the variable is there.
_REFUSED = {
    "TORCHDYNAMO_DISABLE": _Refusal(_EAGER, ("", "0")),
    "TORCH_COMPILE_DISABLE": _Refusal(_EAGER, ("", "0")),
    "TORCHDYNAMO_SUPPRESS_ERRORS": _Refusal(
        "lets compiled cells go on as eager ones where they do not compile: unset it"
    ),
    "TORCH_COMPILE_OVERRIDE_BACKENDS": _Refusal(
        "compiles by another backend than the cell says: unset it"
    ),
    "TORCHINDUCTOR_FX_GRAPH_REMOTE_CACHE": _Refusal(_CACHED, ("", "0")),
    "TORCHINDUCTOR_AUTOTUNE_REMOTE_CACHE": _Refusal(_CACHED, ("", "0")),
    "TORCHINDUCTOR_BUNDLED_AUTOTUNE_REMOTE_CACHE": _Refusal(_CACHED, ("", "0")),
    "DIFFUSERS_ATTN_BACKEND": _Refusal(
        "changes the attention of every method, softmax too: unset it and name the kernel in the suite, "
        "as in `sdpa: {backend: flash}`"
    ),
    "NVIDIA_TF32_OVERRIDE": _Refusal(_PRECISION),
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": _Refusal(_PRECISION, ("", "0")),
    "CUDA_LAUNCH_BLOCKING": _Refusal(
        "makes the CPU wait for every kernel, which times the waiting: unset it", ("", "0"), _CUDA
    ),
    "PYTORCH_NO_CUDA_MEMORY_CACHING": _Refusal(
        "allocates anew for every tensor, so that times and peaks are not those of a model in use: unset it",
        (),
        _CUDA,
    ),
    "TORCH_CUDA_SANITIZER": _Refusal("watches every kernel, which takes time: unset it", (), _CUDA),
}
_MUST_AGREE = (
    "device",
    "cpu",
    "cpus",
    "torch",
    "gpu",
    "gpu_driver",
    "gpu_power_limit",
    "gpu_clocks",
)
_ABSENT = "not set"
# What a method or a suite may be made of, anywhere in a repository.
_CODE = (":/*.py", ":/*.yaml", ":/*.yml")


@dataclass(frozen=True)
class Environment:
    """Facts by name, scalars all: device name and UUID, driver, versions, environment variables."""

    facts: Mapping[str, Any]

    @cached_property
    def id(self) -> str:
        """16 hex digits: equal exactly when runs may be compared."""
        return digest({name: _comparable(name, self.facts) for name in _deciding(self.facts)})


def collect(device: str, gpu: Mapping[str, Scalar], environ: Mapping[str, str]) -> Environment:
    """The facts of this machine.

    device: "cpu" or "cuda". gpu: facts of the GPU by name as NVML gives them (`gpu`, `gpu_uuid`,
    `gpu_driver`, `gpu_power_limit`, ...), empty on the CPU. environ: the environment variables.
    """
    watched = {
        name: value for name, value in sorted(environ.items()) if _named(name, _INFLUENTIAL + _TOLD)
    }
    return Environment({"device": device, **gpu, **_machine(), **_versions(), **watched})


def packages(of: Environment) -> dict[str, str]:
    """The versions of what is installed, by name: what is computed with, and what brings plug-ins."""
    told = {name: str(of.facts[name]) for name in _PACKAGES if name in of.facts}
    return told | {
        name.removeprefix(_PLUGIN): str(version)
        for name, version in of.facts.items()
        if name.startswith(_PLUGIN)
    }


def refusals(environment: Environment) -> list[str]:
    """Variables that are set and must not be, each with the way out; empty means fit to measure.

    They change the reference method together with the method, so no comparison would show them.
    """
    facts = environment.facts
    return [
        f"{name}={facts[name]} {refusal.because}"
        for name, refusal in _REFUSED.items()
        if name in facts and facts[name] not in refusal.idle and facts["device"] in refusal.on
    ]


def differences(then: Environment, now: Environment) -> list[str]:
    """Every fact that differs, "torch: 2.12.1 -> 2.13.0"."""
    return [
        _difference(name, then.facts, now.facts)
        for name in _names(then.facts, now.facts)
        if then.facts.get(name) != now.facts.get(name)
    ]


def incompatible(then: Environment, now: Environment) -> list[str]:
    """The differences that forbid comparing times and memory; empty means comparable."""
    return [
        _difference(name, then.facts, now.facts)
        for name in _names(_deciding(then.facts), _deciding(now.facts))
        if _comparable(name, then.facts) != _comparable(name, now.facts)
    ]


def code_identity(suite: Path | None = None) -> dict[str, Any]:
    """The version, and of a checkout its commit and whether it holds changes that no commit has.

    commit is empty and dirty None where ditbench was installed without its history, or git is missing.
    suite: a file; where a repository holds it, suite_commit and suite_dirty say the same of that.
    """
    package = Path(ditbench.__file__).parent
    told: dict[str, Any] = {"version": ditbench.__version__, "commit": "", "dirty": None}
    if suite is not None:
        told |= _of_suite(suite)
    if not (package.parent / ".git").exists():
        return told
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(package, "status", "--porcelain", "--", ".")
    if commit is None or changes is None:
        return told
    return told | {"commit": commit, "dirty": bool(changes)}


def _of_suite(suite: Path) -> dict[str, Any]:
    """What a repository says of a suite and of the plug-ins beside it; nothing where none holds it.

    Dirty are files that git knows and that have changed, and what could be imported or read as a suite
    though no commit has it; results, which lie there too, are neither.
    """
    folder = suite.resolve().parent
    commit = _git(folder, "rev-parse", "HEAD")
    known = _git(folder, "status", "--porcelain", "--untracked-files=no")
    unknown = _git(folder, "ls-files", "--others", "--exclude-standard", "--full-name", *_CODE)
    if commit is None or known is None or unknown is None:
        return {}
    return {"suite_commit": commit, "suite_dirty": bool(known or unknown)}


def code_label(code: Mapping[str, Any]) -> str:
    """The code on one line, as records carry it: "0.1.0+0123abcd.dirty"."""
    commit = str(code.get("commit") or "")[:8]
    return "".join(
        (
            str(code["version"]),
            f"+{commit}" if commit else "",
            ".dirty" if code.get("dirty") else "",
        )
    )


def _machine() -> dict[str, Scalar]:
    return {
        "cpu": _cpu(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "os": _os(),
        "kernel": platform.release(),
        "container": any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")),
        "python": platform.python_version(),
    }


def _cpu() -> str:
    """The model's name where Linux tells it, else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _os() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _versions() -> dict[str, Scalar]:
    """Versions of what is installed; torch is asked for by name, not imported."""
    found: dict[str, Scalar] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    points = (point for group in _GROUPS for point in entry_points(group=group))
    return found | {f"{_PLUGIN}{one.dist.name}": one.dist.version for one in points if one.dist}


def _named(name: str, patterns: Iterable[str]) -> bool:
    return any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
        for pattern in patterns
    )


def _deciding(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that decide whether runs compare."""
    return {
        name: value
        for name, value in sorted(facts.items())
        if name in _MUST_AGREE or (_named(name, _INFLUENTIAL) and not _named(name, _TOLD))
    }


def _comparable(name: str, facts: Mapping[str, Any]) -> str:
    """A fact as far as it decides: of a driver the major version, of all else everything."""
    value = str(facts.get(name, _ABSENT))
    return value.partition(".")[0] if name == "gpu_driver" else value


def _names(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys((*then, *now)))


def _difference(name: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return f"{name}: {then.get(name, _ABSENT)} -> {now.get(name, _ABSENT)}"


def _git(folder: Path, *words: str) -> str | None:
    """What git answers, or None where it is missing or refuses."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
