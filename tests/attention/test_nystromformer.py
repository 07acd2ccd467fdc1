"""What the Nystrom method's mathematics says of Nystromformer, in float64."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ditbench.attention.base import Shape
from ditbench.attention.nystromformer import Nystromformer
from ditbench.measure.core import check_core
from ditbench.measure.evidence import Evidence, GateError


def normal(tokens=40, head_dim=16):
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(3, 1, 2, tokens, head_dim, generator=generator, dtype=torch.float64))


def oracle(q, k, v, rank):
    """With the exact inverse, and landmarks by torch's own way to cut into nearly equal runs."""

    def landmarks(x):
        return torch.stack([run.mean(dim=-2) for run in x.tensor_split(rank, dim=-2)], dim=-2)

    def kernel(one, other):
        return (one @ other.mT / q.shape[-1] ** 0.5).softmax(dim=-1)

    near_q, near_k = landmarks(q), landmarks(k)
    middle = torch.linalg.inv(kernel(near_q, near_k))
    return kernel(q, near_k) @ middle @ kernel(near_q, k) @ v


@pytest.mark.parametrize("tokens", [40, 43], ids=["rank-divides", "rank-leaves-a-rest"])
def test_many_iterations_reach_the_definition(tokens):
    q, k, v = normal(tokens)
    out = Nystromformer(rank=8, iterations=40).attend(q, k, v)
    torch.testing.assert_close(out, oracle(q, k, v, 8))


def test_six_iterations_are_nearer_than_three():
    q, k, v = normal()
    true = oracle(q, k, v, 8)
    errors = [(Nystromformer(8, n).attend(q, k, v) - true).norm() for n in (3, 6, 9)]
    assert errors[0] > errors[1] > errors[2]


def test_multiplying_out_az_thrice_changes_the_cost_and_not_the_result():
    q, k, v = normal()
    torch.testing.assert_close(
        Nystromformer(8).attend(q, k, v), Nystromformer(8, reuse_az=False).attend(q, k, v)
    )


@pytest.mark.parametrize(("reuse_az", "products"), [(True, 4), (False, 6)])
def test_an_iteration_is_so_many_products(reuse_az, products):
    def counted(iterations):
        with FlopCounterMode(display=False) as counter:
            Nystromformer(8, iterations, reuse_az).attend(*normal())
        return counter.get_total_flops() / 2

    heads, rank = 2, 8
    assert counted(7) - counted(6) == heads * products * rank**3


def test_no_token_is_dropped_where_the_rank_leaves_a_rest():
    q, k, v = normal(43)
    moved = k.clone()
    moved[..., -1, :] += 1
    weight = torch.zeros_like(v)  # what v of the last token does is not asked
    weight[..., :-1, :] = v[..., :-1, :]
    method = Nystromformer(8)
    changed = (method.attend(q, k, weight) - method.attend(q, moved, weight)).abs().amax(dim=-1)
    assert (changed > 1e-6).all()


@pytest.mark.parametrize(
    "other", [Nystromformer(7), Nystromformer(8, 5)], ids=["rank", "iterations"]
)
def test_mistake_15_every_setting_changes_the_result(other):
    q, k, v = normal()
    assert not torch.equal(Nystromformer(8).attend(q, k, v), other.attend(q, k, v))


def test_as_many_landmarks_as_tokens_are_softmax():
    q, k, v = normal()
    scores = q @ k.mT / q.shape[-1] ** 0.5
    out = Nystromformer(rank=40, iterations=60).attend(q, k, v)
    torch.testing.assert_close(out, scores.softmax(dim=-1) @ v)


def test_one_matrix_alone_is_normalised_alike_either_way():
    q, k, v = (x[:, :1] for x in normal())
    own, batch = (Nystromformer(8, normalised_by=how) for how in ("matrix", "batch"))
    assert torch.equal(own.attend(q, k, v), batch.attend(q, k, v))


def test_mistake_26_the_seeds_normalisation_over_the_batch_is_refused_with_its_error():
    shape, cpu = Shape(batch=4, heads=2, tokens=40, head_dim=16), torch.device("cpu")
    check_core(Nystromformer(8), shape, torch.float32, cpu, Evidence({}))
    evidence = Evidence({})
    with pytest.raises(
        GateError, match=r"a sample's result alone differs by 0.*that sample's q, k"
    ):
        check_core(Nystromformer(8, normalised_by="batch"), shape, torch.float32, cpu, evidence)
    assert evidence.facts["company_error"] > 100 * evidence.facts["company_tolerance"]
