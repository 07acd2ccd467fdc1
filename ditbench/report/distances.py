"""How far pictures lie from real ones and from softmax's: all that was asked, each figure with its doubts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ditbench import scores, units
from ditbench.metrics import known, word_of
from ditbench.report import words
from ditbench.report.judged import Method, Peers, telling
from ditbench.report.tables import NOT_MEASURED, Column, Table, Value
from ditbench.store import Run

# Figures of single pictures, in the order of the table, each with what is told of its worst twentieth.
_PAIRS = (
    ("latent_drift", "latent_drift_p95"),
    ("psnr", "psnr_p5"),
    ("ssim", "ssim_p5"),
    ("lpips", "lpips_p95"),
)
_FRECHETS = frozenset({"frechet", "sfid"})
# Papers give FID of 50,000; below this its bias is larger than what most methods change.
_FEW = 10_000
Fill = Callable[[Method], Value]
_Columns = Sequence[tuple[Column, Fill]]


@dataclass(frozen=True)
class Asked:
    """What a run asked of pictures. words: the suite's; references: what sets were to be held against."""

    words: frozenset[str]
    references: tuple[str, ...]

    @classmethod
    def of(cls, run: Run) -> Asked:
        """Of an older run, which did not keep it, nothing is known to have been asked."""
        quality = run.effort.get("quality", {})
        references = quality.get("reference", ("dataset", "softmax"))
        return cls(frozenset(run.effort.get("metrics", ())), tuple(references))


@dataclass(frozen=True)
class Sheet:
    """One table with what it tells."""

    title: str
    said: str
    table: Table


def sheets(peers: Peers, asked: Asked, limit: int) -> tuple[Sheet, ...]:
    """To real pictures, to softmax's, and picture by picture, where anything was asked or measured."""
    made = (
        ("To real pictures", _REAL, _of_sets(peers, asked, "dataset")),
        ("To softmax's pictures", _SOFTMAX, _of_sets(peers, asked, "softmax")),
        ("Picture by picture", _EACH, _of_pictures(peers, asked)),
    )
    return tuple(
        Sheet(title, told, _table(peers, columns, limit))
        for title, told, columns in made
        if columns
    )


_REAL = (
    "Under a figure its 95 % interval, then how it differs from that of softmax's pictures of the same seeds "
    "(\N{PLUS-MINUS SIGN} one standard error, paired). A difference within two of its errors is "
    "called indistinguishable. The largest difference stands first."
)
_SOFTMAX = (
    "The same with softmax's pictures of the same seeds in the place of real ones: how much the method "
    "changes what is drawn, whether for better or worse."
)
_EACH = (
    "Each picture against softmax's of the same seed: the median, and below it what 95 % of the pictures "
    "reach. The farthest method stands first."
)


def _table(peers: Peers, columns: _Columns, limit: int) -> Table:
    """The reference first, then by effect in the first column that was measured."""
    effect = columns[0][1]
    ordered = sorted(peers.methods, key=lambda one: (not one.is_reference, _least(effect(one))))
    heads = (Column("method"), *(column for column, _ in columns))
    rows = tuple((_method(one), *(fill(one) for _, fill in columns)) for one in ordered[:limit])
    return Table(heads, rows, len(ordered) - len(rows))


def _least(value: Value) -> tuple[bool, float]:
    """Farthest first; what has no figure last."""
    effect = value.effect
    return effect is None, -(effect or 0.0)


def _method(one: Method) -> Value:
    detail = "the reference method" if one.is_reference else ""
    if one.refused:
        detail = one.refused
    return Value(one.label, detail, one.label.casefold())


def _of_sets(peers: Peers, asked: Asked, against: str) -> _Columns:
    """Columns of figures of whole sets, those that were asked and have no figure among them."""
    found = {name: score for name in peers.names if (score := scores.parse(name))}
    columns: list[tuple[Column, Fill]] = []
    for word in scores.WORDS:
        names = [
            name
            for name, score in found.items()
            if score.word == word and (score.against or "dataset") == against
        ]
        columns += [_column(name, word, against) for name in sorted(names, key=telling)]
        wanted = word in asked.words and against in asked.references
        alone = word == "inception_score" and against == "softmax"
        if not names and wanted and not alone:
            columns.append(_waiting(words.SCORES[word], word, against))
    # A figure that was asked and not taken stands behind those by which rows are ordered.
    return sorted(columns, key=lambda pair: pair[0].unit == NOT_MEASURED)


def _of_pictures(peers: Peers, asked: Asked) -> _Columns:
    columns: list[tuple[Column, Fill]] = []
    for name, tail in _PAIRS:
        if name in peers.names:
            columns.append(_paired(name, tail))
        elif name in asked.words:
            columns.append(_waiting(words.named(name), name))
    if not columns:
        return ()
    return [*columns, (Column("image key", "of what made them"), _key)]


