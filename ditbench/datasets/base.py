"""What every source of real pictures is to its readers, whatever its files look like."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ditbench.errors import UsageError

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Batch = tuple[Images, Labels | None]
Shape = tuple[int, int, int]

_AT_ONCE = 256  # pictures that are hashed together


class Dataset(ABC):
    """Pictures of one size in a fixed order, uint8 (height, width, 1 or 3), and perhaps their labels.

    name: for people, as "fashion-mnist/train". shape: height, width, channels. labels: (count,), or None.
    classes: what the labels are called, by number; empty where there are no labels.
    """

    def __init__(
        self,
        name: str,
        count: int,
        shape: Shape,
        labels: Labels | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.count = count
        self.shape = shape
        self.labels = labels
        self.classes = tuple(classes)

    @cached_property
    def sha256(self) -> str:
        """Which pictures and labels these are, in this order; reads all of them, once."""
        return self._digest()

    def take(self, indices: Iterable[int]) -> Batch:
        """These pictures (n, height, width, channels), in this order, and their labels (n,).

        Raises UsageError, one line that names the file, where one cannot be read or is of another kind.
        """
        chosen = np.fromiter(indices, np.int64)
        return self._images(chosen), None if self.labels is None else self.labels[chosen]

    def batches(self, size: int) -> Iterator[Batch]:
        """All of them in order, at most so many at once."""
        for start in range(0, self.count, size):
            yield self.take(range(start, min(start + size, self.count)))

    @abstractmethod
    def _images(self, indices: NDArray[np.int64]) -> Images: ...

    def _digest(self) -> str:
        """Of pictures and labels themselves: another container with the same content is the same set."""
        total = hashlib.sha256(repr((self.count, self.shape)).encode())
        for images, _ in self.batches(_AT_ONCE):
            total.update(images.tobytes())
        if self.labels is not None:
            total.update(self.labels.astype("<i8").tobytes())
        return total.hexdigest()


class Held(Dataset):
    """Pictures that are all in memory, or mapped into it: images (n, height, width, channels)."""

    def __init__(
        self, name: str, images: Images, labels: Labels | None = None, classes: Sequence[str] = ()
    ) -> None:
        height, width, channels = images.shape[1:]
        super().__init__(name, len(images), (height, width, channels), labels, classes)
        self._held = images

    def _images(self, indices: NDArray[np.int64]) -> Images:
        return np.ascontiguousarray(self._held[indices])


class _Padded(Dataset):
    """Another's pictures with a black margin."""

    def __init__(self, inner: Dataset, size: int) -> None:
        height, width, channels = inner.shape
        super().__init__(
            f"{inner.name} at {size}",
            inner.count,
            (size, size, channels),
            inner.labels,
            inner.classes,
        )
        self._inner = inner
        self._margins = ((0, 0), _margin(height, size), _margin(width, size), (0, 0))

    def _images(self, indices: NDArray[np.int64]) -> Images:
        return np.pad(self._inner.take(indices)[0], self._margins)

    def _digest(self) -> str:
        return hashlib.sha256(f"{self._inner.sha256} at {self.shape[0]}".encode()).hexdigest()


def _margin(have: int, want: int) -> tuple[int, int]:
    before = (want - have) // 2
    return before, want - have - before


def padded(dataset: Dataset, size: int) -> Dataset:
    """The same pictures with a black margin up to size x size: of 28 pixels, 2 on each side make 32.

    Raises UsageError where they are larger.
    """
    if dataset.shape[:2] == (size, size):
        return dataset
    if max(dataset.shape[:2]) > size:
        told = "x".join(map(str, dataset.shape[:2]))
        raise UsageError(f"{dataset.name}: pictures of {told} do not fit into {size}x{size}")
    return _Padded(dataset, size)


def checked_labels(labels: NDArray[np.integer], count: int, place: str) -> Labels:
    """Labels (count,) as int64. Raises UsageError where they are not as many, or below 0."""
    if labels.shape != (count,):
        raise UsageError(f"{place}: {labels.size} labels for {count} pictures")
    if count and labels.min() < 0:
        raise UsageError(f"{place}: label {labels.min()}: classes are numbered from 0")
    return labels.astype(np.int64)


def numbers(labels: Labels) -> tuple[str, ...]:
    """Classes that have no names are called by their numbers."""
    return tuple(str(number) for number in range(int(labels.max()) + 1)) if len(labels) else ()
