"""Methods with memory: what they spared, what it bought and what it cost, and a map of every decision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ditbench import units
from ditbench.report import ranking, reuse_map, words
from ditbench.report.drawing import Drawing
from ditbench.report.ranking import MEMORY, Group
from ditbench.report.tables import MISSING, Column, Table, Value
from ditbench.summary import Estimate, Reuse, Row, Summary
from ditbench.summary.doubts import IDLE, IMPLAUSIBLE
from ditbench.summary.speed import REPLAY_BOUND

# Maps that are open where a page opens.
_OPEN = 3
_ABOUT = (
    "Methods that keep what a step computed and give it again, by speed. The bound is the same run with "
    "zeros wherever the method reused, timed in turns with it: a speed-up beyond both intervals is "
    "implausible. Decisions and their cost were counted in one whole sampling run that nobody timed."
)
_READING = (
    "Steps to the right, blocks downwards, a letter for the reason of each decision. Places where something "
    "was spared are filled; at the right stands each block's share of them, below the steps each step's."
)
_CLOSE = 0.5  # the share of what its bound gains that a good method reaches


@dataclass(frozen=True)
class Map:
    """One cell's decisions, site by step. said: how many spared something. text: the map in letters alone."""

    title: str
    said: str
    drawing: Drawing
    legend: Table
    text: str


@dataclass(frozen=True)
class Section:
    """All cells with memory of a run, the fastest first.

    lines: what a person should know first. hidden: how many maps are not drawn. open: how many of the others
    are not folded away. about: what stands in the section. reading: how to read a map.
    """

    lines: tuple[str, ...]
    table: Table
    maps: tuple[Map, ...]
    hidden: int
    open: int = _OPEN
    about: str = _ABOUT
    reading: str = _READING

    @property
    def folded(self) -> int:
        """How many maps are drawn and not open."""
        return max(0, len(self.maps) - self.open)


@dataclass(frozen=True)
class _Entry:
    """A row with the exact method that it is without its memory."""

    row: Row
    exact: Row | None
    context: str


_Fill = Callable[[_Entry], Value]


def section(summary: Summary, names: words.Names, rows: int, room: int) -> Section | None:
    """None where no cell has a memory. rows: of the table at most. room: bytes of maps at most."""
    found = _entries(ranking.groups(summary, names))
    if not found:
        return None
    maps = _maps(found, names, room)
    return Section(
        tuple(_lines(found, names)), _table(found, names, rows), maps, len(found) - len(maps)
    )


def _entries(groups: Sequence[Group]) -> list[_Entry]:
    """By speed-up; what has none comes last."""
    entries = [
        _Entry(row, _without(row, group), group.title)
        for group in groups
        for row in group.rows
        if row.reuse
    ]
    return sorted(
        entries, key=lambda one: -one.row.speedup.value if one.row.speedup else float("inf")
    )


def _without(row: Row, group: Group) -> Row | None:
    """The exact method that runs where nothing is spared; without its figures, the fastest exact one."""
    attention = row.cell.attention
    core = attention.name if row.cell.is_accelerated else dict(attention.settings).get("core")
    exact = [one for one in group.rows if one.exact and not one.reuse]
    return next((one for one in exact if one.cell.family == core), next(iter(exact), None))


def _lines(found: Sequence[_Entry], names: words.Names) -> Iterator[str]:
    """The fastest, how near its bound, and how many spare nothing at all."""
    best, every = found[0].row, words.plural(len(found), "cell")
    if best.speedup:
        share = reached(best)
        near = "" if share is None else f", {_share_said(share, ' of what its bound gains')}"
        faster = f"{words.factor(best.speedup.value)} over {best.against}"
        yield f"Fastest: {names.method(best.cell)}, {faster}{near}."
    bounded = [share for one in found if (share := reached(one.row)) is not None]
    if bounded:
        close = sum(share >= _CLOSE for share in bounded)
        yield (
            f"At least half of what a bound gains is reached by {close} of the {len(bounded)} whose bound's "
            "interval lies above 1."
        )
    if idle := sum(_told(one.row).reused == 0 for one in found):
        yield f"Nothing at all was spared in {idle} of {every}."


def reached(row: Row) -> float | None:
    """The part of what the bound gains over the exact method: (speed-up - 1) / (bound - 1).

    None without either, where the bound is not of its own pattern, and where its interval reaches 1, so that
    there is nothing to gain.
    """
    if row.speedup is None or row.bound is None or row.bound.low <= 1:
        return None
    if row.bound_by != REPLAY_BOUND:
        return None
    return (row.speedup.value - 1) / (row.bound.value - 1)


def _table(found: Sequence[_Entry], names: words.Names, limit: int) -> Table:
    several = len({one.context for one in found}) > 1
    memory = next((n for n in MEMORY if any(n in one.row.estimates for one in found)), MEMORY[0])
    columns = _columns(names, memory, several=several)
    return Table(
        tuple(column for column, _ in columns),
        tuple(tuple(fill(one) for _, fill in columns) for one in found[:limit]),
        max(0, len(found) - limit),
    )


def _columns(names: words.Names, memory: str, *, several: bool) -> list[tuple[Column, _Fill]]:
    def column(title: str, unit: str, group: str) -> Column:
        return Column(title, unit, group, numeric=True)

    return [
        (Column("method"), partial(_method, names, several=several)),
        (column("speed-up", "over the fastest exact", "speed"), _speedup),
        (column("bound", "zeros where it reused", "speed"), _bound),
        (column("reached", "% of the bound's gain", "speed"), _reached),
        (column("reuse ratio", "% of forwards", "reuse"), _ratio),
        (column("decisions", "% of the watched run", "reuse"), _gate),
        (column("trajectory", "MAC, one batch", "cost"), _trajectory),
        (column("cache", "bytes, most", "cost"), _cache),
        (column(memory.replace("_", " "), "bytes", "cost"), partial(_peak, memory)),
        (column("calibration", "in no latency", "cost"), _calibration),
        (column("latent drift", "ratio", "cost"), _drift),
    ]


