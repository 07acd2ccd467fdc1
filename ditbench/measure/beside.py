"""Each picture beside softmax's of the same noise: one value a pair, a shard at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ditbench.distances import pairs
from ditbench.errors import UsageError
from ditbench.extractors.base import Opened
from ditbench.store.pictures import Shards

Say = Callable[[str], None]
Images = NDArray[np.uint8]
Values = tuple[float, ...]
Measure = Callable[[Images, Images], Iterable[float]]

_BATCH = 64


def drift(ours: Shards, softmax: Shards) -> Values:
    """|ours - softmax| / |softmax| of each sample's latents, in L2."""
    found: list[float] = []
    for part in ours.parts:
        mine, true = (_flat(one.latents(part.start, part.stop)) for one in (ours, softmax))
        found += (np.linalg.norm(mine - true, axis=1) / np.linalg.norm(true, axis=1)).tolist()
    return tuple(found)


def _flat(latents: NDArray[np.float32]) -> NDArray[np.float64]:
    return latents.reshape(len(latents), -1).astype(np.float64)


def digest(ours: Shards) -> str:
    """Of all latents: equal ones of cells that differ in a setting show a knob that is wired to nothing."""
    found = hashlib.sha256()
    for part in ours.parts:
        found.update(ours.latents(part.start, part.stop).tobytes())
    return found.hexdigest()[:16]


def constant_share(ours: Shards) -> float:
    """The share of pictures that are one colour all over: black ones among them."""
    constant = 0
    for images in ours.batches(_BATCH):
        flat = images.reshape(len(images), -1, images.shape[-1])
        constant += int((flat.min(axis=1) == flat.max(axis=1)).all(axis=1).sum())
    return constant / ours.count


def psnr(ours: Shards, softmax: Shards) -> Values:
    """Decibels of each picture."""
    return _each(ours, softmax, pairs.psnr)


def ssim(ours: Shards, softmax: Shards) -> Values:
    """Structural similarity of each picture. Raises UsageError where pictures are too small for it."""
    return _each(ours, softmax, pairs.ssim)


def lpips(ours: Shards, softmax: Shards, network: Opened) -> Values:
    """Learned perceptual distance of each picture."""
    return _each(ours, softmax, lambda one, other: network.distances(one, other).tolist())


def _each(ours: Shards, softmax: Shards, measure: Measure) -> Values:
    return tuple(
        float(value) for one, other in _batches(ours, softmax) for value in measure(one, other)
    )


def _batches(ours: Shards, softmax: Shards) -> Iterator[tuple[Images, Images]]:
    """Pictures of both, in order. Raises UsageError where they are not of one size."""
    if ours.shape != softmax.shape:
        raise UsageError(f"pictures of {ours.shape} beside softmax's of {softmax.shape}")
    return zip(ours.batches(_BATCH), softmax.batches(_BATCH), strict=True)
