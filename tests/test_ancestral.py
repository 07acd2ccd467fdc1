"""Ancestral sampling: against closed forms, against diffusers, and from noise that is each picture's own."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from patient import holds_once

from ditbench import sampling
from ditbench.models.dit import DiT
from ditbench.posterior import posterior, spaced

LEARNED = DiT(
    hidden=32, depth=2, heads=2, patch=2, size=8, channels=1, out_channels=2, classes=10,
    prediction="epsilon", betas="linear",
)  # fmt: skip
FIXED = dataclasses.replace(LEARNED, out_channels=1)
PROCESSES = [
    pytest.param(FIXED, id="epsilon"),
    pytest.param(LEARNED, id="epsilon and variance"),
    pytest.param(dataclasses.replace(FIXED, prediction="v_prediction"), id="v"),
    pytest.param(
        dataclasses.replace(FIXED, prediction="v_prediction", betas="squaredcos_cap_v2"),
        id="v, cosine",
    ),
]
MEAN, DEVIATION = 0.4, 0.3


def draw(network, process, indices, *, seed=0, **changed):
    settings = {"sampler": "ddpm", "steps": 10, "guidance_scale": 1.0} | changed
    with torch.inference_mode():
        return sampling.sample(
            network,
            process,
            sampling.noise(process, seed, indices),
            process.conditions(seed, indices),
            noises=sampling.step_noise(process, seed, indices),
            **settings,
        )


def knows(process, steps):
    """The network that knows that data are normal; if it learns a variance, the true one of each step.

    Of normal data, clean given noisy is normal, and so is each step back.
    """
    times = spaced(steps)
    left = [*sampling.remaining(process, times), 1.0]

    def network(latents, timesteps, _labels):
        step = times.index(int(timesteps[0]))
        now, then = left[step], left[step + 1]
        signal, noise = math.sqrt(now), math.sqrt(1 - now)
        total = now * DEVIATION**2 + 1 - now
        clean = MEAN + signal * DEVIATION**2 / total * (latents - signal * MEAN)
        epsilon = (latents - signal * clean) / noise
        wanted = epsilon if process.prediction == "epsilon" else signal * epsilon - noise * clean
        if not process.learned_variance:
            return wanted
        at = posterior(now, then)
        share = 0.0
        if at.least:  # at the last step nothing is drawn
            true = at.least + at.of_clean**2 * DEVIATION**2 * (1 - now) / total
            share = math.log(true / at.least) / math.log(at.most / at.least)
        return torch.cat([wanted, torch.full_like(wanted, 2 * share - 1)], dim=1)

    return network


def expected(process, steps):
    """Mean and variance after the last step, by the recursion of a chain whose every step is linear."""
    times = spaced(steps)
    left = [*sampling.remaining(process, times), 1.0]
    mean, variance = 0.0, 1.0
    for now, then in itertools.pairwise(left):
        at, signal = posterior(now, then), math.sqrt(now)
        total = now * DEVIATION**2 + 1 - now
        slope = signal * DEVIATION**2 / total
        drawn = at.least
        if process.learned_variance and at.least:
            drawn += at.of_clean**2 * DEVIATION**2 * (1 - now) / total
        mean = at.of_clean * (MEAN + slope * (mean - signal * MEAN)) + at.of_state * mean
        variance = (at.of_clean * slope + at.of_state) ** 2 * variance + drawn
    return mean, variance


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("steps", [4, 50])
def test_the_moments_of_normal_data_are_those_of_the_closed_form(process, steps):
    made = draw(knows(process, steps), process, range(256), steps=steps).double()
    mean, variance = expected(process, steps)
    count = made.numel()
    assert float(made.mean()) == pytest.approx(mean, abs=5 * math.sqrt(variance / count))
    assert float(made.var()) == pytest.approx(variance, rel=5 * math.sqrt(2 / count))


def test_the_true_variance_gives_the_data_at_any_number_of_steps_and_the_least_one_too_narrow_a_law():
    """With four steps even: what is learned is what ancestral sampling lacks. What is missing are the last
    step's own variance and the data that still show at the noisiest timestep."""
    for steps in (4, 50, 250):
        mean, variance = expected(LEARNED, steps)
        assert mean == pytest.approx(MEAN, abs=2e-3)
        assert math.sqrt(variance) == pytest.approx(DEVIATION, rel=2e-3)
    assert math.sqrt(expected(FIXED, 4)[1]) < 0.9 * DEVIATION
    assert math.sqrt(expected(FIXED, 250)[1]) == pytest.approx(DEVIATION, rel=0.05)


