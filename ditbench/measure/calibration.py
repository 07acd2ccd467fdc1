"""What a plug-in must find out about a cell's model first: once a run, kept, and told apart from any latency.

It is found on samples that no figure is made of, by whichever process of the run needs it first; the others
read it. The file is the plug-in's own words in JSON, so that a person may keep it and name it in a suite.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ditbench.accelerators.base import Accelerator
from ditbench.attention.base import Around, AttentionMethod, Layer, Site
from ditbench.errors import StoreError, one_line
from ditbench.jobs import Job
from ditbench.measure.bench import Bench
from ditbench.records import Cell
from ditbench.store import shelf

# The number of the first sample of a calibration; pictures are numbered from 0.
_FIRST = 10_000_000
# What of a bench may be calibrated, each with the file that it has to itself.
_FILES = {"method": "calibration.json", "accelerator": "calibration-accelerator.json"}


def ready(job: Job, bench: Bench, say: Callable[[str], None]) -> Bench:
    """With method and accelerator calibrated, where they must be.

    Raises StoreError where what is there is torn, or was found on other weights.
    """
    for part in _FILES:
        plugin: AttentionMethod | Accelerator = getattr(bench, part)
        if not plugin.calibrated:
            continue
        path = path_of(job.pictures, bench.cell, part)
        if not path.exists():
            say("calibrating")
            _keep(path, _calibrated(bench, plugin))
        bench = dataclasses.replace(bench, **{part: _knowing(plugin, path, bench.weights)})
    return bench


def path_of(pictures: Path, cell: Cell, part: str = "method") -> Path:
    """Beside the cell's pictures, which other cells may share."""
    return shelf.folder_of(pictures, cell) / _FILES[part]


def seconds(job: Job) -> float | None:
    """What all calibrations of the job's cell took, None where there was none."""
    paths = [path_of(job.pictures, job.cell, part) for part in _FILES]
    took = [float(_read(path)["seconds"]) for path in paths if path.exists()]
    return sum(took) if took else None


def _knowing(plugin: Any, path: Path, weights: str) -> Any:  # noqa: ANN401 (one of either kind)
    """The plug-in with what is kept there. Raises StoreError where it is of no use to it."""
    plain = _read(path)
    if plain["weights"] != weights:
        raise _none(path, f"it was found on weights {plain['weights']}, and these are {weights}")
    try:
        return plugin.with_calibration(plain["found"])
    except Exception as error:  # of what stands in a file a plug-in may raise anything
        raise _none(path, str(error) or type(error).__name__) from error


def _calibrated(bench: Bench, plugin: AttentionMethod | Accelerator) -> dict[str, Any]:
    begin = time.monotonic()
    found = plugin.calibrate(_Trial(bench))
    if bench.device.type == "cuda":
        torch.cuda.synchronize()
    took = time.monotonic() - begin
    bench.denoiser.uninstall()
    told = {"cell": bench.cell.id, "weights": bench.weights}
    return {**told, "seconds": took, "found": dict(found)}


def _keep(path: Path, found: Mapping[str, Any]) -> None:
    """Whole or not at all: another process may read it at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_suffix(f".{os.getpid()}")
    own.write_text(json.dumps(found, allow_nan=False) + "\n", encoding="utf-8")
    own.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        told = {"seconds": float(plain["seconds"]), "weights": str(plain["weights"])}
        return {**told, "found": dict(plain["found"])}
    except KeyError as error:
        raise _none(path, f"{error} is missing") from error
    except (ValueError, TypeError, OverflowError, RecursionError, OSError) as error:
        raise _none(path, str(error)) from error


def _none(path: Path, why: str) -> StoreError:
    told = one_line(why)
    return StoreError(f"{path}: holds no calibration ({told}): remove it, and it is made again")


@dataclass(frozen=True)
class _Trial:
    """See `attention.base.Trial`."""

    bench: Bench

    @property
    def cell(self) -> Cell:
        return self.bench.cell

    @property
    def steps(self) -> int:
        return self.bench.cell.steps

    @property
    def network(self) -> torch.nn.Module:
        network: torch.nn.Module = self.bench.denoiser.network
        return network

    @property
    def sites(self) -> tuple[Site, ...]:
        return self.bench.sites

    def sample(
        self,
        layer_of: Callable[[Site], Layer],
        samples: int,
        around: Around = lambda forward, _now: forward(),
    ) -> torch.Tensor:
        denoiser, rest = self.bench.denoiser, self.bench.layers
        taken = self.bench.places.taken
        denoiser.install(lambda site: layer_of(site) if site.name in taken else rest(site))

        def predict(*inputs: torch.Tensor) -> torch.Tensor:
            return around(functools.partial(denoiser, *inputs), denoiser.clock.now)

        return self.bench.sample(
            self.bench.inputs(range(_FIRST, _FIRST + samples)), predict=predict
        )
