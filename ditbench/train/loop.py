"""The training loop: one for all arms, so that nothing differs between them but what the file says differs.

    loss = mean |eps - eps_theta(sqrt(abar_t) x + sqrt(1 - abar_t) eps, t, y)|^2    (Ho et al. 2020, eq. 14)

or the same of v where a model predicts that. Everything random is a function of (seed, step) and drawn on the
CPU for the whole batch: arms see the same pictures, timesteps and noise, several processes learn what one
would, and a run that was killed goes on from its checkpoint to the same weights. Labels are dropped once per
sample, here, so that the null class that guidance asks for is the one that was trained.
"""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ditbench import sampling
from ditbench.errors import CELLS_FAILED, DitbenchError
from ditbench.models.base import Conditions, generators
from ditbench.models.seam import Denoiser
from ditbench.train import data, network
from ditbench.train.keeping import Keeping
from ditbench.train.memory import MIB, Peak
from ditbench.train.showing import Showing
from ditbench.train.spec import Arm, Training, autocast
from ditbench.train.state import Epoch, State, Step, fresh, load_from, save_to
from ditbench.train.team import Team

_TIMESTEPS = 1000

# Called with each line of steps.csv, and with the steps there will be.
OnStep = Callable[[Step, int], None]
Batch = tuple[torch.Tensor, torch.Tensor, Conditions, torch.Tensor]


class DivergedError(DitbenchError):
    """A loss that is no number any more: nothing after it would be either."""

    exit_code = CELLS_FAILED


