"""A cell set up on its device: the network, the method, the inputs."""

from __future__ import annotations

import ctypes
import functools
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ditbench import sampling
from ditbench.accelerators.base import ACCELERATORS, Accelerator
from ditbench.attention.base import METHODS, AttentionMethod, Moment, Shape, Site
from ditbench.errors import UnfitError
from ditbench.measure import flags
from ditbench.models import weights
from ditbench.models.base import Conditions, Model
from ditbench.models.seam import Denoiser, Placed, Placement, Places, places
from ditbench.models.texts import Texts
from ditbench.records import Cell, Choice

# What the blocks outside a cell's selection run: the model's own fused attention.
_REST = Choice("sdpa", (("backend", "auto"),))


# So many of the classes or texts that samples show are named in a record.
_FIRST = 8

# Initial latents, then each condition, and last the numbers of some samples, which stay on the CPU.
Inputs = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Bench:
    """All that the stages share. `method` is not installed yet; `layers` opens it.

    accelerator: what skips parts of the network, with its settings. weights: what they are, those of a text
    encoder too. texts: what reads the texts that are shown.
    """

    cell: Cell
    device: torch.device
    denoiser: Denoiser
    method: AttentionMethod
    weights: str
    accelerator: Accelerator
    texts: Texts | None = None

    @property
    def is_exact(self) -> bool:
        """Whether the cell gives what softmax gives, up to rounding: whatever is skipped is not computed."""
        return self.method.is_exact and not self.cell.is_accelerated

    @functools.cached_property
    def places(self) -> Places:
        """The sites where the cell's method goes, and those of its blocks that keep the model's own."""
        dtype, device = self.cell.sampling.dtype, self.device.type
        return places_of(
            self.denoiser.spec,
            self.cell,
            lambda shape: self.method.unsupported(shape, dtype, device),
        )

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites where the cell's method goes."""
        return tuple(s for s in self.denoiser.sites() if s.name in self.places.taken)

    @property
    def layers(self) -> Placed:
        """The cell's method in its blocks, fused softmax in the others, and its accelerator around them."""
        return Placed(self.method, make(_REST), self.places.taken, self.accelerator)

    @property
    def unaccelerated(self) -> Placed:
        """The cell's placement with every forward computed."""
        return Placed(self.method, make(_REST), self.places.taken)

    def everywhere(self, method: str) -> Placement:
        """A placement of one method, with its default settings, wherever the cell's method goes."""
        return Placed(make(Choice(method)), make(_REST), self.places.taken)

    @property
    def replaces_softmax(self) -> bool:
        """Whether the model's own attention is softmax wherever the method goes."""
        return all(site.native == "softmax" for site in self.sites)

    @property
    def softmax_elsewhere(self) -> int:
        """The sites where the method does not go, and softmax stands."""
        taken = self.places.taken
        return sum(s.native == "softmax" and s.name not in taken for s in self.denoiser.sites())

    def inputs(self, indices: Sequence[int]) -> Inputs:
        """Initial latents and conditions of these samples, on the device in the cell's dtype.

        The numbers come along for the noise of the steps, so that samples may be put in another order.
        """
        noise = sampling.noise(self.denoiser.spec, self.cell.sampling.seed, indices)
        drawn = self._on_device((noise, *self.conditions(indices)))
        return (*drawn, torch.tensor(list(indices)))

    def conditions(self, indices: Sequence[int]) -> Conditions:
        """What these samples show: as the suite says, or else as the seed has it. On the CPU."""
        process, shown = self.denoiser.spec, self.cell.shown
        if shown is None:
            return process.conditions(self.cell.sampling.seed, indices)
        items = shown.at(indices)
        return self._read(items) if self.texts else process.of_classes([int(one) for one in items])

    def foresee(self, indices: Sequence[int]) -> None:
        """Read the texts of these samples at once, so that the encoder is opened once."""
        if self.cell.shown and self.texts:
            self.texts.read([str(one) for one in self.cell.shown.at(indices)])

    def _read(self, items: Sequence[object]) -> Conditions:
        assert self.texts  # noqa: S101 (callers have asked)
        return self.denoiser.spec.of_texts(*self.texts.of([str(one) for one in items]))

    def _on_device(self, made: Conditions) -> Conditions:
        dtype = dtype_of(self.cell)
        return tuple(
            one.to(self.device, dtype if one.is_floating_point() else one.dtype) for one in made
        )

    @functools.cached_property
    def _nothing(self) -> Conditions | None:
        """What guidance leads away from where texts are read: the empty one. Else the model's own."""
        return self._on_device(self._read([""])) if self.texts else None

    def prompt(self, indices: Sequence[int]) -> float:
        """Words of these samples' texts in the mean, 1 of a class."""
        if self.cell.shown and self.texts:
            return self.texts.length([str(one) for one in self.cell.shown.at(indices)])
        return self.denoiser.spec.prompt(indices)

    @property
    def shown(self) -> dict[str, Any]:
        """What a record says of what samples show; empty where the suite says nothing."""
        if self.cell.shown is None:
            return {}
        return {"shown": {"first": list(self.cell.shown.items[:_FIRST])}}

    def sample(
        self,
        inputs: Inputs,
        steps: int | None = None,
        on_step: Callable[[int], None] = lambda _step: None,
        predict: sampling.Predict | None = None,
    ) -> torch.Tensor:
        """Final latents by the cell's protocol, with whatever is installed now.

        predict: what stands in the place of the network's forward.
        """

        def at(now: Moment) -> None:
            self.denoiser.at(now)
            on_step(now.step)

        latents, *conditions, indices = inputs
        process, protocol = self.denoiser.spec, self.cell.sampling
        noises = (
            sampling.step_noise(process, protocol.seed, indices.tolist())
            if protocol.sampler == sampling.DDPM
            else None
        )
        with torch.inference_mode():
            return sampling.sample(
                predict or self.denoiser,
                process,
                latents,
                tuple(conditions),
                sampler=protocol.sampler,
                steps=steps or self.cell.steps,
                guidance_scale=protocol.guidance_scale,
                guidance_channels=protocol.guidance_channels,
                noises=noises,
                prompt=self.prompt(indices.tolist()),
                null=self._nothing,
                on_step=at,
            )


