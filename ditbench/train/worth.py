"""What a reuse policy is worth on samples that it has not seen, beside one that nobody trained.

Two more arms need no network: to reuse always, and never. Of the loss, a constant probability, the share of
the judged examples that were worth it, is the least that an arm without looking can have.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ditbench import stats
from ditbench.errors import UsageError
from ditbench.reuse.policy import Policy
from ditbench.train.examples import Examples, Trajectory, check_classes
from ditbench.train.policy import cross_entropy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.floating]

TRAINED, GIVEN, UNTRAINED, ALWAYS, NEVER = "trained", "given", "untrained", "always", "never"


@dataclass(frozen=True)
class Score:
    """Of one arm on some examples; a yes is a probability of at least a half.

    loss: binary cross-entropy in nats, None of an arm without probabilities. auc: of a pair of which one was
    worth it, how often that one has the higher probability. accepted: the share of yes. right, error: of
    these, the share worth it and the mean error; None where there are none.
    """

    arm: str
    loss: float | None
    accuracy: float
    auc: float
    accepted: float
    right: float | None
    error: float | None


@dataclass(frozen=True)
class Verdict:
    """scores: of every arm on the judged examples. base_rate: the share of these worth a reuse.

    constant_loss: of the best constant probability. ahead: of the judged samples, on how many the policy's
    loss is below the untrained one's.
    """

    scores: tuple[Score, ...]
    examples: int
    samples: tuple[Trajectory, ...]
    base_rate: float
    constant_loss: float
    ahead: int


def judge(policy: Policy, unseen: Examples, tolerance: float) -> Verdict:
    """A policy beside one with the same seed that learned nothing. Raises UsageError for what it has seen."""
    _check_unseen(policy, unseen)
    check_classes(unseen, "to judge it on", tolerance)
    labels = unseen.labels(tolerance)
    blank = Policy.untrained(int(policy.about.get("seed", "7")))
    mine, others = (one.probabilities(unseen.inputs) for one in (policy, blank))
    ones = np.ones(len(unseen))
    base_rate = float(labels.mean())
    return Verdict(
        scores=(
            _score(TRAINED if "samples" in policy.about else GIVEN, mine, unseen, labels),
            _score(UNTRAINED, others, unseen, labels),
            _score(ALWAYS, ones, unseen, labels, sure=True),
            _score(NEVER, 0 * ones, unseen, labels, sure=True),
        ),
        examples=len(unseen),
        samples=unseen.samples,
        base_rate=base_rate,
        constant_loss=cross_entropy(base_rate * ones, labels),
        ahead=_ahead(mine, others, unseen, labels),
    )


def _check_unseen(policy: Policy, unseen: Examples) -> None:
    learned = {tuple(one) for one in json.loads(policy.about.get("samples", "[]"))}
    both = sorted(learned & set(unseen.samples))
    if both:
        seed, sample = both[0]
        more = f", and {len(both) - 1} more" if len(both) > 1 else ""
        raise UsageError(
            f"the policy was trained on sample {sample} of seed {seed}{more}: judge it on samples "
            "that it has not seen"
        )


def _score(arm: str, p: Numbers, on: Examples, labels: Numbers, *, sure: bool = False) -> Score:
    yes = p >= 0.5
    return Score(
        arm,
        None if sure else cross_entropy(p, labels),
        float(np.mean(yes == (labels > 0))),
        auc(p, labels),
        float(np.mean(yes)),
        float(labels[yes].mean()) if yes.any() else None,
        float(on.errors[yes].mean()) if yes.any() else None,
    )


def auc(p: Numbers, labels: Numbers) -> float:
    """Of the Mann-Whitney statistic; equal probabilities count a half."""
    ranks, worth = stats.mean_ranks(p), labels > 0
    first, second = int(worth.sum()), int((~worth).sum())
    return float((ranks[worth].sum() - first * (first + 1) / 2) / (first * second))


def _ahead(mine: Numbers, others: Numbers, unseen: Examples, labels: Numbers) -> int:
    """Samples on which the first has the lower loss."""
    return sum(
        cross_entropy(mine[here], labels[here]) < cross_entropy(others[here], labels[here])
        for here in _by_sample(unseen)
    )


def _by_sample(unseen: Examples) -> Iterable[Numbers]:
    return (np.array([one == own for one in unseen.trajectories]) for own in unseen.samples)
