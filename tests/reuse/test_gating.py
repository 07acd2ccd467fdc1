"""The cascade: every gate by its name, in order, and the seed's counts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from ditbench.reuse.gating import NOTHING_KEPT, REUSED, Gates, Kept, Standing

# What every gate lets pass, so that a test shuts one.
OPEN = Gates(threshold=4.0, limit=3, max_gap=4, snr_low=0.1, snr_high=100.0)
AT = Standing(step=6, steps=12, block=2, log_snr=0.0, prompt=16.0)


class Says:
    """A policy of one answer, that notes what it was asked."""

    def __init__(self, probability):
        self.answered, self.asked = probability, []

    def probability(self, *asked):
        self.asked.append(asked)
        return self.answered


def kept(step=5, entropy=1.0, **known):
    return Kept(step, entropy=None if entropy is None else torch.tensor(entropy), **known)


def norm():
    return 2.5


@pytest.mark.parametrize(
    ("gates", "at", "of", "reason"),
    [
        ({}, {}, {}, REUSED),
        ({"limit": 0}, {}, {}, "reuse is off"),
        ({"threshold": 0.0}, {}, {}, "reuse is off"),
        ({"max_gap": 0}, {}, {}, "reuse is off"),
        ({"warmup": 7}, {}, {}, "warming up"),
        ({"warmup": 6}, {}, {}, REUSED),
        ({"middle": 2}, {}, {}, "too deep a block yet"),
        ({"middle": 3}, {}, {}, REUSED),
        ({"cooldown": 2}, {}, {}, "cooling down"),
        ({"cooldown": 2}, {}, {"run": 2}, REUSED),
        ({"cooldown": 2}, {}, {"reuses": 1}, REUSED),
        ({}, {}, {"step": 6}, "of this very step"),
        ({}, {}, {"step": 7}, "of this very step"),
        ({}, {}, {"step": 2}, REUSED),
        ({}, {}, {"step": 1}, "too old"),
        ({}, {}, {"reuses": 2}, REUSED),
        ({}, {}, {"reuses": 3}, "reused often enough"),
        ({}, {"log_snr": math.log(0.09)}, {}, "too noisy"),
        ({}, {"log_snr": -math.inf}, {}, "too noisy"),
        ({}, {"log_snr": math.log(110)}, {}, "too clean"),
        ({"snr_low": 0.0, "snr_high": math.inf}, {"log_snr": -math.inf}, {}, REUSED),
        ({"snr_low": 0.0, "snr_high": math.inf}, {"log_snr": math.inf}, {}, REUSED),
        ({}, {}, {"entropy": 4.0}, REUSED),
        ({}, {}, {"entropy": 4.1}, "entropy above the threshold"),
        ({}, {}, {"entropy": math.nan}, "entropy above the threshold"),
        ({}, {}, {"entropy": None}, REUSED),
        ({"policy": Says(0.49)}, {}, {}, "the policy says no"),
        ({"policy": Says(math.nan)}, {}, {}, "the policy says no"),
        ({"policy": Says(0.5)}, {}, {}, REUSED),
        ({"policy": Says(0.3), "min_probability": 0.3}, {}, {}, REUSED),
    ],
)
def test_each_gate_has_its_name(gates, at, of, reason):
    answer = replace(OPEN, **gates).answer(replace(AT, **at), kept(**of), norm)
    assert (answer.reason, answer.reused) == (reason, reason == REUSED)


def test_the_first_that_is_shut_says_why():
    """Everything is wrong; put right one after the other, the next in the row is told."""
    told, gates, at, worn = [], replace(OPEN, warmup=9, middle=0, snr_low=50.0), AT, None
    gates = replace(gates, cooldown=2, max_gap=1, limit=1, policy=Says(0.0))
    spent = Kept(2, 1, 1, torch.tensor(9.0))
    for mended, of_run, now_kept in (
        ({"warmup": 0}, {}, None),
        ({"middle": None}, {}, None),
        ({}, {}, kept(step=2, entropy=9.0)),
        ({"cooldown": 1}, {}, kept(step=2, entropy=9.0)),
        ({"max_gap": 4}, {}, spent),
        ({"limit": 2}, {}, spent),
        ({}, {"log_snr": 4.0}, spent),
        ({"threshold": 9.0}, {}, spent),
        ({"policy": None}, {}, spent),
    ):
        told.append(gates.answer(at, worn, norm).reason)
        gates, at, worn = replace(gates, **mended), replace(at, **of_run), now_kept
    assert told == [
        "warming up",
        "too deep a block yet",
        NOTHING_KEPT,
        "cooling down",
        "too old",
        "reused often enough",
        "too noisy",
        "entropy above the threshold",
        "the policy says no",
    ]
    assert gates.answer(at, worn, norm).reused


def test_nothing_is_looked_at_behind_a_gate_that_is_shut():
    policy = Says(1.0)

    def unasked():
        raise AssertionError("nobody needs the norm")

    shut = replace(OPEN, policy=policy, snr_low=2.0)
    assert not shut.answer(AT, kept(), unasked).reused
    assert policy.asked == []


def test_a_policy_is_asked_its_five_inputs_and_what_was_looked_at_is_told():
    policy = Says(0.75)
    answer = replace(OPEN, policy=policy).answer(AT, kept(reuses=1), norm)
    assert policy.asked == [(1.0, 0.0, 2.5, 6 / 11, 16.0)]
    assert answer.seen == {
        "gap": 1, "reuses": 1, "log_snr": 0.0, "entropy": 1.0, "tau": 4.0,
        "log_norm": 2.5, "step_share": 6 / 11, "prompt": 16.0, "probability": 0.75,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "tau"),
    [(16, 2.5), (12, 2.5 * math.sqrt(0.75)), (1, 0.625), (64, 5.0), (100, 5.0), (0, 1e-6)],
)
def test_the_threshold_follows_the_prompt_within_its_bounds(words, tau):
    assert replace(OPEN, threshold=2.5).tau(words) == pytest.approx(tau)


def test_entropy_is_worth_taking_only_where_it_can_decide():
    """Of 8 tokens none is above 2.08: the seed's thresholds 3 and 5 let all pass, 1.5 can say no."""
    found = {
        threshold: replace(OPEN, threshold=threshold).looks_at_entropy(12, 8)
        for threshold in (0.0, 1.5, 3.0, 5.0)
    }
    assert found == {0.0: True, 1.5: True, 3.0: False, 5.0: False}
    assert replace(OPEN, threshold=5.0, policy=Says(1.0)).looks_at_entropy(12, 8)


