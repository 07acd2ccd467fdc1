"""The sampling loop: noise by index, guidance in one forward, schedules that start from noise."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from diffusers import DDIMScheduler, DiTPipeline

from ditbench import sampling
from ditbench.models.dit import DiT
from ditbench.posterior import spaced

SPEC = DiT(
    hidden=32, depth=2, heads=2, patch=2, size=8, channels=1, out_channels=1, classes=10,
    prediction="v_prediction", betas="squaredcos_cap_v2",
)  # fmt: skip


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = SPEC.build()
    SPEC.open_gates(made)
    return lambda x, t, y: made(x, t, y, return_dict=False)[0]


def draw(network, indices, process=SPEC, **changed):
    settings = {"sampler": "ddim", "steps": 4, "guidance_scale": 2.0} | changed
    with torch.inference_mode():
        return sampling.sample(
            network,
            process,
            sampling.noise(process, 0, indices),
            process.conditions(0, indices),
            **settings,
        )


def test_mistake_26_a_picture_depends_on_its_index_and_not_on_its_batch(network):
    together = draw(network, range(5))
    apart = torch.cat([draw(network, [3]), draw(network, [4, 0])])
    assert torch.allclose(together[[3, 4, 0]], apart, atol=1e-5)


def test_noise_of_one_index_is_bit_identical_in_any_company():
    assert torch.equal(sampling.noise(SPEC, 7, range(10))[6], sampling.noise(SPEC, 7, [6])[0])
    assert not torch.equal(sampling.noise(SPEC, 7, [6]), sampling.noise(SPEC, 8, [6]))


def test_every_seed_has_noise_of_its_own():
    drawn = [sampling.noise(SPEC, seed, range(3)) for seed in (0, 1, 2, 3, 4)]
    assert not any(torch.equal(a, b) for n, a in enumerate(drawn) for b in drawn[:n])


def test_labels_use_every_class_equally():
    assert torch.bincount(SPEC.conditions(3, range(40))[0]).tolist() == [4] * 10


@pytest.mark.parametrize("sampler", ["ddim", "dpmsolver++"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_every_sampler_recovers_a_picture_from_a_perfect_network(sampler, prediction):
    """A network that knows the clean picture predicts exactly what leads to it."""
    process = dataclasses.replace(SPEC, prediction=prediction)
    clean = torch.linspace(-1, 1, 64).view(1, 1, 8, 8)
    alphas = sampling.scheduler(process, "ddim", 1000).alphas_cumprod

    def perfect(latents, timesteps, _labels):
        a = alphas[timesteps].view(-1, 1, 1, 1)
        noise = (latents - a.sqrt() * clean) / (1 - a).sqrt()
        return noise if prediction == "epsilon" else a.sqrt() * noise - (1 - a).sqrt() * clean

    out = draw(perfect, range(2), process, sampler=sampler, steps=10, guidance_scale=1.0)
    assert torch.allclose(out, clean.expand(2, -1, -1, -1), atol=0.02)


def test_the_first_step_is_at_the_noisiest_timestep():
    assert sampling.scheduler(SPEC, "ddim", 12).timesteps[0] == 999


@pytest.mark.parametrize("sampler", ["ddim", "dpmsolver++"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_each_step_hands_on_what_the_next_one_is_told_and_there_are_as_many_as_were_asked_for(
    sampler, prediction
):
    """The noise left in the latents is that of the timestep that comes with them, whatever the number of
    steps, and none is left at the end: diffusers' DDIM misses where steps do not divide 1000."""
    process = dataclasses.replace(SPEC, prediction=prediction)
    alphas = sampling.scheduler(process, "ddim", 1000).alphas_cumprod.double()
    noise, seen = sampling.noise(process, 0, range(1)), []
    clean = torch.linspace(-1, 1, 64).view(1, 1, 8, 8)
    start = (noise - (1 - alphas[999]).sqrt() * clean) / alphas[999].sqrt()

    def knows_all(latents, timesteps, _labels):
        a = alphas[timesteps].view(-1, 1, 1, 1)
        true = (a.sqrt() * start + (1 - a).sqrt() * clean).float()
        seen.append((int(timesteps[0]), float((latents - true).norm() / true.norm())))
        return clean if prediction == "epsilon" else a.sqrt() * clean - (1 - a).sqrt() * start

    for steps in (*range(1, 51), 61, 333):
        seen.clear()
        out = draw(knows_all, range(1), process, sampler=sampler, steps=steps, guidance_scale=1.0)
        assert [timestep for timestep, _ in seen] == sampling.trailing(steps)
        assert len(seen) == steps
        assert max(error for _, error in seen) < 1e-3, steps
        assert float((out - start).norm() / start.norm()) < 1e-2, steps


def test_the_spacing_is_even_from_the_noisiest_timestep_down():
    assert sampling.trailing(1) == [999]
    assert sampling.trailing(4) == [999, 749, 499, 249]
    assert sampling.trailing(1000) == list(range(999, -1, -1))
    for steps in range(1, 1001):
        made = sampling.trailing(steps)
        exact = [1000 * (1 - n / steps) - 1 for n in range(steps)]
        assert len(set(made)) == len(made) == steps
        assert max(abs(a - b) for a, b in zip(made, exact, strict=True)) < 0.5001


