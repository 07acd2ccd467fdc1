"""The greedy search, on networks whose losses are known exactly."""

from __future__ import annotations

import math

import pytest
import torch

from ditbench.reuse.plans import GUIDED, UNGUIDED, Way
from ditbench.reuse.search import Terms, decided, loss

F, W, f, w, S = Way.FULL, Way.WINDOW, Way.BRANCH, Way.WINDOW_BRANCH, Way.SHARED


class Network:
    """Predicts 1 less what each block's way costs, so that the loss is the sum of what was spared."""

    def __init__(self, *costs):
        self.costs, self.asked = costs, []

    def __call__(self, ways):
        self.asked.append("".join(ways))
        lost = sum(cost.get(way, 0.0) for cost, way in zip(self.costs, ways, strict=True))
        return torch.full((4,), 1 - lost, dtype=torch.float64)


def search(network, threshold, ways=GUIDED):
    return "".join(decided(network, len(network.costs), Terms(ways, threshold)))


def test_a_block_takes_the_first_way_whose_loss_is_below_its_share_of_the_threshold():
    """Of 0.4 the blocks may lose 0.1, 0.2, 0.3 and 0.4 in all, what earlier blocks lost included."""
    network = Network(
        {S: 0.5, w: 0.09, W: 0.01, f: 0.01},  # 0.09 < 0.1: a window on one branch
        {S: 0.2, w: 0.2, W: 0.12, f: 0.05},  # 0.09 + 0.05 < 0.2: one branch
        {S: 0.3, w: 0.3, W: 0.3, f: 0.3},  # none below 0.3 - 0.14: in full
        {S: 0.25, w: 0.0, W: 0.0, f: 0.0},  # 0.14 + 0.25 < 0.4: shared, though others lose nothing
    )
    assert search(network, 0.4) == "wfF="


def test_every_try_is_one_forward_and_none_is_made_in_vain():
    network = Network({S: 1.0, w: 0.0}, {S: 0.0})
    assert search(network, 0.2) == "w="
    assert network.asked == ["FF", "=F", "wF", "w="]


def test_at_most_four_tries_a_block_and_two_without_guidance():
    dear = {way: 1.0 for way in Way if way is not F}
    for ways, tries in ((GUIDED, 4), (UNGUIDED, 2)):
        network = Network(dear, dear, dear)
        assert search(network, 0.1, ways) == "FFF"
        assert len(network.asked) == 1 + 3 * tries


def test_a_loss_that_equals_the_threshold_is_too_much():
    """1 - 0.5 over 1 is half, but for the millionth in the denominator."""
    exactly = loss(torch.tensor([1.0]), torch.tensor([0.5]))
    network = Network({S: 0.5, w: 0.5, W: 0.5, f: 0.5})
    assert search(network, exactly) == "F"
    assert search(network, math.nextafter(exactly, 1)) == "="


def test_under_a_threshold_of_zero_nothing_is_even_tried():
    network = Network({}, {})
    assert search(network, 0.0) == "FF"
    assert network.asked == []


def test_a_prediction_that_is_not_finite_is_never_taken():
    network = Network({S: math.nan, w: math.inf, W: math.nan, f: math.nan})
    assert search(network, 1.9) == "F"


def published(full, tried):
    """As the project's code has it: the larger of both without its sign, cut to 0 and 10."""
    ratio = (full - tried).abs() / (torch.maximum(full, tried) + 1e-6)
    return float(ratio.clip(0, 10).mean())


def test_the_published_loss_does_not_see_negative_outputs_and_ours_does():
    full, tried = torch.tensor([1.0, 4.0, 2.0]), torch.tensor([2.0, 1.0, 2.0])
    assert loss(full, tried) == pytest.approx((1 / 2 + 3 / 4 + 0) / 3, abs=1e-5)
    assert loss(-full, -tried) == loss(full, tried) == loss(tried, full)
    assert published(full, tried) == pytest.approx(loss(full, tried), abs=1e-5)
    assert published(-full, -tried) == 0.0


def test_ours_is_twice_the_published_one_on_outputs_of_either_sign():
    generator = torch.Generator().manual_seed(0)
    full = torch.randn(100_000, generator=generator)
    tried = full * (1 + 0.01 * torch.randn(100_000, generator=generator))
    assert loss(full, tried) / published(full, tried) == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize(
    ("full", "tried", "expected"),
    [(0.0, 0.0, 0.0), (1.0, -1.0, 2.0), (0.0, 5.0, 1.0), (1e-30, 0.0, 0.0)],
)
def test_the_loss_lies_between_0_and_2(full, tried, expected):
    assert loss(torch.tensor([full]), torch.tensor([tried])) == pytest.approx(expected, abs=1e-5)
