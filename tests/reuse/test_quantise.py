"""Integers in the place of keys and values: the formula's own numbers, and every way they could go wrong."""

from __future__ import annotations

import gc
import math
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ditbench.errors import UsageError
from ditbench.reuse.keeping import keep
from ditbench.reuse.quantise import (
    GRANULARITIES,
    PRECISIONS,
    Plain,
    Quantiser,
    decibels,
    sqnr,
    storages,
)

MIB = 2**20
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def row(*numbers, dtype=torch.float32):
    """One row, one head, one token."""
    return torch.tensor(numbers, dtype=dtype).reshape(1, 1, 1, -1)


def normal(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def weighed(held):
    """Bytes of codes, and of scales."""
    return tuple(
        sum(one.nbytes for one in tensors if one is not None)
        for tensors in zip(*((one.codes, one.scales) for one in held), strict=True)
    )


def test_the_formula_by_hand_and_a_tie_goes_to_the_even_code():
    stored = Quantiser().store(row(127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -126.5, 0.0))
    assert stored.scales.item() == 1.0
    assert stored.codes.flatten().tolist() == [127, 0, 2, 2, 0, -2, -126, 0]
    assert stored.restored().flatten().tolist() == [127, 0, 2, 2, 0, -2, -126, 0]


@pytest.mark.parametrize(
    ("bits", "codes"),
    [(2, [1, 1, -1]), (3, [3, 2, -2]), (4, [7, 4, -5]), (8, [127, 76, -89])],
)
def test_fewer_bits_are_fewer_codes(bits, codes):
    """1, 0.6 and -0.7 times 2^(bits - 1) - 1, rounded."""
    assert Quantiser(bits=bits).store(row(1.0, 0.6, -0.7)).codes.flatten().tolist() == codes


@pytest.mark.parametrize("bits", [-1, 0, 1, 9, 16])
def test_bits_that_no_int8_holds_are_refused(bits):
    """In the seed more than eight were cast to int8 and overflowed."""
    words = f"bits {bits}: codes are kept in int8, write 2 to 8"
    with pytest.raises(UsageError, match=re.escape(words)):
        Quantiser(bits=bits)


def test_what_is_no_granularity_and_what_is_no_precision_are_refused():
    with pytest.raises(UsageError, match="'row': write one of tensor, head, channel, token"):
        Quantiser("row")
    with pytest.raises(UsageError, match="'fp8': write one of own, half, int8, mixed"):
        storages("fp8", Quantiser())


@pytest.mark.parametrize(
    ("granularity", "scales"),
    [
        ("tensor", (3, 1, 1, 1)),
        ("head", (3, 2, 1, 1)),
        ("channel", (3, 2, 1, 8)),
        ("token", (3, 2, 5, 1)),
    ],
)
def test_every_granularity_has_its_scales_and_bytes_and_is_another_one(granularity, scales):
    x = normal(3, 2, 5, 8)
    stored = Quantiser(granularity).store(x)
    assert stored.scales.shape == scales
    assert weighed([stored]) == (3 * 2 * 5 * 8, 4 * math.prod(scales))
    others = {name: Quantiser(name).store(x).restored() for name in GRANULARITIES}
    assert sum(torch.equal(stored.restored(), other) for other in others.values()) == 1


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_mistake_26_no_row_is_rounded_by_what_else_is_in_the_batch(granularity):
    x = normal(4, 2, 5, 8)
    together = Quantiser(granularity).store(x).restored()
    alone = [Quantiser(granularity).store(one[None]).restored() for one in x]
    assert torch.equal(together, torch.cat(alone))
    x[0] *= 1000  # and not by a neighbour with outliers
    assert torch.equal(Quantiser(granularity).store(x).restored()[1:], together[1:])


@given(
    numbers=st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=6, max_size=6),
    granularity=st.sampled_from(sorted(GRANULARITIES)),
    bits=st.integers(2, 8),
)
@settings(deadline=None)
def test_no_error_is_above_half_a_scale_and_no_code_beyond_the_largest(numbers, granularity, bits):
    x = torch.tensor(numbers, dtype=torch.float32).reshape(1, 1, 2, 3)
    quantiser = Quantiser(granularity, bits)
    stored = quantiser.store(x)
    assert int(stored.codes.abs().max()) <= quantiser.most  # abs(-128) is -128 in int8
    assert int(stored.codes.min()) >= -quantiser.most
    scales = stored.scales.double()
    error = (stored.restored().double() - x.double()).abs()
    # Half a scale, and what float32 adds in dividing and multiplying numbers up to 127 scales.
    assert bool((error <= scales * (0.5 + 3 * quantiser.most * 2**-24)).all())
    again = quantiser.store(stored.restored())
    assert torch.equal(again.codes, stored.codes)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bits", range(2, 9))
