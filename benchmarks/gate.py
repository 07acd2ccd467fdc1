"""How often each rule flags what did not change, and misses what did: a simulation of noisy machines.

    python benchmarks/gate.py [--trials 20000] [--seed 0] [--json]      80 seconds of one core

A time is night + process + call, on the logarithmic scale. Night and process are normal, of the deviations
that `MODELS` name; in the bimodal model a process is 11 % slower with probability 1/4. Calls are normal with
0.5 % deviation, in the typical model an AR(1) sequence of 0.9, and 2 % of them are late by an exponential
time of 5 %. Where a rule takes fewer than the 20 processes or 20 calls of a night, it takes the first.

All rules see the same draws: an earlier night and this one, each a run of unchanged code; a session of both
arms on this night; and ten earlier nights, of which the last is that one. B's code is slower by the effect,
which is all that differs between columns. A/A columns count any verdict but "unchanged" and "inconclusive";
the others count "slower". Our own rules are `ditbench.compare`'s, the functions that `compare` and `ab` call.

  confirm                  five processes an arm, eight where two modes show
  confirm, turns           the same with both arms call by call in each process
  confirm of ten           ten cells in the session, of which this is one and nine are unchanged
  screen, then confirm     this night's run beside ten nights, the last the baseline, and what it flags
  baseline, then confirm   the same in the first nights, beside the earlier run alone
  ... without, with        what confirm would be with other parts, and why it has those that it has
  asv                      Mann-Whitney p < 0.002 and 1.1 x, 2 processes of 5 calls; one-sided guard
  pyperf                   Student's t over 20 processes of 3 values
  criterion                bootstrap of means of one process's calls, beyond 1 %

What a session takes back beside the rule that confirms, because the reference method's ratio disagrees or the
machine was not fit, is not simulated: it flags nothing more.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import special, stats

from ditbench import compare, deciding
from ditbench.gating import GATE, MOST, PROCESSES

Array = NDArray[np.float64]
Codes = NDArray[np.int8]

# Processes and calls of a night, for the rule that takes most of them.
RUNS, CALLS = 20, 20
NIGHTS, CELLS = 10, 10
CALL, LATE_SHARE, LATE = 0.005, 0.02, 0.05
SLOW = np.log(1.11)
EFFECTS = (0.0, 0.03, 0.05, 0.10)
# Trials that are drawn at once, and draws of rules that resample each trial.
_TOGETHER, _DRAWS = 1000, 200


@dataclass(frozen=True)
class Model:
    """Relative deviations of nights and processes, AR(1) of calls, share of slow processes."""

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
    """A noisy machine: all its numbers are logarithms and have the trials as their first axis."""

    model: Model
    trials: int
    rng: np.random.Generator

    def night(self) -> Array:
        """What all calls of a night share, (trials, 1, 1)."""
        return self.rng.normal(0, self.model.night, (self.trials, 1, 1))

    def processes(self, number: int) -> Array:
        """What all calls of a process share, (trials, number, 1)."""
        shape = self.trials, number, 1
        slow = SLOW * (self.rng.random(shape) < self.model.slow)
        return self.rng.normal(0, self.model.process, shape) + slow

    def calls(self, number: int) -> Array:
        """What differs within processes, (trials, number, CALLS)."""
        noise = self.rng.normal(0, 1, (self.trials, number, CALLS))
        rest = np.sqrt(1 - self.model.correlation**2)
        for one in range(1, CALLS):
            noise[..., one] = self.model.correlation * noise[..., one - 1] + rest * noise[..., one]
        late = self.rng.random(noise.shape) < LATE_SHARE
        noise *= CALL
        noise[late] += self.rng.exponential(LATE, late.sum())
        return noise

    def times(self, number: int, night: Array) -> Array:
        """(trials, number, CALLS) seconds."""
        return np.asarray(np.exp(night + self.processes(number) + self.calls(number)))


@dataclass(frozen=True)
class Duel:
    """Two arms of a session: medians of processes, (trials, MOST), and in shared ones their own ratios."""

    base: Array
    judged: Array
    paired: Array | None = None

    @classmethod
    def of(cls, a: Array, b: Array, *, turns: bool = False) -> Duel:
        """From all times of both arms. turns: call by call in the same processes."""
        paired = np.exp(np.median(np.log(b / a), axis=-1)) if turns else None
        return cls(np.median(a, axis=-1), np.median(b, axis=-1), paired)

    def slower(self, effect: float) -> Duel:
        """B's code takes so much longer."""
        paired = None if self.paired is None else (1 + effect) * self.paired
        return Duel(self.base, (1 + effect) * self.judged, paired)

    def first(self, number: int) -> Duel:
        """The first processes of each arm."""
        paired = None if self.paired is None else self.paired[:, :number]
        return Duel(self.base[:, :number], self.judged[:, :number], paired)

    @property
    def decided(self) -> compare.Decision:
        """Of all its processes."""
        return compare.decide(self.base, self.judged, GATE, self.paired)

    @cached_property
    def _ended(self) -> tuple[compare.Decision, compare.Decision, NDArray[np.bool_]]:
        """Of five processes an arm and of eight, and whether five become eight."""
        five = self.first(PROCESSES)
        more = compare.wants_more(five.base, five.judged, five.paired)
        return five.decided, self.decided, more

    @property
    def codes(self) -> Codes:
        """As a session ends: with eight processes an arm where five show two modes."""
        five, eight, more = self._ended
        return np.where(more, eight.codes, five.codes)

    @property
    def p(self) -> Array:
        """Likewise."""
        five, eight, more = self._ended
        return np.where(more, eight.p, five.p)