def test_the_timesteps_are_even_from_999_to_0_both_included():
    assert spaced(2) == [999, 0]
    assert spaced(5) == [999, 749, 500, 250, 0]
    assert spaced(250)[:3] + spaced(250)[-3:] == [999, 995, 991, 8, 4, 0]
    assert spaced(1000) == list(range(999, -1, -1))
    for steps in range(2, 1001):
        made, floats = spaced(steps), np.linspace(0, 999, steps)[::-1]
        assert len(set(made)) == steps
        assert np.abs(np.array(made) - floats).max() <= 0.5 + 1e-9


def theirs(network, process, steps, seed):
    """diffusers' own chain, its noise drawn by generators in the state of ours."""
    kind = "learned_range" if process.learned_variance else "fixed_small"
    plan = DDPMScheduler(
        beta_start=1e-4, beta_end=0.02, beta_schedule=process.betas,
        prediction_type=process.prediction, variance_type=kind, clip_sample=False,
        timestep_spacing="linspace",
    )  # fmt: skip
    plan.set_timesteps(steps)
    plan.timesteps = torch.tensor(spaced(steps))  # numpy rounds a half to even too; ours is exact
    own = sampling.generators(seed, range(2), sampling.STEP_STREAM)
    state, labels = sampling.noise(process, seed, range(2)), process.conditions(seed, range(2))
    with torch.inference_mode():
        for time in plan.timesteps:
            output = network(state, time.expand(2), *labels)
            state = plan.step(output, time, state, generator=own).prev_sample
    return state


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("steps", [1000, 250, 7])
def test_the_chain_is_diffusers_on_the_same_noise(process, steps):
    def network(latents, timesteps, labels):
        wave = torch.sin(latents * 2 + timesteps.view(-1, 1, 1, 1) / 300 + labels.view(-1, 1, 1, 1))
        return torch.cat([wave, torch.cos(3 * wave)], dim=1)[:, : process.out_channels]

    ours = draw(network, process, range(2), seed=5, steps=steps)
    apart = float((ours - theirs(network, process, steps, 5)).norm() / ours.norm())
    assert apart < 2e-3  # diffusers multiplies its 1 - beta in float32


def test_mistake_26_the_noise_of_a_picture_is_its_own_in_any_batch_shard_and_order():
    network = knows(LEARNED, 10)
    together = draw(network, LEARNED, range(6))
    assert torch.equal(draw(network, LEARNED, [4]), together[4:5])
    assert torch.equal(draw(network, LEARNED, [5, 2, 0]), together[[5, 2, 0]])
    assert not torch.equal(draw(network, LEARNED, range(6), seed=1), together)


def test_each_step_has_noise_of_its_own_and_none_is_the_first():
    more = sampling.step_noise(FIXED, 0, range(2))
    drawn = [sampling.noise(FIXED, 0, range(2)), *(more() for _ in range(3))]
    assert not any(torch.equal(a, b) for n, a in enumerate(drawn) for b in drawn[:n])
    again = sampling.step_noise(FIXED, 0, range(2))
    assert torch.equal(again(), drawn[1])


def test_without_noise_it_does_not_start():
    with pytest.raises(ValueError, match="ddpm draws noise at every step"):
        sampling.sample(
            knows(FIXED, 4), FIXED, sampling.noise(FIXED, 0, [0]), FIXED.conditions(0, [0]),
            sampler="ddpm", steps=4, guidance_scale=1.0,
        )  # fmt: skip


def test_what_the_timed_loop_pays_for_noise_is_little_beside_a_forward():
    """Of the network that ships with ditbench, the smallest that anybody would time."""
    import time

    from ditbench.models.dit import FASHION

    network, labels = FASHION.build(), FASHION.conditions(0, range(4))
    latents, times = sampling.noise(FASHION, 0, range(4)), torch.full((4,), 500)
    more = sampling.step_noise(FASHION, 0, range(4))

    def took(work) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    def share() -> bool:
        with torch.inference_mode():
            forward = min(took(lambda: network(latents, times, *labels)) for _ in range(3))
            return min(took(more) for _ in range(3)) < 0.03 * forward

    assert holds_once(share)


