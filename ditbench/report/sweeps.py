"""Sweeps: cells of one method that differ in numeric settings, along one setting a line for all others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ditbench import stats
from ditbench.digests import stem
from ditbench.records import Cell
from ditbench.report.points import LINES
from ditbench.report.ranking import Group
from ditbench.summary import Estimate, Row
from ditbench.summary.doubts import settings

# Settings of one method that have a chart of their own, those with most values first.
SETTINGS = 2
# Fewer pairs have no rank correlation that says anything.
_PAIRS = 4
_REUSE, DRIFT = "reuse_ratio", "latent_drift"

Scalars = Mapping[str, object]


@dataclass(frozen=True)
class Line:
    """Cells that differ in the swept setting alone, by its value. label: the other settings that vary."""

    label: str
    rows: tuple[tuple[float, Row], ...]


@dataclass(frozen=True)
class Sweep:
    """One setting of one method. hidden: lines that are too many. others: settings swept and not drawn."""

    method: str
    setting: str
    lines: tuple[Line, ...]
    hidden: int
    others: tuple[str, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """All of its cells."""
        return tuple(row for line in self.lines for _, row in line.rows)

    @property
    def pictured(self) -> bool:
        """Whether all of its cells have pictures: if not, drift is that of the watched run."""
        return all(DRIFT in row.estimates for row in self.rows)

    @property
    def is_idle(self) -> bool:
        """Whether along no line reuse or drift changes: the setting does nothing in this range."""
        return all(
            len({told(row) for _, row in line.rows}) == 1
            for line in self.lines
            for told in (_reused, self._drifted)
        )

    @property
    def follows(self) -> float | None:
        """Spearman's correlation of drift with reuse over all cells; None of too few, or of equal ones."""
        found = ((_reused(row), self._drifted(row)) for row in self.rows)
        pairs = [(x, y) for x, y in found if x is not None and y is not None]
        if len(pairs) < _PAIRS:
            return None
        return stats.rank_correlation(*zip(*pairs, strict=True))

    def figure(self, row: Row, metric: str) -> Estimate | None:
        """What a cell has of a metric; of drift what all cells have."""
        if metric != DRIFT or self.pictured:
            return row.estimates.get(metric)
        last = row.reuse.drift[-1] if row.reuse and row.reuse.drift else None
        return None if last is None else Estimate(last, last, last, 1, 1)

    def _drifted(self, row: Row) -> float | None:
        found = self.figure(row, DRIFT)
        return found.value if found else None


def _reused(row: Row) -> float | None:
    found = row.estimates.get(_REUSE)
    return found.value if found else None


def sweeps(group: Group) -> tuple[Sweep, ...]:
    """Of every method with memory of a group, in the order of their names."""
    families: dict[str, list[Row]] = defaultdict(list)
    for row in group.rows:
        if row.reuse:
            families[row.cell.family].append(row)
    return tuple(sweep for name in sorted(families) for sweep in _of(name, families[name]))


def _of(method: str, rows: Sequence[Row]) -> Iterable[Sweep]:
    varying = _varying([_settings(row.cell) for row in rows])
    swept = sorted(
        (name for name, values in varying.items() if all(map(_is_number, values))),
        key=lambda name: (-len(varying[name]), name),
    )
    found = [(name, lines) for name in swept if (lines := _lines(name, varying, rows))]
    for name, lines in found[:SETTINGS]:
        others = tuple(other for other, _ in found[SETTINGS:])
        yield Sweep(method, name, lines[:LINES], max(0, len(lines) - LINES), others)


def _settings(cell: Cell) -> Scalars:
    return settings(cell) | {"blocks": cell.blocks_label}


def _varying(cells: Sequence[Scalars]) -> dict[str, set[object]]:
    """Names of settings that differ, with their values."""
    names = dict.fromkeys(name for one in cells for name in one)
    found = {name: {one.get(name) for one in cells} for name in names}
    return {name: values for name, values in found.items() if len(values) > 1}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _lines(setting: str, varying: Iterable[str], rows: Sequence[Row]) -> tuple[Line, ...]:
    """Those of two values and more, in the order of their labels' values."""
    others = [name for name in varying if name != setting]
    together: dict[tuple[object, ...], dict[float, Row]] = defaultdict(dict)
    for row in rows:
        own = _settings(row.cell)
        value = own[setting]
        if isinstance(value, int | float):
            together[tuple(own.get(name) for name in others)].setdefault(float(value), row)
    long = sorted((pair for pair in together.items() if len(pair[1]) > 1), key=_order)
    names = _labels([dict(zip(others, values, strict=True)) for values, _ in long])
    return tuple(
        Line(name, tuple(sorted(line.items(), key=_value)))
        for name, (_, line) in zip(names, long, strict=True)
    )


def _order(pair: tuple[tuple[object, ...], object]) -> list[tuple[bool, float, str]]:
    """Numbers by size, and before words."""
    return [
        (False, float(value), "") if isinstance(value, int | float) else (True, 0.0, str(value))
        for value in pair[0]
    ]


def _value(pair: tuple[float, Row]) -> float:
    return pair[0]


def _labels(lines: Sequence[Scalars]) -> list[str]:
    """The other settings of each line, a file by its stem unless two lines would read alike."""
    full = [{spoken(name): str(value) for name, value in one.items()} for one in lines]
    short = [{name: stem(value) for name, value in one.items()} for one in full]
    apart = len({tuple(one.values()) for one in short}) == len(short)
    return [
        ", ".join(f"{name} {value}" for name, value in one.items())
        for one in (short if apart else full)
    ]


def spoken(setting: str) -> str:
    """A setting as a person says it, of a method or of an accelerator."""
    return setting.removeprefix("accelerator.").replace("_", " ")
