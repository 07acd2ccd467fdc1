"""Statistics of real pictures in a network's features: what a distance is taken to, kept with its identity.

A file of ours is an .npz with the names of the ADM evaluator's (`mu`, `sigma`; `mu_s`, `sigma_s` of the
features that keep their places, for sFID) and two more: `identity`, JSON as bytes, and `features`, float32,
of up to 10,000 pictures, for distances that no mean and covariance give. An ADM reference batch, as
VIRTUAL_imagenet256_labeled.npz, is read as it is: it holds statistics of the whole training set, and in
`arr_0` 10,000 pictures for precision and recall.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ditbench.datasets import npz
from ditbench.distances.frechet import Moments
from ditbench.errors import StoreError, UsageError
from ditbench.store.disk import replacing

# So many pictures' features are kept; KID, precision and recall look at no more.
KEPT = 10_000
# ADM's evaluator brings pictures to the network's size as TensorFlow 1 did.
_ADM_EXTRACTOR, _ADM_RESIZE, _ADM_INPUT, _ADM_WIDTH = "inception", "legacy", 299, 2048
# Of files from before it was written down; no network has such a side.
_UNTOLD = -1
_OURS = frozenset({"mu", "sigma", "identity"})
_ADM = frozenset({"mu", "sigma", "mu_s", "sigma_s", "arr_0"})


@dataclass(frozen=True)
class Wanted:
    """What statistics are asked for.

    source: a data set, as `open_dataset` takes it, or an ADM reference batch. limit: so many of its pictures,
    spread evenly; 0 for all. pad: a black margin up to so many pixels a side; 0 for none. settings: of the
    extractor, by name.
    """

    source: str
    extractor: str
    split: str = "train"
    limit: int = 0
    pad: int = 0
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Reference:
    """Statistics with their identity: all of it equal, or two distances are not compared.

    name: the pictures', for people. extractor_sha256: of the weights; "" where nobody wrote it down.
    sha256: of the pictures; of an ADM batch, of its file. count: pictures that were looked at; 0 where
    nobody wrote it down. moments: of the features (d,). spatial: of those that keep their places, where the
    network has such. features (n, d) float32 of n pictures spread evenly over all of them, or None.
    input: pixels a side that pictures were brought to, 0 for their own; below 0 where nobody wrote it down.
    """

    name: str
    extractor: str
    extractor_sha256: str
    resize: str
    sha256: str
    count: int
    moments: Moments
    spatial: Moments | None = None
    features: NDArray[np.float32] | None = None
    input: int = _UNTOLD

    @property
    def identity(self) -> dict[str, str | int]:
        """What stands beside every distance to it."""
        return {name: getattr(self, name) for name in IDENTITY}


# The fields of a reference that say whose it is, with their types.
IDENTITY: Mapping[str, type[str | int]] = {
    "name": str,
    "extractor": str,
    "extractor_sha256": str,
    "resize": str,
    "sha256": str,
    "count": int,
    "input": int,
}


class Network(Protocol):
    """What an extractor says of itself when it is opened."""

    @property
    def name(self) -> str:
        """As suites say it."""

    @property
    def sha256(self) -> str:
        """Of its weights."""

    @property
    def resize(self) -> str:
        """How it brings pictures to its size."""

    @property
    def input(self) -> int:
        """That size."""


def holds(path: Path) -> bool:
    """Whether a file is one of statistics, not of pictures alone. Raises StoreError where it is no .npz."""
    return {"mu", "sigma"} <= set(_keys(path))


def read(path: Path) -> Reference:
    """Statistics of ours, or an ADM reference batch. Raises StoreError, one line, for anything else."""
    keys = set(_keys(path))
    if keys >= _OURS:
        return _ours(path, keys)
    if keys >= _ADM:
        return _adm(path)
    told = ", ".join(sorted(keys)) or "nothing"
    missing = ", ".join(sorted(_ADM - keys))
    raise StoreError(
        f"{path}: holds {told}: neither statistics of ditbench, which tell their network, nor an ADM "
        f"reference batch ({missing} missing): make some with ditbench stats make"
    )


def save(path: Path, reference: Reference) -> None:
    """Write whole or not at all. Raises StoreError."""
    arrays: dict[str, NDArray[Any]] = {
        "mu": reference.moments.mean,
        "sigma": reference.moments.covariance,
        "identity": np.frombuffer(json.dumps(reference.identity).encode(), np.uint8),
    }
    if reference.spatial:
        arrays |= {"mu_s": reference.spatial.mean, "sigma_s": reference.spatial.covariance}
    if reference.features is not None:
        arrays["features"] = reference.features
    with replacing(path, "run the command again") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub reads names as options


def completed(batch: Reference, seen: Reference) -> Reference:
    """An ADM batch's own statistics, with the features of the pictures that lie beside them."""
    return replace(batch, extractor_sha256=seen.extractor_sha256, features=seen.features)


