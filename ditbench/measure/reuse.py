"""The audit of a method with memory, or of an accelerator: one whole sampling run, watched at every forward.

Its layers tell what they spared; a counter of multiply-adds inside their sites, the tensors that they hold
and softmax's own states of the same noise say whether that is so, what it costs in memory, and how far the
run drifts. Nothing here is ever timed.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from ditbench.attention.base import Layer, Site
from ditbench.attention.memory import ALL, Decision
from ditbench.measure import decisions, opened
from ditbench.measure.bench import Bench, Inputs
from ditbench.measure.core import CORE_TOLERANCE
from ditbench.measure.decisions import Decisions, Told
from ditbench.measure.evidence import Evidence, GateError, fingerprint, relative
from ditbench.measure.operators import count, each_forward, formulas, macs_of
from ditbench.models.seam import Denoiser
from ditbench.reuse import spent
from ditbench.stats import middle

if TYPE_CHECKING:
    from ditbench.attention.base import Finish, Moment, Output, Project

# How far the multiply-adds that decisions tell may lie from those that a counter finds.
_TOLERANCE = 0.01
_SQNR = "sqnr_"  # how a decision tells what storing lost
_ROUNDING = 1e-9  # of sums of multiply-adds

Metrics = dict[str, tuple[float, ...]]
# Of each site, by the name of its module: multiply-adds of each projection of all rows, "qkvo".
Prices = Mapping[str, Mapping[str, float]]


def remembers(bench: Bench) -> bool:
    """Whether anything of the cell keeps something between calls."""
    stateless = all(bench.method.open(site).stateless for site in bench.sites)
    return bench.cell.is_accelerated or not stateless


def audit(
    bench: Bench, step_macs: float, evidence: Evidence, say: Callable[[str], None]
) -> Metrics:
    """Metrics of a cell with memory. step_macs: of one step that spares nothing.

    What an accelerator spares is what was seen not to run, so its multiply-adds are those that were counted.

    Raises GateError where decisions are not all forwards or not what they say, the multiply-adds are others
    than they tell, or a second run after another one ends elsewhere than the first.
    """
    size = bench.cell.batch_size
    batch, other = (bench.inputs(range(n * size, (n + 1) * size)) for n in range(2))
    say("auditing")
    exact, ours = _watched(bench, batch, exact=True), _watched(bench, batch)
    _check_forgets(bench, other, batch, ours.states[-1], evidence)
    evidence.facts["knob_digest"] = fingerprint(ours.states[-1])
    told = Told(ours.decisions, bench.cell.steps)
    countable = not evidence.facts.get("uncounted")
    if bench.cell.is_accelerated and countable:
        _check_skipped(told, ours.total, step_macs * told.steps)
    if not ours.decisions:  # an accelerator that changes what runs, and skips none of it
        return {}
    decisions.check(told.decisions, told.steps)
    macs = ours.total
    if not bench.cell.is_accelerated:
        prices = _prices(bench, batch)
        _check_macs(bench, ours, prices, countable=countable)
        spared = (_spared(bench, site, ours.decisions[site.name], prices) for site in bench.sites)
        macs = step_macs * told.steps - sum(spared)
    drift = [relative(mine, theirs) for mine, theirs in zip(ours.states, exact.states, strict=True)]
    evidence.facts["reuse"] = {**told.facts, "drift": drift, **_listened(bench, batch)}
    return {
        "reuse_ratio": (told.ratio,),
        "cache_bytes": (float(ours.held),),
        "trajectory_macs": (macs,),
    }


@dataclass
class _Run:
    """states: latents before each step, and the last. macs: found in each site's forwards, in order.

    total: multiply-adds of the whole run. held: most bytes that layers and accelerator kept between steps,
    beyond what they were opened with.
    """

    states: list[torch.Tensor] = field(default_factory=list)
    macs: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    total: float = 0.0
    held: int = 0
    decisions: Decisions = field(default_factory=dict)


def _watched(bench: Bench, inputs: Inputs, *, exact: bool = False) -> _Run:
    """A whole run by the cell's method, or by fused softmax in its place."""
    denoiser, found = bench.denoiser, _Run()
    denoiser.install(bench.everywhere("sdpa") if exact else bench.layers)
    layers = [denoiser.layers()[site.name] for site in bench.sites]
    before = _held(denoiser, layers)

    def predict(latents: torch.Tensor, *told: torch.Tensor) -> torch.Tensor:
        found.states.append(latents[: bench.cell.batch_size].float().cpu())
        return denoiser(latents, *told)

    def on_step(_step: int) -> None:
        found.held = max(found.held, _held(denoiser, layers) - before)

    with _counting(bench, found.macs) as counter:
        last = bench.sample(inputs, on_step=on_step, predict=predict)
    found.states.append(last.float().cpu())
    found.total = macs_of(counter)
    if not exact:
        found.decisions = decisions.of(denoiser)
    return found


def _held(denoiser: Denoiser, layers: Iterable[Layer]) -> int:
    return opened.size(layers) + denoiser.accelerated.cache_bytes


@contextlib.contextmanager
def _counting(bench: Bench, macs: dict[str, list[float]]) -> Iterator[FlopCounterMode]:
    """A counter of everything, which notes the multiply-adds of every forward of the cell's sites."""
    own = formulas(bench.method.counted)
    with (
        FlopCounterMode(display=False, custom_mapping=own) as counter,
        contextlib.ExitStack() as hooks,
    ):
        for site in bench.sites:
            module = bench.denoiser.network.get_submodule(site.name)
            hooks.enter_context(each_forward(module, counter, macs[site.name].append))
        yield counter


