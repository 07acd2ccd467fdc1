"""How far one picture is from another of the same seed: one value a pair.

Pictures are uint8 (n, height, width, channels). Over many pairs the median and the 5th percentile
say more than the mean, which one equal pair makes infinite.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ditbench.errors import UsageError

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_AT_ONCE = 16  # pictures that are float64 at once


def psnr(images: NDArray[np.uint8], reference: NDArray[np.uint8]) -> tuple[float, ...]:
    """Peak signal-to-noise ratio of each picture, in dB; infinite where both are the same."""
    _check(images, reference)
    found: list[float] = []
    for a, b in _parts(images, reference):
        error = np.square(a - b).reshape(len(a), -1).mean(axis=1)
        with np.errstate(divide="ignore"):
            found += (10 * np.log10(255.0**2 / error)).tolist()
    return tuple(found)


def ssim(images: NDArray[np.uint8], reference: NDArray[np.uint8]) -> tuple[float, ...]:
    """Structural similarity of each picture, at most 1: Wang, Bovik, Sheikh & Simoncelli 2004.

    Gaussian window of 11 x 11, sigma 1.5, K1 = 0.01, K2 = 0.03, range 255; the mean over all places where the
    whole window lies within the picture, and over the channels. Raises UsageError for pictures smaller than
    the window.
    """
    _check(images, reference)
    if min(images.shape[1:3]) < _WINDOW:
        size = "x".join(map(str, images.shape[1:3]))
        raise UsageError(f"pictures of {size} are smaller than SSIM's window of {_WINDOW}")
    down, right = (_weights(size) for size in images.shape[1:3])
    found: list[float] = []
    for a, b in _parts(images, reference):
        found += _similarity(_channels_first(a), _channels_first(b), down, right).tolist()
    return tuple(found)


def _similarity(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    down: NDArray[np.float64],
    right: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Of each picture (n, channels, height, width)."""

    def mean(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return down @ x @ right.T

    one, other = mean(a), mean(b)
    spread = mean(a * a) + mean(b * b) - one**2 - other**2
    common = mean(a * b) - one * other
    likeness = (2 * one * other + _C1) * (2 * common + _C2)
    scale = (one**2 + other**2 + _C1) * (spread + _C2)
    found: NDArray[np.float64] = (likeness / scale).mean(axis=(1, 2, 3))
    return found


def _weights(size: int) -> NDArray[np.float64]:
    """The window along one side as a matrix (size - 10, size): the filter is two matrix products."""
    at = np.arange(_WINDOW) - _WINDOW // 2
    window = np.exp(-np.square(at) / (2 * _SIGMA**2))
    window /= window.sum()
    matrix = np.zeros((size - _WINDOW + 1, size))
    for row in range(len(matrix)):
        matrix[row, row : row + _WINDOW] = window
    return matrix


def _channels_first(images: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _parts(
    images: NDArray[np.uint8], reference: NDArray[np.uint8]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    for start in range(0, len(images), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        yield images[part].astype(np.float64), reference[part].astype(np.float64)


def _check(images: NDArray[np.uint8], reference: NDArray[np.uint8]) -> None:
    if images.shape != reference.shape or images.ndim != 4:
        raise UsageError(f"pictures {images.shape} and {reference.shape} are no pairs")
    for one in (images, reference):
        if one.dtype != np.uint8:
            raise UsageError(f"pictures of {one.dtype}: give uint8, 0 to 255")
