"""The contract of a feature extractor: uint8 pictures in, float32 numbers out, and the registry.

An extractor is a network with the weights that it was published with and a way to bring pictures to its
size; together they are its identity, and numbers of two identities are never compared. Networks run in eval
mode, in float32 without TF32, without gradients, in batches of a bounded size; a grey picture is shown to a
network for colour as three equal channels.

A new extractor is one new file: the paper in the first line, where the weights come from, then a frozen
dataclass whose fields are its settings.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ditbench.distances.frechet import Moments
from ditbench.errors import UsageError
from ditbench.registry import Registry, lacks, misfit

Pictures = NDArray[np.uint8]
Made = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]


@dataclass(frozen=True)
class Identity:
    """What numbers of an extractor are numbers of; equal or not comparable.

    sha256: of the weights. dim: width of the features, 0 of a network for pairs. resize: how a picture is
    brought to the network's size. input: that size, rows (and columns) of pixels; 0 for the picture's own.
    """

    name: str
    sha256: str
    dim: int
    resize: str
    input: int


@dataclass(frozen=True)
class Features:
    """What a network says of n pictures.

    pool (n, d) float32. spatial (n, k) float32: places kept apart, where the network has such a layer for
    sFID. logits (n, classes) float32: where its head is at hand.
    """

    pool: NDArray[np.float32]
    spatial: NDArray[np.float32] | None = None
    logits: NDArray[np.float32] | None = None


class Opened:
    """An extractor that is ready on a device; it does one of the two things."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def features(self, images: Pictures) -> Features:  # noqa: ARG002 (those that can, say so)
        """Of pictures (n, height, width, 1 or 3). Raises UsageError for any other array."""
        raise UsageError(f"extractor {self.identity.name} compares pairs and gives no features")

    def distances(self, one: Pictures, other: Pictures) -> NDArray[np.float32]:  # noqa: ARG002 (likewise)
        """How far each picture (n, height, width, 1 or 3) is from the other's of its number, (n,)."""
        raise UsageError(f"extractor {self.identity.name} gives features and compares no pairs")

    def shipped(self) -> Moments | None:
        """Moments of real pictures in these features, where they come with the weights."""
        return None


class Seeing(Opened):
    """Features from a function of a batch.

    network: from uint8 (n, height, width, channels) on the device to what `Features` holds. most: pictures
    in a batch. real: moments that come with the weights.
    """

    def __init__(
        self,
        identity: Identity,
        network: Callable[[torch.Tensor], Made],
        device: torch.device | str,
        *,
        most: int = 64,
        real: Moments | None = None,
    ) -> None:
        super().__init__(identity)
        self._network, self._device, self._most, self._real = network, device, most, real

    def features(self, images: Pictures) -> Features:
        """Of pictures (n, height, width, 1 or 3). Raises UsageError for any other array."""
        check(images, self.identity.name)
        with exact():
            parts = [self._network(part) for part in batches(images, self._most, self._device)]
        pool, spatial, logits = (_joined(list(several)) for several in zip(*parts, strict=True))
        assert pool is not None  # noqa: S101 (a network without features is for pairs)
        return Features(pool, spatial, logits)

    def shipped(self) -> Moments | None:
        """Moments of real pictures in these features, where they come with the weights."""
        return self._real


class Comparing(Opened):
    """Distances from a function of two batches: see `Seeing`."""

    def __init__(
        self,
        identity: Identity,
        network: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        device: torch.device | str,
        *,
        most: int = 32,
    ) -> None:
        super().__init__(identity)
        self._network, self._device, self._most = network, device, most

    def distances(self, one: Pictures, other: Pictures) -> NDArray[np.float32]:
        """How far each picture (n, height, width, 1 or 3) is from the other's of its number, (n,)."""
        check(one, self.identity.name)
        check(other, self.identity.name)
        if one.shape != other.shape:
            told = f"pictures {one.shape} cannot be compared one by one with pictures {other.shape}"
            raise UsageError(f"extractor {self.identity.name}: {told}")
        pairs = zip(
            batches(one, self._most, self._device),
            batches(other, self._most, self._device),
            strict=True,
        )
        with exact():
            found = _joined([self._network(*pair) for pair in pairs])
        assert found is not None  # noqa: S101 (one a picture, and there are pictures)
        return found


