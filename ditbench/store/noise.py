"""What a machine's own noise was measured to be, per cell: a small file beside the baseline it gates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ditbench import shape
from ditbench.environment import Environment, incompatible
from ditbench.records import SCHEMA
from ditbench.store.disk import load, write_whole
from ditbench.store.reading import well_formed
from ditbench.store.seal import sealed, unsealed

_SUFFIX = ".noise.json"


@dataclass(frozen=True)
class Floor:
    """Relative changes that equal arms show by themselves. processes: how many fresh processes told.

    inside: both arms call by call in one process. apart: each process of one arm.
    """

    id: str
    inside: float
    apart: float
    processes: int


@dataclass(frozen=True)
class Noise:
    """The floors of a suite's cells on one machine, by cell key and metric."""

    suite: str
    started: str
    environment: Environment
    code: Mapping[str, Any]
    floors: Mapping[str, Mapping[str, Floor]]

    def floor(self, key: str, metric: str) -> Floor | None:
        """None where it was not measured."""
        return self.floors.get(key, {}).get(metric)

    def elsewhere(self, here: Environment) -> tuple[str, ...]:
        """Why these floors say nothing of a machine: what times depend on differs; empty where they do."""
        return tuple(incompatible(self.environment, here))


def noise_path(name: str, baselines: Path) -> Path:
    """Where the floors beside the baseline of that name are kept."""
    return baselines / f"{name}{_SUFFIX}"


def noise_beside(
    names: Iterable[str], baselines: Path, here: Environment
) -> tuple[Path, Noise] | None:
    """The first floors of these names, those of this machine before all others; None where there are none.

    names: the baseline's and the suite's. Raises StoreError for a file that cannot be read.
    """
    paths = dict.fromkeys(noise_path(name, baselines) for name in names)
    found = [(path, noise) for path in paths if (noise := noise_read(path))]
    return min(found, key=lambda one: bool(one[1].elsewhere(here)), default=None)


def noise_write(path: Path, noise: Noise) -> None:
    """Write the file whole, the same for the same floors. Raises StoreError."""
    plain = {
        "schema": SCHEMA,
        "noise": True,
        "suite": noise.suite,
        "started": noise.started,
        "environment": dict(noise.environment.facts),
        "code": dict(noise.code),
        "floors": {
            key: {metric: asdict(floor) for metric, floor in sorted(by_metric.items())}
            for key, by_metric in sorted(noise.floors.items(), key=_place)
        },
    }
    write_whole(path, sealed(plain, indent=1) + "\n", "measure it again")


def _place(one: tuple[str, Mapping[str, Floor]]) -> tuple[str, str]:
    key, by_metric = one
    return next((floor.id for floor in by_metric.values()), ""), key


def noise_read(path: Path) -> Noise | None:
    """The floors in this file, None where there is none. Raises StoreError for what cannot be read."""
    if not path.exists():
        return None
    return well_formed(f"{path}:1", lambda: _noise(unsealed(load(path))))


def _noise(plain: Mapping[str, Any]) -> Noise:
    shape.check(plain, shape.NOISE)
    for by_metric in plain["floors"].values():
        for floor in by_metric.values():
            shape.check(floor, shape.FLOOR, "floors")
    return Noise(
        suite=plain["suite"],
        started=plain["started"],
        environment=Environment(dict(plain["environment"])),
        code=dict(plain["code"]),
        floors={
            key: {metric: Floor(**floor) for metric, floor in by_metric.items()}
            for key, by_metric in plain["floors"].items()
        },
    )
