"""The main table: methods by speed, within cells that differ in nothing but the method."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ditbench import units
from ditbench.records import Status
from ditbench.report import distances, words
from ditbench.report.judged import Method, Peers, chosen
from ditbench.report.tables import MISSING, NOT_MEASURED, Column, Table, Value
from ditbench.store import Run
from ditbench.summary import Row, Summary, only_counted

# Named by what a person looks for first; the one that was measured is shown.
MEMORY = ("peak_allocated", "peak_reserved", "device_used", "peak_resident")
# Methods that compute no attention: what they save is all that any method can.
_BOUNDS = frozenset({"identity", "zero"})
_HEAD = 2  # a group's heading takes the room of so many rows
_MAC_CEILING = Column(
    "MAC ceiling", "speed-up with a free core, a free module", "speed", numeric=True
)
Fill = Callable[[Row], Value]


@dataclass(frozen=True)
class Group:
    """Rows that may be ranked against each other. silent: how many have no speed."""

    title: str
    rows: tuple[Row, ...]
    silent: int


@dataclass(frozen=True)
class Ranking:
    """One group as a table. more: what the speed comes of, where that is a table apart.

    shared: doubts that all its rows have, which are told once.
    """

    title: str
    table: Table
    note: str
    more: Table | None = None
    shared: tuple[str, ...] = ()


def groups(summary: Summary, names: words.Names) -> tuple[Group, ...]:
    """Rows with equal model, weights, batch, compilation, steps and sampling, in the order of the plan."""
    together: dict[tuple[object, ...], list[Row]] = {}
    for row in summary.rows:
        cell = row.cell
        if cell.finds_batch:  # no speed is asked of it
            continue
        same = (cell.model, cell.weights, cell.batch_size, cell.compile, cell.steps, cell.sampling)
        together.setdefault(same, []).append(row)
    return tuple(group_of(rows, names) for rows in together.values())


def group_of(rows: Sequence[Row], names: words.Names) -> Group:
    """These rows, the fastest first."""
    fit = sorted((row for row in rows if row.status is Status.OK), key=latency)
    return Group(names.context(rows[0].cell), tuple(fit), len(rows) - len(fit))


def is_bound(row: Row) -> bool:
    """Whether a row is a measured bound: no attention at all, so no method to choose."""
    return row.cell.family in _BOUNDS


def is_timed(summary: Summary) -> bool:
    """Whether any cell has a speed."""
    return any("latency" in row.estimates for row in summary.rows)


def latency(row: Row) -> float:
    """What rows are ranked by; without it a row comes last."""
    found = row.estimates.get("latency")
    return found.value if found else float("inf")


def tables(
    run: Run, summary: Summary, names: words.Names, found: Sequence[Peers], limit: int
) -> tuple[tuple[Ranking, ...], int]:
    """Every group's table, up to `limit` rows in all, and how many groups were left out.

    found: what the judge told of each method's pictures.
    """
    made: list[Ranking] = []
    together = groups(summary, names)
    judged = {one.row.cell.quality_key: one for peers in found for one in peers.methods}
    counted = only_counted(run)
    timed = is_timed(summary) and not counted
    columns = (
        _columns_of_counts(names) if counted else _columns(summary.rows, judged, names, timed=timed)
    )
    more = () if counted else _columns_of_work(summary.rows, names, timed=timed)
    for group in together:
        if limit <= 0:
            break
        made.append(_ranking(group, columns, more, limit, timed=timed))
        limit -= len(group.rows) + _HEAD
    return tuple(made), len(together) - len(made)


def _ranking(
    group: Group,
    columns: Sequence[tuple[Column, Fill]],
    more: Sequence[tuple[Column, Fill]],
    limit: int,
    *,
    timed: bool,
) -> Ranking:
    shared = _shared(group.rows)
    rows = tuple(
        (
            *((_place(place, row),) if timed else ()),
            *(_cell(fill, row, shared) for _, fill in columns),
        )
        for place, row in enumerate(group.rows[:limit], start=1)
    )
    rank = (Column("rank", numeric=True),) if timed else ()
    heads = (*rank, *(column for column, _ in columns))
    without = "a speed" if timed else "a result"
    silent = words.plural(group.silent, "cell")
    note = f"{silent} of this group without {without}" if group.silent else ""
    hidden = len(group.rows) - len(rows)
    table, below = Table(heads, rows, hidden), _more(group, more, limit)
    return Ranking(group.title, table, note, below, shared)


def _place(place: int, row: Row) -> Value:
    return Value(str(place) if "latency" in row.estimates else "\N{EN DASH}", order=place)


def _shared(rows: Sequence[Row]) -> tuple[str, ...]:
    """Doubts that every one of several rows has, in the first one's order."""
    if len(rows) == 1:
        return ()
    return (
        tuple(one for one in rows[0].doubts if all(one in row.doubts for row in rows))
        if rows
        else ()
    )


