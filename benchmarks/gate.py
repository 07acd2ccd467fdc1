"""How often each rule flags what did not change, and misses what did: a simulation of noisy machines.

    python benchmarks/gate.py [--trials 20000] [--seed 0] [--json]

A time is night + process + sample, on the logarithmic scale. Night and process are normal, of the deviations
that `MODELS` name; in the bimodal model a process is 11 % slower with probability 1/4. Samples are normal
with 0.5 % deviation, in the typical model an AR(1) sequence of 0.9, and 2 % of them are late by an
exponential time of 5 %. A process takes 20 samples, unless a rule takes another number.

Rules of one session (`confirm`) see both arms on one night. The others see the baseline on an earlier one, as
they would in use. A/A columns count any verdict but "unchanged" and "inconclusive"; the others count
"slower". Our own rules go through `ditbench.deciding`, which is what `ditbench compare` and `ab` call.

  confirm                  five processes an arm, eight where two modes show
  confirm, turns           both arms call by call in each of five processes
  confirm of ten           ten cells in the session, of which this is one and nine are unchanged
  screen, then confirm     the screen against ten nights of five processes, and what it flags
  ... without, with        what confirm would be with other parts, and why it has those that it has
  asv                      Mann-Whitney p < 0.002 and 1.1 x, 2 processes of 5 samples; one-sided guard
  pyperf                   Student's t over 20 processes of 3 values
  criterion                bootstrap of means of one process's samples, beyond 1 %
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import special, stats

from ditbench import deciding

Array = NDArray[np.float64]
Codes = NDArray[np.int8]

GATE = 0.02
NIGHTS, PROCESSES, SAMPLES = 10, 5, 20
SAMPLE, LATE_SHARE, LATE = 0.005, 0.02, 0.05
SLOW = np.log(1.11)
EFFECTS = (0.0, 0.03, 0.05, 0.10)
CELLS = 10
# Trials and draws of the one row that resamples each trial.
_FEW, _DRAWS = 1000, 200


@dataclass(frozen=True)
class Model:
    """Relative deviations of nights and processes, AR(1) of samples, share of slow processes."""

    night: float
    process: float
    correlation: float = 0.0
    slow: float = 0.0


MODELS = {
    "quiet": Model(0.003, 0.002),
    "typical": Model(0.01, 0.005, 0.9),
    "bimodal": Model(0.01, 0.005, 0.0, 0.25),
}


@dataclass(frozen=True)
class Machine:
    """A noisy machine: all its numbers have the trials as their first axis."""

    model: Model
    trials: int
    rng: np.random.Generator

    def night(self) -> Array:
        """What all processes of a night share, (trials,)."""
        return self.rng.normal(0, self.model.night, self.trials)

    def process(self, number: int) -> Array:
        """(trials, number)."""
        shape = self.trials, number
        slow = SLOW * (self.rng.random(shape) < self.model.slow)
        return self.rng.normal(0, self.model.process, shape) + slow

    def samples(self, number: int, each: int) -> Array:
        """(trials, number, each) of what differs within processes."""
        noise = self.rng.normal(0, 1, (self.trials, number, each))
        rest = np.sqrt(1 - self.model.correlation**2)
        for one in range(1, each):
            noise[..., one] = self.model.correlation * noise[..., one - 1] + rest * noise[..., one]
        late = self.rng.random(noise.shape) < LATE_SHARE
        return SAMPLE * noise + late * self.rng.exponential(LATE, noise.shape)

    def times(self, number: int, each: int = SAMPLES, night: Array | None = None) -> Array:
        """(trials, number, each) seconds. night: None for one of its own."""
        night = self.night() if night is None else night
        parts = night[:, None, None] + self.process(number)[..., None] + self.samples(number, each)
        return np.asarray(np.exp(parts))


@dataclass(frozen=True)
class Duel:
    """Process medians of two arms on one night, (trials, 8), the first five first."""

    base: Array
    judged: Array

    @classmethod
    def of(cls, machine: Machine, effect: float, night: Array | None = None) -> Duel:
        """B is slower by the effect. night: None for one of its own."""
        night = machine.night() if night is None else night
        a, b = (np.median(machine.times(deciding.MOST, night=night), axis=-1) for _ in range(2))
        return cls(a, (1 + effect) * b)

    def first(self, number: int) -> tuple[Array, Array]:
        """The arms' first processes."""
        return self.base[:, :number], self.judged[:, :number]

    @property
    def codes(self) -> Codes:
        """As a session ends: with eight processes an arm where five show two modes."""
        five, eight = self.first(PROCESSES), self.first(deciding.MOST)
        more = deciding.wants_more(*five)
        return np.where(more, *(deciding.decide(*one, GATE).codes for one in (eight, five)))

    @property
    def p(self) -> Array:
        """Likewise."""
        five, eight = self.first(PROCESSES), self.first(deciding.MOST)
        more = deciding.wants_more(*five)
        return np.where(more, *(deciding.p_value(*one) for one in (eight, five)))


