"""From latents in [-1, 1] to uint8 pictures, by one rounding rule, and to PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


# The rule of `quantise`, for keys: pictures rounded by another are other pictures.
QUANTISER = "cut clip(127.5 x + 128, 0, 255)"


def quantise(latents: NDArray[np.float32]) -> NDArray[np.uint8]:
    """uint8 pictures (n, height, width, channels) from values in [-1, 1] (n, channels, height, width).

    The rule is clip(127.5 x + 128, 0, 255) cut to an integer: DiT's own sampling script's.
    """
    scaled = np.clip(127.5 * latents.astype(np.float64) + 128, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(scaled.transpose(0, 2, 3, 1))


def grid(images: NDArray[np.uint8], columns: int, gap: int = 2) -> NDArray[np.uint8]:
    """One picture (height, width, channels) of many, row by row, on white."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    sheet = np.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8
    )
    for number, image in enumerate(images):
        top, left = (number // columns) * (height + gap), (number % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def save(path: Path, image: NDArray[np.uint8], *, small: bool = True) -> None:
    """Write one picture (height, width, 1 or 3 channels) as PNG. small: at the price of time."""
    one = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    one.save(path, "PNG", optimize=small)
