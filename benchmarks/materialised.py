"""What a training step holds for attention with its weights written out: `python benchmarks/materialised.py`.

A published comparison gives 8037 MB for a UNet and 2007 MB for a DiT of 31 times its parameters. Here both
take steps of training with attention weights written out (`softmax`) and without (`sdpa`), judged in two
ways: the bytes that autograd holds between the two passes, counted tensor by tensor, and the peak of a fresh
process: of torch's allocator on a GPU, of resident memory on a CPU. Weights of a layer are rows x heads x
tokens^2 numbers, so that what they take grows with the fourth power of the side of a picture.

    python benchmarks/materialised.py                            on the CPU, small batches
    python benchmarks/materialised.py --device cuda --batch 256  as published
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.autograd.graph import saved_tensors_hooks

from ditbench import sampling
from ditbench.attention.base import METHODS
from ditbench.measure import memory
from ditbench.models.base import Model, architecture
from ditbench.models.gqa_dit import GqaDiT
from ditbench.models.seam import Denoiser
from ditbench.models.unet import UNet

MIB = 2**20
# Bytes a parameter in float32: itself, its gradient, and AdamW's two moments.
STATES = 16
METHOD_NAMES = ("softmax", "sdpa")
# Published, in MiB: a batch of 256 in float32, on a GPU that is not named.
PUBLISHED = {"unet": 8037.32, "gqa-dit": 2006.99}


@dataclass(frozen=True)
class Step:
    """One step of training to be measured."""

    model: Model
    method: str
    batch: int
    device: str = "cpu"


def main() -> int:
    """Print the tables."""
    told = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    told.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    told.add_argument("--batch", type=int, default=16, help="pictures of a measured step")
    told.add_argument("--sides", type=int, nargs="*", default=[14, 20, 28])
    asked = told.parse_args()
    for line in (*counted(), "", *by_side(asked), "", *by_model(asked)):
        print(line, flush=True)
    return 0


def counted() -> Iterator[str]:
    """By counting and arithmetic alone: what a step takes at the least, beside what was published.

    Going back through a layer whose weights are written out takes two more of their size: the gradients of
    the weights and of the scores.
    """
    yield "counted, MiB: held for the way back + gradients of one layer's weights + states = at the least"
    for spec, batch in ((UNet(hidden=64), 256), (GqaDiT(), 256), (GqaDiT(), 128)):
        states = STATES * parameters(spec)
        largest = max(4 * batch * site.heads * site.tokens**2 for site in spec.sites())
        for method in METHOD_NAMES:
            held, back = held_bytes(spec, method, batch), 2 * largest * (method == "softmax")
            parts = " + ".join(f"{part / MIB:.0f}" for part in (held, back, states))
            total = (held + back + states) / MIB
            yield f"{spec.name:>7}, batch {batch}, {method:>7}: {parts} = {total:.0f}"
    yield f"published, batch 256: unet {PUBLISHED['unet']}, gqa-dit {PUBLISHED['gqa-dit']}"


def by_side(asked: argparse.Namespace) -> Iterator[str]:
    """The UNet by the side of its pictures: what writing the weights out adds, beside the formula."""
    yield f"measured: unet, batch {asked.batch}, {place(asked.device)}, MiB"
    yield "side tokens   weights held more   peak softmax peak sdpa difference"
    for side in asked.sides:
        spec = UNet(size=side)
        held = [held_bytes(spec, method, asked.batch) for method in METHOD_NAMES]
        peaks = [peak_of(Step(spec, method, asked.batch, asked.device)) for method in METHOD_NAMES]
        numbers = [weights_bytes(spec, asked.batch), held[0] - held[1], *peaks, peaks[0] - peaks[1]]
        weights, more, softmax, sdpa, difference = (number / MIB for number in numbers)
        yield (
            f"{side:>4} {side**2:>6} {weights:>9.1f} {more:>9.1f}   {softmax:>12.1f} {sdpa:>9.1f} "
            f"{difference:>10.1f}"
        )


def by_model(asked: argparse.Namespace) -> Iterator[str]:
    """Both arms, with the weights written out and without."""
    yield f"measured: batch {asked.batch}, {place(asked.device)}, MiB"
    yield "   model  parameters   peak softmax peak sdpa"
    for spec in (UNet(hidden=64), GqaDiT()):
        peaks = [peak_of(Step(spec, method, asked.batch, asked.device)) for method in METHOD_NAMES]
        softmax, sdpa = (peak / MIB for peak in peaks)
        yield f"{spec.name:>8} {parameters(spec):>11,}   {softmax:>12.1f} {sdpa:>9.1f}"


def weights_bytes(spec: Model, batch: int) -> int:
    """Of the attention weights of all sites at once, in float32: rows x heads x tokens^2 x 4."""
    return sum(4 * batch * site.heads * site.tokens**2 for site in spec.sites())


def held_bytes(spec: Model, method: str, batch: int) -> int:
    """What autograd holds between the passes: exact, and as much a picture whatever the batch.

    Counted at batches of 2 and 3, each storage once, weights of the network left out. A batch of one is
    another case: what it broadcasts is not copied.
    """
    two, three = (_held(spec, method, rows) for rows in (2, 3))
    return two + (batch - 2) * (three - two)


def _held(spec: Model, method: str, rows: int) -> int:
    denoiser = trained(spec, method, "cpu")
    own = {one.untyped_storage().data_ptr() for one in denoiser.network.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(x: torch.Tensor) -> torch.Tensor:
        if x.untyped_storage().data_ptr() not in own:
            kept.setdefault(x.untyped_storage().data_ptr(), x)
        return x

    with saved_tensors_hooks(pack, lambda x: x):
        loss = loss_of(denoiser, rows, "cpu")
    held = sum(one.untyped_storage().nbytes() for one in kept.values())
    del loss
    return held


def trained(spec: Model, method: str, device: str) -> Denoiser:
    """The network as its training begins, with this method at every site."""
    torch.manual_seed(0)
    with torch.device(device):
        network = spec.build()
    denoiser = Denoiser(network.train(), spec)
    core = METHODS.get(method)()
    denoiser.install(core.open)
    return denoiser


def loss_of(denoiser: Denoiser, rows: int, device: str) -> torch.Tensor:
    """Mean squared error of a prediction of noise."""
    spec = denoiser.spec
    noise = sampling.noise(spec, 0, range(rows)).to(device)
    times = torch.full((rows,), 500, device=device)
    conditions = (one.to(device) for one in spec.conditions(0, range(rows)))
    return torch.nn.functional.mse_loss(denoiser(noise, times, *conditions), noise)


def peak_of(step: Step) -> int:
    """Bytes at the peak of a step with AdamW, weights included, from a process of its own.

    It is told to hand freed memory back at once, so that what is resident is what tensors take.
    """
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(MIB // 4)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (step.model.name, dataclasses.asdict(step.model), step))


def _peak(name: str, settings: dict[str, object], step: Step) -> int:
    torch.set_num_threads(1)
    peak = memory.Peak(torch.device(step.device), memory.resident())
    denoiser = trained(architecture(name)(**settings), step.method, step.device)
    optimizer = torch.optim.AdamW(denoiser.network.parameters(), lr=2e-4)
    for number in range(2):  # the first makes the optimizer's states
        if number:
            peak.reset()
        optimizer.zero_grad(set_to_none=True)
        loss_of(denoiser, step.batch, step.device).backward()
        optimizer.step()
    found = peak.read()
    return int(found.get("peak_allocated", found.get("peak_resident", (0.0,)))[0])


def parameters(spec: Model) -> int:
    """Trained numbers."""
    with torch.device("meta"):
        return sum(one.numel() for one in spec.build().parameters())


def place(device: str) -> str:
    """The name of the device."""
    return torch.cuda.get_device_name() if device == "cuda" else "the CPU"


if __name__ == "__main__":
    sys.exit(main())
