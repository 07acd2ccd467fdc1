"""Statistics of real pictures in a network's features, in one pass over them."""

from __future__ import annotations

import hashlib
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ditbench.datasets import Dataset, open_dataset, padded
from ditbench.distances.frechet import Streaming
from ditbench.errors import UsageError
from ditbench.extractors.base import EXTRACTORS, Extractor, Features, Opened, made
from ditbench.measure.bench import place
from ditbench.registry import did_you_mean, settings_of
from ditbench.store import statistics
from ditbench.store.parts import Part, together
from ditbench.store.statistics import Reference, Wanted

_BATCH = 256
_TOLD_EVERY_S = 5.0
Say = Callable[[str], None]


def make(wanted: Wanted, device: str, number: int = 0, of: int = 1) -> Part:
    """One of so many parts of what `ditbench stats make` writes, in the order of the pictures.

    device: "cpu", or the UUID of the only GPU that is seen. Raises UsageError where pictures, network or its
    weights are not as they must be, or statistics that lie beside the pictures are of another network.
    """
    extractor = _extractor(wanted)
    pictures = _pictures(wanted)
    if not extractor.suits(pictures.shape):
        told = "x".join(map(str, pictures.shape))
        raise UsageError(
            f"{pictures.name}: pictures of {told} do not suit extractor {extractor.name}"
            f"{_hint(extractor, pictures.shape)}"
        )
    opened = extractor.open(place(device))
    source = Path(wanted.source)
    if source.is_file() and statistics.holds(source):
        statistics.check(statistics.read(source), opened.identity)
    return part_of(Look(pictures, wanted.limit, number, of), opened, _say)


def reference_of(
    dataset: Dataset, opened: Opened, limit: int = 0, say: Say = lambda _text: None
) -> Reference:
    """Statistics of a data set, or of so many of its pictures spread evenly, in an opened network's features.

    say: told how far it is. Raises UsageError where all pictures are of one colour, or fewer than 2.
    """
    return together([part_of(Look(dataset, limit), opened, say)], say)


@dataclass(frozen=True)
class Look:
    """Which pictures of a data set: so many spread evenly, all for 0, and of these one of several parts."""

    dataset: Dataset
    limit: int = 0
    number: int = 0
    of: int = 1

    @property
    def count(self) -> int:
        """Pictures of all parts."""
        return min(self.limit or self.dataset.count, self.dataset.count)

    @property
    def places(self) -> range:
        """Of this part's pictures among those of all parts."""
        return range(self.number * self.count // self.of, (self.number + 1) * self.count // self.of)

    @property
    def identity(self) -> dict[str, str | int]:
        """Of all parts: some pictures of a set are another set. The first part alone has to read them all."""
        name, sha256 = self.dataset.name, "" if self.number else self.dataset.sha256
        if self.count < self.dataset.count:
            name = f"{self.count} of {name}"
            sha256 = hashlib.sha256(f"{self.count} of {sha256}".encode()).hexdigest()
        return {"name": name, "sha256": sha256, "count": self.count}


def part_of(look: Look, opened: Opened, say: Say) -> Part:
    """What a network sees of these pictures. say: told how far it is."""
    chosen, kept = spread(look.dataset.count, look.count), set(spread(look.count, statistics.KEPT))
    sums, told = _Sums(Streaming(opened.identity.dim)), -math.inf
    for start in range(look.places.start, look.places.stop, _BATCH):
        rows = range(start, min(start + _BATCH, look.places.stop))
        images, _ = look.dataset.take(chosen[rows.start : rows.stop])
        sums.add(images, opened.features(images), [row - start for row in rows if row in kept])
        if time.monotonic() - told > _TOLD_EVERY_S:
            told = time.monotonic()
            say(f"{sums.seen} of {len(look.places)} pictures")
    return sums.part(look, opened)


def spread(count: int, limit: int) -> list[int]:
    """So many of the numbers below count, evenly: the first of a folder would be of few classes."""
    wanted = min(limit or count, count)
    return [number * count // wanted for number in range(wanted)]


@dataclass
class _Sums:
    """What is added up while pictures go by."""

    pool: Streaming
    places: Streaming | None = None
    seen: int = 0
    constant: int = 0
    kept: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, images: NDArray[np.uint8], found: Features, kept: list[int]) -> None:
        """Take in a batch. kept: the rows of it whose features are kept."""
        self.pool.add(found.pool)
        if found.spatial is not None:
            self.places = self.places or Streaming(found.spatial.shape[1])
            self.places.add(found.spatial)
        flat = images.reshape(len(images), -1)
        self.constant += int((flat.min(axis=1) == flat.max(axis=1)).sum())
        self.kept.append(found.pool[kept])
        self.seen += len(images)

    def part(self, look: Look, opened: Opened) -> Part:
        network = opened.identity
        whose = look.identity | {
            "extractor": network.name,
            "extractor_sha256": network.sha256,
            "resize": network.resize,
            "input": network.input,
        }
        features = np.concatenate([np.zeros((0, network.dim), np.float32), *self.kept])
        return Part(whose, self.seen, self.constant, self.pool, self.places, features)


def _extractor(wanted: Wanted) -> Extractor:
    """The extractor with its settings. Raises UsageError where it has no such one, or cannot be opened."""
    known = {one.name: one for one in settings_of(EXTRACTORS.get(wanted.extractor))}
    for name, value in wanted.settings:
        if name not in known:
            told = ", ".join(sorted(known)) or "none"
            raise UsageError(f"extractor {wanted.extractor} has no setting {name}: it has {told}")
        if (words := known[name].choices) and value not in words:
            raise UsageError(
                f"extractor {wanted.extractor}: {name} {value!r}: it takes {known[name].takes}"
                f"{did_you_mean(value, words)}"
            )
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


def _say(text: str) -> None:
    """A line for people, who see what this process says while it goes on."""
    print(f"ditbench: {text}", file=sys.stderr)  # noqa: T201 (its only way to them)
