"""What the paper's mathematics says of MonarchAttention, in float64."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from ditbench.attention.monarch import Monarch
from ditbench.attention.softmax import Softmax

STEPS = pytest.mark.parametrize("num_steps", [1, 2, 3])
PAD = pytest.mark.parametrize("pad", ["pre", "post"])


def normal(tokens, head_dim=16, dtype=torch.float64):
    generator = torch.Generator().manual_seed(tokens)
    sizes = (3, 1, 2, tokens, head_dim)
    return tuple(torch.randn(sizes, generator=generator, dtype=torch.float64).to(dtype))


def smooth(rows=16, head_dim=72):
    """q, k, v that change slowly over a square grid, as those of pictures do: low waves are strong."""
    generator = torch.Generator().manual_seed(0)
    line, order = torch.arange(rows, dtype=torch.float64) / rows, torch.arange(4)
    waves = torch.cos(torch.pi * order[:, None] * line)
    strength = 1 / (1 + order[:, None] + order)
    planes = torch.einsum("ab,ar,bc->abrc", strength, waves, waves).reshape(16, rows * rows)
    planes = planes / planes.square().sum(dim=0).mean().sqrt()
    weights = torch.randn(3, 1, 2, head_dim, 16, generator=generator, dtype=torch.float64)
    return tuple((weights @ planes).transpose(-2, -1))


def matrix(method, q, k):
    """The (tokens, tokens) matrix that the method stands for: what it does to the identity."""
    tokens = q.shape[-2]
    return method.attend(q, k, torch.eye(tokens, dtype=q.dtype).expand(*q.shape[:-2], -1, -1))


def objective(A, q, k):
    """<A, S> + H(A), which softmax maximises."""
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    return (A * scores).sum(dim=(-2, -1)) - torch.xlogy(A, A).sum(dim=(-2, -1))


def oracle(q, k, method):
    """The same turns with S, L and R written out, for one matrix of q, k (tokens, head_dim)."""
    tokens, b = len(q), method.block_size
    M = -(-tokens // b)
    at = torch.arange(tokens) + (M * b - tokens if method.pad == "pre" else 0)
    S = torch.zeros(M * b, M * b, dtype=q.dtype)
    S[at[:, None], at] = q @ k.T / q.shape[-1] ** 0.5
    real = torch.zeros(M * b, dtype=q.dtype).index_fill(0, at, 1).view(M, b)
    S = S.view(M, b, M, b)  # l, j, k, i
    forbidden = torch.where(real > 0, 0, -torch.inf)  # k, i
    L = torch.eye(M, dtype=q.dtype).expand(b, M, M)  # j, k, l
    for _ in range(method.num_steps):
        mean = torch.einsum("jkl,ljki->kji", L, S) / L.sum(dim=-1).T[..., None]
        R = (mean + forbidden[:, None]).softmax(dim=-1)  # k, j, i
        entropy = torch.special.entr(R).sum(dim=-1).T  # j, k
        full = (torch.einsum("kji,ljki->jkl", R, S) + entropy[..., None]).softmax(dim=1)
        L = full * real.T[:, None]
    A = torch.einsum("jkl,kji->ljki", full, R).reshape(M * b, M * b)
    return A[at[:, None], at]


@STEPS
@pytest.mark.parametrize("tokens", [36, 37])
@pytest.mark.parametrize("block_size", [1, "all"])
def test_one_block_or_blocks_of_one_token_are_softmax(tokens, block_size, num_steps):
    q, k, v = normal(tokens)
    method = Monarch(tokens if block_size == "all" else block_size, num_steps)
    torch.testing.assert_close(
        method.attend(q, k, v), Softmax().attend(q, k, v), rtol=1e-10, atol=1e-10
    )


@STEPS
@PAD
@pytest.mark.parametrize(("tokens", "block_size"), [(36, 6), (37, 6), (40, 7), (5, 4)])
def test_the_turns_are_those_of_the_definition(tokens, block_size, num_steps, pad):
    method = Monarch(block_size, num_steps, pad)
    q, k, _ = normal(tokens)
    A = matrix(method, q, k)
    for head in range(2):
        torch.testing.assert_close(A[0, head], oracle(q[0, head], k[0, head], method))


@STEPS
@PAD
def test_the_matrix_is_row_stochastic_with_padding(num_steps, pad):
    """197 tokens in blocks of 14, as in a vision transformer with a class token: 13 are padding."""
    q, k, _ = normal(197)
    A = matrix(Monarch(14, num_steps, pad), q, k)
    assert (A >= 0).all()
    torch.testing.assert_close(A.sum(dim=-1), torch.ones(1, 2, 197, dtype=torch.float64))


def test_the_matrix_is_monarch():
    """For an offset j of queries and a block k of keys, the rest has rank one."""
    q, k, _ = normal(36)
    A = matrix(Monarch(6, 3), q, k).view(2, 6, 6, 6, 6)  # head, l, j, k, i
    values = torch.linalg.svdvals(A.permute(0, 2, 3, 1, 4))
    assert (values[..., 1] < 1e-12 * values[..., 0]).all()


@PAD
@pytest.mark.parametrize("tokens", [64, 61])
def test_no_turn_lowers_the_objective_and_softmax_is_its_maximum(tokens, pad):
    q, k, _ = normal(tokens)
    reached = [objective(matrix(Monarch(8, turns, pad), q, k), q, k) for turns in (1, 2, 3, 5, 9)]
    for fewer, more in pairwise(reached):
        assert (more >= fewer - 1e-9).all()
    assert (objective(matrix(Softmax(), q, k), q, k) >= reached[-1]).all()


def test_pictures_are_approximated_and_noise_is_not():
    """Why no test here has a tight tolerance on random q, k: there is nothing to be near to."""

    def error(qkv):
        true = Softmax().attend(*qkv)
        return float((Monarch(16, 3).attend(*qkv) - true).norm() / true.norm())

    assert error(smooth()) < 0.2
    assert error(normal(256, 72)) > 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_low_precision_stays_near_float64(dtype):
    q, k, v = smooth()
    true = Monarch().attend(q, k, v)
    out = Monarch().attend(q.to(dtype), k.to(dtype), v.to(dtype)).double()
    assert (out - true).norm() < 10 * torch.finfo(dtype).eps * true.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_softmaxes_and_entropies_are_in_float32_whatever_the_input(dtype):
    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            name = func.overloadpacket.__name__
            if name in ("_softmax", "xlogy", "bmm"):
                dtypes[name].add(args[0].dtype)
            return func(*args, **(kwargs or {}))

    dtypes = defaultdict(set)
    q, k, v = normal(37, dtype=dtype)
    with Seen():
        Monarch(6).attend(q, k, v)
    assert dtypes == {"_softmax": {torch.float32}, "xlogy": {torch.float32}, "bmm": {dtype}}


def test_scores_that_drown_all_but_one_key_stay_finite():
    q, k, v = normal(37, dtype=torch.float16)
    assert Monarch(6, 3).attend(30 * q, 30 * k, v).isfinite().all()


@pytest.mark.parametrize("other", [Monarch(5), Monarch(6, 2), Monarch(6, 3, "post")], ids=str)
def test_mistake_15_every_setting_changes_the_result(other):
    q, k, v = normal(37)
    assert not torch.equal(Monarch(6).attend(q, k, v), other.attend(q, k, v))


def largest_tensor(method, tokens):
    """Numbers in the largest tensor that exists while the method runs on one head."""

    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            made = out if isinstance(out, tuple | list) else [out]
            for x in made:
                if isinstance(x, torch.Tensor):
                    stored = x.untyped_storage().nbytes() // x.element_size()
                    self.numbers = max(self.numbers, stored)
            return out

    q, k, v = (torch.empty(1, 1, tokens, 64, device="meta") for _ in range(3))
    with Largest() as largest:
        method.attend(q, k, v)
    return largest.numbers


@pytest.mark.parametrize("tokens", [16384, 16300])
def test_no_tensor_has_tokens_times_tokens_numbers(tokens):
    """The largest hold R, or L: N' b, or N' M."""
    assert largest_tensor(Monarch(128, 3), tokens) == 16384 * 128 < tokens**2 / 100


def test_softmax_written_out_has_such_a_tensor():
    assert largest_tensor(Softmax(), 16384) == 16384**2


def slope(xs, ys):
    """Of a line through (log x, log y), by least squares."""
    xs, ys = ([math.log(value) for value in values] for values in (xs, ys))
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    products = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True))
    return products / sum((x - x_mean) ** 2 for x in xs)


def counted(method, tokens):
    q, k, v = torch.empty(3, 1, 1, tokens, 64, device="meta")
    with FlopCounterMode(display=False) as counter:
        method.attend(q, k, v)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("num_steps", [1, 3])
def test_macs_grow_with_the_power_three_halves_of_tokens(num_steps):
    """With blocks of sqrt(N) tokens; softmax's grow with the square."""
    tokens = [4**n for n in range(4, 9)]  # 256 to 65536
    macs = [counted(Monarch(math.isqrt(n), num_steps), n) for n in tokens]
    assert slope(tokens, macs) == pytest.approx(1.5, abs=0.01)
    assert slope(tokens, [counted(Softmax(), n) for n in tokens]) == pytest.approx(2, abs=0.01)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_time_on_a_gpu_grows_far_slower_than_the_square_of_tokens():
    """From 16384 tokens on; the torch version is bound by memory, of which L and R take N^1.5."""
    tokens = [4**n for n in range(7, 10)]
    times = [median_time(Monarch(math.isqrt(n), 1), n) for n in tokens]
    assert 1.0 < slope(tokens, times) < 1.75


def median_time(method, tokens):
    """Milliseconds of one call, bfloat16, 12 heads of 64."""
    q, k, v = torch.randn(3, 1, 12, tokens, 64, device="cuda", dtype=torch.bfloat16)
    times = []
    for _ in range(13):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        method.attend(q, k, v)
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return sorted(times[3:])[5]
