"""Charts and what they say: interactive in HTML, SVG in Markdown, in words for who cannot see them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ditbench import units
from ditbench.report import cores, counts, marks, points, words
from ditbench.report.judged import Peers
from ditbench.report.points import Bar, Point, Scaling, Trade
from ditbench.report.ranking import MEMORY, Group
from ditbench.report.scatter import scatter
from ditbench.summary import Estimate, Summary

_MEBI = 2**20


@dataclass(frozen=True)
class Figure:
    """A chart with its words. name: also its file's. alternative: for who cannot see it."""

    name: str
    title: str
    caption: str
    alternative: str
    spec: dict[str, Any]


def figures(summary: Summary, groups: Sequence[Group], names: words.Names) -> tuple[Figure, ...]:
    """Every chart that this run's figures can fill."""
    if settings := cores.settings(summary, names):
        return _curves(settings, names)
    group = points.main_group(groups)
    if group is None:
        return ()
    made = (
        _quality(group, names),
        _reach(group, names),
        *(_scaling(scaling) for scaling in points.scalings(summary, names)),
        _memory(group, names),
        _macs(group, names),
        *_models(summary, names),
    )
    return tuple(figure for figure in made if figure)


def _curves(settings: Sequence[cores.Setting], names: words.Names) -> tuple[Figure, ...]:
    """Time against tokens, one chart for each setting."""
    drawn = [
        (setting, scaling) for setting in settings if (scaling := cores.curves(setting, names))
    ]
    return tuple(
        Figure(
            name=setting.chart,
            title=f"Time against tokens, {setting.cache} cache",
            caption=(
                f"{scaling.context}. Both axes are logarithmic. A ring marks the fastest method at each "
                f"number of tokens; between two of them nothing was measured.{_hidden(scaling.hidden)}"
            ),
            alternative="; ".join(
                f"{p.label} at {p.x:.0f} tokens: {p.said}" for p in scaling.points
            ),
            spec=marks.lines(scaling, "seconds per call"),
        )
        for setting, scaling in drawn
    )


def _quality(group: Group, names: words.Names) -> Figure | None:
    trade = points.quality(group, names)
    if trade is None:
        return None
    limit = points.bound(group)
    best = ", ".join(p.label for p in sorted(trade.points, key=lambda p: p.x) if p.front)
    note = f" The dashed line is {_bound_said(limit)}.{_passed(group)}" if limit else ""
    drawn = scatter(trade, limit.value if limit else None, _axis_title(trade))
    without = f" {words.plural(trade.hidden, 'method')} without it." if trade.hidden else ""
    return Figure(
        name="speed-against-quality",
        title="Speed against quality",
        caption=(
            f"{group.title}. Right is faster, down is {_DOWN[trade.metric == 'latent_drift']}; lines through "
            "a mark are 95 % intervals. The filled marks on the line are the Pareto front, which no other "
            f"method beats in both; where intervals overlap the order is open.{note}{drawn.said}{without}"
        ),
        alternative=(
            f"Speed-up and {words.named(trade.metric)}. {_points_said(trade.points)}. Pareto front: {best}."
        ),
        spec=drawn.spec,
    )


_DOWN = {True: "closer to softmax's pictures", False: "better"}


def _axis_title(trade: Trade) -> str:
    title = (
        "latent drift from softmax" if trade.metric == "latent_drift" else words.named(trade.metric)
    )
    axis = {"sqrt": "square-root", "log": "logarithmic"}.get(trade.scale)
    return f"{title} ({axis} axis)" if axis else title


def _points_said(found: Iterable[Point]) -> str:
    return "; ".join(f"{p.label}: {p.said}" for p in found)


def by_count(found: Sequence[Peers]) -> tuple[Figure, ...]:
    """Distance against the number of pictures, one chart for each protocol that tells it."""
    drawn = [(peers, curve) for peers in found if (curve := counts.curve(peers))]
    return tuple(
        Figure(
            name=counts.chart_of(peers),
            title=f"{words.short(curve.name)} against the number of pictures",
            caption=(
                f"{peers.title}. {words.named(curve.name)}, over the first pictures of each method. Fewer "
                "pictures bias it upwards, methods and softmax alike: only values of an equal number of "
                "pictures may be compared, and a value without its number says nothing. Both axes are "
                f"logarithmic.{_hidden(curve.scaling.hidden)}"
            ),
            alternative="; ".join(
                f"{p.label} with {p.x:.0f} pictures: {p.said}" for p in curve.scaling.points
            ),
            spec=marks.lines(curve.scaling, curve.said),
        )
        for peers, curve in drawn
    )