GUIDED = dataclasses.replace(LEARNED, channels=4, out_channels=8)


def told_by_label(latents, timesteps, labels):
    """Channel c of the half with a class is c + 1, and of the other half half of that; then the variance."""
    del timesteps
    ramp = torch.arange(1, 5).view(1, 4, 1, 1).expand_as(latents).float()
    null = (labels == GUIDED.classes).view(-1, 1, 1, 1)
    variance = torch.where(null, -1.0, 0.5).expand_as(latents)
    return torch.cat([torch.where(null, ramp / 2, ramp), variance], dim=1)


def one_step(**changed):
    """What two samples are after the first of two steps, where the second is left out."""
    seen = []

    def watch(latents, timesteps, labels):
        seen.append(latents[: len(latents) // 2].clone())
        return told_by_label(latents, timesteps, labels)

    draw(watch, GUIDED, range(2), steps=2, guidance_scale=3.0, **changed)
    return seen[1]


@pytest.mark.parametrize(("channels", "guided"), [(0, 4), (3, 3), (1, 1)])
def test_guidance_acts_on_the_first_channels_and_the_rest_and_the_variance_are_the_classs(
    channels, guided
):
    """By hand: e_null + 3 (e_class - e_null) on the guided channels, e_class on the others."""
    start, noise = sampling.noise(GUIDED, 0, range(2)), sampling.step_noise(GUIDED, 0, range(2))()
    now, then = sampling.remaining(GUIDED, spaced(2))
    ramp = torch.arange(1, 5).view(1, 4, 1, 1).float()
    epsilon = torch.where(torch.arange(4).view(1, 4, 1, 1) < guided, ramp * 2, ramp)
    at = posterior(now, then)
    clean = (start - math.sqrt(1 - now) * epsilon) / math.sqrt(now)
    spread = math.sqrt(at.most**0.75 * at.least**0.25)  # v = 0.5
    by_hand = at.of_clean * clean + at.of_state * start + spread * noise
    assert torch.allclose(one_step(guidance_channels=channels), by_hand, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpmsolver++"])
def test_mistake_37_three_channels_give_another_picture_than_four_under_every_sampler(sampler):
    settings = {"sampler": sampler, "steps": 4, "guidance_scale": 3.0}
    every = draw(told_by_label, GUIDED, range(2), **settings)
    three = draw(told_by_label, GUIDED, range(2), guidance_channels=3, **settings)
    assert torch.equal(every[:, :3], three[:, :3])
    assert not torch.equal(every[:, 3:], three[:, 3:])
    assert torch.equal(
        every, draw(told_by_label, GUIDED, range(2), guidance_channels=4, **settings)
    )


def test_more_channels_than_there_are_are_refused():
    assert sampling.unsuited(GUIDED, "ddpm", 4) == []
    assert sampling.unsuited(GUIDED, "ddpm", 5) == [
        "guidance_channels 5: its latents have 4 channels"
    ]
    packed = dataclasses.make_dataclass("Packed", [])()
    packed.prediction, packed.latent = "flow", (16, 64)
    (told,) = sampling.unsuited(packed, sampling.FLOW, 3)
    assert told == "guidance_channels: its latents have no channels of their own, write all"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("process", PROCESSES)
def test_the_noise_of_a_picture_is_the_same_on_a_gpu(process):
    """It is drawn on the CPU and handed over while the device computes; what rounds otherwise is the rest."""
    network = knows(process, 20)
    here = draw(network, process, range(3), steps=20)
    with torch.inference_mode():
        there = sampling.sample(
            network, process, sampling.noise(process, 0, range(3)).cuda(),
            tuple(one.cuda() for one in process.conditions(0, range(3))),
            sampler="ddpm", steps=20, guidance_scale=1.0,
            noises=sampling.step_noise(process, 0, range(3)),
        )  # fmt: skip
    assert torch.allclose(here, there.cpu(), atol=1e-3)
