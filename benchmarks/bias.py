"""How far real pictures are from real pictures: the bias of few pictures, measured.

    python benchmarks/bias.py DATASET [--network inception] [--most 1000] [--split test]

Two sets of n real pictures that share none are compared, for several n, by the Frechet distance and by the
kernel distance. Whatever the first gives is bias, for all are of one kind; the second is 0 on average.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from ditbench.datasets import open_dataset, padded
from ditbench.distances import frechet, kernel
from ditbench.extractors.base import made
from ditbench.measure import features

_COUNTS = (125, 250, 500, 1000)


def main() -> int:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset")
    parser.add_argument("--network", default="inception")
    parser.add_argument("--split", default="test")
    parser.add_argument("--most", type=int, default=1000)
    parser.add_argument("--pad", type=int, default=0)
    given = parser.parse_args()
    pictures = open_dataset(given.dataset, given.split)
    pictures = padded(pictures, given.pad) if given.pad else pictures
    network = made(given.network).open("cpu")
    chosen = np.random.default_rng(0).permutation(pictures.count)[: 2 * given.most]
    began = time.monotonic()
    parts = (chosen[at : at + features.BATCH] for at in range(0, len(chosen), features.BATCH))
    rows = features.of_batches(network, (pictures.take(part.tolist())[0] for part in parts)).pool
    told = f"{len(rows)} pictures in {time.monotonic() - began:.0f} s"
    print(f"{pictures.name} ({given.split}), {given.network}, {told}\n", file=sys.stderr)
    print(
        "| n | Frechet distance | standard deviation | kernel distance | standard deviation | pairs of sets |"
    )
    print("|---|---|---|---|---|---|")
    for count in (n for n in _COUNTS if n <= given.most):
        print(_row(rows, count))
    return 0


def _row(rows: np.ndarray, count: int) -> str:
    """Every pair of neighbouring sets of so many, none of which shares a picture."""
    sets = [rows[at : at + count] for at in range(0, len(rows) - count + 1, count)]
    pairs = list(zip(sets[::2], sets[1::2], strict=False))
    far = [frechet.between(one, other) for one, other in pairs]
    kid = [kernel.mmd(one, other) for one, other in pairs]
    cells = [str(count)]
    for values, form in ((far, ".1f"), (kid, ".2g")):
        spread = f"{np.std(values, ddof=1):{form}}" if len(values) > 1 else "-"
        cells += [f"{np.mean(values):{form}}", spread]
    return "| " + " | ".join([*cells, str(len(pairs))]) + " |"


if __name__ == "__main__":
    sys.exit(main())