def _bound_said(limit: Estimate) -> str:
    """What the measured bound is, and that it is none where nothing is faster than the fastest."""
    told = f"{words.factor(limit.value)}: the model without any attention"
    if limit.low > 1:
        return f"the measured bound, {told}"
    return f"{told}. Its interval ({words.interval(limit, units.digits)}) reaches 1, so it bounds nothing"


def _passed(group: Group) -> str:
    """Whom that bound does not hold."""
    accelerated = any(row.speedup and row.cell.is_accelerated for row in group.rows)
    return " Accelerators skip more than attention and may pass it." if accelerated else ""


def _reach(group: Group, names: words.Names) -> Figure | None:
    found, hidden = points.reach(group, names)
    if not found:
        return None
    return Figure(
        name="bounds",
        title="Speed-up beside what is possible",
        caption=(
            f"{group.title}. The measured bound is the same model without the core (identity), or without "
            "any attention (zero) for methods that may skip the projections too; for methods with memory "
            "the same run with nothing where they reused. The MAC ceilings are what "
            "multiply-adds alone would allow were the core free, or the whole attention module; they never "
            f"judge: attention waits for memory, so honest methods may exceed them.{_hidden(hidden)}"
        ),
        alternative="; ".join(f"{one.label}: {one.said}" for one in found),
        spec=marks.reaches(found),
    )


def _scaling(scaling: Scaling) -> Figure:
    said = {"throughput": "images per second", "latency": "seconds per batch"}[scaling.metric]
    return Figure(
        name=f"scaling-{scaling.axis.replace('_', '-')}",
        title=f"{scaling.metric.capitalize()} over {scaling.title}",
        caption=f"{scaling.context}. Both axes are logarithmic.{_hidden(scaling.hidden)}",
        alternative=f"{scaling.metric.capitalize()} in {said} of each method over {scaling.title}.",
        spec=marks.lines(scaling, said),
    )


def _memory(group: Group, names: words.Names) -> Figure | None:
    name, bars, hidden = points.memory(group, names)
    if not bars:
        return None
    title = name.replace("_", " ")
    return Figure(
        name="memory",
        title="Memory",
        caption=f"{group.title}. {title.capitalize()}, weights included.{_hidden(hidden)}",
        alternative=_bars_said(bars),
        spec=marks.bars(bars, f"{title} (MiB)", _MEBI),
    )


def _macs(group: Group, names: words.Names) -> Figure | None:
    bars, hidden = points.macs(group, names)
    if not bars:
        return None
    return Figure(
        name="multiply-adds",
        title="Multiply-adds of one step",
        caption=(
            f"{group.title}. The whole model in a step that spares nothing, guidance rows included; the part "
            f"in front is the attention core. FLOP = 2 MAC.{_spared(group)}{_hidden(hidden)}"
        ),
        alternative=_bars_said(bars),
        spec=marks.bars(bars, "multiply-adds (MAC)", 1),
    )


def _spared(group: Group) -> str:
    """Where the figures are of those that spare something in most steps."""
    if not any(row.reuse for row in group.rows):
        return ""
    return " What a whole run takes of a method that spares some of it is in the table of Reuse."


def _models(summary: Summary, names: words.Names) -> Iterator[Figure]:
    """What a step of each model takes and gives, where a run has several."""
    for name, said, unit in (
        ("throughput", "images per second", 1),
        (_memory_of(summary), "MiB", _MEBI),
        ("macs", "MAC", 1),
    ):
        found = points.by_model(summary, names, name)
        if found:
            title = "multiply-adds" if name == "macs" else name.replace("_", " ")
            part = " The part in front is the attention core." if name == "macs" else ""
            yield Figure(
                name=f"models-{title.replace(' ', '-')}",
                title=f"{title.capitalize()} by model",
                caption=f"{found.context}.{part}{_hidden(found.hidden, 'model')}",
                alternative=_bars_said(found.bars),
                spec=marks.bars(found.bars, f"{title} ({said})", unit),
            )


def _memory_of(summary: Summary) -> str:
    """The memory metric that was measured."""
    return next((n for n in MEMORY if any(n in row.estimates for row in summary.rows)), MEMORY[0])


def _bars_said(bars: Iterable[Bar]) -> str:
    return "; ".join(f"{bar.label}: {bar.said}" for bar in bars)


def _hidden(number: int, noun: str = "method") -> str:
    return f" {words.plural(number, noun)} more in the table." if number else ""