def _key(one: Method) -> Value:
    found = str(one.facts.get("image_key", ""))
    return Value(found or "not recorded", order=found or None)


def _column(name: str, word: str, against: str) -> tuple[Column, Fill]:
    def fill(one: Method) -> Value:
        return _score(name, one) if name in one.metrics else _missing(one, word, against)

    return Column(words.short(name), name.partition("@")[0], numeric=True), fill


def _waiting(title: str, word: str, against: str = "") -> tuple[Column, Fill]:
    return Column(title, NOT_MEASURED, numeric=True), lambda one: _missing(one, word, against)


def _missing(one: Method, word: str, against: str = "") -> Value:
    """Why there is no figure, as far as the records tell."""
    told = dict.fromkeys(
        why
        for clause in one.facts.get("unmeasured", ())
        if (why := _why(str(clause), word, against))
    )
    why = "; ".join(told) or one.facts.get("unpictured", "") or one.refused
    return Value(NOT_MEASURED, str(why or "the records do not tell why"))


# "kid against softmax in inception features: why", "psnr, ssim: why", "against dataset: why".
_CLAUSE = re.compile(
    r"(?P<words>[\w@, ]*?)\s*(against (?P<against>\w+))?\s*(in (?P<network>\w+) features)?: (?P<why>.*)"
)


def _why(clause: str, word: str, against: str) -> str:
    """The reason in a clause, if it is about this figure."""
    match = _CLAUSE.fullmatch(clause)
    if match is None or against != (match["against"] or against):
        return ""
    named = [word_of(name) for name in match["words"].split(", ") if name]
    if named and word not in named:
        return ""
    return f"{match['network']}: {match['why']}" if match["network"] else match["why"]


def _score(name: str, one: Method) -> Value:
    found = one.row.estimates.get(name)
    value = found.value if found else one.metrics[name][0]
    interval = words.interval(found, lambda v: words.figure(name, v)) if found else ""
    change = "" if one.is_reference else changed(name, one)
    lines = [interval if "\N{EN DASH}" in interval else "", change]
    paired = one.changed(name)
    return Value(
        words.figure(name, value),
        "\n".join(filter(None, lines)),
        value,
        doubt="; ".join(doubts(name, one.facts)),
        effect=abs(paired.change) if paired and math.isfinite(paired.change) else None,
    )


def changed(name: str, one: Method) -> str:
    """The paired difference, in figures and in words."""
    found = one.changed(name)
    if found is None:
        return "difference to softmax not measured"
    return f"{words.differing(found.change, found.error)}: {verdict(name, found.change, unsure=found.unsure)}"


def verdict(name: str, change: float, *, unsure: bool) -> str:
    """A difference to softmax in words."""
    if unsure:
        return "indistinguishable from softmax"
    of = known(name)
    if of is not None and of.better == "higher":
        return "higher" if change > 0 else "lower"
    return "farther" if change > 0 else "nearer"


def doubts(name: str, facts: Mapping[str, Any]) -> Iterable[str]:
    """Why this figure may mean less than it seems."""
    score = scores.parse(name)
    if score is None:
        return
    width = int(facts.get("extractors", {}).get(score.extractor, {}).get("dim", 0))
    if score.word in _FRECHETS and score.count <= width:
        yield f"biased up: {score.count} pictures \N{LESS-THAN OR EQUAL TO} {width} features"
    elif score.word in _FRECHETS and score.count < _FEW:
        yield f"biased up: {score.count} pictures"
    real = int(facts.get("references", {}).get("dataset", {}).get("count", 0))
    if score.word in _FRECHETS and score.against == "dataset" and 0 < real <= width:
        yield f"biased up: {real} real pictures \N{LESS-THAN OR EQUAL TO} {width} features"
    constant = float(facts.get("constant_share", 0.0))
    if constant > 0:
        yield f"{units.percent(constant)} of its pictures are constant"


def _paired(name: str, tail: str) -> tuple[Column, Fill]:
    sign = -1.0 if name in {"psnr", "ssim"} else 1.0

    def fill(one: Method) -> Value:
        found, worst = one.row.estimates.get(name), one.row.estimates.get(tail)
        if found is None:
            return _missing(one, name)
        fifth = f"95 %: {words.figure(name, worst.value)}" if worst else ""
        return Value(words.figure(name, found.value), fifth, found.value, effect=sign * found.value)

    unit = "dB, median" if name == "psnr" else "median"
    return Column(words.named(name), unit, numeric=True), fill