def confirm(machine: Machine, effect: float) -> Codes:
    """The session by itself."""
    return Duel.of(machine, effect).codes


def confirm_five(machine: Machine, effect: float) -> Codes:
    """Without going on to eight."""
    return deciding.decide(*Duel.of(machine, effect).first(PROCESSES), GATE).codes


def confirm_turns(machine: Machine, effect: float) -> Codes:
    """Both arms in each process: they share its mode and its luck."""
    shared = machine.night()[:, None] + machine.process(PROCESSES)
    a, b = (np.exp(machine.samples(PROCESSES, SAMPLES)) for _ in range(2))
    b *= 1 + effect
    own = np.exp(np.median(np.log(b / a), axis=-1))
    medians = (np.exp(shared) * np.median(one, axis=-1) for one in (a, b))
    return deciding.decide(*medians, GATE, own).codes


def confirm_of_ten(machine: Machine, effect: float) -> Codes:
    """Held to its share of false discoveries beside nine cells that did not change."""
    duel = Duel.of(machine, effect)
    return _discovered(machine, duel.codes, duel.p, lambda one: one.p)


def confirm_of_ten_ranks(machine: Machine, effect: float) -> Codes:
    """The same with the p value of Mann and Whitney."""
    duel = Duel.of(machine, effect)
    return _discovered(machine, duel.codes, _ranks(duel), _ranks)


def _ranks(duel: Duel) -> Array:
    return _mann_whitney(*duel.first(PROCESSES))


def _discovered(machine: Machine, codes: Codes, p: Array, of: Callable[[Duel], Array]) -> Codes:
    others = [of(Duel.of(machine, 0.0)) for _ in range(CELLS - 1)]
    q = stats.false_discovery_control(np.stack([p, *others]), axis=0)[0]
    return np.where(q <= 0.05, codes, deciding.INCONCLUSIVE)


def confirm_ranks(machine: Machine, effect: float) -> Codes:
    """With Mann and Whitney's p <= 0.01 on top."""
    duel = Duel.of(machine, effect)
    return np.where(_ranks(duel) <= 0.01, duel.codes, deciding.INCONCLUSIVE)


def confirm_interval(machine: Machine, effect: float) -> Codes:
    """With a bootstrap interval over processes that must not contain 1, on the first trials."""
    duel = Duel.of(machine, effect)
    a, b = (one[:_FEW] for one in duel.first(PROCESSES))
    drawn = (machine.rng.integers(PROCESSES, size=(len(a), _DRAWS, PROCESSES)) for _ in range(2))
    sides = (
        np.take_along_axis(one[:, None], at, -1) for one, at in zip((a, b), drawn, strict=True)
    )
    low, high = np.quantile(deciding.ratio(*sides), (0.025, 0.975), axis=-1)
    return np.where((low > 1) | (high < 1), duel.codes[:_FEW], deciding.INCONCLUSIVE)


def two_stages(machine: Machine, effect: float) -> Codes:
    """Screened against ten nights, then confirmed on the night of the screen."""
    nights = [np.median(machine.times(PROCESSES), axis=-1) for _ in range(NIGHTS)]
    history = np.stack([np.median(one, axis=-1) for one in nights], axis=-1)
    night = machine.night()
    medians = np.median(machine.times(PROCESSES, night=night), axis=-1)
    flagged = deciding.screened(history, (1 + effect) * np.median(medians, axis=-1), GATE)
    return np.where(flagged, Duel.of(machine, effect, night).codes, deciding.UNCHANGED)


def asv(machine: Machine, effect: float) -> Codes:
    """`asv continuous`: is_different and the factor."""
    a, b = (machine.times(2, 5).reshape(machine.trials, -1) for _ in range(2))
    b = (1 + effect) * b
    least = 1 / special.binom(a.shape[-1] + b.shape[-1], a.shape[-1])
    different = (_mann_whitney(a, b) < 0.002) & (least < 0.002)
    factor = np.median(b, axis=-1) / np.median(a, axis=-1)
    return _signed(different & (factor > 1.1), different & (factor < 1 / 1.1))


