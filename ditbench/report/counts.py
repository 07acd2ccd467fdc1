"""How a distance falls with the number of pictures: the bias that makes values of unequal numbers unequal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ditbench import scores
from ditbench.records import digest
from ditbench.report import words
from ditbench.report.judged import Method, Peers, first
from ditbench.report.points import LINES, Point, Scaling

_FALLING = frozenset({"frechet", "sfid"})


@dataclass(frozen=True)
class Curve:
    """One chart. name: of the figure at the full number. said: to what it is a distance."""

    name: str
    said: str
    scaling: Scaling


def chart_of(peers: Peers) -> str:
    """The name of these methods' chart: its file's too."""
    return f"by-count-{digest(peers.title)[:6]}"


def curve(peers: Peers) -> Curve | None:
    """Softmax's line and those of the nearest methods; None where nobody has two numbers of pictures."""
    name = _name(peers)
    lines = [(one, line) for one in peers.methods if len(line := _line(one, name)) > 1]
    if not lines:
        return None
    lines.sort(key=lambda pair: (not pair[0].is_reference, pair[1][-1][1]))
    shown = lines[:LINES]
    title, _, to = words.named(name).partition(" to ")
    scaling = Scaling(
        axis="pictures",
        title="number of pictures",
        metric=title,
        context=peers.title,
        points=tuple(_point(one, name, at) for one, line in shown for at in line),
        hidden=len(lines) - len(shown),
    )
    return Curve(name, f"to {to}", scaling)


def _name(peers: Peers) -> str:
    """The distance that is told by number, FID first, to real pictures before softmax's."""
    told = {name for one in peers.methods for name in one.facts.get("by_count", {})}
    falling = [n for n in told if (score := scores.parse(n)) and score.word in _FALLING]
    return first(falling)


def _line(one: Method, name: str) -> list[tuple[float, float]]:
    """Number and value, in order; a logarithm knows nothing at or below 0."""
    found: Sequence[Sequence[float]] = one.facts.get("by_count", {}).get(name, ())
    return sorted((float(n), float(value)) for n, value in found if float(value) > 0)


def _point(one: Method, name: str, at: tuple[float, float]) -> Point:
    n, value = at
    return Point(
        label=one.drawn,
        family=one.row.cell.family,
        x=n,
        y=value,
        low=value,
        high=value,
        said=words.figure(name, value),
    )
