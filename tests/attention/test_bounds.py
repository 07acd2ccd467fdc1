"""`identity` and `zero`, the yardsticks: what they do not do is the point."""

from __future__ import annotations

import pytest
import torch

from ditbench.attention.base import METHODS, Moment, Shape, Site

SITE = Site(block=0, depth=1, heads=3, head_dim=4, grid=(2, 5))


def never(x):
    pytest.fail(f"projected {tuple(x.shape)}")


def test_zero_never_projects_and_still_has_the_right_shape():
    x = torch.ones(2, 10, 12, dtype=torch.bfloat16)
    out = METHODS.get("zero")().open(SITE)(x, never, lambda out: out, Moment())
    assert (out.shape, out.dtype) == ((2, 3, 10, 4), torch.bfloat16)
    assert not out.any()


def test_identity_projects_and_hands_v_on_without_a_copy():
    q, k, v = torch.randn(3, 2, 3, 10, 4)
    out = METHODS.get("identity")().open(SITE)(
        torch.ones(2, 10, 12), lambda _: (q, k, v), lambda out: out, Moment()
    )
    assert out is v


@pytest.mark.parametrize("name", ["identity", "zero"])
def test_a_yardstick_costs_nothing_and_claims_nothing(name):
    method = METHODS.get(name)()
    assert method.macs(Shape(2, 16, 256, 72)) == 0
    assert not method.is_exact
