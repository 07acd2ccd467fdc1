"""Statistics of real pictures in a network's features, in one pass over them."""

from __future__ import annotations

import hashlib
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ditbench.datasets import Dataset, open_dataset, padded
from ditbench.distances.frechet import Streaming
from ditbench.errors import UsageError
from ditbench.extractors.base import EXTRACTORS, Extractor, Features, Opened, made
from ditbench.measure.bench import place
from ditbench.registry import settings_of
from ditbench.store import statistics
from ditbench.store.statistics import Reference, Wanted

_BATCH = 256
_TOLD_EVERY_S = 5.0
Say = Callable[[str], None]


def make(wanted: Wanted, device: str) -> Reference:
    """What `ditbench stats make` writes. device: "cpu", or the UUID of the only GPU that is seen.

    Raises UsageError where pictures, network or its weights are not as they must be.
    """
    extractor = _extractor(wanted)
    source = Path(wanted.source)
    given = source if source.is_file() and statistics.holds(source) else None
    pictures = _pictures(wanted)
    if not extractor.suits(pictures.shape):
        told = "x".join(map(str, pictures.shape))
        raise UsageError(
            f"{pictures.name}: pictures of {told} do not suit extractor {extractor.name}"
            f"{_hint(extractor, pictures.shape)}"
        )
    opened = extractor.open(place(device))
    if given:
        return _completed(statistics.read(given), pictures, opened)
    return reference_of(pictures, opened, wanted.limit, _say)


def reference_of(
    dataset: Dataset, opened: Opened, limit: int = 0, say: Say = lambda _text: None
) -> Reference:
    """Statistics of a data set, or of so many of its pictures spread evenly, in an opened network's features.

    say: told how far it is. Raises UsageError where all pictures are of one colour, or fewer than 2.
    """
    chosen = spread(dataset.count, limit)
    whose, sums, told = opened.identity, _Sums.of(len(chosen)), -math.inf
    for start in range(0, len(chosen), _BATCH):
        images, _ = dataset.take(chosen[start : start + _BATCH])
        sums.add(images, opened.features(images))
        if time.monotonic() - told > _TOLD_EVERY_S:
            told = time.monotonic()
            say(f"{sums.seen} of {len(chosen)} pictures")
    if sums.constant == len(chosen):
        raise UsageError(
            f"{dataset.name}: each of {len(chosen)} pictures is of one colour: they have no statistics"
        )
    if sums.constant:
        say(f"{dataset.name}: {sums.constant} of {len(chosen)} pictures are of one colour")
    return Reference(
        name=dataset.name if len(chosen) == dataset.count else f"{len(chosen)} of {dataset.name}",
        extractor=whose.name,
        extractor_sha256=whose.sha256,
        resize=whose.resize,
        sha256=_identity(dataset, len(chosen)),
        count=len(chosen),
        moments=sums.pool.moments(),
        spatial=sums.places.moments() if sums.places else None,
        features=np.concatenate(sums.kept),
    )


def spread(count: int, limit: int) -> list[int]:
    """So many of the numbers below count, evenly: the first of a folder would be of few classes."""
    wanted = min(limit or count, count)
    return [number * count // wanted for number in range(wanted)]


@dataclass
class _Sums:
    """What is added up while pictures go by. keep: which of them have their features kept."""

    keep: frozenset[int]
    seen: int = 0
    constant: int = 0
    pool: Streaming = field(default_factory=lambda: Streaming(0))
    places: Streaming | None = None
    kept: list[NDArray[np.float32]] = field(default_factory=list)

    @classmethod
    def of(cls, count: int) -> _Sums:
        return cls(frozenset(spread(count, statistics.KEPT)))

    def add(self, images: NDArray[np.uint8], found: Features) -> None:
        if not self.seen:
            self.pool = Streaming(found.pool.shape[1])
            self.places = None if found.spatial is None else Streaming(found.spatial.shape[1])
        self.pool.add(found.pool)
        if self.places and found.spatial is not None:
            self.places.add(found.spatial)
        flat = images.reshape(len(images), -1)
        self.constant += int((flat.min(axis=1) == flat.max(axis=1)).sum())
        here = [row for row in range(len(images)) if self.seen + row in self.keep]
        self.kept.append(found.pool[here])
        self.seen += len(images)


def _completed(given: Reference, pictures: Dataset, opened: Opened) -> Reference:
    """An ADM batch's own statistics, with the features of the pictures that lie beside them."""
    statistics.check(given, opened.identity)
    seen = reference_of(pictures, opened, 0, _say)
    return replace(given, extractor_sha256=opened.identity.sha256, features=seen.features)


def _extractor(wanted: Wanted) -> Extractor:
    """The extractor with its settings. Raises UsageError where it has no such one, or cannot be opened."""
    known = {one.name for one in settings_of(EXTRACTORS.get(wanted.extractor))}
    for name, _ in wanted.settings:
        if name not in known:
            told = ", ".join(sorted(known)) or "none"
            raise UsageError(f"extractor {wanted.extractor} has no setting {name}: it has {told}")
    extractor = made(wanted.extractor, dict(wanted.settings))
    if extractor.pairs:
        raise UsageError(f"extractor {extractor.name} compares pairs and gives no features")
    if missing := extractor.unavailable():
        raise UsageError(f"extractor {extractor.name}: {'; '.join(missing)}")
    return extractor


def _pictures(wanted: Wanted) -> Dataset:
    dataset = open_dataset(wanted.source, wanted.split)
    return padded(dataset, wanted.pad) if wanted.pad else dataset


def _hint(extractor: Extractor, shape: tuple[int, int, int]) -> str:
    """The margin that would make them suit, if one does."""
    for size in (32, 64):
        if size > max(shape[:2]) and extractor.suits((size, size, shape[2])):
            return f": give --pad {size}"
    return ""


def _identity(dataset: Dataset, count: int) -> str:
    """Which pictures: some of a set are another set."""
    if count == dataset.count:
        return dataset.sha256
    return hashlib.sha256(f"{count} of {dataset.sha256}".encode()).hexdigest()


def _say(text: str) -> None:
    """A line for people, who see what this process says while it goes on."""
    print(f"ditbench: {text}", file=sys.stderr)  # noqa: T201 (its only way to them)
