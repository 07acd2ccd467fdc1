"""Along the main range of each knob reuse changes exactly as computed, and drift with it."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
from scipy.stats import spearmanr

from ditbench import sampling
from ditbench.attention.dqar import Dqar
from ditbench.attention.static_reuse import StaticReuse
from ditbench.measure import bench
from ditbench.measure.evidence import relative
from ditbench.models.base import presets
from ditbench.records import Cell, Choice, Sampling

STEPS, BLOCKS = 12, 6
# Everything is reused from the second step on.
OPEN = {
    "threshold": 1000.0, "limit": 100, "max_gap": 100, "warmup": 1, "snr_low": 0.0, "snr_high": 1e9,
    "scheduler": False,
}  # fmt: skip
ALL_BLOCKS = {"scheduler": True, "early": BLOCKS, "middle": BLOCKS}
SPEC = presets()["fashion-dit"].model


@pytest.fixture(scope="module")
def trained():
    """The embedded model, and its latents by the core that reuse spares."""
    model = Choice("fashion-dit", tuple(dataclasses.asdict(SPEC).items()))
    cell = Cell(
        model, Choice("sdpa"), weights="embedded", blocks=tuple(range(BLOCKS)), steps=STEPS,
        batch_size=1, sampling=Sampling(guidance_scale=2.0),
    )  # fmt: skip
    made = bench.set_up(cell, "cpu")
    made.denoiser.install(made.everywhere("sdpa"))
    return made, made.sample(made.inputs([0]))


def run(trained, method):
    """The share of forwards that reused, drift of the final latents from the core's, and the decisions."""
    made, true = trained
    made.denoiser.install(method.open)
    last = made.sample(made.inputs([0]))
    told = [one for layer in made.denoiser.layers().values() for one in layer.decisions]
    assert len(told) == STEPS * BLOCKS
    return sum(one.reused for one in told) / len(told), relative(last, true), told


def snrs():
    """At each step but the first, where nothing is kept."""
    left = sampling.remaining(SPEC, sampling.trailing(STEPS))
    return [one / (1 - one) for one in left[1:]]


# Of all forwards, those that reuse.
EXPECTED = {
    "limit": lambda n: 1 - math.ceil(STEPS / (n + 1)) / STEPS,
    "max_gap": lambda n: 1 - math.ceil(STEPS / (n + 1)) / STEPS,
    "warmup": lambda n: 1 - n / STEPS,
    # So many computed, then two reused.
    "cooldown": lambda n: sum(step % (n + 2) >= n for step in range(STEPS)) / STEPS,
    "snr_low": lambda least: sum(snr >= least for snr in snrs()) / STEPS,
    "snr_high": lambda most: sum(snr <= most for snr in snrs()) / STEPS,
    # Steps 1 and 2 are in the first fifth, 3 to 6 before three fifths.
    "early": lambda blocks: 9 / STEPS + 2 * blocks / (STEPS * BLOCKS),
    "middle": lambda blocks: 7 / STEPS + 4 * blocks / (STEPS * BLOCKS),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("knob", "values", "beside"),
    [
        ("limit", [0, 1, 2, 3, 5, 11], {}),
        ("max_gap", [0, 1, 2, 3, 11], {"mode": "output"}),
        ("warmup", [1, 3, 6, 9, 12], {"mode": "output"}),
        ("cooldown", [1, 2, 3, 5, 11], {"limit": 2}),
        ("snr_low", [0.0, 0.05, 0.2, 1.0, 4.0, 1e6], {}),
        ("snr_high", [0.0, 0.05, 0.2, 1.0, 20.0, 1e6], {"mode": "output"}),
        ("early", [0, 2, 3, 4, 6], ALL_BLOCKS),
        ("middle", [0, 2, 3, 4, 6], ALL_BLOCKS | {"mode": "output"}),
    ],
)
def test_reuse_changes_as_computed_along_a_knob_and_drift_with_it(trained, knob, values, beside):
    found = [run(trained, Dqar(**OPEN | beside | {knob: value})) for value in values]
    shares, drifts = [one[0] for one in found], [one[1] for one in found]
    assert shares == pytest.approx([EXPECTED[knob](value) for value in values])
    assert len(set(shares)) == len(values)
    assert spearmanr(shares, drifts).statistic >= 0.9
    assert (min(shares) == 0) == (min(drifts) == 0)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["kv", "output"])
def test_a_higher_threshold_lets_more_entropies_pass_and_drifts_more(trained, mode):
    """tau is a quarter of it, for one class counts as one word; entropies of 256 tokens end at 5.55."""
    thresholds = [0.0, 12.0, 16.0, 18.0, 19.0, 20.0, 23.0]
    found = [run(trained, Dqar(**OPEN | {"mode": mode, "threshold": one})) for one in thresholds]
    shares, drifts = [one[0] for one in found], [one[1] for one in found]
    assert all(one < other for one, other in itertools.pairwise(shares[1:]))
    assert (shares[0], drifts[0], shares[-1]) == (0, 0, pytest.approx(1 - 1 / STEPS))
    assert spearmanr(shares, drifts).statistic >= 0.9
    looked = [one for _, _, told in found for one in told if "entropy" in one.seen]
    assert all(one.reused == (one.seen["entropy"] <= one.seen["tau"]) for one in looked)
    assert {one.reused for one in looked} == {True, False}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("knob", "values", "expected"),
    [
        ("share", [0.0, 0.2, 0.4, 0.7, 1.0], lambda share: 11 / 12 * math.floor(share * BLOCKS) / BLOCKS),
        ("every", [1, 2, 3, 4, 6, 12], lambda every: 1 - 1 / every),
    ],
)  # fmt: skip
def test_a_schedule_reuses_as_computed_and_drifts_with_it(trained, knob, values, expected):
    plain = {"schedule": "constant", "warmup": 0.0, "share": 1.0}
    found = [run(trained, StaticReuse(**plain | {knob: value})) for value in values]
    shares, drifts = [one[0] for one in found], [one[1] for one in found]
    assert shares == pytest.approx([expected(value) for value in values])
    assert spearmanr(shares, drifts).statistic >= 0.9
    assert (shares[0], drifts[0]) == (0, 0)
