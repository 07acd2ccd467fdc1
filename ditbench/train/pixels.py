"""Pictures as networks take them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]


def scaled(images: Pictures) -> torch.Tensor:
    """Pictures (n, height, width, channels) as float32 (n, channels, height, width) in [-1, 1]."""
    count, height, width, channels = images.shape
    # Laid out anew: a view of one channel has strides by which a convolution would choose another kernel.
    laid = torch.empty((count, channels, height, width))
    return laid.copy_(torch.from_numpy(images).permute(0, 3, 1, 2)) / 127.5 - 1