def test_guidance_is_one_forward_of_twice_the_rows_and_the_null_class_comes_last():
    seen = []

    def watch(latents, timesteps, labels):
        seen.append((len(latents), labels.tolist()))
        return torch.zeros_like(latents)

    draw(watch, range(2), guidance_scale=1.0)
    draw(watch, range(2), guidance_scale=1.5)
    plain, guided = seen[0], seen[-1]
    assert plain[0] == 2
    assert guided[0] == 4
    assert guided[1][2:] == [SPEC.classes] * 2
    assert len(seen) == 8


def test_guidance_of_one_equals_no_guidance_and_a_learned_variance_is_discarded():
    process = dataclasses.replace(SPEC, out_channels=2)

    def network(latents, timesteps, labels):
        share = (labels == process.classes).float().view(-1, 1, 1, 1)
        return torch.cat([latents * (0.1 + 0.3 * share), torch.full_like(latents, 9.0)], dim=1)

    nearly = draw(network, range(2), process, guidance_scale=1 + 1e-7)
    assert torch.allclose(nearly, draw(network, range(2), process, guidance_scale=1.0), atol=1e-4)


def test_steps_are_announced_in_order_and_once_more_at_the_end(network):
    heard = []
    draw(network, range(1), on_step=heard.append)
    assert [(one.step, one.steps) for one in heard] == [(step, 4) for step in range(5)]
    assert all(one.guided for one in heard)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpmsolver++"])
def test_mistake_28_the_signal_grows_as_the_schedulers_own_alphas_do(network, sampler):
    """The seed's went from 100 down to 0.01 along a run that removes noise."""
    heard, steps = [], 4
    noises = sampling.step_noise(SPEC, 0, range(1))
    draw(network, range(1), sampler=sampler, steps=steps, noises=noises, on_step=heard.append)
    times = spaced(steps) if sampler == "ddpm" else sampling.trailing(steps)
    alphas = sampling.scheduler(SPEC, "ddim", 1).alphas_cumprod.double()
    expected = [math.log(alphas[at] / (1 - alphas[at])) for at in times]
    *told, end = [one.log_snr for one in heard]
    assert told == pytest.approx(expected, rel=1e-4)
    assert told == sorted(told)
    assert end == math.inf


def test_of_a_flow_the_noise_is_as_large_as_its_share_says():
    """x = (1 - s) data + s noise: at one half as much of either, and at the beginning nothing but noise."""
    heard = []
    flow = dataclasses.replace(SPEC, prediction="flow")
    draw(
        lambda latents, *_: latents,
        range(1),
        flow,
        sampler="flow-euler",
        steps=4,
        on_step=heard.append,
    )
    shares = sampling.sigmas(flow.shift, 4)
    assert heard[0].log_snr == -math.inf
    assert [one.log_snr for one in heard[1:4]] == pytest.approx(
        [2 * math.log((1 - s) / s) for s in shares[1:4]]
    )


def test_our_loop_is_the_pipelines_on_the_same_noise():
    """diffusers' own DiTPipeline, with its null class (it hard-codes 1000) and its guidance."""
    spec = dataclasses.replace(
        SPEC, classes=1000, channels=4, out_channels=8, prediction="epsilon", betas="linear"
    )
    torch.manual_seed(0)
    transformer = spec.build()
    spec.open_gates(transformer)
    (labels,) = conditions = spec.conditions(0, range(2))

    class Decoder(torch.nn.Module):
        config = type("Config", (), {"scaling_factor": 1.0})
        dtype = torch.float32
        device = torch.device("cpu")

        def decode(self, latents):
            self.seen = latents
            return type("Decoded", (), {"sample": latents[:, :3]})

    decoder = Decoder()
    plan = DDIMScheduler(
        beta_start=1e-4, beta_end=0.02, clip_sample=False, timestep_spacing="trailing"
    )
    pipe = DiTPipeline(transformer, decoder, plan)
    pipe.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(index) for index in range(2)]
    pipe(
        labels.tolist(),
        guidance_scale=1.5,
        generator=generators,
        num_inference_steps=4,
        output_type="np",
    )
    ours = sampling.sample(
        lambda x, t, y: transformer(x, t, y, return_dict=False)[0],
        spec, sampling.noise(spec, 0, range(2)), conditions, sampler="ddim", steps=4, guidance_scale=1.5,
    )  # fmt: skip
    assert torch.allclose(ours, decoder.seen, atol=1e-4)


def test_leading_steps_are_those_of_diffusers_and_end_at_the_data():
    from diffusers import DDIMScheduler

    plan = DDIMScheduler()  # its own spacing
    plan.set_timesteps(50)
    assert sampling.leading(50) == plan.timesteps.tolist() == list(range(980, -1, -20))
    state = sampling.noise(DiT(size=4), 0, [0])
    ours = sampling.sample(
        lambda latents, *_: latents / 2, DiT(size=4), state, (torch.zeros(1, dtype=torch.long),),
        sampler="ddim-leading", steps=50, guidance_scale=1.0,
    )  # fmt: skip
    plan = DDIMScheduler(clip_sample=False)
    plan.set_timesteps(50)
    for time in plan.timesteps:
        state = plan.step(state / 2, time, state).prev_sample
    assert torch.allclose(ours, state, rtol=1e-4)
