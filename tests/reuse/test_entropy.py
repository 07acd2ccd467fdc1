"""Entropy in blocks of queries: what the whole map would give, and never the map."""

from __future__ import annotations

import math

import pytest
import torch
from torch.overrides import TorchFunctionMode

from ditbench.reuse.entropy import LEAST, entropy, greatest, macs

ROWS, HEADS, TOKENS, WIDTH = 3, 2, 21, 8


def inputs(dtype=torch.float64, spread=2.0):
    generator = torch.Generator().manual_seed(0)
    sizes = (ROWS, HEADS, TOKENS, WIDTH)
    q, k = (torch.randn(sizes, generator=generator, dtype=torch.float64) for _ in range(2))
    return (spread * q).to(dtype), k.to(dtype)


def by_hand(q, k):
    """One number after the other, as the formula is written."""
    found = torch.zeros(len(q), dtype=torch.float64)
    for row in range(len(q)):
        for head in range(q.shape[1]):
            for query in q[row, head]:
                scores = [float(query @ key) / math.sqrt(q.shape[-1]) for key in k[row, head]]
                total = sum(map(math.exp, scores))
                p = [max(math.exp(score) / total, 1e-6) for score in scores]
                found[row] -= sum(one * math.log(one) for one in p)
    return found / (q.shape[1] * q.shape[2])


@pytest.mark.parametrize("block", [1, ROWS * HEADS * TOKENS * 5, 2**22])
@pytest.mark.parametrize("spread", [0.1, 2.0, 30.0])
def test_it_is_the_formula_whatever_the_blocks(block, spread):
    q, k = inputs(spread=spread)
    torch.testing.assert_close(entropy(q, k, block), by_hand(q, k), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tokens", [8, 256])
def test_uniform_rows_give_the_logarithm_of_their_number(tokens):
    """2.079 of 8 and 5.545 of 256, as in the seed."""
    q, k = torch.zeros(1, 2, tokens, 4), torch.randn(1, 2, tokens, 4)
    told = {8: 2.079, 256: 5.545}[tokens]
    assert float(entropy(q, k)) == pytest.approx(math.log(tokens), rel=1e-6)
    assert float(entropy(q, k)) == pytest.approx(told, abs=5e-4)


def test_one_key_in_full_gives_nearly_none():
    k = 1000 * torch.eye(8)[None, None]
    assert float(entropy(k, k)) == pytest.approx(-7 * LEAST * math.log(LEAST), rel=1e-3)


def test_half_precision_is_widened_before_the_map_is_made():
    q, k = inputs(torch.bfloat16)
    found = entropy(q, k)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), by_hand(q.double(), k.double()), rtol=1e-5, atol=0)


class Largest(TorchFunctionMode):
    """The most numbers that a tensor held, of all that were made."""

    numbers = 0

    def __torch_function__(self, func, _types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.numbers = max(self.numbers, made.numel())
            assert made.device.type == "meta", "left the device"
        return made


def test_never_a_map_larger_than_a_block_and_nothing_leaves_the_device():
    q = torch.empty(2, 4, 256, 8, device="meta")
    block = 2 * 4 * 256 * 16  # sixteen queries of 256
    with Largest() as largest:
        found = entropy(q, q, block)
    assert found.shape == (2,)
    assert largest.numbers == block < 2 * 4 * 256 * 256


def test_rows_do_not_mix():
    q, k = inputs()
    alone = torch.cat([entropy(q[row : row + 1], k[row : row + 1]) for row in range(ROWS)])
    torch.testing.assert_close(entropy(q, k), alone)


def test_what_is_not_a_number_is_no_entropy():
    q, k = inputs()
    q[1, 0, 0, 0] = math.nan
    assert entropy(q, k).isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("keys", [1, 8, 256, 4096])
def test_no_map_has_more_than_the_greatest(keys):
    """Not even one whose probabilities below the least were all raised to it."""
    even = torch.zeros(1, 1, 1, 4), torch.randn(1, 1, keys, 4)
    generator = torch.Generator().manual_seed(0)
    uneven = (
        torch.randn(1, 1, 64, 4, generator=generator) * 8,
        torch.randn(1, 1, keys, 4, generator=generator),
    )
    for q, k in (even, uneven):
        assert float(entropy(q.double(), k.double())) <= greatest(keys)


def test_its_multiply_adds_are_those_of_one_product():
    from torch.utils.flop_counter import FlopCounterMode

    q = torch.empty(ROWS, HEADS, TOKENS, WIDTH, device="meta")
    with FlopCounterMode(display=False) as counter:
        entropy(q, q, block=1)
    assert counter.get_total_flops() == 2 * macs(ROWS, HEADS, TOKENS, TOKENS, WIDTH)
