"""The real pictures that others are compared with: statistics in a file, a data set, or what a network ships.

A data set is looked at once by each network, and what it saw is kept in the user's cache folder
(`$XDG_CACHE_HOME/ditbench/statistics`), under the digests of both: of 60,000 pictures that is hours on a
laptop for the large networks, for which `ditbench stats make` is the better place.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ditbench.datasets import Dataset, open_dataset, padded
from ditbench.distances.moments import Moments
from ditbench.errors import StoreError
from ditbench.extractors.base import Opened
from ditbench.measure import statistics as looking
from ditbench.measure.features import identity_of
from ditbench.measure.judging import MissingError, Target
from ditbench.records import digest
from ditbench.store import statistics
from ditbench.store.statistics import Reference

Say = Callable[[str], None]
Shape = tuple[int, ...]
# Of a side that a margin is put around: 28 of 32 pixels are 0.875.
_LEAST_SHARE = 0.75


def pictures(
    dataset: str, network: Opened, shape: Shape, say: Say
) -> tuple[Target, dict[str, Any]]:
    """The target, and what a record tells of it. shape: of the pictures that are compared with it.

    Raises MissingError where there are no real pictures for this network, UsageError where what is named is
    damaged, or of another network.
    """
    if not dataset:
        return _shipped(network)
    found = reference(dataset, network, shape, say)
    statistics.check(found, network.identity)
    target = Target("dataset", found.moments, found.spatial, found.features)
    return target, {"name": found.name, "sha256": found.sha256, "count": found.count}


def reference(dataset: str, network: Opened, shape: Shape, say: Say) -> Reference:
    """From a file of statistics, from the cache, or by looking at every picture."""
    path = Path(dataset).expanduser()
    if is_statistics(dataset):
        return statistics.read(path)
    source = fitted(open_dataset(dataset), shape)
    name, identity = network.identity.name, identity_of(network.identity)
    kept = _cache() / f"{name}-{digest([source.sha256, name, identity])}.npz"
    with contextlib.suppress(StoreError):  # not there, or torn: looked at again
        if kept.is_file():
            return statistics.read(kept)
    found = looking.reference_of(source, network, say=say)
    statistics.save(kept, found)
    return found


def is_statistics(dataset: str) -> bool:
    """Whether a text names a file of statistics, and no pictures. Raises StoreError for a damaged file."""
    path = Path(dataset).expanduser()
    return path.is_file() and statistics.holds(path)


def fitted(source: Dataset, shape: Shape) -> Dataset:
    """Somewhat smaller pictures get a black margin up to the size of those that are compared with them.

    So were those of 28 pixels that the small model learned from, which makes 32. Others stay as they are: a
    network that resizes sees both at its own size, where a small picture in a wide frame would be another.
    """
    height, width = shape[:2]
    smaller = _LEAST_SHARE * height <= min(source.shape[:2]) <= max(source.shape[:2]) < height
    return padded(source, height) if smaller and height == width else source


def _shipped(network: Opened) -> tuple[Target, dict[str, Any]]:
    name, moments = network.identity.name, network.shipped()
    if moments is None:
        raise MissingError(
            f"no real pictures come with {name}: name statistics of some, or a data set, under "
            "quality.dataset"
        )
    told = {"name": f"shipped with {name}", "sha256": _digest(moments), "count": moments.count}
    return Target("dataset", moments), told


def _digest(moments: Moments) -> str:
    found = hashlib.sha256(moments.mean.tobytes())
    found.update(moments.covariance.tobytes())
    return found.hexdigest()


def _cache() -> Path:
    told = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(told) if told else Path.home() / ".cache") / "ditbench" / "statistics"
