"""One picture from one file: PNG, JPEG or WebP, grey or RGB, as it was stored and never converted."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ditbench.errors import UsageError, one_line

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_FORMATS = ("PNG", "JPEG", "WEBP")
# All that Pillow lets through of what a damaged file does to it.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """uint8 (height, width, 1 or 3). Raises UsageError for what is damaged or has another mode."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            _check(image.mode, path)
            array = np.asarray(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UsageError(f"{path}: is far too large for a picture") from error
    except _BROKEN as error:
        raise UsageError(f"{path}: is no whole picture: {_cause(error)}") from error
    return array[..., None] if array.ndim == 2 else array


def _check(mode: str, path: Path) -> None:
    if mode not in {"L", "RGB"}:
        raise UsageError(
            f"{path}: mode {mode}: only grey (L) and RGB of 8 bits are read, save it as one of them"
        )


def _cause(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if type(error).__name__ == "UnidentifiedImageError":
        return "neither PNG, JPEG nor WebP"
    return one_line(str(error)) or type(error).__name__
