"""A reuse map: steps to the right, sites downwards, in each place a letter for its decision's reason.

Places where something was spared are filled, in a tone for each reason; the others are not. So letters and
filling tell everything, and the tone repeats it. Bars show the share of reuse of each site at the right, and
of each step below.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ditbench import units
from ditbench.report.drawing import Drawing
from ditbench.report.tables import Column, Table, Value
from ditbench.shape import lettered

# A place of the map in pixels; of many steps each is narrower, until no letter fits in it.
_TALL, _WIDE, _NARROW, _LETTER = 15, 15, 3, 9
_WIDEST = 800  # of all steps together
_CHARACTER = 6.6  # of a label
_FOOT, _SHARE = 18, 52
_LONG, _HIGH = 60, 26  # of a bar that is full, at the right and below
_TICKS = 10  # at most so many numbers of steps
_TONES = ("#3b82c4", "#d1662a", "#2a9d78", "#b8639b", "#9a7d1a", "#7a6fd0", "#c0504d", "#6b8a99")
_BLANK = " "  # where a site was not asked


@dataclass(frozen=True)
class Reason:
    """Why so many forwards were decided as they were. letter: in the map."""

    letter: str
    words: str
    reused: bool
    count: int


@dataclass(frozen=True)
class ReuseMap:
    """Of one sampling run. rows: each site's name with a letter a step."""

    reasons: tuple[Reason, ...]
    rows: tuple[tuple[str, str], ...]

    @property
    def steps(self) -> int:
        """How many there are."""
        return max((len(letters) for _, letters in self.rows), default=0)

    @property
    def share(self) -> float:
        """Of the forwards, those that spared something."""
        every = sum(one.count for one in self.reasons)
        return sum(one.count for one in self.reasons if one.reused) / every if every else 0.0

    @property
    def by_step(self) -> tuple[float, ...]:
        """Of each step the share of the sites asked that spared something."""
        columns = itertools.zip_longest(*(letters for _, letters in self.rows), fillvalue=_BLANK)
        return tuple(map(self.share_of, columns))

    def share_of(self, letters: Iterable[str]) -> float:
        """Of so many places, those that spared something; 0 where nothing was asked."""
        asked = [letter in self.filled for letter in letters if letter != _BLANK]
        return sum(asked) / len(asked) if asked else 0.0

    @property
    def filled(self) -> dict[str, str]:
        """The tone of each letter that stands for a reuse."""
        reused = (one.letter for one in self.reasons if one.reused)
        return dict(zip(reused, itertools.cycle(_TONES), strict=False))

    @property
    def text(self) -> str:
        """The map in letters alone, a line a site, for who cannot see it."""
        names = short([name for name, _ in self.rows])
        wide = max(map(len, names), default=0)
        lines = zip(names, self.rows, strict=True)
        return "\n".join(f"{name.rjust(wide)}  {letters}" for name, (_, letters) in lines)


def of_facts(found: Mapping[str, Any]) -> ReuseMap:
    """From the facts of a record: `reasons` [[words, reused, count], ...], `map` {site: letters}."""
    reasons = tuple(
        Reason(letter, str(words), bool(reused), int(count))
        for letter, (words, reused, count) in zip(lettered(), found["reasons"], strict=False)
    )
    return ReuseMap(reasons, tuple((str(name), str(row)) for name, row in found["map"].items()))


def of_rows(
    rows: Iterable[tuple[str, int, str, bool]], known: Iterable[tuple[str, bool]] = ()
) -> ReuseMap:
    """From decisions: site, step, reason, and whether something was spared.

    Letters go by order of appearance, after those of `known` reasons, which another map has.
    """
    found = list(rows)
    counts = Counter(dict.fromkeys(known, 0))
    counts.update((words, reused) for _, _, words, reused in found)
    letters = dict(zip(counts, lettered(), strict=False))
    steps = 1 + max((step for _, step, _, _ in found), default=-1)
    places: dict[str, list[str]] = {}
    for site, step, words, reused in found:
        places.setdefault(site, [_BLANK] * steps)[step] = letters[words, reused]
    reasons = (Reason(letters[one], *one, count) for one, count in counts.items())
    return ReuseMap(tuple(reasons), tuple((site, "".join(row)) for site, row in places.items()))


