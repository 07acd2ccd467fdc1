"""A cell set up on its device: the network, the method, the inputs."""

from __future__ import annotations

import ctypes
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ditbench import sampling
from ditbench.attention.base import METHODS, AttentionMethod, Layer, Site
from ditbench.errors import UnfitError
from ditbench.measure import flags
from ditbench.models import weights
from ditbench.models.seam import Denoiser, placed
from ditbench.records import Cell, Choice

# What the blocks outside a cell's selection run: the model's own fused attention.
_REST = Choice("sdpa", (("backend", "auto"),))


@dataclass(frozen=True)
class Bench:
    """All that the stages share. `method` is not installed yet; `layers` opens it."""

    cell: Cell
    device: torch.device
    denoiser: Denoiser
    method: AttentionMethod
    weights: str

    @property
    def layers(self) -> Callable[[Site], Layer]:
        """The cell's placement: its method in its blocks, fused softmax in the others."""
        return placed(self.method, make(_REST), self.cell.blocks)

    def everywhere(self, method: str) -> Callable[[Site], Layer]:
        """A placement of one method, with its default settings, in the cell's blocks."""
        return placed(make(Choice(method)), make(_REST), self.cell.blocks)

    def inputs(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Initial latents and labels of these samples, on the device in the cell's dtype."""
        process, seed = self.denoiser.spec, self.cell.sampling.seed
        latents = sampling.noise(process, seed, indices)
        labels = sampling.labels(process, seed, indices)
        return latents.to(self.device, dtype_of(self.cell)), labels.to(self.device)

    def sample(
        self,
        inputs: tuple[torch.Tensor, torch.Tensor],
        steps: int | None = None,
        on_step: Callable[[int], None] = lambda _step: None,
    ) -> torch.Tensor:
        """Final latents by the cell's protocol, with whatever is installed now."""

        def at(step: int) -> None:
            self.denoiser.at_step(step)
            on_step(step)

        with torch.inference_mode():
            return sampling.sample(
                self.denoiser,
                self.denoiser.spec,
                *inputs,
                sampler=self.cell.sampling.sampler,
                steps=steps or self.cell.steps,
                guidance_scale=self.cell.sampling.guidance_scale,
                on_step=at,
            )


def make(choice: Choice) -> AttentionMethod:
    """The method with its settings."""
    return METHODS.get(choice.name)(**dict(choice.settings))


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
    return Bench(cell, where, denoiser, make(cell.attention), loaded.identity)


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