@dataclass(frozen=True)
class Course:
    """The training of one arm. total, per_epoch: steps. called: the network, or what wraps it for a team."""

    training: Training
    arm: Arm
    team: Team
    real: data.Real
    source: data.Source
    noising: Any
    called: Callable[..., Any]
    state: State
    peak: Peak
    nature: network.Nature
    total: int
    per_epoch: int

    @property
    def epoch(self) -> int:
        """The epoch, from 1, that the last step was of."""
        return -(-self.state.step // self.per_epoch)

    @property
    def epoch_is_over(self) -> bool:
        """Whether the last step ended an epoch; the last epoch may be cut short."""
        return self.state.step % self.per_epoch == 0 or self.state.step == self.total

    @property
    def shows_grid(self) -> bool:
        """Whether a grid is due that is not the epoch's."""
        every = self.training.sample_every
        return bool(every) and self.due(every)

    def due(self, every: int) -> bool:
        """Whether what is done so often is to be done now."""
        return self.state.step % every == 0 or self.state.step == self.total


def train(
    training: Training,
    arm: Arm,
    out: Path,
    team: Team | None = None,
    on_step: OnStep = lambda _line, _total: None,
) -> Path:
    """Train an arm, or go on; the last weights' file, in the hub's own layout under `out`/last.

    Raises UsageError where data, checkpoint or the arm's attention are not fit for it.
    """
    team = team or Team(torch.device("cpu"))
    course = _begin(training, arm, out, team)
    state, checkpoint = course.state, out / "checkpoint.safetensors"
    showing = Showing(training, arm, course.real, out, team.device)
    keeping = Keeping(training, arm, out, course.nature, course.peak.of)
    while state.step < course.total:
        _timed_step(course)
        if course.due(training.log_every):
            _note(course)
            on_step(state.lines[-1], course.total)
        if course.epoch_is_over:
            with _aside(course):
                _end_epoch(course, showing, keeping)
        if course.shows_grid and team.leads:
            with _aside(course):
                showing.grid(state.shown, out / f"samples-{state.step:06d}.png")
        if (course.epoch_is_over or course.due(training.save_every)) and team.leads:
            with _aside(course):
                save_to(checkpoint, state, _identity(course))
    if team.leads:
        keeping.weights(state.shown, "last")
        keeping.tables(state)
    team.wait()
    return keeping.file("last")


def _begin(training: Training, arm: Arm, out: Path, team: Team) -> Course:
    """Everything in its place, and what a killed run left taken up."""
    settle(team.device)
    real = data.load(training)
    source = data.source(training, real, out, team)
    nature = network.try_out(arm, team.device, training.precision)
    place = network.placement(arm, team.device, training.batch_size, training.precision)
    peak = Peak(team.device)
    state = fresh(training, network.build(arm, training.seed, team.device))
    denoiser = Denoiser(state.network, arm.spec)
    denoiser.install(place)
    if training.checkpointing:
        network.save_activations(denoiser)
    pictures = real.count
    course = Course(
        training,
        arm,
        team,
        real,
        source,
        sampling.scheduler(arm.spec, "ddim", _TIMESTEPS),
        team.wrapped(state.network),
        state,
        peak,
        nature,
        training.total(pictures),
        pictures // training.batch_size,
    )
    checkpoint = out / "checkpoint.safetensors"
    if checkpoint.exists():
        load_from(checkpoint, state, _identity(course))
    peak.reset()
    return course


def settle(device: torch.device) -> None:
    """The same bits each time: no TF32, and on a GPU no kernel that adds up in an order of its own.

    Where there is no other kernel torch warns, and a resumed run may end in other last bits.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(mode=True, warn_only=True)


def _identity(course: Course) -> dict[str, Any]:
    return course.training.identity(course.arm) | {"data": course.real.dataset.sha256}


def _timed_step(course: Course) -> None:
    """One step. Its loss is read at the end, for which a GPU must have done all of it."""
    state = course.state
    start = time.perf_counter()
    loss = _learn(course, _batch(course))
    spent = time.perf_counter() - start
    state.step += 1
    state.losses.append(loss)
    state.recent.append(loss)
    state.times.append(spent)
    state.seconds += spent
    if not math.isfinite(loss):
        told = f"the loss of step {state.step} is {loss}"
        raise DivergedError(
            f"{network.told(course.arm)}: {told}: a smaller learning_rate, or precision: float32"
        )


def _batch(course: Course) -> Batch:
    """What this process learns of in this step: noised latents, times, conditions, and what to predict."""
    training, spec, step = course.training, course.arm.spec, course.state.step
    device, share = course.team.device, course.team.share(training.batch_size)
    (generator,) = generators(training.seed, [step], 0)
    chosen = data.order(training, course.real.count, step)
    labels = torch.from_numpy(course.real.labels[chosen])
    dropped = torch.rand(len(labels), generator=generator) < training.label_dropout
    if training.label_dropout:
        labels = torch.where(dropped, spec.null((labels,))[0], labels)
    times = torch.randint(_TIMESTEPS, (len(labels),), generator=generator)[share].to(device)
    noise = torch.randn((len(labels), *spec.latent), generator=generator)[share].to(device)
    clean = course.source.clean(chosen[share], device)
    noisy = course.noising.add_noise(clean, noise, times)
    target = noise
    if spec.prediction == "v_prediction":
        target = course.noising.get_velocity(clean, noise, times)
    return noisy, times, (labels[share].to(device),), target


def _learn(course: Course, batch: Batch) -> float:
    """Forward, backward, a step of the optimizer and of the moving average; the loss over the whole team."""
    training, state = course.training, course.state
    noisy, times, conditions, target = batch
    with autocast(training.precision, noisy.device):
        inputs = course.arm.spec.inputs(noisy, times, conditions)
        predicted = course.called(**inputs, return_dict=False)[0]
    loss = nn.functional.mse_loss(predicted[:, : noisy.shape[1]].float(), target)
    for group in state.optimizer.param_groups:
        group["lr"] = training.rate(state.step, course.total)
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    state.scaler.unscale_(state.optimizer)
    nn.utils.clip_grad_norm_(state.network.parameters(), training.clip)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    _average(training, state)
    return float(course.team.mean(loss.detach()))


@torch.no_grad()
def _average(training: Training, state: State) -> None:
    if state.ema is None:
        return
    decay = min(training.ema, (1 + state.step) / (10 + state.step))
    for kept, new in zip(state.ema.parameters(), state.network.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)


def _note(course: Course) -> None:
    """A line of steps.csv: the mean loss since the last one."""
    training, state = course.training, course.state
    state.lines.append(
        Step(
            state.step,
            state.step * training.batch_size,
            statistics.fmean(state.recent),
            training.rate(state.step - 1, course.total),
            round(state.seconds, 1),
        )
    )
    state.recent = []


@contextlib.contextmanager
def _aside(course: Course) -> Iterator[None]:
    """What is no training: it is not timed, and what it holds is not counted."""
    course.state.peak = max(course.state.peak, course.peak.read())
    course.peak.pause()
    yield
    course.peak.go_on()


def _end_epoch(course: Course, showing: Showing, keeping: Keeping) -> None:
    """The epoch's grid, its distance and its line."""
    state, training = course.state, course.training
    distance = None
    if course.team.leads:
        if not training.sample_every:
            showing.grid(state.shown, keeping.folder / f"samples-e{course.epoch:03d}.png")
        if training.quality and (
            course.epoch % training.quality.every == 0 or state.step == course.total
        ):
            distance = state.distances[course.epoch] = showing.distance(state.shown)
    spent, steps = sum(state.times), len(state.times)
    state.epochs.append(
        Epoch(
            course.epoch,
            statistics.fmean(state.losses),
            spent,
            1000 * statistics.median(state.times),
            state.peak / MIB,
            steps * training.batch_size / spent,
            distance if showing.is_fid else None,
        )
    )
    value = distance if training.quality else state.epochs[-1].loss
    state.losses, state.times, state.peak = [], [], 0
    if course.team.leads:
        if value is not None and (state.best is None or value < state.best[1]):
            state.best = (course.epoch, value)
            keeping.weights(state.shown, "best")
        keeping.tables(state)
    course.team.wait()
