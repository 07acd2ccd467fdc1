"""Small pictures as the page holds them: data URIs of PNG, each with the words for who cannot see it."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Tile:
    """One picture. said: what it is, with its figures. width, height: pixels to show it at."""

    said: str
    uri: str
    width: int
    height: int

    @property
    def size(self) -> int:
        """Characters that it takes on the page, where its words stand twice."""
        return len(self.uri) + 2 * len(self.said) + 60


def tile(image: NDArray[np.uint8], said: str, side: int) -> Tile:
    """A picture (height, width, 1 or 3) of at most `side` pixels; a smaller one is shown magnified."""
    small = _shrunk(image, side)
    high, wide = small.shape[:2]
    zoom = max(1, side // max(high, wide))
    return Tile(
        said=said,
        uri="data:image/png;base64," + base64.b64encode(_png(small)).decode(),
        width=wide * zoom,
        height=high * zoom,
    )


def _shrunk(image: Images, side: int) -> Images:
    """By area, so that no pixel counts more than another."""
    height, width, channels = image.shape
    if max(height, width) <= side:
        return image
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(_image(image).resize(size, Image.Resampling.BOX))
    return small.reshape(size[1], size[0], channels)


def _image(image: Images) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _png(image: Images) -> bytes:
    buffer = io.BytesIO()
    _image(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