def test_the_largest_and_the_smallest_numbers_of_a_dtype_neither_overflow_nor_vanish(dtype, bits):
    """Tiny over 127 is lost in a float16 scale; 127 float32 scales can round to infinity."""
    of = torch.finfo(dtype)
    for value in (of.max, -of.max, of.tiny * 127):
        restored = Quantiser(bits=bits).store(row(value, 0.0, dtype=dtype)).restored()
        assert restored.dtype == dtype
        assert restored.flatten().tolist() == pytest.approx([value, 0.0], rel=of.eps)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_channels_of_zeros_are_restored_as_zeros(granularity, dtype):
    x = normal(2, 2, 4, 3, dtype=dtype)
    x[..., 1] = 0
    stored = Quantiser(granularity).store(x)
    assert bool(torch.isfinite(stored.scales).all())
    assert bool((stored.scales > 0).all())
    assert not stored.restored()[..., 1].any()
    assert not Quantiser(granularity).store(torch.zeros_like(x)).restored().any()


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_what_is_not_finite_is_never_silent(granularity, bad):
    """The whole group is restored as NaN, which the finite gate sees, and the other groups as they were."""
    x = normal(2, 2, 4, 3)
    whole = Quantiser(granularity).store(x).restored()
    x[1, 1, 2, 0] = bad
    restored = Quantiser(granularity).store(x).restored()
    lost = torch.isnan(restored)
    assert bool(lost[1, 1, 2, 0])
    group = [x.shape[dim] for dim in GRANULARITIES[granularity]]
    assert int(lost.sum()) == math.prod(group)
    assert torch.equal(restored[~lost], whole[~lost])


def test_numbers_that_two_bytes_cannot_hold_are_told_as_infinite():
    stored = Plain(half=True).store(row(1e6, 1.0))
    assert (stored.codes.dtype, stored.restored().dtype) == (torch.float16, torch.float32)
    assert stored.restored().flatten().tolist() == [math.inf, 1.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_what_has_two_bytes_already_is_kept_to_the_bit(dtype):
    k, v = normal(2, 2, 2, 4, 3, dtype=dtype)
    for precision in ("own", "half"):
        held = keep(storages(precision, Quantiser()), (k, v))
        assert all(map(torch.equal, [one.restored() for one in held], (k, v)))
        assert weighed(held) == (2 * 2 * k.numel(), 0)


def test_mixed_keeps_keys_and_quantises_values():
    k, v = normal(2, 2, 2, 4, 3, dtype=torch.bfloat16)
    keys, values = (one.restored() for one in keep(storages("mixed", Quantiser()), (k, v)))
    assert torch.equal(keys, k)
    assert torch.equal(values, Quantiser().store(v).restored())
    assert not torch.equal(values, v)


@pytest.mark.parametrize(
    ("precision", "mib"), [("half", 63.0), ("int8", 31.5), ("mixed", 47.25), ("own", 63.0)]
)
def test_the_published_cache_of_dit_xl_2_256_for_two_rows(precision, mib):
    """28 blocks of 16 heads of 72, 256 tokens; scales counted apart: one a head and row, of four bytes."""
    k, v = torch.empty(2, 2, 16, 256, 72, dtype=torch.float16, device="meta")
    codes, scales = weighed(keep(storages(precision, Quantiser("head")), (k, v)))
    assert 28 * codes / MIB == mib
    quantised = sum(kept == "int8" for kept in PRECISIONS[precision])
    assert scales == quantised * 2 * 16 * 4


@pytest.mark.parametrize(
    ("granularity", "scales"),
    [("tensor", 2), ("head", 2 * 16), ("channel", 2 * 16 * 72), ("token", 2 * 16 * 256)],
)
def test_the_scales_of_that_cache_by_granularity(granularity, scales):
    k, v = torch.empty(2, 2, 16, 256, 72, dtype=torch.float16, device="meta")
    codes, of_scales = weighed(keep(storages("int8", Quantiser(granularity)), (k, v)))
    assert 28 * codes / MIB == 31.5
    assert of_scales == 2 * scales * 4


def test_the_sqnr_by_hand():
    found = sqnr(row(3.0, -4.0, 0.0, 0.0), row(3.0, -4.5, 0.5, 0.0))
    assert found == pytest.approx(10 * math.log10(50), abs=1e-12)  # 25 over 0.5


def test_the_sqnr_at_its_ends():
    zeros, one = row(0.0, 0.0), row(0.0, 1.0)
    assert sqnr(one, one) == sqnr(zeros, zeros) == math.inf
    assert sqnr(zeros, one) == decibels(0.0, 1.0) == -math.inf
    assert math.isnan(sqnr(one, row(0.0, math.nan)))


def test_a_bit_more_is_six_decibels_more():
    """Of uniform numbers: noise of scale^2 / 12, so 20 log10 of the largest code."""
    x = torch.rand(1, 1, 512, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for bits in range(3, 9):
        quantiser = Quantiser(bits=bits)
        found = sqnr(x, quantiser.store(x).restored())
        assert found == pytest.approx(20 * math.log10(2 * quantiser.most), abs=0.2)


def test_finer_groups_lose_less_where_one_channel_is_large():
    x = normal(2, 4, 64, 16)
    x[..., 3] *= 100
    told = {
        name: sqnr(x[..., :3], Quantiser(name).store(x).restored()[..., :3])
        for name in GRANULARITIES
    }
    assert told["tensor"] <= told["head"] < told["token"] < told["channel"]


def test_two_hundred_stores_hold_no_more_memory_than_one():
    ways, k = storages("int8", Quantiser("token")), normal(1, 16, 256, 32)

    def held(times):
        """Tensors alive, and bytes of this process, after so many more."""
        for _ in range(times):
            kept = keep(ways, (k, k))
            for one in kept:
                one.restored()
        del kept, one
        gc.collect()
        alive = sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())
        return alive, int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    (first, _), (tensors, early), (later, late) = held(1), held(20), held(180)
    assert first == tensors == later
    # Had each store kept its 0.25 MiB of codes, 180 of them would hold 45 MiB more.
    assert late - early < 20 * MIB
