"""How figures, cells and counts read: the only place of the report that formats."""

from __future__ import annotations

import functools
import itertools
import math
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ditbench import scores, units
from ditbench.digests import stem
from ditbench.metrics import SPEEDUP, known
from ditbench.records import METHOD_AXES, Cell, Choice, Stage
from ditbench.report.tables import MISSING, Value
from ditbench.summary import ClaimResult, Estimate, Row

_IDENTICAL = "identical"
_AS: Mapping[str, Callable[[float], str]] = {
    "s": units.seconds,
    "B": units.size,
    "MAC": lambda value: units.count(value, "MAC"),
    "FLOP": lambda value: units.count(value, "FLOP"),
    "images": lambda value: f"{value:.0f}" if math.isfinite(value) else "\N{INFINITY}",
    "parameters": units.count,
    "J": lambda value: units.count(value, "J"),
    "dB": lambda value: _IDENTICAL if math.isinf(value) else f"{units.digits(value)} dB",
}
# What a person calls an axis; the plain ones need no name, the others are `axis value`.
_AXES: Mapping[str, Callable[[str], str]] = {
    "batch_size": lambda value: "largest batch" if value == "max" else f"batch {value}",
    "steps": lambda value: f"{value} step{'' if value == '1' else 's'}",
    "compile": lambda value: "compiled" if value == "on" else "eager",
    "guidance_scale": lambda value: f"guidance {value}",
    "guidance_channels": lambda value: f"guided on {value} channel{'' if value == '1' else 's'}",
    "tokens": lambda value: f"{int(value):,} tokens",
    "heads": lambda value: f"{value} heads",
    "cache": lambda value: f"{value} cache",
}
_PLAIN = frozenset({"model", "attention", "dtype", "sampler"})
_SPECIAL = re.compile(r"([.^$*+?{}\[\]\\|()])")


def figure(name: str, value: float) -> str:
    """A metric's value with its unit."""
    return _AS.get(_unit(name), units.digits)(value)


def claimed(claim: ClaimResult, value: float) -> str:
    """A claim's figure, published or ours; a ratio has no unit."""
    is_ratio = claim.against or claim.metric == SPEEDUP
    return factor(value) if is_ratio else figure(claim.metric, value)


# What a figure of a whole set of pictures is called, in the network of the FID itself and in any other.
SCORES = {
    "frechet": "FID or FD",
    "sfid": "sFID",
    "kid": "KID",
    "precision": "precision",
    "recall": "recall",
    "inception_score": "Inception Score",
}
_OTHERS = {"frechet": "FD", "kid": "KD", "inception_score": "class score"}
_CAPITALS = frozenset({"psnr", "ssim", "lpips"})
_AGAINST = {"dataset": " to real pictures", "softmax": " to softmax's pictures", "": ""}


def short(name: str) -> str:
    """A metric as a column's heading: only what is measured in Inception's features is called FID."""
    score = scores.parse(name)
    if score is None:
        return name.upper() if name in _CAPITALS else name.replace("_", " ")
    if score.extractor == scores.INCEPTION:
        return "FID" if score.word == "frechet" else SCORES[score.word]
    return _OTHERS.get(score.word, SCORES[score.word])


def named(name: str) -> str:
    """A metric in words, with the network and the reference of one of a whole set."""
    score = scores.parse(name)
    if score is None:
        return short(name)
    network = "" if score.extractor == scores.INCEPTION else f" in {score.extractor} features"
    return f"{short(name)}{network}{_AGAINST[score.against]}"


def differing(change: float, error: float) -> str:
    """0.2613, 0.058 -> "+0.261 \N{PLUS-MINUS SIGN} 0.058": no more places than the error bears."""
    sign = "\N{MINUS SIGN}" if change < 0 else "+"
    if not (math.isfinite(error) and 1e-6 < error < 1e6):
        return f"{sign}{units.digits(abs(change))} \N{PLUS-MINUS SIGN} {units.digits(error, 2)}"
    places = max(0, 1 - math.floor(math.log10(error)))
    return f"{sign}{abs(change):.{places}f} \N{PLUS-MINUS SIGN} {error:.{places}f}"


def published(claim: ClaimResult) -> str:
    """What a claim is held against."""
    return f"{'at least ' if claim.at_least else ''}{claimed(claim, claim.published)}"


def unit(name: str) -> str:
    """The unit of a metric, as a column's heading says it."""
    return {"s": "seconds", "B": "bytes", "J": "joules"}.get(_unit(name), _unit(name))


def _unit(name: str) -> str:
    """Empty for a metric that only another version of ditbench knows."""
    found = known(name)
    return found.unit if found else ""


def estimate(name: str, found: Estimate | None) -> Value:
    """A metric's estimate with its interval, or `not measured`."""
    if found is None:
        return MISSING
    detail = interval(found, lambda value: figure(name, value))
    # Counts and pictures are not repeated by processes, so one is no fault of theirs.
    of = known(name)
    alone = found.low == found.high and of is not None and of.stage is not Stage.TIME
    return Value(figure(name, found.value), "" if alone else detail, found.value)


def times(found: Estimate | None) -> Value:
    """A ratio of speeds with its interval, or `not measured`."""
    if found is None:
        return MISSING
    return Value(factor(found.value), interval(found, units.digits), found.value)


