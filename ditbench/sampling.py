"""Our own sampling loop over diffusers' schedulers: labels, guidance and noise under our control.

Guidance (Ho & Salimans, 2022, arXiv 2207.12598): eps = eps_null + s (eps_class - eps_null), both halves
in one forward of twice the rows, classes first. Guidance acts on every latent channel, as in diffusers;
a learned sigma is discarded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

from ditbench.models.base import drawn

_TRAIN_STEPS = 1000
FLOW = "flow-euler"
SAMPLERS = ("ddim", "dpmsolver++", FLOW)


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
        "num_train_timesteps": _TRAIN_STEPS,
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
    made.timesteps = torch.tensor(trailing(steps))
    return made


def trailing(steps: int) -> list[int]:
    """So many timesteps, evenly spaced from the noisiest down; the interval after the last ends at the data.

    Exact: diffusers adds up floats, and for 61 steps (and 61 other numbers up to 1000) makes one too many.
    """
    return [round(Fraction(_TRAIN_STEPS * left, steps)) - 1 for left in range(steps, 0, -1)]


def noise(process: Process, seed: int, indices: Sequence[int]) -> torch.Tensor:
    """Initial latents (len(indices), ...), float32 on the CPU; an image depends on its index alone."""
    return drawn(seed, indices, process.latent)


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
    on_step: Callable[[int], None] = lambda _step: None,
) -> torch.Tensor:
    """Final latents (batch, ...) from initial ones, in the dtype of the latents.

    `on_step(i)` is called before step i and once more, with `steps`, at the end. The solver's
    arithmetic is float32 whatever the network's dtype.
    """
    way = _flow(process, steps) if sampler == FLOW else _diffusion(process, sampler, steps)
    guided = guidance_scale > 1
    if guided:
        pairs = zip(conditions, process.null(conditions), strict=True)
        conditions = tuple(torch.cat(pair) for pair in pairs)
    dtype = latents.dtype
    state: torch.Tensor = latents.float() * way.scale
    for step, time in enumerate(way.times):
        on_step(step)
        inputs = torch.cat([state, state]) if guided else state
        times = torch.full((len(inputs),), time, device=state.device)
        output = predict(inputs.to(dtype), times, *conditions)[:, : state.shape[1]].float()
        if guided:
            with_class, without = output.chunk(2)
            output = without + guidance_scale * (with_class - without)
        state = way.move(output, step, state)
    on_step(steps)
    return state.to(dtype)


@dataclass(frozen=True)
class _Way:
    """From noise to data. times: what the network is told at each step. scale: of the first state.

    move: the next state from a prediction, the step's number and the state.
    """

    times: list[float]
    move: Callable[[torch.Tensor, int, torch.Tensor], torch.Tensor]
    scale: float = 1.0


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

    return _Way([_TRAIN_STEPS * s for s in left[:-1]], straight)


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
        now, then = left[step], left[step + 1]
        signal, noise = math.sqrt(now), math.sqrt(1 - now)
        if process.prediction == "v_prediction":
            clean, epsilon = signal * state - noise * output, signal * output + noise * state
        else:
            clean, epsilon = (state - noise * output) / signal, output
        return math.sqrt(then) * clean + math.sqrt(1 - then) * epsilon

    return _Way(
        times, solve if sampler == "dpmsolver++" else straight, float(plan.init_noise_sigma)
    )


def unsuited(process: Process, sampler: str) -> list[str]:
    """Why a sampler cannot solve what this model predicts; empty where it can."""
    if (process.prediction == "flow") == (sampler == FLOW):
        return []
    others = [name for name in SAMPLERS if name != FLOW]
    wanted = FLOW if process.prediction == "flow" else " or ".join(others)
    return [
        f"sampler {sampler} cannot follow a model that predicts {process.prediction}: write sampler: {wanted}"
    ]
