"""A band is softmax under the mask of its pairs, for the price of these pairs and of no others."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from ditbench.attention.band import Band
from ditbench.attention.base import Shape

SHAPE = Shape(batch=2, heads=3, tokens=40, head_dim=8)


@pytest.mark.parametrize("reach", [0, 1, 3, 19, 20, 39, 64])
def test_a_band_is_softmax_over_the_pairs_in_sight_and_pays_for_these(reach):
    generator = torch.Generator().manual_seed(0)
    sizes = (SHAPE.batch, SHAPE.heads, SHAPE.tokens, SHAPE.head_dim)
    q, k, v = (torch.randn(sizes, generator=generator, dtype=torch.float64) for _ in range(3))
    places = torch.arange(SHAPE.tokens)
    seen = (places[:, None] - places).abs() <= reach
    with FlopCounterMode(display=False) as counter:
        out = Band(reach).attend(q, k, v)
    assert torch.allclose(out, scaled_dot_product_attention(q, k, v, attn_mask=seen), atol=1e-12)
    assert counter.get_total_flops() == 2 * Band(reach).macs(SHAPE)
    assert (
        Band(reach).macs(SHAPE) == 2 * SHAPE.batch * SHAPE.heads * int(seen.sum()) * SHAPE.head_dim
    )


@pytest.mark.parametrize(("tokens", "share"), [(1024, 0.765), (4096, 0.510), (16384, 0.329)])
def test_an_eighth_of_the_tokens_leaves_the_published_share_of_the_module(tokens, share):
    width, heads = 1152, 16
    shape = Shape(batch=1, heads=heads, tokens=tokens, head_dim=width // heads)
    projections = 4 * tokens * width**2
    full = projections + 2 * tokens**2 * width
    assert (projections + Band(tokens // 8).macs(shape)) / full == pytest.approx(share, abs=5e-4)
