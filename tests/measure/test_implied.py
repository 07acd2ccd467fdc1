"""The matrix that a method implies is what it multiplies values with; where there is none, it is told."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from cells import TINY, cell

from ditbench.errors import UsageError
from ditbench.jobs import Asked
from ditbench.measure import implied
from ditbench.measure.bench import set_up
from ditbench.models.dit import DiT
from ditbench.records import Choice, Sampling

# Sixteen tokens in columns of six: the last part is narrower.
SPEC = replace(TINY, hidden=24, heads=4)
CELL = cell(spec=SPEC, batch_size=1)


def asked(*methods, of=CELL, block=1, head=2, step=2):
    choices = tuple(Choice(*one) if isinstance(one, tuple) else Choice(one) for one in methods)
    return Asked(of, choices, block, head, step)


def drawn(*methods, **place):
    return implied.matrices(asked(*methods, **place), "cpu").matrices


def taken(of=CELL, block=1, step=2):
    bench = set_up(of, "cpu")
    with torch.inference_mode():
        return implied.take(bench, implied.site_of(bench, block), step)


def test_softmaxs_own_matrix_is_that_of_the_formula_up_to_rounding():
    given = taken()
    exact = implied.softmax(given, 2)
    torch.testing.assert_close(exact.sum(dim=1), torch.ones(16, dtype=torch.float64))
    (one,) = drawn("softmax")
    torch.testing.assert_close(torch.from_numpy(one.values).double(), exact, atol=1e-6, rtol=1e-5)
    assert one.error < 1e-5
    assert one.row_sums == pytest.approx((1, 1), abs=1e-5)
    assert (one.negative, one.zeros, one.linear) == (0, 0, True)


def test_identity_gives_the_unit_matrix_and_zero_none():
    identity, zero = drawn("identity", "zero")
    assert torch.equal(torch.from_numpy(identity.values), torch.eye(16))
    assert not zero.values.any()
    assert (identity.zeros, zero.zeros) == (16 * 15, 16 * 16)
    assert zero.linear
    assert zero.error == 1.0


def test_a_window_has_zeros_outside_its_neighbourhood_and_nowhere_else():
    (one,) = drawn(("window", (("size", 3),)))
    first = [min(max(at - 1, 0), 1) for at in range(4)]  # of three in a row of four
    seen = torch.tensor([[first[i] <= j < first[i] + 3 for j in range(4)] for i in range(4)])
    near = seen[:, None, :, None] & seen[None, :, None, :]  # row by row, column by column
    assert torch.equal(torch.from_numpy(one.values) > 0, near.reshape(16, 16))


def test_pooled_heads_still_give_rows_that_sum_to_one():
    (one,) = drawn(("gqa", (("kv_heads", 2),)))
    assert one.row_sums == pytest.approx((1, 1), abs=1e-5)
    assert one.linear
    assert one.error > 1e-2


def test_mistake_01_attention_over_heads_mixes_no_tokens_and_looks_like_it():
    (one,) = drawn("faulty:OverHeads")
    torch.testing.assert_close(torch.from_numpy(one.values), torch.eye(16))


def test_negative_entries_are_counted():
    (one,) = drawn(("linformer", (("rank", 4),)))
    assert one.negative == int((one.values < 0).sum()) > 0


@pytest.mark.parametrize("method", ["faulty:ByItsValues", "faulty:WithABias"])
def test_a_method_that_is_not_linear_in_its_values_has_no_matrix_and_is_told(method):
    (one,) = drawn(method)
    assert not one.linear
    assert one.apart > 0.1


def test_a_method_may_use_up_what_it_is_given():
    one, softmax = drawn("faulty:ScalesTheQueryInPlace", "softmax")
    assert one.error == pytest.approx(softmax.error, abs=1e-6)


def test_a_method_that_fails_is_told_and_the_others_are_drawn():
    failed, endless, good = drawn(("top-k", (("keep", 99),)), "faulty:NotANumber", "sdpa")
    assert failed.failure.startswith("RuntimeError: ")
    assert endless.failure == "its output for V = I is not finite"
    assert good.error < 1e-5


def test_what_is_taken_is_the_row_with_a_class_at_that_block_and_step():
    guided, plain = (
        taken(replace(CELL, sampling=Sampling(guidance_scale=scale)), step=0)
        for scale in (2.0, 1.0)
    )
    torch.testing.assert_close(guided.q, plain.q)
    assert guided.q.shape == (1, 4, 16, 6)
    assert not torch.allclose(guided.q, taken(step=1).q)
    assert not torch.allclose(guided.q, taken(block=0, step=0).q)


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ({"block": 2}, "--block 2: the cell has 2 blocks, numbered from 0"),
        ({"block": -1}, "--block -1: the cell has 2 blocks, numbered from 0"),
        ({"head": 4}, "--head 4: the cell has 4 heads, numbered from 0"),
        ({"step": 4}, "--step 4: the cell has 4 steps, numbered from 0"),
    ],
)
def test_a_place_that_the_model_lacks_is_told(place, told):
    with pytest.raises(UsageError, match=f"^{told}$"):
        drawn("softmax", **place)


def test_a_matrix_that_is_too_large_is_refused_before_it_is_made():
    wide = DiT(hidden=16, depth=1, heads=1, patch=1, size=65, channels=1, out_channels=1, classes=2)
    with pytest.raises(
        UsageError, match=r"has 4225 tokens, and matrices of at most 4096 are drawn"
    ):
        drawn("softmax", of=cell(spec=wide), block=0, head=0)


def test_more_tokens_than_pixels_are_averaged(monkeypatch):
    (whole,) = drawn("softmax")
    monkeypatch.setattr(implied, "_PIXELS", 6)
    found = implied.matrices(asked("softmax"), "cpu")
    (small,) = found.matrices
    assert (found.pooled, small.values.shape) == (3, (6, 6))
    assert small.values[0, 0] == pytest.approx(whole.values[:3, :3].mean())
    assert small.values[5, 5] == pytest.approx(whole.values[15, 15])
    assert small.row_sums == whole.row_sums


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_on_a_gpu_the_matrix_of_half_precision_is_the_formulas_up_to_its_rounding():
    half = replace(CELL, sampling=replace(CELL.sampling, dtype="bfloat16"))
    for one in implied.matrices(asked("softmax", "sdpa", of=half), "cuda").matrices:
        assert one.error < 3e-2
        assert one.row_sums == pytest.approx((1, 1), abs=3e-2)
        assert one.linear