def _cell(fill: Fill, row: Row, shared: Collection[str]) -> Value:
    """One field; of doubts those that are not told of all rows already."""
    if fill is not _doubts or not shared:
        return fill(row)
    own = _doubts(replace(row, doubts=tuple(one for one in row.doubts if one not in shared)))
    return own if own.order else Value("none further", order=0)


def _more(group: Group, columns: Sequence[tuple[Column, Fill]], limit: int) -> Table | None:
    """The same rows in the same order, and what their speed comes of."""
    if not columns or not group.rows:
        return None
    rows = tuple(tuple(fill(row) for _, fill in columns) for row in group.rows[:limit])
    return Table(tuple(column for column, _ in columns), rows, len(group.rows) - len(rows))


def _columns(
    rows: Sequence[Row], judged: Mapping[str, Method], names: words.Names, *, timed: bool
) -> list[tuple[Column, Fill]]:
    """Every column with what fills it; one metric never shares a column with another.

    timed: whether any cell has a speed; where none has, nobody looks for one.
    """
    measured = {name for row in rows for name in row.estimates}
    return [
        (Column("method"), partial(_method, names)),
        *(_speed() if timed else ()),
        *_energy(measured),
        *_pictures(rows, judged),
        (Column("doubts", group="evidence"), _doubts),
    ]


def _columns_of_work(
    rows: Sequence[Row], names: words.Names, *, timed: bool
) -> list[tuple[Column, Fill]]:
    """What a speed comes of, and what it rests on. Memory is a timed process's."""
    measured = list(dict.fromkeys(name for row in rows for name in row.estimates))
    return [
        (Column("method"), partial(_method, names)),
        *_work(),
        *(
            (_column(name.replace("_", " "), name, "memory"), partial(_estimate, name))
            for name in (_chosen(measured, MEMORY) if timed else ())
        ),
        (Column("kernel that ran", group="evidence"), _kernels),
    ]


def _columns_of_counts(names: words.Names) -> list[tuple[Column, Fill]]:
    """Likewise where no network ran: there is nothing but work to tell."""
    return [
        (Column("method"), partial(_method, names)),
        *_work(),
        (_MAC_CEILING, _ceilings),
        (Column("doubts", group="evidence"), _doubts),
    ]


def columns_of_cores(rows: Iterable[Row], names: words.Names) -> list[tuple[Column, Fill]]:
    """Likewise of attention cores by themselves, which make no pictures."""
    measured = list(dict.fromkeys(name for row in rows for name in row.estimates))

    def column(title: str, unit: str, group: str) -> Column:
        return Column(title, unit, group, numeric=True)

    return [
        (Column("method"), partial(_method, names)),
        (column("latency", "seconds per call", "speed"), partial(_estimate, "latency")),
        (column("speed-up", "over the fastest exact method", "speed"), _speedup),
        (column("against softmax", "speed-up", "speed"), _versus_softmax),
        (column("matrix rate", "% of a large product's", "share of the ceilings"), _matrix),
        (column("bandwidth", "% of a large copy's", "share of the ceilings"), _bandwidth),
        (column("core", "MAC per call", "work"), partial(_estimate, "core_macs")),
        *(
            (_column(name.replace("_", " "), name, "memory"), partial(_estimate, name))
            for name in _chosen(measured, MEMORY)
        ),
        (Column("kernel that ran", group="evidence"), _kernels),
        (Column("doubts", group="evidence"), _doubts),
    ]


def _speed() -> list[tuple[Column, Fill]]:
    def column(title: str, unit: str) -> Column:
        return Column(title, unit, "speed", numeric=True)

    return [
        (column("latency", "seconds per batch"), partial(_estimate, "latency")),
        (column("speed-up", "over the fastest exact method"), _speedup),
        (column("against softmax", "speed-up"), _versus_softmax),
        (column("possible", "speed-up, as measured"), _possible),
        (_MAC_CEILING, _ceilings),
        (column("throughput", "images per second"), partial(_estimate, "throughput")),
    ]


def _energy(measured: Collection[str]) -> list[tuple[Column, Fill]]:
    """Where a GPU told it: a processor never does, and how it was measured says so."""
    if "energy" not in measured:
        return []
    column = Column("energy", "joules per image", "speed", numeric=True)
    return [(column, partial(_estimate, "energy"))]


def _pictures(rows: Sequence[Row], judged: Mapping[str, Method]) -> list[tuple[Column, Fill]]:
    """How near latents are, and what tells most of the pictures; a table of their own has the rest."""
    drift = _column("latent drift", "latent_drift", "pictures")
    found: list[tuple[Column, Fill]] = [(drift, partial(_estimate, "latent_drift"))]
    name = chosen(rows)
    if name in {"", "latent_drift"}:
        return found
    title, _, against = words.named(name).partition(" to ")
    said = " ".join(filter(None, (name.partition("@")[0], f"to {against}")))
    column = Column(title.partition(" in ")[0], said, "pictures", numeric=True)
    return [*found, (column, partial(_distance, name, judged))]


