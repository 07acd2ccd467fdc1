"""A trace says of every reuse how far it is from what computing gives, on the model's own trajectory."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from cells import TINY, cell

from ditbench.attention.memory import Decision
from ditbench.jobs import Job, Quality, Timing
from ditbench.measure import tracing
from ditbench.measure.bench import set_up
from ditbench.records import Choice, Sampling, Stage

REUSE = Choice("static-reuse", (("share", 1.0), ("warmup", 0.2), ("schedule", "reverse")))
CELL = dataclasses.replace(cell(spec=TINY, batch_size=4), attention=REUSE, steps=6)


def traced(of=CELL, samples=(0,), folder="nowhere"):
    job = Job(of, Stage.GATE, 0, Timing(), Quality(), (), "cpu", folder)
    return tracing.trace(job, samples)


@pytest.fixture(scope="module")
def lines():
    return traced(samples=(3, 5))


def test_every_forward_of_every_site_is_one_line(lines):
    sites = {line.site for line in lines}
    wanted = {(sample, site, step) for sample in (3, 5) for site in sites for step in range(6)}
    assert len(sites) == TINY.depth
    assert {(line.sample, line.site, line.step) for line in lines} == wanted
    assert len(lines) == len(wanted)


def test_only_what_was_reused_has_an_error_and_that_is_not_nothing(lines):
    assert any(line.reused for line in lines)
    assert any(not line.reused for line in lines)
    assert all((line.error is not None) == line.reused for line in lines)
    assert all(0 < line.error < 10 for line in lines if line.reused)


def test_a_line_says_whose_it_is(lines):
    first = lines[0]
    assert (first.method, first.seed, first.steps, first.branch) == ("static-reuse", 0, 6, "both")
    assert first.model.endswith("ddim 6 steps, guidance 2, float32")
    assert "weights random, seed 0" in first.model


def test_the_traced_run_is_softmax_s_own_and_an_error_is_that_of_the_kept_output(lines):
    """By hand: outputs of each step along a run that computes; the error is between two of them."""
    bench = set_up(dataclasses.replace(CELL, batch_size=1), "cpu")
    outputs: dict[str, list[torch.Tensor]] = {site.name: [] for site in bench.sites}
    for name, kept in outputs.items():
        module = bench.denoiser.network.get_submodule(name)
        module.register_forward_hook(lambda _m, _i, out, kept=kept: kept.append(out.double()))
    bench.denoiser.install(bench.everywhere("sdpa"))
    bench.sample(bench.inputs([3]))
    for name, found in outputs.items():
        kept_at = 0
        for line in (one for one in lines if one.site == name and one.sample == 3):
            if not line.reused:
                kept_at = line.step
                continue
            now, kept = found[line.step], found[kept_at]
            by_hand = float((kept - now).norm() / now.norm())
            assert line.error == pytest.approx(by_hand, rel=1e-4)


def test_a_sample_s_lines_do_not_depend_on_which_others_are_traced(lines):
    assert [line for line in lines if line.sample == 5] == list(traced(samples=(5,)))


def test_halves_that_are_decided_apart_have_each_its_own_rows():
    made = [
        Decision(2, reused=True, reason="own", of=0.5),
        Decision(2, reused=False, reason="too old", of=0.5),
    ]
    found = list(tracing._apart(made, 6, guided=True))
    assert [(rows, branch) for _, rows, branch in found] == [
        (slice(0, 3), "conditional"),
        (slice(3, 6), "unconditional"),
    ]


@pytest.mark.parametrize(("guided", "branch"), [(True, "both"), (False, "conditional")])
def test_a_decision_about_all_rows(guided, branch):
    ((_, rows, said),) = tracing._apart([Decision(0, reused=False, reason="x")], 4, guided=guided)
    assert (rows, said) == (slice(0, 4), branch)


def test_a_distance_is_of_the_rows_it_is_asked_of_and_of_all_parts_of_a_joint_site():
    computed = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    given = computed + torch.tensor([[0.0, 0.5], [1.0, 0.0]])
    assert tracing.distance(given, computed, slice(0, 1)) == pytest.approx(0.1)
    assert tracing.distance(given, computed, slice(1, 2)) == pytest.approx(1.0)
    joint = tracing.distance((given, computed), (computed, computed), slice(0, 2))
    assert joint == pytest.approx((1.25 / 52) ** 0.5)
    zero = torch.zeros(1, 2)
    assert tracing.distance(zero, zero, slice(0, 1)) == 0
    assert tracing.distance(zero + 1, zero, slice(0, 1)) == float("inf")


OPEN = {"threshold": 100.0, "snr_low": 0.0, "snr_high": 1e9, "scheduler": False, "warmup": 1}


@pytest.mark.parametrize("mode", ["kv", "output"])
def test_halves_of_dqar_that_are_apart_are_two_lines_a_forward(mode):
    settings = {**OPEN, "mode": mode, "guidance": "apart"}
    own = dataclasses.replace(CELL, attention=Choice("dqar", tuple(settings.items())))
    lines = traced(own)
    assert len(lines) == 2 * TINY.depth * own.steps
    for branch in ("conditional", "unconditional"):
        mine = [line for line in lines if line.branch == branch]
        assert len(mine) == TINY.depth * own.steps
        reused = [line for line in mine if line.reused]
        assert {line.reason for line in reused} == {"every gate open"}
        assert all(0 < line.error < 10 for line in reused)
        assert {"gap", "reuses", "log_snr"} <= set(reused[0].seen)


def test_a_run_without_guidance_has_one_branch():
    plain = dataclasses.replace(CELL, sampling=Sampling(guidance_scale=1.0))
    assert {line.branch for line in traced(plain)} == {"conditional"}


def test_a_method_without_memory_has_nothing_to_trace():
    assert not traced(dataclasses.replace(CELL, attention=Choice("softmax")))
