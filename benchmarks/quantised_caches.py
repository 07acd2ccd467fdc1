"""What keys and values lose as integers, and what they weigh: of the embedded model, and of DiT-XL/2-256.

    python benchmarks/quantised_caches.py [--samples 2] [--steps 6]

Two tables in Markdown. The first is of the keys and values of every block and step of fashion-dit, drawn with
guidance: the mean of each tensor's SQNR in dB, and that of the scores q k^T where only the keys are codes,
balanced and not. The second counts the bytes of DiT-XL/2-256 at two rows from shapes alone.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import fmean

import torch

from ditbench import sampling
from ditbench.attention.base import METHODS, AttentionMethod, CoreLayer
from ditbench.models import weights
from ditbench.models.base import presets
from ditbench.models.seam import Denoiser
from ditbench.records import Choice
from ditbench.reuse.keeping import keep
from ditbench.reuse.quantise import GRANULARITIES, Quantiser, sqnr, storages
from ditbench.reuse.salience import balance

MIB = 2**20
Given = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
# Blocks, and sizes of keys at two rows: DiT-XL/2-256.
_BLOCKS, _SHAPE = 28, (2, 16, 256, 72)


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    given = parser.parse_args()
    seen = _seen(given.samples, given.steps)
    print("| scale per | bits | keys | values | scores | scores, balanced |")
    print("|---|---|---|---|---|---|")
    for name in GRANULARITIES:
        for bits in (8, 4):
            found = zip(*(_lost(Quantiser(name, bits), *one) for one in seen), strict=True)
            figures = " | ".join(f"{fmean(one):.1f}" for one in found)
            print(f"| {name} | {bits} | {figures} |")
    print()
    print("\n".join(weighed()))
    return 0


@dataclass(frozen=True)
class _Watching:
    """A core that keeps what it is given and gives what softmax does."""

    method: AttentionMethod
    seen: list[Given]

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        self.seen.append((q, k, v))
        return self.method.attend(q, k, v)


def _seen(samples: int, steps: int) -> list[Given]:
    """q, k and v of every block and step."""
    spec = presets()["fashion-dit"].model
    choice = Choice("fashion-dit", tuple(dataclasses.asdict(spec).items()))
    loaded = weights.load(choice, "embedded", torch.float32, torch.device("cpu"))
    denoiser = Denoiser(loaded.network, loaded.spec)
    watching = CoreLayer(_Watching(METHODS.get("sdpa")(), seen := []))
    denoiser.install(lambda _site: watching)
    numbers = range(samples)
    with torch.inference_mode():
        sampling.sample(
            denoiser,
            loaded.spec,
            sampling.noise(loaded.spec, 0, numbers),
            tuple(loaded.spec.conditions(0, numbers)),
            sampler="ddim",
            steps=steps,
            guidance_scale=1.5,
        )
    return seen


def _lost(
    quantiser: Quantiser, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
) -> Iterator[float]:
    """SQNR of keys, values, scores, and scores of balanced keys."""
    scores, b = q @ k.mT, balance(q, k)
    kept = quantiser.store(k).restored()
    yield sqnr(k, kept)
    yield sqnr(v, quantiser.store(v).restored())
    yield sqnr(scores, q @ kept.mT)
    yield sqnr(scores, (q * b) @ quantiser.store(k / b).restored().mT)


def weighed() -> Iterator[str]:
    """Lines of the table of bytes."""
    yield "| kept | MiB | MiB of scales |"
    yield "|---|---|---|"
    k, v = torch.empty(2, *_SHAPE, dtype=torch.float16, device="meta")
    ways = [("half", "head"), ("mixed", "head"), *(("int8", name) for name in GRANULARITIES)]
    for precision, granularity in ways:
        held = keep(storages(precision, Quantiser(granularity)), (k, v))
        scales = [one.scales for one in held if one.scales is not None]
        words = f", a scale a {granularity}" if scales else ""
        figures = f"{_mib(one.codes for one in held):.2f} | {_mib(scales):.3f}"
        yield f"| {precision}{words} | {figures} |"


def _mib(tensors: Iterable[torch.Tensor]) -> float:
    """Held by such tensors of every block."""
    return _BLOCKS * sum(one.nbytes for one in tensors) / MIB


if __name__ == "__main__":
    raise SystemExit(main())