def make(choice: Choice) -> AttentionMethod:
    """The method with its settings."""
    return METHODS.get(choice.name)(**dict(choice.settings))


def accelerator_of(cell: Cell) -> Accelerator:
    """The accelerator of a cell with its settings."""
    chosen = cell.accelerator
    return ACCELERATORS.get(chosen.name)(**dict(chosen.settings))


def places_of(model: Model, cell: Cell, unsupported: Callable[[Shape], list[str]]) -> Places:
    """Where the method of a cell goes. unsupported: what it has against q, k and v of a shape."""
    known = functools.cache(unsupported)
    return places(model, cell.blocks, lambda site: known(site.shape(cell.rows)))


def dtype_of(cell: Cell) -> torch.dtype:
    """The torch dtype that the cell names."""
    dtype: torch.dtype = getattr(torch, cell.sampling.dtype)
    return dtype


def set_up(cell: Cell, device: str) -> Bench:
    """Load a cell's model. device: "cpu" or a GPU's UUID, which the worker has made the only one."""
    where = place(device)
    flags.settle()
    loaded = weights.load(cell.model, cell.weights, dtype_of(cell), where)
    denoiser = Denoiser(loaded.network, loaded.spec)
    texts = _texts(cell)
    told = f"{loaded.identity}, texts by {texts.identity}" if texts else loaded.identity
    around = accelerator_of(cell)
    return Bench(cell, where, denoiser, make(cell.attention), told, around, texts)


def _texts(cell: Cell) -> Texts | None:
    if cell.shown is None or cell.shown.kind != "prompts":
        return None
    sizes = dict(cell.model.settings)
    folder = weights.locate_encoder(cell.model.name, cell.weights)
    return Texts(folder, int(sizes["words"]), int(sizes["word_width"]))


def place(device: str) -> torch.device:
    """Where torch computes on a device: "cpu", or the UUID of the GPU or slice that is the only one it sees.

    Raises UnfitError where the GPU that CUDA shows is not the one that was chosen through NVML.
    """
    kind, _, wanted = device.partition("-")
    if kind == "cpu":
        return torch.device("cpu")
    if wanted:
        count = torch.cuda.device_count()
        seen = f"{kind}-{_uuid(kind)}" if count else "no GPU at all"
        if seen != device or count != 1:
            raise UnfitError(
                f"the worker was to run on {device} alone and sees {seen}, {count} in all"
            )
    return torch.device("cuda")


def _uuid(kind: str) -> str:
    """The UUID of the first device as CUDA says it: of a slice its own, which torch may give as the GPU's."""
    if kind != "MIG":
        return str(torch.cuda.get_device_properties(0).uuid)
    torch.cuda.init()  # type: ignore[no-untyped-call]  # torch leaves it so
    found = (ctypes.c_ubyte * 16)()
    code = driver().cuDeviceGetUuid_v2(found, 0)
    return str(uuid.UUID(bytes=bytes(found))) if code == 0 else f"error {code} of the CUDA driver"


def driver() -> ctypes.CDLL:
    """The CUDA driver's own library, which torch has loaded."""
    return ctypes.CDLL("libcuda.so.1")
