"""Each approximate method against its own formula, written a second time and slowly."""

from __future__ import annotations

import math
import sys
from types import ModuleType

import pytest
import torch

from ditbench.attention.base import METHODS, CoreLayer, Moment, Shape, Site, squarest
from ditbench.measure.cost import _count_core

B, H, N, D = 2, 2, 24, 8


def inputs(tokens=N, dtype=torch.float64, scale=1.0):
    generator = torch.Generator().manual_seed(1)
    return tuple(
        scale * torch.randn(B, H, tokens, D, generator=generator, dtype=dtype) for _ in range(3)
    )


def softmax(q, k, v, mask=None):
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(dim=-1) @ v


def close(one, other, tolerance=1e-10):
    return float((one - other).norm() / other.norm()) < tolerance


def method(name, **settings):
    return METHODS.get(name)(**settings)


def weighted(weights, v):
    return weights @ v / weights.sum(dim=-1, keepdim=True)


def test_linear_is_attention_with_the_kernel_written_out():
    q, k, v = inputs()
    phi = [1 + torch.nn.functional.elu(x * D**-0.25) for x in (q, k)]
    assert close(method("linear").attend(q, k, v), weighted(phi[0] @ phi[1].mT, v))


def test_cosformer_weighs_by_the_cosine_of_the_distance():
    q, k, v = inputs()
    place = torch.arange(N, dtype=torch.float64)
    near = (math.pi / (2 * N) * (place[:, None] - place)).cos()
    weights = (q * D**-0.25).relu() @ (k * D**-0.25).relu().mT * near
    assert close(
        method("cosformer").attend(q, k, v), weighted(weights, v), 1e-5
    )  # angles in float32


def test_cosformer_gives_zero_to_a_query_that_sees_nothing():
    q, k, v = inputs()
    assert torch.equal(method("cosformer").attend(-q.abs(), k, v), torch.zeros_like(v))


def test_relu_linear_is_attention_with_the_kernel_written_out():
    q, k, v = inputs()
    assert close(method("relu-linear").attend(q, k, v), weighted(q.relu() @ k.relu().mT, v))
    assert torch.equal(method("relu-linear").attend(-q.abs(), k, v), torch.zeros_like(v))


def test_efficient_attention_mixes_one_mean_a_channel():
    q, k, v = inputs()
    weights = q.softmax(dim=-1) @ k.softmax(dim=-2).mT
    assert close(weights.sum(dim=-1), torch.ones(B, H, N, dtype=torch.float64))
    assert close(method("efficient").attend(q, k, v), weights @ v)


