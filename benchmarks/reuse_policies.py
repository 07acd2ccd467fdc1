"""What a reuse policy is worth at the same reuse: drift and share of reuse of every arm of a suite, no times.

    python benchmarks/reuse_policies.py [suites/seeds/dqar-policy.yaml] [--samples 16]

Each sample is sampled by itself, so that every decision is about one picture. Drift is the relative L2
distance of its final latents from softmax's. A table in Markdown: means over samples, least and most drift,
and on how many samples an arm with a policy drifts less than the one without that spares nearest to as
much, whose reuse and drift follow. Nothing here is timed.
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch

from ditbench import plan
from ditbench.attention.memory import Decision
from ditbench.measure.bench import Bench, set_up
from ditbench.measure.catalog import catalog
from ditbench.measure.evidence import relative
from ditbench.records import Cell
from ditbench.suite import parse


@dataclass(frozen=True)
class Arm:
    """One cell's figures, sample by sample."""

    label: str
    reuse: tuple[float, ...]
    drift: tuple[float, ...]
    asked: bool


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("suite", nargs="?", default="suites/seeds/dqar-policy.yaml")
    parser.add_argument("--samples", type=int, default=16)
    given = parser.parse_args()
    cells = plan.expand(parse.parse(Path(given.suite).read_text(), given.suite, catalog()))
    softmax = next(cell for cell in cells if cell.attention.name == "softmax")
    exact = [_made(_bench(softmax), n)[0] for n in range(given.samples)]
    arms = [_arm(cell, exact) for cell in cells if "policy" in dict(cell.attention.settings)]
    plain = [arm for arm in arms if not arm.asked]
    print("| arm | reuse | drift | least | most | below the nearest without a policy |")
    print("|---|---|---|---|---|---|")
    for arm in sorted(arms, key=lambda one: fmean(one.reuse)):
        print(_row(arm, plain))
    return 0


def _arm(cell: Cell, exact: list[torch.Tensor]) -> Arm:
    bench = _bench(cell)
    made = [_made(bench, n) for n in range(len(exact))]
    drift = tuple(relative(mine, true) for (mine, _), true in zip(made, exact, strict=True))
    asked = bool(cell.attention["policy"])
    return Arm(cell.attention.label, tuple(share for _, share in made), drift, asked)


def _bench(cell: Cell) -> Bench:
    return set_up(dataclasses.replace(cell, batch_size=1), "cpu")


def _made(bench: Bench, sample: int) -> tuple[torch.Tensor, float]:
    """Final latents of one sample, and the share of forwards that spared something."""
    bench.denoiser.install(bench.layers)
    latents = bench.sample(bench.inputs([sample]))
    told: list[Decision] = []
    for layer in bench.denoiser.layers().values():
        told += getattr(layer, "decisions", [])
    return latents, sum(one.of for one in told if one.reused) / max(1, sum(one.of for one in told))


def _row(arm: Arm, plain: list[Arm]) -> str:
    beside = ""
    if arm.asked:
        near = min(plain, key=lambda one: abs(fmean(one.reuse) - fmean(arm.reuse)))
        below = sum(mine < theirs for mine, theirs in zip(arm.drift, near.drift, strict=True))
        beside = f"{below} of {len(arm.drift)} ({fmean(near.reuse):.3f}, {fmean(near.drift):.3f})"
    figures = (fmean(arm.reuse), fmean(arm.drift), min(arm.drift), max(arm.drift))
    return f"| {arm.label} | {' | '.join(f'{one:.3f}' for one in figures)} | {beside} |"


if __name__ == "__main__":
    raise SystemExit(main())