def _joined(parts: list[torch.Tensor | None]) -> NDArray[np.float32] | None:
    told = [part.float().cpu() for part in parts if part is not None]
    return torch.cat(told).numpy() if told else None


def check(images: NDArray[Any], name: str) -> None:
    """Raises UsageError, one line, where an array holds no pictures for a network."""
    told = f"extractor {name}: pictures must be uint8 (n, height, width, 1 or 3), not "
    if images.dtype != np.uint8:
        spoilt = np.issubdtype(images.dtype, np.floating) and not np.isfinite(images).all()
        among = " with numbers that are not finite among them" if spoilt else ""
        raise UsageError(f"{told}{images.dtype} {images.shape}{among}")
    if images.ndim != 4 or images.shape[3] not in {1, 3} or 0 in images.shape:
        raise UsageError(f"{told}of shape {images.shape}")


def batches(images: Pictures, most: int, device: torch.device | str) -> Iterator[torch.Tensor]:
    """At most so many at once, uint8 (n, height, width, channels) on the device."""
    for start in range(0, len(images), most):
        # A copy: pictures of a file that is mapped into memory cannot be written to, which torch dislikes.
        yield torch.from_numpy(np.array(images[start : start + most])).to(device)


def rgb(pictures: torch.Tensor) -> torch.Tensor:
    """Float32 (n, 3, height, width) in 0..255, from uint8 (n, height, width, 1 or 3)."""
    return pictures.permute(0, 3, 1, 2).float().expand(-1, 3, -1, -1)


@contextmanager
def exact() -> Iterator[None]:
    """Float32 as it is written: no TF32, no autocast, no gradients, kernels that repeat themselves."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=False
            ),
            torch.autocast("cpu", enabled=False),
            torch.autocast("cuda", enabled=False),
            torch.inference_mode(),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def placed(network: nn.Module, device: torch.device | str) -> None:
    """Move a network there. On a CPU channels go innermost: Inception takes 0.6 of the time like that."""
    network.eval().to(device)
    if torch.device(device).type == "cpu":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch leaves it out


def sha256_of(path: Path) -> str:
    """Of a file's bytes. Raises UsageError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path}: weights cannot be read: {error.strerror}") from error


def packaged(package: str, file: str) -> Path | None:
    """A file of an installed package, which is not imported; None where there is none."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / file).is_file():
            return path
    return None


class Extractor(ABC):
    """A network with its weights and its way to resize.

    name: as suites and names of metrics say it. paper: one line for people. dim: width of the features, 0 of
    a network for pairs. spatial: width of the features for sFID, 0 where it has none. headless: why there are
    no logits, and so no Inception Score; empty where there are. pairs: whether it compares two pictures
    instead. needs: where the weights come from, with the command that installs them; empty where they ship.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    dim: ClassVar[int]
    spatial: ClassVar[int] = 0
    headless: ClassVar[str] = ""
    pairs: ClassVar[bool] = False
    needs: ClassVar[str] = ""

    @abstractmethod
    def open(self, device: torch.device | str = "cpu") -> Opened:
        """The network on a device. Raises UsageError where the weights are missing or are others."""

    def unavailable(self) -> list[str]:
        """What is missing on this machine, each with the way to it; empty means it can be opened."""
        return []

    def suits(self, shape: tuple[int, ...]) -> bool:
        """Whether it makes sense of pictures of this shape: height, width, channels."""
        return len(shape) == 3 and shape[2] in {1, 3}


def problems(plugin: object) -> list[str]:
    """Why a class cannot be an extractor, each as a clause; empty where it can."""
    told = lacks(plugin, Extractor, ("name", "paper"))
    if not (inspect.isclass(plugin) and issubclass(plugin, Extractor)):
        return told
    if not (isinstance(getattr(plugin, "dim", None), int) and (plugin.dim > 0 or plugin.pairs)):
        told.append("says no dim, the width of its features")
    for name, words in {"open": ("device",), "unavailable": (), "suits": ("shape",)}.items():
        told += misfit(plugin, name, words)
    return told


EXTRACTORS: Registry[type[Extractor]] = Registry(
    "extractor", "ditbench.extractors", "ditbench.extractors", problems
)
register = EXTRACTORS.register


def made(name: str, settings: Mapping[str, Any] | None = None) -> Extractor:
    """The extractor of that name with settings. Raises UsageError with the nearest name."""
    return EXTRACTORS.get(name)(**cast("dict[str, Any]", settings or {}))
