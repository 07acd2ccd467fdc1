"""What the charts of methods with memory show: drift against speed, step by step, and along settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ditbench import units
from ditbench.report import courses, points, words
from ditbench.report.charts import Figure
from ditbench.report.courses import Course, Panel, Place
from ditbench.report.points import LINES, Trade
from ditbench.report.ranking import Group, is_bound
from ditbench.report.scatter import scatter
from ditbench.report.sweeps import DRIFT, Sweep, spoken, sweeps
from ditbench.store.writing import slug
from ditbench.summary import Row

_MILLI, _MEBI = 1e-3, 2**20
# What a sweep shows along a setting: the metric, its title, and the unit that its axis counts in.
_PANELS = (
    ("latency", "latency (ms)", _MILLI),
    ("cache_bytes", "cache (MiB)", _MEBI),
    ("reuse_ratio", "reuse ratio", 1),
    (DRIFT, "latent drift", 1),
)


def figures(groups: Sequence[Group], names: words.Names) -> tuple[Figure, ...]:
    """Of the group that has most methods with memory; none where no group has any."""
    group = max(groups, key=_remembering, default=None)
    if group is None or not _remembering(group):
        return ()
    order = _order(group, names)
    drawn = (
        _pareto(group, names, order),
        _profile(group, names, order),
        _drift(group, names, order),
    )
    return (*(one for one in drawn if one), *_swept(group))


def _order(group: Group, names: words.Names) -> list[str]:
    """Methods as they have tones in all charts: those of lines first, so that no two lines share one."""
    lines = (_lines(_profiled(group))[0], _lines(_drifted(group))[0], group.rows)
    return list(dict.fromkeys(names.drawn(row.cell) for rows in lines for row in rows))


def _remembering(group: Group) -> int:
    return sum(row.reuse is not None for row in group.rows)


def _pareto(group: Group, names: words.Names, order: Sequence[str]) -> Figure | None:
    """Drift against speed of everything that spares forwards, beside what spares none and is exact."""
    rows = [
        row for row in group.rows if row.speedup and (row.reuse or row.exact) and not is_bound(row)
    ]
    if not any(row.reuse and DRIFT in row.estimates for row in rows):
        return None
    found = points.trade(rows, DRIFT, names)
    if found is None:
        return None
    bounds = {names.drawn(row.cell): row.bound.value for row in rows if row.reuse and row.bound}
    marked = replace(
        found,
        points=tuple(replace(p, family=p.label, bound=bounds.get(p.label)) for p in found.points),
    )
    drawn = scatter(marked, None, "latent drift from softmax (square-root axis)", order)
    best = ", ".join(p.label for p in sorted(marked.points, key=lambda p: p.x) if p.front)
    return Figure(
        name="reuse-drift-against-speed",
        title="Drift against speed of all methods with memory",
        caption=(
            f"{group.title}. Right is faster, down is closer to softmax's latents. The filled marks on the "
            "line are the Pareto front of these methods and the exact ones. "
            f"{_bounds_said(marked)}{drawn.said}{_hidden(found.hidden, 'method', ' without drift')}"
        ),
        alternative="; ".join(f"{p.label}: {p.said}" for p in marked.points) + f". Front: {best}.",
        spec=drawn.spec,
    )


def _bounds_said(found: Trade) -> str:
    """What the dotted lines are, or that there is none to draw."""
    if not any(p.bound for p in found.points):
        return "No bound was measured."
    return "A dotted line ends at the bound of its method: a speed-up beyond both intervals is implausible."


def _profile(group: Group, names: words.Names, order: Sequence[str]) -> Figure | None:
    """Seconds of each step, of methods with memory beside the fastest exact method."""
    chosen, hidden = _lines(_profiled(group))
    if not any(row.reuse for row in chosen):
        return None
    found = [
        Course(
            names.drawn(row.cell),
            tuple(value / _MILLI for value in row.profile),
            tuple(map(units.seconds, row.profile)),
        )
        for row in chosen
    ]
    ends = ((names.drawn(row.cell), min(row.profile), max(row.profile)) for row in chosen)
    said = (f"{name}: {units.seconds(low)} to {units.seconds(high)}" for name, low, high in ends)
    return Figure(
        name="reuse-step-latency",
        title="Latency step by step",
        caption=(
            f"{group.title}. The median of each step by itself, over all timed calls: where runs decide "
            f"differently it shows what most of them did.{_hidden(hidden, 'method')}"
        ),
        alternative="; ".join(said),
        spec=courses.courses(found, "step latency (ms)", "linear", order),
    )


def _drift(group: Group, names: words.Names, order: Sequence[str]) -> Figure | None:
    """How far the state has drifted at the start of each step."""
    chosen, hidden = _lines(_drifted(group))
    found = [
        Course(names.drawn(row.cell), row.reuse.drift, tuple(map(units.digits, row.reuse.drift)))
        for row in chosen
        if row.reuse
    ]
    if not found:
        return None
    return Figure(
        name="reuse-drift-by-step",
        title="Drift step by step",
        caption=(
            f"{group.title}. Relative L2 distance of the latents from softmax's of the same noise at the "
            "start of each step, and of the final ones at the right, in the one run that was watched. "
            f"The upright axis is a square root.{_hidden(hidden, 'method')}"
        ),
        alternative="; ".join(f"{one.label}: {one.told[-1]} at the end" for one in found),
        spec=courses.courses(found, "drift from softmax (square-root axis)", "sqrt", order),
    )


def _profiled(group: Group) -> list[Row]:
    return [row for row in group.rows if row.profile]


def _drifted(group: Group) -> list[Row]:
    return [row for row in group.rows if row.reuse and row.reuse.drift]


def _lines(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """The fastest exact method, then those with memory by speed; and how many are too many to tell apart."""
    exact = next((row for row in rows if row.exact and not row.reuse), None)
    found = [row for row in rows if row.reuse]
    most = LINES - 1  # one tone is the exact method's, also in a chart without it
    return ([exact] if exact else []) + found[:most], max(0, len(found) - most)


def _swept(group: Group) -> Iterator[Figure]:
    for one in sweeps(group):
        panels = [panel for panel in (_panel(one, *what) for what in _PANELS) if panel]
        if panels:
            setting = spoken(one.setting)
            yield Figure(
                name=f"reuse-sweep-{slug(one.method)}-{slug(setting)}",
                title=f"{one.method} along {setting}",
                caption=f"{group.title}. {' '.join(_sweep_said(one, panels))}{_hidden(one.hidden, 'line')}",
                alternative="; ".join(
                    f"{panel.title}: {', '.join(_place_said(one, setting) for one in panel.places)}"
                    for panel in panels
                ),
                spec=courses.multiples(panels, setting),
            )


def _sweep_said(of: Sweep, panels: Sequence[Panel]) -> Iterable[str]:
    """What is drawn, whether the setting does anything, and whether drift follows reuse."""
    setting = spoken(of.setting)
    if any(place.low < place.high for panel in panels for place in panel.places):
        yield "Upright lines through the marks are 95 % intervals."
    if len(of.lines) > 1:
        yield "A line for each of the other settings that vary."
    if of.is_idle:
        yield (
            f"No value of {setting} changes reuse or drift: it is wired to nothing, or this is not its range."
        )
    elif (follows := of.follows) is not None:
        pairs = words.plural(len(of.rows), "cell")
        yield f"Drift follows reuse with a rank correlation (Spearman) of {follows:.2f} over {pairs}."
    if not of.pictured:
        yield "Drift is that of the one run that was watched."
    if of.others:
        yield f"Swept too, and not drawn: {', '.join(map(spoken, of.others))}."


def _place_said(place: Place, setting: str) -> str:
    label = f"{place.label}, " if place.label else ""
    return f"{label}{setting} {place.x:g} {place.said}"


def _panel(of: Sweep, metric: str, title: str, unit: float) -> Panel | None:
    """One figure of every cell of a sweep that has it; None where fewer than two have."""
    places = tuple(
        Place(
            line.label,
            value,
            found.value / unit,
            found.low / unit,
            found.high / unit,
            words.figure(metric, found.value),
        )
        for line in of.lines
        for value, row in line.rows
        if (found := of.figure(row, metric))
    )
    return Panel(title, places) if len({place.x for place in places}) > 1 else None


def _hidden(number: int, noun: str, without: str = "") -> str:
    told = without or " more in the table"
    return f" {words.plural(number, noun)}{told}." if number else ""
