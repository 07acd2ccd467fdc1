"""Reuse by the step's number: the published shares exactly, and what a layer spares."""

from __future__ import annotations

import math

import pytest
import torch

from ditbench.attention.base import METHODS, Moment, Site
from ditbench.attention.static_reuse import StaticReuse

STEPS, DEPTH = 50, 28


def share(method, steps=STEPS, depth=DEPTH):
    """Of all forwards those that may reuse, in per cent."""
    spared = sum(method.reusing(step, steps, depth) for step in range(steps))
    return round(100 * spared / (steps * depth), 2)


@pytest.mark.parametrize(
    ("of_depth", "published"),
    [(0.33, 11.57), (0.5, 18.71), (0.66, 24.50), (0.75, 28.71), (1.0, 38.71)],
)
def test_the_published_shares_of_the_depth(of_depth, published):
    assert share(StaticReuse(share=of_depth)) == published


@pytest.mark.parametrize(
    ("warmup", "published"), [(0.1, 12.93), (0.3, 10.14), (0.4, 8.79), (0.5, 7.36), (0.6, 6.00)]
)
def test_the_published_shares_of_the_warm_up(warmup, published):
    assert share(StaticReuse(warmup=warmup)) == published


def gated(snr, times):
    """The share of forwards, in per cent, that its schedule and that ratio let reuse at those timesteps."""
    method = StaticReuse(warmup=0.4, snr=snr)
    alphas = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), dim=0)
    spared = sum(
        method.reusing(step, STEPS, DEPTH)
        for step, at in enumerate(times)
        if not method.too_noisy(math.log(alphas[at] / (1 - alphas[at])))
    )
    return round(100 * spared / (STEPS * DEPTH), 2)


@pytest.mark.parametrize(
    ("snr", "published", "trailing"),
    [
        (0.1, 8.64, 8.57),
        (0.5, 7.43, 7.14),
        (0.75, 6.86, 6.57),
        (1.2, 6.21, 5.86),
        (1.66, 5.50, 5.14),
        (1.93, 5.14, 5.14),
    ],
)
def test_the_published_shares_of_the_least_snr(snr, published, trailing):
    """At the seed's timesteps; our own sampler's are noisier by 19 of 1000."""
    assert gated(snr, range(980, -1, -20)) == published
    assert gated(snr, range(999, 18, -20)) == trailing


@pytest.mark.parametrize("snr", [0.1, 1.93])
def test_mistake_28_a_least_snr_opens_once_and_stays_open(snr):
    """Noise falls along a run; read backwards, the gate would open at the beginning and shut."""
    method = StaticReuse(share=1.0, warmup=0.0, schedule="steps", snr=snr)
    axis = [0.5 * step - 3 for step in range(12)]

    def reused(log_snrs):
        layer = method.open(Site(0, 4, 2, 8, (2, 2)))
        for step, log_snr in enumerate(log_snrs):
            now = Moment(step, len(log_snrs), log_snr)
            layer(torch.randn(1, 2, 4, 8), lambda x, _="qkv": (x, x, x), lambda out: out, now)
        return [one.reused for one in layer.decisions]

    opened = next(step for step, log_snr in enumerate(axis) if log_snr >= math.log(snr))
    assert 0 < opened < 11
    assert reused(axis) == [step >= opened for step in range(12)]
    assert reused(axis[::-1]) != reused(axis)


def test_every_schedule_is_another_one():
    """In the seed the setting was wired to nothing, and reverse was linear."""
    found = {name: share(StaticReuse(schedule=name, share=1.0)) for name in
             ("linear", "reverse", "exponential", "steps", "constant")}  # fmt: skip
    assert len(set(found.values())) == 5, found
    method = StaticReuse(schedule="reverse", share=1.0, warmup=0.0)
    counts = [method.reusing(step, STEPS, DEPTH) for step in range(STEPS)]
    assert counts == sorted(counts, reverse=True)
    assert (counts[0], counts[-1]) == (DEPTH, 0)


@pytest.mark.parametrize("settings", [{"share": 0.0}, {"warmup": 1.0}, {"every": 1}])
def test_with_reuse_off_every_forward_computes(settings):
    layer, calls = run(StaticReuse(**({"share": 1.0, "warmup": 0.0} | settings)), 12)
    assert calls == 12
    assert not any(one.reused for one in layer.decisions)


def run(method, steps, block=0):
    """The layer of a block after a run, and how often it projected."""
    layer = method.open(Site(block, 4, 2, 8, (2, 2)))
    calls = []

    def project(x, parts="qkv"):
        calls.append(parts)
        return tuple(x for _ in parts)

    for step in range(steps):
        layer(torch.randn(1, 2, 4, 8), project, lambda out: out + 1, Moment(step, steps))
    return layer, len(calls)


def test_computed_and_reused_are_all_forwards_and_what_is_reused_never_projects():
    layer, calls = run(StaticReuse(share=1.0, warmup=0.0, schedule="steps"), 12)
    reused = [one.step for one in layer.decisions if one.reused]
    assert len(layer.decisions) == 12
    assert calls == 12 - len(reused)
    assert layer.decisions[0].reason == "nothing kept"
    assert reused == list(range(1, 12))


def test_what_is_too_old_is_computed_anew():
    layer, _ = run(StaticReuse(share=1.0, warmup=0.0, schedule="steps", every=3), 9)
    assert [one.step for one in layer.decisions if not one.reused] == [0, 3, 6]
    assert [one.reason for one in layer.decisions][3] == "too old"


@pytest.mark.parametrize("every", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("warmup", [0.0, 0.5])
def test_every_kth_step_computes_in_all_blocks_by_the_constant_schedule(every, warmup):
    """Counted from the last step of the warm-up, if there is one."""
    method = StaticReuse(share=1.0, warmup=warmup, schedule="constant", every=every)
    first = math.ceil(24 * warmup)
    layers = [run(method, first + 12, block)[0] for block in range(4)]
    spared = [one.reused for layer in layers for one in layer.decisions if one.step >= first]
    assert sum(spared) / len(spared) == pytest.approx(1 - 1 / every)


def test_a_block_beyond_the_schedule_computes():
    layer, calls = run(StaticReuse(share=0.5, warmup=0.0, schedule="steps"), 6, block=3)
    assert calls == 6
    assert {one.reason for one in layer.decisions[1:]} == {"not scheduled"}


def test_the_finished_output_is_what_is_kept():
    method = StaticReuse(share=1.0, warmup=0.0, schedule="steps")
    layer = method.open(Site(0, 4, 2, 8, (2, 2)))
    given = [
        layer(x, lambda x, _parts="qkv": (x, x, x), lambda out: out + 1, Moment(step, 3))
        for step, x in enumerate(torch.randn(3, 1, 2, 4, 8))
    ]
    assert torch.equal(given[0], given[1])
    assert torch.equal(given[1], given[2])


def test_a_layer_opened_anew_remembers_nothing():
    method = StaticReuse(share=1.0, warmup=0.0)
    assert METHODS.get("static-reuse") is StaticReuse
    first, second = (method.open(Site(0, 4, 2, 8, (2, 2))) for _ in range(2))
    assert first is not second
    assert second.kept is None
