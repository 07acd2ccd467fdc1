"""What traces of reuse teach: each reuse that was tried, with the error that it would have made.

A label is a fact about the moment: the error was measured beside what computing gave. The DQAR project
labelled each decision with a reward of the choice that it had made itself, 0.3 wherever it had computed: what
it did not try it could not learn, and its labels change with the policy that made them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ditbench.errors import UsageError
from ditbench.reuse.policy import INPUTS, scaled
from ditbench.reuse.trace import Line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.floating]

Trajectory = tuple[int, int]  # seed and sample

_ASK = "trace a cell whose policy is asked and refuses nothing, as dqar with min_probability: 0"


@dataclass(frozen=True)
class Examples:
    """Reuses that were traced. inputs (n, 5): as the network takes them; errors (n,): relative L2.

    trajectories: whose each is. about: model and method, in words. left: of the lines, how many are of no
    use, by the reason.
    """

    inputs: Numbers
    errors: Numbers
    trajectories: tuple[Trajectory, ...]
    about: Mapping[str, str]
    left: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.errors)

    @property
    def samples(self) -> tuple[Trajectory, ...]:
        """Of which noise they are, each once and in order."""
        return tuple(sorted(set(self.trajectories)))

    def labels(self, tolerance: float) -> Numbers:
        """1.0 where a reuse was worth it: its error at most the tolerance. One that is no number was not."""
        return (self.errors <= tolerance).astype(np.float64)

    def of(self, chosen: Iterable[Trajectory]) -> Examples:
        """Those of these trajectories."""
        wanted = set(chosen)
        here = [one in wanted for one in self.trajectories]
        mine = tuple(one for one in self.trajectories if one in wanted)
        return Examples(self.inputs[here], self.errors[here], mine, self.about, self.left)


def examples(lines: Sequence[Line], *, mixed: bool = False) -> Examples:
    """What can be learned from. mixed: of several models at once. Raises UsageError."""
    if not lines:
        raise UsageError("the traces hold no line: nothing to learn from")
    models = sorted({line.model for line in lines})
    if len(models) > 1 and not mixed:
        raise UsageError(
            f"the traces are of {len(models)} models ({'; '.join(models)}): leave out some, or say --mixed"
        )
    methods = sorted({line.method for line in lines})
    about = {"model": "; ".join(models), "method": "; ".join(methods)}
    asked = [line for line in lines if set(INPUTS) <= set(line.seen)]
    if not asked:
        raise UsageError(f"no line of the traces has all of {', '.join(INPUTS)}: {_ASK}")
    unknown = sum(line.error is None for line in asked)
    if unknown:  # those that a policy refused: what is left would be its own choice
        raise UsageError(
            f"{unknown} of the {len(asked)} decisions about which a policy was asked were computed, and "
            f"their error is unknown: {_ASK}"
        )
    rows = np.array([scaled([line.seen[name] for name in INPUTS]) for line in asked])
    finite = np.isfinite(rows).all(axis=1)
    return Examples(
        rows[finite],
        np.array([line.error for line in asked], dtype=np.float64)[finite],
        tuple(line.trajectory for line, sound in zip(asked, finite, strict=True) if sound),
        about,
        {
            "no policy was asked": len(lines) - len(asked),
            "an input is not finite": int((~finite).sum()),
        },
    )


def split(found: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """Examples to learn from, and those of the samples held out: whole, for one's decisions are alike.

    share: of the samples, at least one of either. Raises UsageError.
    """
    every = found.samples
    if len(every) < 2:
        raise UsageError(
            f"the traces hold reuses of {len(every)} samples, and one is held out: trace two at least"
        )
    count = min(max(1, math.floor(share * len(every) + 0.5)), len(every) - 1)
    held = random.Random(seed).sample(every, count)  # noqa: S311 (nothing secret)
    return found.of(set(every) - set(held)), found.of(held)


def check_classes(found: Examples, said: str, tolerance: float) -> None:
    """Raises UsageError where every reuse is worth it, or none. said: which ones, "held out"."""
    worth = int(found.labels(tolerance).sum())
    if worth not in {0, len(found)}:
        return
    ends = f", from {np.min(found.errors):.2g} to {np.max(found.errors):.2g}" if len(found) else ""
    raise UsageError(
        f"{worth} of the {len(found)} reuses {said} have an error of at most {tolerance:g}{ends}: there is "
        "nothing to tell apart; give another --tolerance, or trace more samples"
    )
