"""Attention cores by themselves: who is fastest at which number of tokens, and where one overtakes another.

All of it between numbers of tokens that were measured, and nothing beyond them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ditbench.report import words
from ditbench.report.points import LINES, Point, Scaling
from ditbench.report.ranking import Group, Ranking, columns_of_cores, group_of, is_bound
from ditbench.report.tables import Column, Table, Value
from ditbench.summary import Row, Summary

_NONE = Value("\N{EN DASH}")
_FASTEST = (
    Column("tokens", numeric=True),
    Column("fastest", "of all methods"),
    Column("latency", "seconds per call", numeric=True),
    Column("ahead of the next", "times as fast", numeric=True),
    Column("fastest exact method"),
    Column("fastest approximate method"),
    Column("its speed-up", "over the fastest exact method", numeric=True),
)


@dataclass(frozen=True)
class Setting:
    """Cores that differ in method and number of tokens alone: a group for each of these, the fewest first.

    number: which of the run's settings it is, from 1.
    """

    title: str
    cache: str
    number: int
    groups: tuple[tuple[int, Group], ...]

    @property
    def tokens(self) -> tuple[int, ...]:
        """Every number that somebody has a speed at."""
        return tuple(tokens for tokens, group in self.groups if _timed(group))

    @property
    def chart(self) -> str:
        """The name of its figure."""
        return f"time-against-tokens-{self.number}"


@dataclass(frozen=True)
class Crossings:
    """One setting as the page shows it.

    chart: the name of its figure, where there is one. lines: what each method does as tokens become more.
    """

    title: str
    chart: str
    lines: tuple[str, ...]
    fastest: Table


def settings(summary: Summary, names: words.Names) -> tuple[Setting, ...]:
    """The run's ops by everything but method and number of tokens, in the order of the plan."""
    together: dict[tuple[str, str], dict[int, list[Row]]] = {}
    for row in summary.rows:
        if row.cell.op:
            title = names.context(row.cell, ("tokens",))
            same = together.setdefault((title, row.cell.op.cache), {})
            same.setdefault(row.cell.op.tokens, []).append(row)
    return tuple(
        Setting(
            title,
            cache,
            number,
            tuple((tokens, group_of(found[tokens], names)) for tokens in sorted(found)),
        )
        for number, ((title, cache), found) in enumerate(together.items(), start=1)
    )


def crossings(summary: Summary, names: words.Names) -> tuple[Crossings, ...]:
    """Every setting in which a method has a speed."""
    return tuple(
        Crossings(
            setting.title, setting.chart, tuple(_lines(setting, names)), _fastest(setting, names)
        )
        for setting in settings(summary, names)
        if setting.tokens
    )


def leaders(summary: Summary, names: words.Names) -> list[str]:
    """One line for each setting: who is fastest where."""
    return [
        f"{setting.title}: fastest {_spans(setting, names, _competes)}."
        for setting in settings(summary, names)
        if _first(setting, _competes)
    ]


def tables(summary: Summary, names: words.Names, limit: int) -> tuple[tuple[Ranking, ...], int]:
    """A table for each setting, up to `limit` rows in all, and how many settings were left out."""
    made: list[Ranking] = []
    found = settings(summary, names)
    for setting in found:
        if limit <= 0:
            break
        made.append(_ranking(setting, summary, names, limit))
        limit -= made[-1].table.shown
    return tuple(made), len(found) - len(made)


def curves(setting: Setting, names: words.Names) -> Scaling | None:
    """Time against tokens, one line a method; the fastest at each number is in front."""
    lines: dict[str, list[tuple[int, Row, bool]]] = {}
    for tokens, group in setting.groups:
        best = next(filter(_competes, _timed(group)), None)
        for row in _timed(group):
            lines.setdefault(names.drawn(row.cell), []).append((tokens, row, row is best))
    if len(setting.tokens) < 2:  # no line to draw
        return None
    ordered = sorted(lines, key=lambda label: (-lines[label][-1][0], _seconds(lines[label][-1][1])))
    kept = ordered[:LINES]
    points = tuple(_point(label, *place) for label in kept for place in lines[label])
    return Scaling("tokens", "tokens", "latency", setting.title, points, len(ordered) - len(kept))


def _point(label: str, tokens: int, row: Row, front: bool) -> Point:  # noqa: FBT001 (a mark or none)
    found = row.estimates["latency"]
    shown = words.estimate("latency", found)
    told = f"{shown.text} ({shown.detail})" if shown.detail else shown.text
    return Point(
        label=label,
        family=row.cell.family,
        x=float(tokens),
        y=found.value,
        low=found.low,
        high=found.high,
        said=f"{told}, fastest here" if front else told,
        front=front,
    )


def _timed(group: Group) -> list[Row]:
    """Rows with a speed that may be used, the fastest first."""
    return [row for row in group.rows if "latency" in row.estimates and not row.unfit]


def _seconds(row: Row) -> float:
    return row.estimates["latency"].value


def _competes(row: Row) -> bool:
    return not is_bound(row)


def _is_exact(row: Row) -> bool:
    return row.exact


def _approximates(row: Row) -> bool:
    return _competes(row) and not row.exact


Wanted = Callable[[Row], bool]


def _first(setting: Setting, wanted: Wanted) -> list[tuple[int, Row]]:
    """The fastest row of that kind at each number of tokens where there is one."""
    found = (
        (tokens, next(filter(wanted, _timed(group)), None)) for tokens, group in setting.groups
    )
    return [(tokens, row) for tokens, row in found if row]


