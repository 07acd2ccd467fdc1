"""One step back along a chain of noise that visits some of its timesteps: which, and how much is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

TRAIN_STEPS = 1000


def spaced(steps: int) -> list[int]:
    """So many timesteps from 999 down to 0, both included, evenly spaced and rounded; one alone is 999.

    The spacing of arXiv 2102.09672, section 4, and of DiT's 250 steps. Exact: added up in floats, a gap that
    ends on a half would be rounded either way.
    """
    gaps = max(1, steps - 1)
    return [
        round(Fraction((TRAIN_STEPS - 1) * left, gaps)) for left in range(gaps, gaps - steps, -1)
    ]


@dataclass(frozen=True)
class Posterior:
    """Of q(x_then | x_now, clean), which is normal (Ho et al., 2020, arXiv 2006.11239, equations 6 and 7).

    Its mean is of_clean * clean + of_state * x_now; least: its variance; most: beta, what the step adds.
    """

    of_clean: float
    of_state: float
    least: float
    most: float


def posterior(now: float, then: float) -> Posterior:
    """now, then: what is left of the data's variance before the step and after it, now < then <= 1.

    beta = 1 - now / then is that of the chain which visits these timesteps alone (Nichol & Dhariwal, 2021,
    arXiv 2102.09672, section 4).
    """
    beta = 1 - now / then
    return Posterior(
        of_clean=math.sqrt(then) * beta / (1 - now),
        of_state=math.sqrt(now / then) * (1 - then) / (1 - now),
        least=beta * (1 - then) / (1 - now),
        most=beta,
    )