def _check_skipped(told: Told, found: float, whole: float) -> None:
    """An accelerator that says that it skipped did so, and one that does not say so did not.

    found: multiply-adds of the run. whole: of one in which every step spares nothing.
    """
    if told.reused and found >= whole * (1 - _ROUNDING):
        raise GateError(
            f"tells of {told.reused} spared forwards, where a counter finds all {whole:.4g} multiply-adds"
        )
    if not told.reused and found < whole * (1 - _TOLERANCE):
        raise GateError(
            f"tells of no spared forward, where a counter finds {found:.4g} of {whole:.4g} multiply-adds"
        )


def _check_macs(bench: Bench, ours: _Run, prices: Prices, *, countable: bool) -> None:
    """Of every site and step: a method that says that it reused did skip the work.

    countable: whether a counter knows all operators of the core. Where it does not, it may find them or not:
    what it finds lies between the projections alone and all that is told.
    """
    for site in bench.sites:
        full, said = bench.method.macs(site.shape(bench.cell.rows)), defaultdict[int, float](float)
        hidden, padded = defaultdict[int, float](float), defaultdict[int, float](float)
        for one in ours.decisions[site.name]:
            _check_reused(site, one, full)
            said[one.step] += _told(one, prices[site.name])
            hidden[one.step] += 0 if countable else one.core
            padded[one.step] += one.core * _padding(site, bench.device)
        for step, found in enumerate(ours.macs[site.name]):
            room = _TOLERANCE * max(found, said[step])
            least, most = said[step] - hidden[step], said[step] + padded[step]
            if not least - room <= found <= most + room:
                raise GateError(
                    f"{site.name} tells of {said[step]:.4g} multiply-adds in step {step}, where a counter "
                    f"finds {found:.4g}: it did not skip what it says"
                )


def _padding(site: Site, device: torch.device) -> float:
    """How much more of a core counters may find: on CUDA torch fills heads up to 8 n channels unseen."""
    return -site.head_dim % 8 / site.head_dim if device.type == "cuda" else 0.0


def _check_reused(site: Site, one: Decision, full: float) -> None:
    """Reused is what spared something, and nothing else. full: multiply-adds of the core of all rows."""
    spares = {*one.ran} != {*ALL} or one.rows < one.of or one.core < full * one.of * (1 - _ROUNDING)
    if spares != one.reused:
        said = "reused" if one.reused else "computed"
        what = "something" if spares else "nothing"
        raise GateError(
            f"{site.name} says that step {one.step} {said}, and by its own decision {what} was spared"
        )


def _told(one: Decision, prices: Mapping[str, float]) -> float:
    """Multiply-adds of a forward as its decision tells them."""
    return one.core + one.rows * sum(prices[part] for part in one.ran)


def _spared(bench: Bench, site: Site, told: Sequence[Decision], prices: Prices) -> float:
    """Multiply-adds that a site did not spend in the whole run, of those that it spends in every step."""
    full = bench.method.macs(site.shape(bench.cell.rows)) + sum(prices[site.name].values())
    return full * bench.cell.steps - sum(_told(one, prices[site.name]) for one in told)


def _check_forgets(
    bench: Bench, other: Inputs, batch: Inputs, first: torch.Tensor, evidence: Evidence
) -> None:
    """What was made of a batch is made of it again after another: bit for bit, on a GPU up to rounding."""
    for inputs in (other, batch):
        last = _sampled(bench, inputs).float().cpu()
    error = relative(last, first)
    rounds = max(evidence.facts["rounding"], CORE_TOLERANCE["float32"])
    if error > (0 if bench.device.type == "cpu" else rounds):
        raise GateError(
            f"a batch sampled again after another one ends {error:.2g} elsewhere: state is kept between runs"
        )


def _sampled(bench: Bench, inputs: Inputs) -> torch.Tensor:
    bench.denoiser.install(bench.layers)
    return bench.sample(inputs)


def _listened(bench: Bench, batch: Inputs) -> dict[str, Any]:
    """What is found out in a run that is listened to, and only as far as a method has it found out.

    gate_share: of its seconds those that went into decisions. sqnr: in dB, by what was stored rounded, the
    middle of all that were stored.
    """
    begin = time.perf_counter()
    with spent.collect(bench.device) as found:
        _sampled(bench, batch)
        found.settle()
    seconds = time.perf_counter() - begin - found.aside
    lost: dict[str, list[float]] = defaultdict(list)
    for told in decisions.of(bench.denoiser).values():
        for name, value in (pair for one in told for pair in one.seen.items()):
            if name.startswith(_SQNR) and isfinite(value):
                lost[name.removeprefix(_SQNR)].append(value)
    share = {"gate_share": found.seconds / seconds} if found.times else {}
    return share | ({"sqnr": {name: middle(all_) for name, all_ in lost.items()}} if lost else {})


@dataclass
class _Priced:
    """A layer that counts each projection by itself, and attends with none of them."""

    stateless: ClassVar[bool] = False

    prices: dict[str, float]

    def __call__(self, x: torch.Tensor, project: Project, finish: Finish, now: Moment) -> Output:  # noqa: ARG002 (any step)
        found: dict[str, torch.Tensor] = {}

        def one(part: str) -> Callable[[], object]:
            return lambda: found.update(zip(part, project(x, part), strict=True))

        for part in "qkv":
            self.prices[part] = count(one(part))
        out: list[Output] = []
        self.prices["o"] = count(lambda: out.append(finish(found["v"])))
        return out[0]


def _prices(bench: Bench, inputs: Inputs) -> Prices:
    """What each projection of each site costs, found in one step."""
    prices: dict[str, dict[str, float]] = {site.name: {} for site in bench.sites}
    rest = bench.layers  # which leaves sites alone that no method may go to
    bench.denoiser.install(
        lambda site: _Priced(prices[site.name]) if site.name in prices else rest(site)
    )
    bench.sample(inputs, 1)
    return prices
