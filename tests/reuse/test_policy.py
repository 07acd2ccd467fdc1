import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from safetensors.torch import save as save_torch

from ditbench.errors import UsageError
from ditbench.reuse.policy import INPUTS, LOG_SNR_BOUND, SHAPES, Policy, scaled

# Entropy, log SNR, log norm, share of the steps, words: along a run of 20 steps of a picture of 784 numbers.
RUN = [
    (3.9 - 0.05 * step, -4.6 + 0.48 * step, 3.3 + 0.02 * step, step / 19, 1.0) for step in range(20)
]


def by_hand(policy, seen):
    """In Python's own float64, a number at a time."""
    units = list(scaled(seen))
    for number, (weight, bias) in enumerate(policy.layers):
        sums = [
            math.fsum(float(w) * unit for w, unit in zip(row, units, strict=True)) + float(b)
            for row, b in zip(weight, bias, strict=True)
        ]
        units = sums if number == 2 else [math.tanh(one) for one in sums]
    return 1 / (1 + math.exp(-units[0]))


def drawn(seed):
    """A policy whose numbers are large enough to bend it, its biases too."""
    source = np.random.default_rng(seed)
    return Policy(
        tuple(
            (
                source.normal(0, 0.5, shape).astype(np.float32),
                source.normal(0, 0.5, shape[:1]).astype(np.float32),
            )
            for shape in SHAPES
        )
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_probability_is_the_formula_s(seed):
    policy = drawn(seed)
    for seen in RUN:
        assert policy.probability(*seen) == pytest.approx(by_hand(policy, seen), abs=1e-6)


def test_it_has_1281_numbers():
    assert sum(weight.size + bias.size for weight, bias in Policy.untrained().layers) == 1281


def test_many_rows_at_once_are_the_same_as_one_by_one():
    policy = drawn(0)
    rows = np.array([scaled(seen) for seen in RUN])
    one_by_one = [policy.probability(*seen) for seen in RUN]
    assert policy.probabilities(rows) == pytest.approx(one_by_one, abs=1e-6)


def test_untrained_it_is_a_coin_toss_at_a_half():
    found = [Policy.untrained().probability(*seen) for seen in RUN]
    assert all(0.49 < p < 0.51 for p in found)


def test_untrained_with_any_seed_it_is_within_a_twentieth_of_a_half_for_all_inputs():
    corners = [
        (entropy, snr, norm, share, words)
        for entropy in (0.0, 5.6)
        for snr in (-math.inf, math.inf)
        for norm in (2.0, 6.0)
        for share in (0.0, 1.0)
        for words in (1.0, 128.0)
    ]
    rows = np.array([scaled(corner) for corner in corners])
    for seed in range(50):
        assert abs(Policy.untrained(seed).probabilities(rows) - 0.5).max() < 0.05


def test_a_seed_draws_the_same_numbers_every_time_and_another_draws_others():
    assert Policy.untrained(3).write() == Policy.untrained(3).write()
    assert Policy.untrained(3).write() != Policy.untrained(4).write()
    assert Policy.untrained(3).about["seed"] == "3"


@pytest.mark.parametrize("end", [-math.inf, math.inf])
def test_an_infinite_snr_is_held_at_its_bound(end):
    policy = drawn(1)
    at_the_bound = policy.probability(3.0, math.copysign(LOG_SNR_BOUND, end), 4.0, 0.5, 1.0)
    assert policy.probability(3.0, end, 4.0, 0.5, 1.0) == at_the_bound
    assert math.isfinite(at_the_bound)


def test_a_prompt_of_more_than_128_words_is_as_long_as_one_of_128():
    assert scaled((0.0, 0.0, 0.0, 0.0, 500.0))[-1] == 1.0
    assert scaled((0.0, 0.0, 0.0, 0.0, 64.0))[-1] == 0.5


@pytest.mark.parametrize("at", range(len(INPUTS)))
def test_every_input_moves_it(at):
    seen = [3.0, 1.0, 4.0, 0.5, 40.0]
    moved = [value + (0.3 if place == at else 0) for place, value in enumerate(seen)]
    assert drawn(2).probability(*moved) != drawn(2).probability(*seen)


def test_what_is_written_is_read():
    policy = drawn(0)
    policy = Policy(policy.layers, {"trained": "yes", "loss": "0.31"})
    back = Policy.read(policy.write())
    assert back.about == policy.about
    assert back.probability(*RUN[3]) == policy.probability(*RUN[3])
    assert back.write() == policy.write()


TAUGHT = {
    "model": "small, weights x, y, ddim 20 steps, guidance 2, float32; "
    "dit[hidden=32,depth=2], weights random, seed 0, ddim 20 steps, guidance 2, float32",
    "method": "dqar[mode=output,limit=4]; dqar[limit=4,mode=output]; theirs[mode=kv]",
}


@pytest.mark.parametrize(
    ("about", "cell", "told"),
    [
        (TAUGHT, ("small", "output", 20), []),
        (TAUGHT, ("dit[hidden=32,depth=2]", "output", 20), []),
        (TAUGHT, ("large", "output", 20), ["model dit[hidden=32,depth=2] and small, not large"]),
        (TAUGHT, ("small", "kv", 12), ["mode output, not kv", "steps 20, not 12"]),
        ({"method": "dqar"}, ("small", "output", 20), ["mode kv, not output"]),
        ({"trained": "no"}, ("small", "output", 20), []),
        ({"model": "by hand", "method": "mine"}, ("small", "output", 20), []),
    ],
    ids=range(7),
)
def test_it_knows_what_it_was_trained_on(about, cell, told):
    assert Policy(Policy.untrained().layers, about).elsewhere(*cell) == told


def _without(name):
    tensors = load(Policy.untrained().write())
    del tensors[name]
    return save(tensors, _metadata())


def _with(value, dtype=np.float32):
    tensors = load(Policy.untrained().write())
    tensors["1.bias"] = np.full(32, value, dtype)
    return save(tensors, _metadata())


def _bfloat16():
    """Of which numpy has no type."""
    tensors = load(Policy.untrained().write())
    return save_torch({k: torch.tensor(v).bfloat16() for k, v in tensors.items()}, _metadata())


def _headed(head):
    """A file of a head and nothing else."""
    return len(head).to_bytes(8, "little") + head


def _metadata(**changed):
    told = {"format": "ditbench reuse policy 1", "inputs": ", ".join(INPUTS)}
    return {"policy": json.dumps(told | changed)}


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "no safetensors file"),
        (b"{}" * 40, "no safetensors file"),
        (_headed(b"[" * 100_000), "no safetensors file"),
        (_headed(b'{"__metadata__": {"policy": 5}}'), "no safetensors file"),
        (Policy.untrained().write()[:-1], "no safetensors file"),
        (save(load(Policy.untrained().write())), "its metadata does not say"),
        (save(load(Policy.untrained().write()), _metadata(inputs="entropy")), "its metadata"),
        (save(load(Policy.untrained().write()), {"policy": "[1]"}), "its metadata does not say"),
        (save(load(Policy.untrained().write()), {"policy": "{"}), "no safetensors file"),
        (_without("2.bias"), "its tensors are not 0.weight"),
        (_with(math.nan), "1.bias is not of finite float32 numbers"),
        (_with(0, np.float16), "1.bias is not of finite float32 numbers"),
        (_bfloat16(), "it has numbers of type 'BF16', not float32"),
        (save({}, None)[:8] + b"[1]", "no safetensors file"),
    ],
)
def test_a_file_that_is_no_policy_is_refused_in_one_line(data, cause):
    with pytest.raises(UsageError) as told:
        Policy.read(data, "x.safetensors")
    message = str(told.value)
    assert message.startswith(f"x.safetensors: no reuse policy: {cause}")
    assert message.endswith("make one with `ditbench train-policy`")
    assert "\n" not in message


SHIPPED = Path(__file__).parents[2] / "suites" / "policies"


def test_the_untrained_policy_that_suites_name_is_what_training_starts_from():
    assert (SHIPPED / "untrained.safetensors").read_bytes() == Policy.untrained().write()


def test_the_trained_policy_that_suites_name_has_seen_no_noise_of_theirs():
    about = Policy.read((SHIPPED / "fashion-dit.safetensors").read_bytes()).about
    assert {seed for seed, _ in json.loads(about["samples"])} == {1000}
    suite = (SHIPPED.parent / "seeds" / "dqar-policy.yaml").read_text()
    assert "seed: 0}" in suite
