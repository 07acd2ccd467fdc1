"""Our own sampling loop over diffusers' schedulers: labels, guidance and noise under our control.

Guidance (Ho & Salimans, 2022, arXiv 2207.12598): eps = eps_null + s (eps_class - eps_null), both halves
in one forward of twice the rows, classes first. It acts on every latent channel, as in diffusers, or on the
first few, as in DiT's own code on three; the others, and a learned variance, are those of the half with the
class. Only ancestral sampling uses that variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

from ditbench.attention.base import Moment
from ditbench.models.base import drawn, generators
from ditbench.posterior import TRAIN_STEPS, posterior, spaced

FLOW = "flow-euler"
DDPM = "ddpm"
LEADING = "ddim-leading"
SAMPLERS = ("ddim", DDPM, "dpmsolver++", FLOW, LEADING)
# Tells the noise of a sample's steps from what else is drawn for it.
STEP_STREAM = 3


class Process(Protocol):
    """What a sampler must know of the model: the quantity it predicts, under which noise schedule."""

    @property
    def prediction(self) -> str:
        """`epsilon`, `v_prediction` or `flow`."""

    @property
    def betas(self) -> str:
        """The name of diffusers' noise schedule; of no meaning to a flow."""

    @property
    def shift(self) -> float:
        """How far the steps of a flow crowd towards noise: 1 for evenly."""

    @property
    def learned_variance(self) -> bool:
        """Whether as many channels again tell where between its bounds the variance of a step lies."""

    @property
    def latent(self) -> tuple[int, ...]:
        """Sizes of one sample's latents, channels first where they are pictures."""

    def null(self, conditions: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """As many samples' conditions that say nothing."""


# A denoising network: from latents (rows, ...), times (rows,) and each condition (rows, ...) to the
# prediction (rows, at least channels, ...).
Predict = Callable[..., torch.Tensor]


def scheduler(
    process: Process, sampler: str, steps: int
) -> DDIMScheduler | DPMSolverMultistepScheduler:
    """A fresh scheduler with its timesteps set. DDIM: arXiv 2010.02502; DPM-Solver++: 2211.01095."""
    common = {
        "num_train_timesteps": TRAIN_STEPS,
        "beta_start": 1e-4,
        "beta_end": 0.02,
        "beta_schedule": process.betas,
        "prediction_type": process.prediction,
        # "leading" never visits the noisiest timestep, so the first step would start off the data.
        "timestep_spacing": "trailing",
    }
    if sampler == "dpmsolver++":
        made = DPMSolverMultistepScheduler(algorithm_type="dpmsolver++", **common)
        made.set_timesteps(timesteps=trailing(steps))
        return made
    made = DDIMScheduler(clip_sample=False, **common)
    made.set_timesteps(steps)
    made.timesteps = torch.tensor(leading(steps) if sampler == LEADING else trailing(steps))
    return made


def trailing(steps: int) -> list[int]:
    """So many timesteps, evenly spaced from the noisiest down; the interval after the last ends at the data.

    Exact: diffusers adds up floats, and for 61 steps (and 61 other numbers up to 1000) makes one too many.
    """
    return [round(Fraction(TRAIN_STEPS * left, steps)) - 1 for left in range(steps, 0, -1)]


def leading(steps: int) -> list[int]:
    """So many timesteps down to 0, as diffusers' own pipelines go: the noisiest is never visited."""
    return [TRAIN_STEPS // steps * step for step in reversed(range(steps))]


def moments(
    process: Process, sampler: str, steps: int, *, guided: bool, prompt: float = 1.0
) -> list[Moment]:
    """What `sample` tells before each step, from the settings alone."""
    way = _way(process, sampler, steps, lambda: torch.empty(0))
    return way.moments(guided=guided, prompt=prompt)


def noise(process: Process, seed: int, indices: Sequence[int]) -> torch.Tensor:
    """Initial latents (len(indices), ...), float32 on the CPU; an image depends on its index alone."""
    return drawn(seed, indices, process.latent)


def step_noise(process: Process, seed: int, indices: Sequence[int]) -> Callable[[], torch.Tensor]:
    """At each call the noise of one more step (len(indices), ...), float32 on the CPU.

    One generator a sample, kept from step to step, so that a picture depends on no other and on no shard.
    """
    own = generators(seed, indices, STEP_STREAM)

    def drawn_next() -> torch.Tensor:
        made = torch.empty(len(own), *process.latent)
        for one, generator in zip(made, own, strict=True):
            one.normal_(generator=generator)
        return made

    return drawn_next


def rows(batch: int, guidance_scale: float) -> int:
    """Rows of one forward: guidance above 1 doubles the batch."""
    return batch * (2 if guidance_scale > 1 else 1)


def sample(  # noqa: PLR0913 (the mathematics has this many arguments)
    predict: Predict,
    process: Process,
    latents: torch.Tensor,
    conditions: tuple[torch.Tensor, ...],
    *,
    sampler: str,
    steps: int,
    guidance_scale: float,
    guidance_channels: int = 0,
    noises: Callable[[], torch.Tensor] | None = None,
    prompt: float = 1.0,
    null: tuple[torch.Tensor, ...] | None = None,
    on_step: Callable[[Moment], None] = lambda _now: None,
) -> torch.Tensor:
    """Final latents (batch, ...) from initial ones, in the dtype of the latents.

    guidance_channels: guidance acts on so many of the first, 0 for all. noises: of `ddpm`, which needs them,
    the noise of each step (`step_noise`). prompt: see `Moment`. null: conditions of one sample that
    say nothing, where they are not the process's own. `on_step` is told the moment before each step, and once
    more, with step = steps, at the end. The solver's arithmetic is float32 whatever the network's dtype.
    """
    way = _way(process, sampler, steps, noises)
    guided, channels = guidance_scale > 1, latents.shape[1]
    told = 2 * channels if sampler == DDPM and process.learned_variance else channels
    if guided:
        pairs = zip(conditions, _null(process, conditions, null), strict=True)
        conditions = tuple(torch.cat(pair) for pair in pairs)
    dtype = latents.dtype
    state: torch.Tensor = latents.float() * way.scale
    for step, now in enumerate(way.moments(guided=guided, prompt=prompt)):
        on_step(now)
        inputs = torch.cat([state, state]) if guided else state
        times = torch.full((len(inputs),), now.time, device=state.device)
        output = predict(inputs.to(dtype), times, *conditions)[:, :told].float()
        if guided:
            output = _guided(output, guidance_scale, guidance_channels or channels)
        state = way.move(output, step, state)
    on_step(Moment(steps, steps, math.inf, guided, prompt, 0.0))
    return state.to(dtype)


def _null(
    process: Process,
    conditions: tuple[torch.Tensor, ...],
    given: tuple[torch.Tensor, ...] | None,
) -> tuple[torch.Tensor, ...]:
    if given is None:
        return process.null(conditions)
    return tuple(one.expand_as(like) for one, like in zip(given, conditions, strict=True))


def _guided(output: torch.Tensor, scale: float, channels: int) -> torch.Tensor:
    """(batch, ...) from (2 batch, ...): the first channels guided, the others as they are with the class."""
    with_class, without = output.chunk(2)
    first = without[:, :channels]
    first = first + scale * (with_class[:, :channels] - first)
    rest = with_class[:, channels:]
    return torch.cat([first, rest], dim=1) if rest.shape[1] else first


@dataclass(frozen=True)
class _Way:
    """From noise to data. times: what the network is told at each step. scale: of the first state.

    signals: at each step, what share of the state's variance is the data's.

    move: the next state from a prediction (and the variance that came with it), the step's number and the
    state.
    """

    times: list[float]
    signals: list[float]
    move: Callable[[torch.Tensor, int, torch.Tensor], torch.Tensor]
    scale: float = 1.0

    def moments(self, *, guided: bool, prompt: float) -> list[Moment]:
        """Before each step."""
        each = zip(self.times, self.log_snrs, strict=True)
        return [
            Moment(step, len(self.times), log_snr, guided, prompt, time)
            for step, (time, log_snr) in enumerate(each)
        ]

    @property
    def log_snrs(self) -> list[float]:
        """Natural logarithms of signal over noise at each step; of a state that is all noise, -inf."""
        return [
            math.log(s / (1 - s)) if 0 < s < 1 else math.copysign(math.inf, s - 0.5)
            for s in self.signals
        ]


def _way(
    process: Process, sampler: str, steps: int, noises: Callable[[], torch.Tensor] | None
) -> _Way:
    if sampler == FLOW:
        return _flow(process, steps)
    if sampler != DDPM:
        return _diffusion(process, sampler, steps)
    if noises is None:
        raise ValueError("ddpm draws noise at every step, and was given none")
    return _ancestral(process, steps, noises)


def sigmas(shift: float, steps: int) -> list[float]:
    """The share of noise in the state before each step, from 1, and after the last, 0.

    s' = c s / (1 + (c - 1) s) for evenly spaced s and shift c (Esser et al., 2024, arXiv 2403.03206).
    """
    even = [left / steps for left in range(steps, -1, -1)]
    return [shift * s / (1 + (shift - 1) * s) for s in even]


def _flow(process: Process, steps: int) -> _Way:
    """Euler steps along a rectified flow: x_s = (1 - s) data + s noise, v = noise - data."""
    left = sigmas(process.shift, steps)

    def straight(output: torch.Tensor, step: int, state: torch.Tensor) -> torch.Tensor:
        return state + (left[step + 1] - left[step]) * output

    times = [TRAIN_STEPS * s for s in left[:-1]]
    # x = (1 - s) data + s noise: the variances are the squares.
    return _Way(times, [(1 - s) ** 2 / ((1 - s) ** 2 + s**2) for s in left[:-1]], straight)


def _diffusion(process: Process, sampler: str, steps: int) -> _Way:
    """DDIM is ours, without noise: diffusers' goes to t - 1000 // steps, which is not always the next."""
    plan = scheduler(process, sampler, steps)
    times: list[float] = plan.timesteps.tolist()
    # Of the data's variance, what is left at each timestep, and at the end all of it.
    left: list[float] = [*plan.alphas_cumprod[plan.timesteps].tolist(), 1.0]

    def solve(output: torch.Tensor, step: int, state: torch.Tensor) -> torch.Tensor:
        moved: torch.Tensor = plan.step(output, times[step], state).prev_sample
        return moved

    def straight(output: torch.Tensor, step: int, state: torch.Tensor) -> torch.Tensor:
        clean, epsilon = _parts(process, left[step], output, state)
        then = left[step + 1]
        return math.sqrt(then) * clean + math.sqrt(1 - then) * epsilon

    move = solve if sampler == "dpmsolver++" else straight
    return _Way(times, left[:-1], move, float(plan.init_noise_sigma))


def _parts(
    process: Process, left: float, output: torch.Tensor, state: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Clean picture and noise in a state, as the prediction has them. left: of the data's variance."""
    signal, noise = math.sqrt(left), math.sqrt(1 - left)
    if process.prediction == "v_prediction":
        return signal * state - noise * output, signal * output + noise * state
    return (state - noise * output) / signal, output


def remaining(process: Process, times: Sequence[float]) -> list[float]:
    """What is left of the data's variance at these timesteps, float64: 1 - abar, and hence beta, is small."""
    betas = scheduler(process, "ddim", 1).betas.double()
    alphas = torch.cumprod(1 - betas, dim=0)
    return [float(alphas[int(time)]) for time in times]


def _ancestral(process: Process, steps: int, noises: Callable[[], torch.Tensor]) -> _Way:
    """Each state is drawn given the one before: mean of the posterior under the predicted clean picture.

    Its variance is the posterior's own, the least there can be, unless the network has learned where
    between that and beta it lies: log variance = f log beta + (1 - f) log least with f = (v + 1) / 2
    (arXiv 2102.09672, equation 15). The clean picture is not clipped, and the last step draws nothing.
    """
    times: list[float] = [*spaced(steps)]  # as whole numbers, which are what the network was told
    left = [*remaining(process, times), 1.0]

    def move(output: torch.Tensor, step: int, state: torch.Tensor) -> torch.Tensor:
        wanted, spread = output[:, : state.shape[1]], output[:, state.shape[1] :]
        clean, _ = _parts(process, left[step], wanted, state)
        at = posterior(left[step], left[step + 1])
        mean = at.of_clean * clean + at.of_state * state
        if step + 1 == steps:
            return mean
        noise = _beside(noises(), state.device)
        if not spread.shape[1]:
            return mean + math.sqrt(at.least) * noise
        least, most = math.log(at.least), math.log(at.most)
        share = (spread + 1) / 2
        return mean + torch.exp(0.5 * (share * most + (1 - share) * least)) * noise

    return _Way(times, left[:-1], move)


def _beside(noise: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Without waiting for the device: the next forward is queued while this one runs."""
    if device.type == "cpu":
        return noise
    return noise.pin_memory().to(device, non_blocking=True)


def unsuited(process: Process, sampler: str, guidance_channels: int = 0) -> list[str]:
    """Why a sampler cannot solve what this model predicts, or guidance cannot act on so many channels."""
    told = []
    if (process.prediction == "flow") != (sampler == FLOW):
        others = [name for name in SAMPLERS if name != FLOW]
        wanted = FLOW if process.prediction == "flow" else " or ".join(others)
        told.append(
            f"sampler {sampler} cannot follow a model that predicts {process.prediction}: "
            f"write sampler: {wanted}"
        )
    channels = process.latent[0] if len(process.latent) == 3 else 0
    if guidance_channels and not channels:
        told.append("guidance_channels: its latents have no channels of their own, write all")
    elif guidance_channels > channels:
        told.append(f"guidance_channels {guidance_channels}: its latents have {channels} channels")
    return told