@pytest.mark.parametrize("side", [1, 2, 4])
def test_agents_are_means_of_parts_of_the_picture(side):
    """On 4 x 6 tokens. Where the parts do not divide the side, they overlap, as torch's pooling does."""
    q, k, v = inputs()

    def parts(length):
        return [range(n * length // side, -(-(n + 1) * length // side)) for n in range(side)]

    cells = [
        [r * 6 + c for r in rows for c in columns] for rows in parts(4) for columns in parts(6)
    ]
    agents = torch.stack([q[..., cell, :].mean(dim=-2) for cell in cells], dim=-2)
    assert close(
        method("agent", side=side).attend(q, k, v), softmax(q, agents, softmax(agents, k, v))
    )


@pytest.mark.parametrize("orthogonal", [True, False])
def test_performer_comes_near_softmax_with_many_features(orthogonal):
    q, k, v = inputs(scale=0.5)
    true = softmax(q, k, v)

    def error(features):
        out = method("performer", features=features, orthogonal=orthogonal).attend(q, k, v)
        return float((out - true).norm() / true.norm())

    errors = [error(8), error(4096)]
    assert errors[1] < errors[0] / 4
    assert errors[1] < 0.1


def test_performers_stabiliser_cancels_and_saves_what_would_vanish():
    q, k, v = inputs(dtype=torch.float32)
    plain, stable = (method("performer", stabilised=one) for one in (False, True))
    assert close(plain.attend(q, k, v), stable.attend(q, k, v), 1e-4)
    huge = 30 * q
    assert not method("performer", stabilised=False).attend(huge, k, v).any()
    assert stable.attend(huge, k, v).any(dim=-1).all()


@pytest.mark.parametrize("name", ["performer", "linformer"])
class TestMistake25:
    """Random projections drawn anew at every call."""

    def layer(self, name, block=0, **settings):
        site = Site(block, 4, H, D, squarest(N), dtype="float64")
        return method(
            name, **({"features": 16} if name == "performer" else {"rank": 16}) | settings
        ).open(site)

    def out(self, layer):
        return layer(torch.zeros(B, N, H * D), lambda _: inputs(), lambda out: out, Moment())

    def test_mistake_25_a_layer_draws_once(self, name):
        layer = self.layer(name)
        assert torch.equal(self.out(layer), self.out(layer))

    def test_mistake_25_opened_anew_it_draws_the_same(self, name):
        one, other = self.layer(name), self.layer(name)
        assert one == other
        assert torch.equal(self.out(one), self.out(other))

    def test_mistake_25_each_block_and_each_seed_has_its_own(self, name):
        one = self.out(self.layer(name))
        assert not torch.allclose(one, self.out(self.layer(name, block=1)))
        assert not torch.allclose(one, self.out(self.layer(name, seed=1)))

    def test_mistake_25_the_state_of_torchs_generator_is_neither_used_nor_moved(self, name):
        torch.manual_seed(5)
        state = torch.get_rng_state()
        one = self.out(self.layer(name))
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(6)
        assert torch.equal(one, self.out(self.layer(name)))


def test_linformers_projection_is_the_identity_in_the_mean():
    from ditbench.attention.linformer import _projection

    squares = [p.T @ p for p in (_projection(16, N, (seed, 0)) for seed in range(400))]
    mean = torch.stack(squares).mean(dim=0)
    assert float((mean - torch.eye(N)).abs().max()) < 0.15


def test_gqa_with_all_heads_is_softmax():
    q, k, v = inputs()
    assert close(method("gqa", kv_heads=H).attend(q, k, v), softmax(q, k, v))


def test_gqa_with_one_head_shares_the_mean():
    q, k, v = inputs()
    pooled = [x.mean(dim=1, keepdim=True) for x in (k, v)]
    assert close(method("gqa", kv_heads=1).attend(q, k, v), softmax(q, *pooled))


def test_gqa_pools_neighbouring_heads():
    q, k, v = (torch.cat([x, 2 * x], dim=1) for x in inputs())  # four heads
    pooled = [x.unflatten(1, (2, 2)).mean(dim=2).repeat_interleave(2, dim=1) for x in (k, v)]
    assert close(method("gqa", kv_heads=2).attend(q, k, v), softmax(q, *pooled))


def in_sight(rows, columns, size):
    """Which tokens see which: the nearest size x size, moved inwards at the border; by plain loops."""
    seen = torch.zeros(rows * columns, rows * columns, dtype=torch.bool)
    for r in range(rows):
        for c in range(columns):
            top = min(max(r - size // 2, 0), rows - size)
            left = min(max(c - size // 2, 0), columns - size)
            for i in range(top, top + size):
                for j in range(left, left + size):
                    seen[r * columns + c, i * columns + j] = True
    return seen


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_window_is_softmax_over_what_is_in_sight(size):
    q, k, v = inputs()
    assert close(
        method("window", size=size).attend(q, k, v), softmax(q, k, v, in_sight(4, 6, size))
    )


def tiles_in_sight(rows, columns, tile, window):
    """Tokens that see each other: as above, of tiles."""
    tiles = in_sight(rows // tile, columns // tile, window)
    of = [
        (n // columns // tile) * (columns // tile) + n % columns // tile
        for n in range(rows * columns)
    ]
    return tiles[of][:, of]


@pytest.mark.parametrize(("tile", "window"), [(1, 3), (2, 1), (2, 2)])
def test_sliding_tiles_are_softmax_over_the_tiles_in_sight(tile, window):
    q, k, v = inputs()
    mask = tiles_in_sight(4, 6, tile, window)
    one = method("sliding-tile", tile=tile, window=window)
    assert close(one.attend(q, k, v), softmax(q, k, v, mask))
    assert one.macs(Shape(B, H, N, D)) == 2 * B * H * int(mask.sum()) * D


def test_an_opened_sliding_tile_and_agents_know_their_own_grid():
    q, k, v = inputs()
    site, x = Site(0, 1, H, D, (2, 12)), torch.zeros(B, N, H * D)
    out = method("sliding-tile", tile=2, window=1).open(site)(
        x, lambda _: (q, k, v), lambda out: out, Moment()
    )
    assert close(out, softmax(q, k, v, tiles_in_sight(2, 12, 2, 1)))
    parts = [[12 * r + 6 * c + n for n in range(6)] for r in range(2) for c in range(2)]
    agents = torch.stack([q[..., part, :].mean(dim=-2) for part in parts], dim=-2)
    out = method("agent", side=2).open(site)(x, lambda _: (q, k, v), lambda out: out, Moment())
    assert close(out, softmax(q, agents, softmax(agents, k, v)))
    shape = Shape(B, H, N, D, (2, 12))
    assert method("sliding-tile", tile=2, window=2).unsupported(shape, "float32", "cpu")
    assert method("agent", side=3).unsupported(shape, "float32", "cpu")


@pytest.mark.parametrize("window", [1, 2, 3, 4])
def test_flex_with_a_window_is_softmax_over_what_is_in_sight(window):
    q, k, v = inputs()
    assert close(
        method("flex", window=window).attend(q, k, v), softmax(q, k, v, in_sight(4, 6, window))
    )


@pytest.mark.parametrize(
    ("grid", "window"), [((4, 6), 3), ((16, 16), 5), ((32, 32), 3), ((6, 250), 2)]
)
def test_mistake_09_flex_costs_the_blocks_that_hold_a_pair_in_sight(grid, window):
    """By brute force over all pairs; with few rows every block holds one, and nothing is saved."""
    tokens = grid[0] * grid[1]
    seen = in_sight(*grid, window)
    pairs = sum(
        mine.numel() for rows in seen.split(128) for mine in rows.split(128, dim=1) if mine.any()
    )
    assert method("flex", window=window).macs(Shape(1, 1, tokens, D, grid)) == 2 * pairs * D
    assert (pairs < tokens**2) == (tokens > 256)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_mistake_09_a_windows_cost_is_that_of_the_pairs_in_sight(size):
    pairs = int(in_sight(4, 6, size).sum())
    assert method("window", size=size).macs(Shape(B, H, N, D)) == 2 * B * H * pairs * D


def test_a_window_as_large_as_the_grid_is_softmax():
    q, k, v = inputs(tokens=25)
    assert close(method("window", size=5).attend(q, k, v), softmax(q, k, v))


def test_an_opened_window_knows_its_own_grid():
    q, k, v = inputs()
    layer = method("window", size=2).open(Site(0, 1, H, D, (2, 12)))
    out = layer(torch.zeros(B, N, H * D), lambda _: (q, k, v), lambda out: out, Moment())
    assert close(out, softmax(q, k, v, in_sight(2, 12, 2)))
    assert method("window", size=3).unsupported(Shape(B, H, N, D, (2, 12)), "float32", "cpu")


def test_top_k_that_keeps_all_is_softmax():
    q, k, v = inputs()
    assert close(method("top-k", keep=1.0).attend(q, k, v), softmax(q, k, v))


def test_top_k_forgets_all_but_the_largest():
    q, k, v = inputs()
    scores = q @ k.mT
    mask = scores >= scores.sort(dim=-1).values[..., -6, None]
    assert close(method("top-k", keep=0.25).attend(q, k, v), softmax(q, k, v, mask))


def test_merging_equal_keys_with_equal_values_changes_nothing():
    q, k, v = inputs()
    k, v = (x[..., ::2, :].repeat_interleave(2, dim=-2) for x in (k, v))
    assert close(method("token-merge", ratio=0.5).attend(q, k, v), softmax(q, k, v))


def test_token_merge_is_attention_over_the_groups_it_makes():
    q, k, v = inputs()
    merged = round(0.25 * N)
    for b in range(B):
        for h in range(H):
            unit = k[b, h] / k[b, h].norm(dim=-1, keepdim=True)
            likeness = unit[::2] @ unit[1::2].T
            best = sorted(range(N // 2), key=lambda a: -float(likeness[a].max()))
            groups = {2 * j + 1: [2 * j + 1] for j in range(N // 2)}
            for a in best[:merged]:
                groups[2 * int(likeness[a].argmax()) + 1].append(2 * a)
            groups |= {2 * a: [2 * a] for a in best[merged:]}
            keys = torch.stack([k[b, h, members].mean(dim=0) for members in groups.values()])
            values = torch.stack([v[b, h, members].mean(dim=0) for members in groups.values()])
            size = torch.tensor([len(members) for members in groups.values()], dtype=torch.float64)
            scores = q[b, h] @ keys.T / math.sqrt(D) + size.log()
            out = method("token-merge", ratio=0.25).attend(q, k, v)[b, h]
            assert close(out, scores.softmax(dim=-1) @ values)


@pytest.mark.parametrize("per", ["token", "head"])
def test_int8_scores_are_those_of_integers(per):
    q, k, v = inputs(dtype=torch.float32)
    over = (-1,) if per == "token" else (-2, -1)

    def quantised(x):
        scale = x.abs().amax(dim=over, keepdim=True) / 127
        return (x / scale).round().to(torch.int64), scale.double()

    (q8, sq), (k8, sk) = quantised(q), quantised(k - k.mean(dim=-2, keepdim=True))
    assert int(q8.abs().max()) == int(k8.abs().max()) == 127
    scores = (q8 @ k8.mT).double() * sq * sk.mT / math.sqrt(D)
    out = method("int8-qk", scale_per=per).attend(q, k, v)
    assert close(out.double(), scores.softmax(dim=-1) @ v.double(), 1e-5)


def test_smoothing_saves_keys_with_a_common_offset():
    q, k, v = inputs(dtype=torch.float32)
    k = k + 50 * torch.ones(D)
    true = softmax(*(x.double() for x in (q, k, v)))
    errors = [
        float((method("int8-qk", smooth=one).attend(q, k, v).double() - true).norm() / true.norm())
        for one in (True, False)
    ]
    assert errors[0] < 0.02
    assert errors[1] > 5 * errors[0]


def package(monkeypatch, name, **contents):
    module = ModuleType(name)
    for key, value in contents.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)


def test_flash_takes_the_newest_release_there_is_and_its_layout(monkeypatch):
    def attention(q, k, v):
        assert q.shape == (B, N, H, D)
        return softmax(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2), None

    package(monkeypatch, "flash_attn", flash_attn_func=None)
    package(monkeypatch, "flash_attn_interface", flash_attn_func=attention)
    q, k, v = inputs()
    assert close(method("flash").attend(q, k, v), softmax(q, k, v))
    assert not METHODS.get("flash").unavailable()
    assert method("flash", release="4").unsupported(Shape(B, H, N, D), "bfloat16", "cuda") == [
        "no flash-attn release 4 (pip install flash-attn-4)"
    ]


def test_flash_says_what_is_wrong_with_a_package_that_is_there_and_cannot_be_used(monkeypatch):
    package(monkeypatch, "flash_attn_interface")  # a release without the function
    (reason,) = method("flash", release="3").unsupported(Shape(B, H, N, D), "bfloat16", "cuda")
    assert reason.startswith("no flash-attn release 3, module 'flash_attn_interface' has no attr")
    assert reason.endswith('git+https://github.com/Dao-AILab/flash-attention#subdirectory=hopper")')


@pytest.mark.parametrize(
    ("release", "module", "operator"),
    [("2", "flash_attn", "flash_attn"), ("3", "flash_attn_interface", "flash_attn_3")],
)
def test_mistake_05_flashs_operator_is_counted_by_the_methods_formula(
    monkeypatch, release, module, operator
):
    """With an operator of the name, arguments and `meta` version that the package registers."""
    shape = Shape(2, 4, 16, 8)
    with torch.library._scoped_library(operator, "FRAGMENT") as library:
        library.define("_flash_attn_forward(Tensor q, Tensor k, Tensor v, float scale) -> Tensor")
        library.impl("_flash_attn_forward", lambda q, *_: torch.empty_like(q), "Meta")

        def flash_attn_func(q, k, v):
            forward = getattr(torch.ops, operator)._flash_attn_forward
            return forward(q, k, v, q.shape[-1] ** -0.5)

        package(monkeypatch, module, flash_attn_func=flash_attn_func)
        flash = method("flash", release=release)
        counted = _count_core(flash, shape)
    assert counted == (flash.macs(shape), (), (f"{operator}._flash_attn_forward",))


def test_kernels_that_meta_does_not_have_are_told_as_uncounted_and_fail_nothing(monkeypatch):
    def on_a_gpu_only(*_qkv, **_how):
        raise AssertionError("must be on CUDA")

    on_a_gpu_only.__module__ = "flash_attn.cute.interface"
    package(monkeypatch, "flash_attn.cute", flash_attn_func=on_a_gpu_only)
    package(monkeypatch, "sageattention", sageattn=on_a_gpu_only)
    for one in (method("flash", release="4"), method("sage")):
        assert _count_core(one, Shape(B, H, N, D)) == (None, ("core not countable on meta",), ())


def test_sage_is_told_our_layout(monkeypatch):
    def sageattn(q, k, v, tensor_layout):
        assert (q.shape, tensor_layout) == ((B, H, N, D), "HND")
        return softmax(q, k, v)

    package(monkeypatch, "sageattention", sageattn=sageattn)
    q, k, v = inputs()
    assert close(method("sage").attend(q, k, v), softmax(q, k, v))
    assert not method("sage").unsupported(Shape(B, H, N, D), "bfloat16", "cuda")


@pytest.mark.parametrize("name", ["performer", "linformer", "window"])
def test_a_core_made_ready_for_its_site_is_still_a_core(name):
    """So its multiply-adds are the declared ones, once, and the rest of the model is counted around it."""
    layer = method(name).open(Site(0, 1, H, D, (40, 40)))
    assert isinstance(layer, CoreLayer)
    assert layer.stateless
