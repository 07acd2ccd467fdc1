"""Two ways to bring pictures to a network's size; they change every number, so they stand in its identity.

`legacy` is what the Inception graph of 2015-12-05 does itself, and with it the ADM evaluator, torch-fidelity
and torchmetrics: TensorFlow 1's bilinear, aligned at the first pixel, with no smoothing before a picture is
made smaller. `clean` is clean-fid's (Parmar et al. 2022, arXiv 2104.11222): Pillow's bicubic with
smoothing, a channel at a time in float, clipped to 0..255 and not rounded.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image


def legacy(pictures: torch.Tensor, side: int) -> torch.Tensor:
    """(n, channels, side, side) from float (n, channels, height, width)."""
    rows, columns = (_bilinear(size, side).to(pictures) for size in pictures.shape[2:])
    return rows @ pictures @ columns.T


def _bilinear(size: int, side: int) -> torch.Tensor:
    """The matrix (side, size) whose row i mixes the two pixels about the place i size / side."""
    place = torch.arange(side, dtype=torch.float64) * (size / side)
    first = place.floor().long()
    share = place - first
    matrix = torch.zeros(side, size, dtype=torch.float64)
    each = torch.arange(side)
    matrix[each, first] += 1 - share
    matrix[each, (first + 1).clamp(max=size - 1)] += share
    return matrix


def clean(pictures: torch.Tensor, side: int) -> torch.Tensor:
    """(n, channels, side, side) from float (n, channels, height, width) in 0..255, by way of the CPU."""
    made = np.empty((*pictures.shape[:2], side, side), np.float32)
    for picture, resized in zip(pictures.cpu().numpy(), made, strict=True):
        for channel, plane in enumerate(picture):
            wide = Image.fromarray(np.ascontiguousarray(plane, np.float32))
            resized[channel] = wide.resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(made.clip(0, 255)).to(pictures.device)


WAYS = {"legacy": legacy, "clean": clean}
