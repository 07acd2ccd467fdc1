"""The trunk of Inception-v3 as of 2015-12-05 (Szegedy et al. 2016, arXiv 1512.00567), without its classes.

Layers are called as in the TensorFlow graph. Two things tell it from the network of textbooks: means of
neighbourhoods leave the padding out, and `mixed_10` pools by the maximum where `mixed_9` takes the mean. FID
is defined by these weights in this graph: any other Inception gives another number.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

SIDE = 299
Kernel = tuple[int, int]
ONE, THREE, FIVE = (1, 1), (3, 3), (5, 5)
WIDE, TALL = (1, 7), (7, 1)


class Conv(nn.Module):
    """Convolution, normalisation by stored moments without a gain, ReLU.

    stride 2 goes without padding in this network; padded says so of the others.
    """

    def __init__(
        self, width: int, out: int, kernel: Kernel, stride: int = 1, *, padded: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out, width, *kernel))
        self.beta, self.mean, self.var = (nn.Parameter(torch.zeros(out)) for _ in range(3))
        self.stride = stride
        self.padding = (kernel[0] // 2, kernel[1] // 2) if padded and stride == 1 else (0, 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, out, height, width)."""
        x = functional.conv2d(x, self.weight, None, self.stride, self.padding)
        x = functional.batch_norm(x, self.mean, self.var, None, self.beta, training=False, eps=1e-3)
        return functional.relu(x)


class Beside(nn.ModuleList):
    """Branches on one input, their channels after one another."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels of all, height, width)."""
        return torch.cat([branch(x) for branch in self], dim=1)


def _chain(width: int, *steps: tuple[int, Kernel], halves: bool = False) -> nn.Sequential:
    """Convolutions (out, kernel) in a row; the last one halves the sides where asked."""
    layers = []
    for number, (out, kernel) in enumerate(steps, 1):
        layers.append(Conv(width, out, kernel, 2 if halves and number == len(steps) else 1))
        width = out
    return nn.Sequential(*layers)


def _halved() -> nn.Module:
    return nn.MaxPool2d(3, 2)


def _pooled(width: int, out: int, *, largest: bool = False) -> nn.Sequential:
    """A neighbourhood's mean without the padding, or its maximum; then a 1x1 convolution."""
    mean = nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)
    return nn.Sequential(nn.MaxPool2d(3, 1, padding=1) if largest else mean, Conv(width, out, ONE))


def _fives(width: int, pooled: int) -> Beside:
    """35x35: 1x1, 5x5, two 3x3."""
    return Beside(
        [
            Conv(width, 64, ONE),
            _chain(width, (48, ONE), (64, FIVE)),
            _chain(width, (64, ONE), (96, THREE), (96, THREE)),
            _pooled(width, pooled),
        ]
    )


def _sevens(width: int) -> Beside:
    """17x17: 7x7 as 1x7 and 7x1, once and twice."""
    once = ((width, ONE), (width, WIDE), (192, TALL))
    twice = ((width, ONE), (width, TALL), (width, WIDE), (width, TALL), (192, WIDE))
    return Beside([Conv(768, 192, ONE), _chain(768, *once), _chain(768, *twice), _pooled(768, 192)])


def _forks(width: int, *, largest: bool) -> Beside:
    """8x8: the last convolution of a branch is 1x3 beside 3x1."""

    def fork(*steps: tuple[int, Kernel]) -> nn.Sequential:
        ends = Beside([Conv(384, 384, (1, 3)), Conv(384, 384, (3, 1))])
        return nn.Sequential(_chain(width, *steps), ends)

    return Beside(
        [
            Conv(width, 320, ONE),
            fork((384, ONE)),
            fork((448, ONE), (384, THREE)),
            _pooled(width, 192, largest=largest),
        ]
    )


class Inception(nn.Module):
    """The trunk; weights are filled in by `fill`."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(
            {
                "conv": Conv(3, 32, THREE, 2),  # 149 x 149
                "conv_1": Conv(32, 32, THREE, padded=False),
                "conv_2": Conv(32, 64, THREE),
                "pool": _halved(),  # 73 x 73
                "conv_3": Conv(64, 80, ONE),
                "conv_4": Conv(80, 192, THREE, padded=False),
                "pool_1": _halved(),  # 35 x 35
                "mixed": _fives(192, 32),
                "mixed_1": _fives(256, 64),
                "mixed_2": _fives(288, 64),
                "mixed_3": Beside(
                    [
                        Conv(288, 384, THREE, 2),
                        _chain(288, (64, ONE), (96, THREE), (96, THREE), halves=True),
                        _halved(),
                    ]
                ),  # 17 x 17
                "mixed_4": _sevens(128),
                "mixed_5": _sevens(160),
                "mixed_6": _sevens(160),
                "mixed_7": _sevens(192),
                "mixed_8": Beside(
                    [
                        _chain(768, (192, ONE), (320, THREE), halves=True),
                        _chain(
                            768, (192, ONE), (192, WIDE), (192, TALL), (192, THREE), halves=True
                        ),
                        _halved(),
                    ]
                ),  # 8 x 8
                "mixed_9": _forks(1280, largest=False),
                "mixed_10": _forks(2048, largest=True),
            }
        )

    def forward(self, x: torch.Tensor, wanted: Sequence[str] = ("mixed_10",)) -> list[torch.Tensor]:
        """Outputs (n, channels, height, width) of layers by name, of x (n, 3, 299, 299) in [-1, 1)."""
        found = {}
        for name, layer in self.layers.items():
            x = layer(x)
            if name in wanted:
                found[name] = x
            if len(found) == len(wanted):
                break
        return [found[name] for name in wanted]

    @torch.no_grad()
    def fill(self, trunk: Sequence[torch.Tensor]) -> None:
        """Weights in the graph's order: of each convolution its kernel, shift, mean and variance."""
        for empty, full in zip(self.parameters(), trunk, strict=True):
            if empty.shape != full.shape:
                raise ValueError(f"{tuple(full.shape)} where {tuple(empty.shape)} belongs")
            empty.copy_(full)