def drawn(of: ReuseMap, name: str, title: str = "") -> Drawing:
    """The map as an SVG in the colour of the text around it. title: what it is of, for who cannot see it."""
    names = short([site for site, _ in of.rows])
    left = 8 + _CHARACTER * max(map(len, (*names, "by step")))
    wide = min(_WIDE, max(_NARROW, _WIDEST // max(1, of.steps)))
    parts = list(
        itertools.chain.from_iterable(
            _row(of, number, left, wide, label) for number, label in enumerate(names)
        )
    )
    bottom = _TALL * len(names)
    every = -(-of.steps // _TICKS) or 1
    parts += [
        _text(left + wide * (step + 0.5), bottom + 13, str(step), "middle")
        for step in range(0, of.steps, every)
    ]
    parts += _below(of, left, wide, bottom + _FOOT + _HIGH)
    width, height = left + wide * of.steps + _SHARE + _LONG, bottom + _FOOT + _HIGH + 2
    said = _said(of, title)
    svg = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" width="{}" height="{}" role="img" '
        'aria-label="{}" fill="currentColor" font-family="system-ui, sans-serif" font-size="11">{}</svg>'
    ).format(*map(_n, (width, height, width, height)), said, Markup("").join(parts))
    return Drawing(name, said, svg)


def legend(of: ReuseMap) -> Table:
    """What each letter stands for, and how often it does; the most frequent first."""
    columns = (
        Column("letter"),
        Column("reason"),
        Column("place", "filled where something was spared"),
        Column("forwards", numeric=True),
        Column("share", numeric=True),
    )
    every = sum(one.count for one in of.reasons)
    ordered = sorted(of.reasons, key=lambda one: -one.count)
    return Table(
        columns,
        tuple(
            (
                Value(one.letter),
                Value(one.words),
                Value("filled" if one.reused else "open"),
                Value(f"{one.count:,}", order=one.count),
                Value(units.percent(one.count / every), order=one.count / every),
            )
            for one in ordered
            if one.count
        ),
    )


def short(names: Sequence[str]) -> tuple[str, ...]:
    """Names without the parts that all of them share: transformer_blocks.3.attn1 is 3."""
    parts = [name.split(".") for name in names]
    if len(names) < 2 or len({len(one) for one in parts}) > 1:
        return tuple(names)
    differing = [len(set(column)) > 1 for column in zip(*parts, strict=True)]
    return tuple(
        ".".join(part for part, differs in zip(one, differing, strict=True) if differs) or name
        for one, name in zip(parts, names, strict=True)
    )


def _row(of: ReuseMap, number: int, left: float, wide: int, label: str) -> Iterable[Markup]:
    """One site: its label, its filled places, its letters where they fit, and its share of reuse."""
    _, letters = of.rows[number]
    top, tones = _TALL * number, of.filled
    yield _text(left - 6, top + 11, label, "end")
    step = 0
    for letter, same in itertools.groupby(letters):
        length = len(list(same))
        if letter in tones:
            yield _box(left + wide * step, top, wide * length, tones[letter])
        step += length
    if wide >= _LETTER:
        yield _letters(letters, left + wide / 2, wide, top + 11)
    share, right = of.share_of(letters), left + wide * of.steps
    yield _text(right + 6, top + 11, units.percent(share) if letters.strip(_BLANK) else "")
    yield _bars(
        (f"M{_n(right + _SHARE)} {top + 3}h{_n(_LONG * share)}v{_TALL - 6}h{_n(-_LONG * share)}z",)
    )


def _below(of: ReuseMap, left: float, wide: int, foot: float) -> Iterable[Markup]:
    """A bar a step, from its foot up."""
    yield _text(left - 6, foot, "by step", "end")
    yield _bars(
        f"M{_n(left + wide * step + 1)} {_n(foot)}v{_n(-_HIGH * share)}h{wide - 2}v{_n(_HIGH * share)}z"
        for step, share in enumerate(of.by_step)
        if share
    )


def _bars(outlines: Iterable[str]) -> Markup:
    return Markup('<path d="{}" fill-opacity=".4"/>').format("".join(outlines))


def _box(x: float, top: float, width: float, tone: str) -> Markup:
    return Markup(
        '<rect x="{}" y="{}" width="{}" height="{}" fill="{}" fill-opacity=".45"/>'
    ).format(_n(x), _n(top + 0.5), _n(width), _n(_TALL - 1), tone)


def _letters(letters: str, first: float, wide: int, y: float) -> Markup:
    """Each in the middle of its place: of characters after the first an SVG takes the places as a list."""
    places = " ".join(_n(first + wide * step) for step in range(len(letters)))
    # A blank would be dropped, and move those behind it.
    shown = letters.replace(_BLANK, "\N{MIDDLE DOT}")
    return Markup('<text x="{}" y="{}" text-anchor="middle" font-size="10">{}</text>').format(
        places, _n(y), shown
    )


def _text(x: float, y: float, text: str, anchor: str = "start") -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
        _n(x), _n(y), anchor, text
    )


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _said(of: ReuseMap, title: str) -> str:
    counted = sorted(of.reasons, key=lambda one: -one.count)
    told = "; ".join(
        f"{one.letter} {one.words} ({'reused' if one.reused else 'computed'}): {one.count}"
        for one in counted
        if one.count
    )
    about = f" of {title}" if title else ""
    return (
        f"Reuse map{about}: {len(of.rows)} sites by {of.steps} steps, something spared in "
        f"{units.percent(of.share)} of the forwards. {told}"
    )