def _work() -> list[tuple[Column, Fill]]:
    def column(title: str, unit: str) -> Column:
        return Column(title, unit, "multiply-adds", numeric=True)

    return [
        (column("per step", "MAC, whole batch"), _macs_per_step),
        (column("per image", "MAC, all steps"), _macs_per_image),
        (column("core share", "% of MAC"), _core_share),
    ]


def _chosen(measured: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Those that were measured, or the first of all where none was."""
    return tuple(name for name in wanted if name in measured) or (wanted[0],)


def _column(title: str, name: str, group: str) -> Column:
    return Column(title, words.unit(name), group, numeric=True)


def _method(names: words.Names, row: Row) -> Value:
    kind = "exact" if row.exact else "approximate"
    if is_bound(row):
        kind = "no attention: the bound, not a method"
    return Value(names.method(row.cell), kind, names.method(row.cell).casefold())


def _estimate(name: str, row: Row) -> Value:
    return words.estimate(name, row.estimates.get(name))


def _speedup(row: Row) -> Value:
    shown = words.times(row.speedup)
    if row.speedup is None or not row.against:
        return shown
    detail = f"{shown.detail} over {row.against}".strip()
    return Value(shown.text, detail, shown.order)


def _versus_softmax(row: Row) -> Value:
    shown, bound = words.times(row.versus_softmax), row.softmax_bound
    told = f"possible {words.factor(bound.value)}" if bound else ""
    return Value(shown.text, ", ".join(filter(None, (shown.detail, told))), shown.order)


def _possible(row: Row) -> Value:
    """The measured bound, or why there is none."""
    if row.bound is None:
        why = row.boundless.removeprefix("no bound: ").partition(" (")[0]
        return Value("no bound", why) if why else MISSING
    by = f"by {row.bound_by}" if row.bound_by else ""
    said = "interval reaches 1: no bound" if row.bound.low <= 1 else ""
    detail = ", ".join(filter(None, (by, said)))
    return Value(words.factor(row.bound.value), detail, row.bound.value)


def _ceilings(row: Row) -> Value:
    """What multiply-adds alone would allow: shown, and never judging."""
    if row.ceiling is None:
        return Value("not counted")
    module = f"module {words.factor(row.module_ceiling)}" if row.module_ceiling else ""
    return Value(words.factor(row.ceiling), module, row.ceiling)


def _matrix(row: Row) -> Value:
    """What part of the device's multiply-adds a core takes."""
    of = row.shares
    return MISSING if of is None else _share(of.matrix, of.matrix_rate, "MAC")


def _bandwidth(row: Row) -> Value:
    """What part of the device's bandwidth a core must take at least."""
    of = row.shares
    return MISSING if of is None else _share(of.bandwidth, of.bandwidth_rate, "B")


def _share(share: float, rate: float, unit: str) -> Value:
    return Value(units.percent(share), f"{units.count(share * rate, unit)}/s", share)


def _macs_per_step(row: Row) -> Value:
    macs, shared = row.estimates.get("macs"), row.estimates.get("macs_shared_embedder")
    if macs is None:
        return MISSING
    detail = f"{words.figure('macs', shared.value)} with one embedder" if shared else ""
    return Value(words.figure("macs", macs.value), detail, macs.value)


def _macs_per_image(row: Row) -> Value:
    value = per_image(row)
    if value is None:
        return MISSING
    return Value(words.figure("macs", value), words.figure("flops", 2 * value), value)


def per_image(row: Row) -> float | None:
    """Multiply-adds of one image through all steps, without what a method with memory spared."""
    whole, step = (row.estimates.get(name) for name in ("trajectory_macs", "macs"))
    if whole:
        return whole.value / row.cell.batch_size
    return step.value * row.cell.steps / row.cell.batch_size if step else None


def core_share(row: Row) -> float | None:
    """What part of the multiply-adds the attention cores are."""
    macs, core = row.estimates.get("macs"), row.estimates.get("core_macs")
    return core.value / macs.value if macs and core and macs.value else None


def _core_share(row: Row) -> Value:
    share = core_share(row)
    return MISSING if share is None else Value(units.percent(share), order=share)


def _distance(name: str, judged: Mapping[str, Method], row: Row) -> Value:
    """A distance, and how much farther than softmax's own pictures, with the paired standard error."""
    found, method = row.estimates.get(name), judged.get(row.cell.quality_key)
    if found is None:
        return MISSING
    detail = distances.changed(name, method) if method and not method.is_reference else ""
    doubt = "; ".join(distances.doubts(name, method.facts)) if method else ""
    return Value(words.figure(name, found.value), detail, found.value, doubt=doubt)


def _kernels(row: Row) -> Value:
    # A cell with multiply-adds passed its gates, which looked: it ran no attention kernel at all.
    looked = "macs" in row.estimates
    seen = ", ".join(row.kernels)
    return Value(seen or ("none" if looked else NOT_MEASURED), order=seen or None)


def _doubts(row: Row) -> Value:
    return Value("; ".join(row.doubts) or "none", order=len(row.doubts))