def check(reference: Reference, network: Network) -> None:
    """Refuse statistics of another network, other weights, another size or way to it. Raises UsageError."""
    for what, theirs, asked in (
        ("of extractor", reference.extractor, network.name),
        ("resized by", reference.resize, network.resize),
        ("of pictures with a side of", reference.input, network.input),
        ("of weights", reference.extractor_sha256, network.sha256),
    ):
        if theirs not in {asked, "", _UNTOLD}:
            raise UsageError(
                f"statistics of {reference.name} are {what} {theirs}, and {asked} is asked for: "
                f"make them with ditbench stats make --extractor {network.name}"
            )


def _ours(path: Path, keys: set[str]) -> Reference:
    identity = _identity(path)
    moments = _moments(path, "", identity["count"])
    spatial = _moments(path, "_s", identity["count"]) if "mu_s" in keys else None
    return Reference(
        **identity, moments=moments, spatial=spatial, features=_features(path, moments)
    )


def _adm(path: Path) -> Reference:
    """Which pictures these are of is not written there: the file itself says it."""
    moments = _moments(path, "", 0)
    if len(moments.mean) != _ADM_WIDTH:
        raise StoreError(
            f"{path}: mu is {len(moments.mean)} wide: ADM's evaluator takes {_ADM_WIDTH} of {_ADM_EXTRACTOR}"
        )
    return Reference(
        name=path.stem,
        extractor=_ADM_EXTRACTOR,
        resize=_ADM_RESIZE,
        input=_ADM_INPUT,
        extractor_sha256="",
        sha256=_file_digest(path),
        count=0,
        moments=moments,
        spatial=_moments(path, "_s", 0),
    )


def _identity(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(npz.array(path, "identity").tobytes())
    except (UsageError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: its identity cannot be read: {error}") from error
    if isinstance(told, dict):
        told = {"input": _UNTOLD} | told
    if not isinstance(told, dict) or set(told) != set(IDENTITY):
        raise StoreError(
            f"{path}: its identity does not say {', '.join(IDENTITY)} and nothing else"
        )
    for name, kind in IDENTITY.items():
        if type(told[name]) is not kind:
            raise StoreError(f"{path}: its identity says {name} {told[name]!r}")
    return told


def _features(path: Path, moments: Moments) -> NDArray[np.float32] | None:
    if "features" not in _keys(path):
        return None
    found = _array(path, "features")
    if found.ndim != 2 or found.shape[1:] != moments.mean.shape:
        raise StoreError(f"{path}: features {found.shape} do not belong to mu {moments.mean.shape}")
    if found.dtype != np.float32 or not np.isfinite(found).all():
        raise StoreError(f"{path}: features are not finite float32 numbers")
    return found


def _moments(path: Path, suffix: str, count: int) -> Moments:
    mean, covariance = (_numbers(path, name + suffix) for name in ("mu", "sigma"))
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise StoreError(
            f"{path}: sigma{suffix} {covariance.shape} does not belong to mu{suffix} {mean.shape}"
        )
    return Moments(mean, covariance, count)


def _numbers(path: Path, key: str) -> NDArray[np.float64]:
    found = _array(path, key)
    if not np.issubdtype(found.dtype, np.floating) or not np.isfinite(found).all():
        raise StoreError(f"{path}: {key} is not of finite floating-point numbers")
    return np.array(found, np.float64)


def _array(path: Path, key: str) -> NDArray[Any]:
    try:
        return npz.array(path, key)
    except UsageError as error:
        raise StoreError(str(error)) from error


def _keys(path: Path) -> list[str]:
    try:
        return npz.keys(path)
    except UsageError as error:
        raise StoreError(str(error)) from error


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