def factor(value: float) -> str:
    """2.4 -> "2.40x", with the sign for multiplication."""
    return f"{units.digits(value)}\N{MULTIPLICATION SIGN}"


def limits(row: Row) -> str:
    """What stands beside every speed-up: the bound is so much and the MAC ceiling so much."""
    return f"{bound(row.bound)} and {ceilings(row)}"


def bound(found: Estimate | None) -> str:
    """A measured bound in words, or that there is none."""
    return f"the bound is {factor(found.value)}" if found else "no bound was measured"


def ceilings(row: Row) -> str:
    """Both ceilings of multiply-adds, without the cores and without the attention modules."""
    pairs = ((row.ceiling, "core"), (row.module_ceiling, "module"))
    told = ", ".join(f"{factor(value)} {part}" for value, part in pairs if value is not None)
    return f"the MAC ceiling {told}" if told else "no MAC ceiling was counted"


def interval(found: Estimate, show: Callable[[float], str]) -> str:
    """The 95 % interval, or what stands in its place where there is nothing to resample."""
    if found.low == found.high:
        return plural(found.processes, "process", "es") if found.processes == 1 else ""
    low, high = show(found.low), show(found.high)
    number, _, unit_low = low.partition(" ")
    same = unit_low == high.partition(" ")[2]
    return f"{number if same else low} \N{EN DASH} {high}"


def plural(number: int, noun: str, ending: str = "s") -> str:
    """3, "cell" -> "3 cells"."""
    return f"{number:,} {noun}{'' if number == 1 else ending}".replace(",", "\N{THIN SPACE}")


def span(numbers: Iterable[int]) -> str:
    """{3, 5} -> "3 to 5"; one number alone is itself."""
    found = sorted(set(numbers))
    if not found:
        return "0"
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def axis(name: str, value: str) -> str:
    """One axis of a cell as a person says it."""
    if name in _PLAIN:
        return value
    return _AXES[name](value) if name in _AXES else f"{name} {value}"


@dataclass(frozen=True)
class Names:
    """Cells by what tells them apart: the axes that vary in this run, the method always.

    alike: methods that another would be taken for where files have short names.
    """

    varying: frozenset[str]
    alike: frozenset[str] = frozenset()

    @classmethod
    def of(cls, cells: Iterable[Cell]) -> Names:
        """Names for these cells."""
        found = list(cells)
        axes = [cell.axes for cell in found]
        every = {name for one in axes for name in one}
        short = {cell.method: _stemmed(cell) for cell in found}
        of_name = Counter(short.values())
        return cls(
            frozenset(name for name in every if len({one.get(name) for one in axes}) > 1),
            frozenset(method for method, name in short.items() if of_name[name] > 1),
        )

    def cell(self, cell: Cell) -> str:
        """The whole cell: method and accelerator first, then the other axes that vary."""
        return self.said(cell, self.varying - METHOD_AXES, cell.method)

    def method(self, cell: Cell) -> str:
        """The method and its accelerator, with its blocks where they vary."""
        return self.said(cell, self.varying & {"blocks"}, cell.method)

    def drawn(self, cell: Cell) -> str:
        """Likewise in a chart, where a file that a setting names has its stem, unless two read alike."""
        name = cell.method if cell.method in self.alike else _stemmed(cell)
        return self.said(cell, self.varying & {"blocks"}, name)

    def context(self, cell: Cell, fixed: Iterable[str] = ()) -> str:
        """Everything but the method: always model, batch, steps and compilation, the rest if it varies.

        Of an attention core by itself all of it.
        """
        always = {"model", "batch_size", "steps", "compile"} if not cell.op else set(cell.axes)
        return self.said(cell, (self.varying | always) - {*METHOD_AXES, "blocks", *fixed})

    @staticmethod
    def said(cell: Cell, names: Iterable[str], method: str = "") -> str:
        """These axes of a cell, in the order of its id, after its method if that is given."""
        wanted, start = set(names), [method] if method else []
        rest = [axis(name, value) for name, value in cell.axes.items() if name in wanted]
        return " \N{MIDDLE DOT} ".join(start + rest)


def _stemmed(cell: Cell) -> str:
    """The method with each file that a setting names by its stem."""
    parts = (cell.attention, cell.accelerator) if cell.is_accelerated else (cell.attention,)
    return " + ".join(map(_short, parts))


def _short(part: Choice) -> str:
    """A label in which files have their stems."""
    files = (value for _, value in part.settings if isinstance(value, str))
    return functools.reduce(lambda told, file: told.replace(file, stem(file)), files, part.label)


def pattern(cell: Cell) -> str:
    """The regular expression that `-k` finds exactly this cell by."""
    return "^" + _SPECIAL.sub(r"\\\1", cell.id) + "$"


def command(run_command: str, suite: str, cell: Cell) -> str:
    """The shell command that measures this cell again, with what changed the suite's axes."""
    words = ["ditbench", "run", suite, "-k", pattern(cell), *_changes(run_command)]
    return " ".join(shlex.quote(word) for word in words)


def _changes(run_command: str) -> list[str]:
    """The `--set` and `--quick` of a run's own command; without them its cells may not exist."""
    try:
        words = shlex.split(run_command)
    except ValueError:  # an unbalanced quote: the command was not written by us
        return []
    return [
        kept
        for word, after in itertools.pairwise([*words, ""])
        for kept in ([word, after] if word == "--set" else [word])
        if word.startswith("--set") or word == "--quick"
    ]
