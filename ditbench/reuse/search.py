"""A greedy search for what each block may spare at each step (Yuan et al., 2024, arXiv 2406.08552).

    loss(O, O') = mean |O - O'| / (max(|O|, |O'|) + 1e-6)
    block l of L takes the first way of sparing with loss < threshold (l + 1) / L, l from 0, else none

O is what the network predicts at a step with every block in full, O' what it predicts with the blocks decided
so far and the way that is tried. The run goes on with what was decided, so that a step is judged where the
steps before it have led. Step 0 is in full. A step costs one forward, one for each try, and one more that
keeps what later steps share: at most steps (blocks ways + 2) forwards in all.

The published code divides by max(O, O') without the bars. Where both are negative its quotient is below zero
and cut to zero, so about half of the outputs count for nothing; ours counts them all, is about twice as
large, and a threshold of the same number spares less. It lies in [0, 2], so the published cut at 10 has
nothing to cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ditbench.reuse.plans import Way

# Added to the denominator, so that two zeros agree.
_LEAST = 1e-6

# The network's prediction of one step, with each block going its way.
Predict = Callable[[Sequence[Way]], torch.Tensor]


@dataclass(frozen=True)
class Terms:
    """What is tried in the place of full attention, in order, and what a step may lose by it."""

    ways: tuple[Way, ...]
    threshold: float


def decided(predict: Predict, blocks: int, terms: Terms) -> list[Way]:
    """The way of each block at one step. predict: without a trace, for it is asked again and again."""
    ways = [Way.FULL] * blocks
    if not terms.threshold:
        return ways
    full = predict(ways)
    for block in range(blocks):
        for way in terms.ways:
            tried = [*ways[:block], way, *ways[block + 1 :]]
            if loss(full, predict(tried)) < terms.threshold * (block + 1) / blocks:
                ways = tried
                break
    return ways


def loss(full: torch.Tensor, tried: torch.Tensor) -> float:
    """How far two predictions lie apart, from 0 to 2; NaN, below no threshold, where one is not finite."""
    full, tried = full.float(), tried.float()
    largest = torch.maximum(full.abs(), tried.abs())
    return float(((full - tried).abs() / (largest + _LEAST)).mean())