@dataclass(frozen=True)
class Draws:
    """Unchanged code on one machine. Each part has its own generator: it is the same for all rules."""

    model: Model
    trials: int
    seed: tuple[int, ...]

    def rng(self, part: int) -> np.random.Generator:
        """The generator of a part; those from 8 on are of rules that resample."""
        return np.random.default_rng((*self.seed, part))

    def _machine(self, part: int) -> Machine:
        return Machine(self.model, self.trials, self.rng(part))

    @cached_property
    def then(self) -> Array:
        """A run on an earlier night, (trials, RUNS, CALLS) seconds."""
        machine = self._machine(0)
        return machine.times(RUNS, machine.night())

    @cached_property
    def tonight(self) -> Array:
        """What all calls of this night share."""
        return self._machine(1).night()

    @cached_property
    def now(self) -> Array:
        """A run on this night, (trials, RUNS, CALLS) seconds."""
        return self._machine(2).times(RUNS, self.tonight)

    @cached_property
    def _session(self) -> tuple[Array, Array, Array]:
        """A's times, B's times, and what B's calls take in A's processes."""
        machine = self._machine(3)
        (a, b), (of_a, of_b) = (
            [draw(MOST) for _ in range(2)] for draw in (machine.processes, machine.calls)
        )
        parts = (a + of_a, b + of_b, a + of_b)
        first, second, shared = (np.exp(self.tonight + one) for one in parts)
        return first, second, shared

    @cached_property
    def duel(self) -> Duel:
        """A session on this night, each arm in processes of its own."""
        a, b, _ = self._session
        return Duel.of(a, b)

    @cached_property
    def turns(self) -> Duel:
        """The same calls, in processes that both arms share."""
        a, _, shared = self._session
        return Duel.of(a, shared, turns=True)

    @cached_property
    def others(self) -> tuple[Duel, ...]:
        """The other cells of the session, of which none changed."""
        machine = self._machine(4)
        return tuple(
            Duel.of(*(machine.times(MOST, self.tonight) for _ in range(2)))
            for _ in range(CELLS - 1)
        )

    @cached_property
    def nights(self) -> Array:
        """(trials, NIGHTS): what runs of five processes told, oldest first."""
        machine = self._machine(5)
        earlier = [machine.times(PROCESSES, machine.night()) for _ in range(NIGHTS - 1)]
        return np.stack([_told(_medians(one)) for one in (*earlier, self.then)], axis=-1)


