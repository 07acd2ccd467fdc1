"""Our own sampling loop over diffusers' schedulers: labels, guidance and noise under our control.

Guidance (Ho & Salimans, 2022, arXiv 2207.12598): eps = eps_null + s (eps_class - eps_null), both halves
in one forward of twice the rows, classes first. Guidance acts on every latent channel, as in diffusers;
a learned sigma is discarded.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TRAIN_STEPS = 1000
SAMPLERS = ("ddim", "dpmsolver++")


class Process(Protocol):
    """What a sampler must know of the model: the quantity it predicts, under which noise schedule."""

    @property
    def prediction(self) -> str:
        """`epsilon` or `v_prediction`."""

    @property
    def betas(self) -> str:
        """The name of diffusers' noise schedule."""

    @property
    def channels(self) -> int:
        """Latent channels."""

    @property
    def size(self) -> int:
        """Latent height and width."""

    @property
    def classes(self) -> int:
        """Number of classes, which is also the index of the null class."""


class Predict(Protocol):
    """A denoising network: latents (rows, channels, size, size), timesteps (rows,), labels (rows,)."""

    def __call__(
        self, latents: torch.Tensor, timesteps: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """The prediction (rows, at least channels, size, size)."""
        ...


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
    """Initial latents (len(indices), channels, size, size), float32 on the CPU.

    One generator per sample index, so an image depends on its index alone: not on batch, shard or
    device.
    """
    shape = (process.channels, process.size, process.size)
    return torch.stack(
        [
            torch.randn(shape, generator=torch.Generator().manual_seed(_mix(seed, index)))
            for index in indices
        ]
    )


def labels(process: Process, seed: int, indices: Sequence[int]) -> torch.Tensor:
    """Class labels (len(indices),): a seeded permutation of the classes, repeated, so all are equal."""
    order = torch.randperm(process.classes, generator=torch.Generator().manual_seed(seed))
    return order[torch.tensor(list(indices)) % process.classes]


def _mix(seed: int, index: int) -> int:
    """A generator seed for one sample.

    torch's CPU generator takes 32 bits of it, so seeds are spread over those by an odd constant (2^32 over
    the golden ratio): a shift would leave even seeds alike.
    """
    return (seed * 0x9E3779B1 + index) % 2**32


def rows(batch: int, guidance_scale: float) -> int:
    """Rows of one forward: guidance above 1 doubles the batch."""
    return batch * (2 if guidance_scale > 1 else 1)


def sample(  # noqa: PLR0913 (the mathematics has this many arguments)
    predict: Predict,
    process: Process,
    latents: torch.Tensor,
    classes: torch.Tensor,
    *,
    sampler: str,
    steps: int,
    guidance_scale: float,
    on_step: Callable[[int], None] = lambda _step: None,
) -> torch.Tensor:
    """Final latents (batch, channels, size, size) from initial ones, in the dtype of the latents.

    `on_step(i)` is called before step i and once more, with `steps`, at the end. The scheduler's
    arithmetic is float32 whatever the network's dtype.
    """
    plan = scheduler(process, sampler, steps)
    guided = guidance_scale > 1
    if guided:
        classes = torch.cat([classes, torch.full_like(classes, process.classes)])
    move = _mover(plan, process, sampler)
    dtype = latents.dtype
    state: torch.Tensor = latents.float() * plan.init_noise_sigma
    for step, timestep in enumerate(plan.timesteps.tolist()):
        on_step(step)
        inputs = torch.cat([state, state]) if guided else state
        times = torch.full((len(inputs),), timestep, dtype=torch.long, device=state.device)
        output = predict(inputs.to(dtype), times, classes)[:, : process.channels].float()
        if guided:
            with_class, without = output.chunk(2)
            output = without + guidance_scale * (with_class - without)
        state = move(output, step, state)
    on_step(steps)
    return state.to(dtype)


def _mover(
    plan: DDIMScheduler | DPMSolverMultistepScheduler, process: Process, sampler: str
) -> Callable[[torch.Tensor, int, torch.Tensor], torch.Tensor]:
    """The next state from a prediction, the step's number and the state.

    DDIM is ours, without noise: diffusers' goes to timestep t - 1000 // steps, which is not the next one
    where steps do not divide 1000.
    """
    times = plan.timesteps.tolist()
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

    return solve if sampler == "dpmsolver++" else straight