def _spans(setting: Setting, names: words.Names, wanted: Wanted) -> str:
    """`sdpa at 64 to 256 tokens, monarch at 1,024 tokens`: the fastest of that kind."""
    best = ((tokens, names.method(row.cell)) for tokens, row in _first(setting, wanted))
    together = itertools.groupby(best, key=lambda one: one[1])
    return ", ".join(f"{label} at {_at(tokens for tokens, _ in run)}" for label, run in together)


def _at(tokens: Iterable[int]) -> str:
    found = list(tokens)
    ends = [f"{found[0]:,}"] if len(found) == 1 else [f"{found[0]:,}", f"{found[-1]:,}"]
    return f"{' to '.join(ends)} tokens"


def _lines(setting: Setting, names: words.Names) -> Iterable[str]:
    """The fastest exact method along the tokens, then every approximate one against it."""
    if exact := _spans(setting, names, _is_exact):
        yield f"Fastest exact method: {exact}."
    rows: dict[str, list[tuple[int, Row]]] = {}
    for tokens, group in setting.groups:
        for row in filter(_approximates, _timed(group)):
            if row.speedup:
                rows.setdefault(names.method(row.cell), []).append((tokens, row))
    for label, found in rows.items():
        last, row = found[-1]
        ratio = words.factor(row.speedup.value) if row.speedup else ""
        yield f"{label} {_course(found)}; {ratio} its speed at {last:,} tokens."


def _course(found: Sequence[tuple[int, Row]]) -> str:
    """What becomes of a method as tokens become more, against the fastest exact one at each number."""
    moves = []
    before: tuple[int, int] | None = None
    level: list[int] = []
    for tokens, row in found:
        sign = _sign(row)
        if sign == 0:
            level.append(tokens)
            continue
        if before and before[1] != sign:
            verb = "overtakes" if sign > 0 else "falls behind"
            between = f"between {before[0]:,} and {tokens:,} tokens"
            inside = [one for one in level if one > before[0]]
            told = f" (level with it at {', '.join(f'{n:,}' for n in inside)})" if inside else ""
            moves.append(f"{verb} {row.against} {between}{told}")
        before = (tokens, sign)
    return ", then ".join(moves) or _steady(found)


def _steady(found: Sequence[tuple[int, Row]]) -> str:
    """A method that never changes sides."""
    by_sign = {sign: [tokens for tokens, row in found if _sign(row) == sign] for sign in (1, 0, -1)}
    against = " or ".join(dict.fromkeys(row.against for _, row in found))
    everywhere = f"at all numbers of tokens measured ({_at(tokens for tokens, _ in found)})"
    for sign, said in ((1, "faster than"), (-1, "slower than"), (0, "not to be told from")):
        if len(by_sign[sign]) == len(found):
            return f"is {said} {against} {everywhere}"
    sign, said = (1, "faster than") if by_sign[1] else (-1, "slower than")
    return (
        f"is {said} {against} at {_listed(by_sign[sign])} tokens and level with it at "
        f"{_listed(by_sign[0])}"
    )


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(f"{number:,}" for number in numbers)


def _sign(row: Row) -> int:
    """1 where a method is faster than the fastest exact one beyond its interval, -1 where it is slower."""
    if row.speedup is None:
        return 0
    return (row.speedup.low > 1) - (row.speedup.high < 1)


def _fastest(setting: Setting, names: words.Names) -> Table:
    rows = (_fastest_at(tokens, group, names) for tokens, group in setting.groups)
    return Table(_FASTEST, tuple(row for row in rows if row))


def _fastest_at(tokens: int, group: Group, names: words.Names) -> tuple[Value, ...]:
    """Empty where nobody has a speed."""
    timed = list(filter(_competes, _timed(group)))
    if not timed:
        return ()
    exact = next(filter(_is_exact, timed), None)
    near = next(filter(_approximates, timed), None)
    ahead = _seconds(timed[1]) / _seconds(timed[0]) if len(timed) > 1 else None
    return (
        Value(f"{tokens:,}", order=tokens),
        Value(names.method(timed[0].cell)),
        words.estimate("latency", timed[0].estimates["latency"]),
        Value(words.factor(ahead), order=ahead) if ahead else _NONE,
        Value(names.method(exact.cell)) if exact else _NONE,
        Value(names.method(near.cell)) if near else _NONE,
        words.times(near.speedup) if near else _NONE,
    )


def _ranking(setting: Setting, summary: Summary, names: words.Names, limit: int) -> Ranking:
    """All numbers of tokens in one table, and the methods by speed within each."""
    columns = columns_of_cores(summary.rows, names)
    rows = [
        (
            Value(f"{tokens:,}", f"rank {place}" if "latency" in row.estimates else "", tokens),
            *(fill(row) for _, fill in columns),
        )
        for tokens, group in setting.groups
        for place, row in enumerate(group.rows, start=1)
    ]
    silent = sum(group.silent for _, group in setting.groups)
    note = f"{words.plural(silent, 'cell')} of this group without a speed" if silent else ""
    table = Table(
        (Column("tokens", numeric=True), *(column for column, _ in columns)),
        tuple(rows[:limit]),
        max(0, len(rows) - limit),
    )
    return Ranking(setting.title, table, note)