def _medians(times: Array) -> Array:
    """(trials, PROCESSES) of a run's first processes."""
    return np.asarray(np.median(times[:, :PROCESSES], axis=-1))


def _told(medians: Array) -> Array:
    """What a run of these processes tells."""
    return np.asarray(np.median(medians, axis=-1))


def confirm(draws: Draws, effect: float) -> Codes:
    """The session by itself."""
    return draws.duel.slower(effect).codes


def confirm_five(draws: Draws, effect: float) -> Codes:
    """Without going on to eight."""
    return draws.duel.slower(effect).first(PROCESSES).decided.codes


def confirm_turns(draws: Draws, effect: float) -> Codes:
    """Both arms in each process: they share its mode and its luck."""
    return draws.turns.slower(effect).codes


def confirm_of_ten(draws: Draws, effect: float) -> Codes:
    """Held to its share of false discoveries beside nine cells that did not change."""
    return _discovered(draws, effect, lambda duel: duel.p)


def confirm_of_ten_ranks(draws: Draws, effect: float) -> Codes:
    """The same with the p value of Mann and Whitney."""
    return _discovered(draws, effect, _ranks)


def _discovered(draws: Draws, effect: float, p: Callable[[Duel], Array]) -> Codes:
    own = draws.duel.slower(effect)
    q = compare.discoveries([p(one) for one in (own, *draws.others)], axis=0)[0]
    return np.where(q <= deciding.DISCOVERIES, own.codes, deciding.INCONCLUSIVE)


def _ranks(duel: Duel) -> Array:
    five = duel.first(PROCESSES)
    return _mann_whitney(five.base, five.judged)


def confirm_ranks(draws: Draws, effect: float) -> Codes:
    """With Mann and Whitney's p <= 0.01 on top."""
    own = draws.duel.slower(effect)
    return np.where(_ranks(own) <= 0.01, own.codes, deciding.INCONCLUSIVE)


def confirm_interval(draws: Draws, effect: float) -> Codes:
    """With a bootstrap interval over processes that must not contain 1."""
    own, rng = draws.duel.slower(effect), draws.rng(8)
    five = own.first(PROCESSES)
    drawn = [rng.integers(PROCESSES, size=(draws.trials, _DRAWS, PROCESSES)) for _ in range(2)]
    sides = (
        np.take_along_axis(one[:, None], at, -1)
        for one, at in zip((five.base, five.judged), drawn, strict=True)
    )
    low, high = np.quantile(deciding.ratio(*sides), (0.025, 0.975), axis=-1)
    return np.where((low > 1) | (high < 1), own.codes, deciding.INCONCLUSIVE)


def two_stages(draws: Draws, effect: float) -> Codes:
    """Screened against ten nights and the baseline, then confirmed on the night of the screen."""
    return _screened(draws, effect, compare.nights(draws.nights))


def first_nights(draws: Draws, effect: float) -> Codes:
    """Screened against one run, the baseline, then confirmed likewise."""
    return _screened(draws, effect, compare.seen(_medians(draws.then)))


def _screened(draws: Draws, effect: float, before: tuple[Array, Array]) -> Codes:
    """No floor was measured, so that what moved beyond what was asked is what a session confirms or not."""
    base, now = _told(_medians(draws.then)), (1 + effect) * _told(_medians(draws.now))
    flagged = compare.screened(before, base, now, GATE, GATE).beyond
    return np.where(flagged, confirm(draws, effect), deciding.UNCHANGED)


def asv(draws: Draws, effect: float) -> Codes:
    """`asv continuous`: is_different and the factor."""
    a, b = (one[:, :2, :5].reshape(draws.trials, -1) for one in (draws.then, draws.now))
    b = (1 + effect) * b
    least = 1 / special.binom(a.shape[-1] + b.shape[-1], a.shape[-1])
    different = (_mann_whitney(a, b) < 0.002) & (least < 0.002)
    factor = np.median(b, axis=-1) / np.median(a, axis=-1)
    return _signed(different & (factor > 1.1), different & (factor < 1 / 1.1))