@pytest.mark.parametrize(("step", "blocks"), [(0, 4), (2, 4), (3, 12), (6, 12), (7, 28), (11, 28)])
def test_the_layer_scheduler_lets_deeper_blocks_in_later(step, blocks):
    gates = replace(OPEN, early=4, middle=12)
    let_in = [gates.eligible(replace(AT, step=step, block=block)) for block in range(28)]
    assert let_in == [block < blocks for block in range(28)]


@pytest.mark.parametrize(
    ("gates", "steps"),
    [
        ({}, range(11)),
        ({"warmup": 4}, range(3, 11)),
        ({"early": 2}, range(2, 11)),
        ({"early": 2, "middle": 2}, range(6, 11)),
        ({"early": 3, "middle": 3}, range(11)),
        ({"limit": 0}, range(0)),
        ({"warmup": 12}, range(0)),
    ],
)
def test_what_the_next_step_would_replace_anyway_is_not_kept(gates, steps):
    found = replace(OPEN, **gates)
    assert [step for step in range(12) if found.keeps(replace(AT, step=step))] == [*steps]


def reused(gates, log_snrs, entropy, blocks=6, prompt=12.0):
    """How many forwards of a run are spared whose attention always has that entropy."""
    steps, spared = len(log_snrs), 0
    for block in range(blocks):
        held = None
        for step, log_snr in enumerate(log_snrs):
            at = Standing(step, steps, block, log_snr, prompt)
            if gates.answer(at, held, norm).reused:
                held.reuses += 1
                spared += 1
            else:
                held = kept(step=step, entropy=entropy)
    return spared


# Of the project's sweep: 6 blocks, 12 steps, 12 words; random rows of 8 tokens.
SWEEP = Gates(threshold=3.0, limit=4, max_gap=6, early=4, middle=12)
FLAT = [0.0] * 12
RANDOM_ROWS = 1.9


@pytest.mark.parametrize(
    ("threshold", "limit", "published"),
    [(1.5, 2, 0), (1.5, 4, 0), (1.5, 6, 0), (3.0, 2, 44), (3.0, 4, 52), (3.0, 6, 56),
     (5.0, 2, 44), (5.0, 4, 52), (5.0, 6, 56)],
)  # fmt: skip
def test_the_seeds_sweep(threshold, limit, published):
    gates = replace(SWEEP, threshold=threshold, limit=limit)
    assert reused(gates, FLAT, RANDOM_ROWS) == published


def test_the_seeds_static_scenario_is_the_layer_scheduler_alone():
    assert reused(replace(SWEEP, threshold=99.0, limit=99, max_gap=99), FLAT, None) == 62


def test_mistake_28_the_gate_reads_the_signal_in_the_direction_of_the_run():
    """Along DDIM's own alphas a least SNR shuts the noisy beginning; the seed's reading shut the end."""
    alphas = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), dim=0)
    log_snrs = [float(torch.log(alphas[at] / (1 - alphas[at]))) for at in range(999, 0, -20)]
    gates = Gates(threshold=99.0, limit=99, max_gap=99, snr_low=0.5)

    def steps_reused(axis):
        held = kept(step=-1)
        return [
            step
            for step, log_snr in enumerate(axis)
            if gates.answer(Standing(step, len(axis), 0, log_snr), held, norm).reused
        ]

    def judge(steps):
        """What makes the gate right: the noise at each reused step, and nothing but it."""
        noisy = [1 - float(alphas[999 - 20 * step]) for step in range(len(log_snrs))]
        return steps == [step for step, noise in enumerate(noisy) if (1 - noise) / noise >= 0.5]

    assert judge(steps_reused(log_snrs))
    assert 0 < len(steps_reused(log_snrs)) < 50
    assert not judge(steps_reused(log_snrs[::-1]))