def _method(names: words.Names, one: _Entry, *, several: bool) -> Value:
    label = names.method(one.row.cell)
    return Value(label, one.context if several else "", label.casefold())


def _doubt(row: Row, start: str) -> str:
    return next((one for one in row.doubts if one.startswith(start)), "")


def _speedup(one: _Entry) -> Value:
    shown = words.times(one.row.speedup)
    if one.row.speedup is None:
        return shown
    detail = f"{shown.detail} over {one.row.against}".strip()
    return Value(shown.text, detail, shown.order, _doubt(one.row, IMPLAUSIBLE))


def _bound(one: _Entry) -> Value:
    row = one.row
    if row.bound is None:
        why = row.boundless.removeprefix("no bound: ").partition(" (")[0]
        return Value(MISSING.text, why if _told(row).reused else "it reuses nothing to leave out")
    shown = words.times(row.bound)
    other = "" if row.bound_by == REPLAY_BOUND else f"by {row.bound_by}, not by its own pattern"
    return Value(shown.text, ", ".join(filter(None, (shown.detail, other))), shown.order)


def _reached(one: _Entry) -> Value:
    share = reached(one.row)
    if share is not None:
        return Value(_share_said(share), order=share)
    if one.row.bound is None or one.row.speedup is None or one.row.bound_by != REPLAY_BOUND:
        return MISSING
    return Value("nothing to gain", "the bound's interval reaches 1")


def _share_said(share: float, of: str = "") -> str:
    """A negative share of a gain is none, and reads in words."""
    return "slower than exact" if share < 0 else f"{units.percent(share)}{of}"


def _ratio(one: _Entry) -> Value:
    found, told = one.row.estimates.get("reuse_ratio"), _told(one.row)
    detail = f"{told.reused:,} of {told.forwards:,} forwards"
    if found is None:
        return Value(MISSING.text, detail)
    return Value(units.percent(found.value), detail, found.value, _doubt(one.row, IDLE))


def _told(row: Row) -> Reuse:
    """Of a row that has one, as every row here."""
    if row.reuse is None:
        raise ValueError(f"{row.cell.id} has no memory")
    return row.reuse


def _gate(one: _Entry) -> Value:
    share = _told(one.row).gate_share
    return MISSING if share is None else Value(units.percent(share), order=share)


def _trajectory(one: _Entry) -> Value:
    found, step = (one.row.estimates.get(name) for name in ("trajectory_macs", "macs"))
    if found is None:
        return MISSING
    whole = step.value * one.row.cell.steps if step else 0.0
    detail = f"{units.percent(found.value / whole)} of one that spares nothing" if whole else ""
    return Value(words.figure("trajectory_macs", found.value), detail, found.value)


def _cache(one: _Entry) -> Value:
    """With what rounding lost, where something is kept rounded."""
    shown = words.estimate("cache_bytes", one.row.estimates.get("cache_bytes"))
    lost = ", ".join(f"{name} {value:.1f} dB" for name, value in _told(one.row).sqnr)
    return replace(shown, detail=f"SQNR {lost}") if lost and not shown.absent else shown


def _peak(name: str, one: _Entry) -> Value:
    """With the memory, and how far from the same without."""
    found = one.row.estimates.get(name)
    if found is None:
        return MISSING
    without = one.exact.estimates.get(name) if one.exact else None
    detail = _beside(found, without, one.exact) if without else "not measured without"
    return Value(words.figure(name, found.value), detail, found.value)


def _beside(found: Estimate, without: Estimate, exact: Row | None) -> str:
    apart = found.value - without.value
    sign = "\N{MINUS SIGN}" if apart < 0 else "+"
    label = exact.cell.attention.label if exact else ""
    return f"{sign}{units.size(abs(apart))} beside {label}'s {units.size(without.value)}"


def _calibration(one: _Entry) -> Value:
    """Whoever calibrates says how long in the gate's record, so a record without it tells that none did."""
    found = one.row.estimates.get("calibration_time")
    return words.estimate("calibration_time", found) if found else Value("none", order=0.0)


def _drift(one: _Entry) -> Value:
    return words.estimate("latent_drift", one.row.estimates.get("latent_drift"))


def _maps(found: Iterable[_Entry], names: words.Names, room: int) -> tuple[Map, ...]:
    """The first that fit into so many bytes."""
    made: list[Map] = []
    for one in found:
        drawn = _map(one.row, names)
        room -= len(drawn.drawing.svg.encode()) + len(drawn.text)
        if room < 0:
            break
        made.append(drawn)
    return tuple(made)


def _map(row: Row, names: words.Names) -> Map:
    found, title = _told(row), names.cell(row.cell)
    of = reuse_map.of_facts({"reasons": found.reasons, "map": dict(found.sites)})
    spared = f"{found.reused:,} of {found.forwards:,} forwards spared something"
    share = f" ({units.percent(found.reused / found.forwards)})" if found.forwards else ""
    return Map(
        title,
        f"{spared}{share}",
        reuse_map.drawn(of, f"reuse-map-{row.cell.key[:8]}", title),
        reuse_map.legend(of),
        of.text,
    )