def pyperf(machine: Machine, effect: float) -> Codes:
    """`pyperf compare_to`: significant at 95 %."""
    a, b = (machine.times(20, 3).reshape(machine.trials, -1) for _ in range(2))
    b = (1 + effect) * b
    significant = stats.ttest_ind(a, b, axis=-1).pvalue < 0.05
    slower = b.mean(axis=-1) > a.mean(axis=-1)
    return _signed(significant & slower, significant & ~slower)


def criterion(machine: Machine, effect: float) -> Codes:
    """The interval of the relative change of means beyond its noise threshold, of one process a side."""
    means = []
    for factor in (1.0, 1 + effect):
        times = factor * machine.times(1)[:, 0]
        drawn = machine.rng.integers(SAMPLES, size=(machine.trials, _DRAWS, SAMPLES))
        means.append(np.take_along_axis(times[:, None], drawn, -1).mean(axis=-1))
    low, high = np.quantile(means[1] / means[0] - 1, (0.025, 0.975), axis=-1)
    return _signed(low > 0.01, high < -0.01)


def _signed(slower: NDArray[np.bool_], faster: NDArray[np.bool_]) -> Codes:
    codes = np.where(slower, deciding.REGRESSED, np.where(faster, deciding.IMPROVED, 0))
    return np.asarray(codes, np.int8)


def _mann_whitney(a: Array, b: Array) -> Array:
    """Two-sided and exact; times of a simulation have no ties."""
    return np.asarray(stats.mannwhitneyu(a, b, axis=-1, method="exact").pvalue)


Rule = Callable[[Machine, float], Codes]
OURS: dict[str, Rule] = {
    "confirm": confirm,
    "confirm, turns": confirm_turns,
    "confirm of ten": confirm_of_ten,
    "screen, then confirm": two_stages,
}
CHOICES: dict[str, Rule] = {
    "confirm without eight": confirm_five,
    "confirm with interval": confirm_interval,
    "confirm with ranks": confirm_ranks,
    "confirm of ten with ranks": confirm_of_ten_ranks,
}
OTHERS: dict[str, Rule] = {"asv": asv, "pyperf": pyperf, "criterion": criterion}
# What does not need as many trials as a rate of one in a thousand does, and takes longest.
_COARSE = 3000


@dataclass(frozen=True)
class Row:
    """Shares of trials that a rule flagged, by effect."""

    model: str
    rule: str
    trials: int
    flagged: dict[float, float] = field(default_factory=dict)


def rows(rules: dict[str, Rule], trials: int, seed: int = 0) -> Iterator[Row]:
    """One row a model and rule; the same for the same seed."""
    for model_at, (name, model) in enumerate(MODELS.items()):
        for rule_name, rule in rules.items():
            many = trials if rule_name in OURS else min(trials, _COARSE)
            flagged = {}
            for effect_at, effect in enumerate(EFFECTS):
                # Equal draws for all rules, as far as they take equally many.
                rng = np.random.default_rng((seed, model_at, effect_at))
                codes = rule(Machine(model, many, rng), effect)
                flagged[effect] = _share(codes, effect)
            yield Row(name, rule_name, many, flagged)


def _share(codes: Codes, effect: float) -> float:
    wanted = [deciding.REGRESSED] if effect else [deciding.REGRESSED, deciding.IMPROVED]
    return float(np.isin(codes, wanted).mean())


def show(found: list[Row]) -> None:
    """A table for people."""
    titles = ["A/A" if not effect else f"+{effect:.0%}" for effect in EFFECTS]
    table = Table("model", "rule", "trials", *titles)
    for row in found:
        shares = (f"{share:.4f}" for share in row.flagged.values())
        table.add_row(row.model, row.rule, str(row.trials), *shares)
    Console().print(table)


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = list(rows(OURS | CHOICES | OTHERS, asked.trials, asked.seed))
    if not asked.json:
        show(found)
        return
    plain = [
        {
            "model": row.model,
            "rule": row.rule,
            "trials": row.trials,
            "effect": effect,
            "flagged": share,
        }
        for row in found
        for effect, share in row.flagged.items()
    ]
    print(json.dumps(plain, indent=1))


if __name__ == "__main__":
    main()