def pyperf(draws: Draws, effect: float) -> Codes:
    """`pyperf compare_to`: significant at 95 %."""
    a, b = (one[:, :, :3].reshape(draws.trials, -1) for one in (draws.then, draws.now))
    b = (1 + effect) * b
    significant = stats.ttest_ind(a, b, axis=-1).pvalue < 0.05
    slower = b.mean(axis=-1) > a.mean(axis=-1)
    return _signed(significant & slower, significant & ~slower)


def criterion(draws: Draws, effect: float) -> Codes:
    """The interval of the relative change of means beyond its noise threshold, of one process a side."""
    rng, means = draws.rng(9), []
    for times in (draws.then[:, 0], (1 + effect) * draws.now[:, 0]):
        drawn = rng.integers(CALLS, size=(draws.trials, _DRAWS, CALLS))
        means.append(np.take_along_axis(times[:, None], drawn, -1).mean(axis=-1))
    low, high = np.quantile(means[1] / means[0] - 1, (0.025, 0.975), axis=-1)
    return _signed(low > 0.01, high < -0.01)


def _signed(slower: NDArray[np.bool_], faster: NDArray[np.bool_]) -> Codes:
    codes = np.where(slower, deciding.REGRESSED, np.where(faster, deciding.IMPROVED, 0))
    return np.asarray(codes, np.int8)


def _mann_whitney(a: Array, b: Array) -> Array:
    """Two-sided and exact; times of a simulation have no ties."""
    return np.asarray(stats.mannwhitneyu(a, b, axis=-1, method="exact").pvalue)


Rule = Callable[[Draws, float], Codes]
OURS: dict[str, Rule] = {
    "confirm": confirm,
    "confirm, turns": confirm_turns,
    "confirm of ten": confirm_of_ten,
    "screen, then confirm": two_stages,
    "baseline, then confirm": first_nights,
}
CHOICES: dict[str, Rule] = {
    "confirm without eight": confirm_five,
    "confirm with interval": confirm_interval,
    "confirm with ranks": confirm_ranks,
    "confirm of ten with ranks": confirm_of_ten_ranks,
}
OTHERS: dict[str, Rule] = {"asv": asv, "pyperf": pyperf, "criterion": criterion}


@dataclass(frozen=True)
class Row:
    """Shares of trials that a rule flagged, by effect."""

    model: str
    rule: str
    trials: int
    flagged: dict[float, float]


def rows(rules: dict[str, Rule], trials: int, seed: int = 0) -> Iterator[Row]:
    """One row a model and rule; the same for the same seed, whichever rules stand beside it."""
    for place, (name, model) in enumerate(MODELS.items()):
        counts = {rule: dict.fromkeys(EFFECTS, 0) for rule in rules}
        for part, begun in enumerate(range(0, trials, _TOGETHER)):
            draws = Draws(model, min(_TOGETHER, trials - begun), (seed, place, part))
            for (rule, judged), effect in itertools.product(rules.items(), EFFECTS):
                counts[rule][effect] += _flagged(judged(draws, effect), effect)
        for rule, of in counts.items():
            yield Row(name, rule, trials, {effect: many / trials for effect, many in of.items()})


def _flagged(codes: Codes, effect: float) -> int:
    wanted = [deciding.REGRESSED] if effect else [deciding.REGRESSED, deciding.IMPROVED]
    return int(np.isin(codes, wanted).sum())


def show(found: list[Row]) -> None:
    """A table for people."""
    titles = ["A/A" if not effect else f"+{effect:.0%}" for effect in EFFECTS]
    table = Table("model", "rule", "trials", *titles)
    for row in found:
        shares = (f"{share:.4f}" for share in row.flagged.values())
        table.add_row(row.model, row.rule, str(row.trials), *shares)
    Console().print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
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
