"""`quick`: what `--quick` puts in place of a suite's own axes, so that seeing it work takes minutes.

Timing is not among its keys: how often `--quick` measures is the same for every suite.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from ditbench.catalog import Catalog
from ditbench.suite import axes, effort, ops, plugins
from ditbench.suite.cursor import At
from ditbench.suite.kinds import Key, Keys, Made, Table, read, table
from ditbench.suite.yaml12 import Fields


@dataclass(frozen=True)
class Shorter:
    """Values by key of the suite, and the paths of what they replace: `model`, `quality.samples`."""

    values: Mapping[str, At]
    paths: tuple[str, ...]


def keys(catalog: Catalog, *, of_op: bool = False) -> Keys:
    """The axes, and what there is of quality: none must be given, and none has a default of its own."""
    rows = ops.keys(catalog) if of_op else _of_model(catalog)
    optional = {name: replace(key, required=False, default=None) for name, key in rows.items()}
    spread = {name: offer for name, offer in axes.PLUGINS.items() if name in rows}
    return optional | {
        name: replace(optional[name], kind=_spreads(offer, optional[name], catalog))
        for name, offer in spread.items()
    }


def _spreads(offer: plugins.Offer, row: Key, catalog: Catalog) -> Made:
    """Checked, and expanded only when the suite's own axis is."""
    return Made(lambda at: plugins.spreads(at, offer, catalog), row.kind.schema())


def _of_model(catalog: Catalog) -> Keys:
    return {**axes.keys(catalog), "quality": effort.keys(catalog)["quality"]}


def kind(rows: Keys) -> Made:
    """A mapping with some of these keys."""
    return Made(lambda at: read(at, rows), table(rows, minProperties=1))


def shorter(at: At, own: Mapping[str, At], overrides: Collection[str], rows: Keys) -> Shorter:
    """What stands under `quick`. A mapping keeps what it does not name of the suite's own.

    overrides: paths of `--set`, which hold all the same.
    """
    read(at, rows)  # notes what is wrong, with its own place
    found = {name: at.child(name) for name in rows if at.has(name) and name not in overrides}
    values: dict[str, At] = {}
    paths: list[str] = []
    for name, value in found.items():
        if isinstance(rows[name].kind, Table) and isinstance(value.node, Fields):
            named = {key for key in value.node.fields if f"{name}.{key}" not in overrides}
            values[name] = _merged(value, value.node, own.get(name), named)
            paths += sorted(f"{name}.{key}" for key in named)
        else:
            values[name] = value
            paths.append(name)
    return Shorter(values, tuple(paths))


def _merged(at: At, short: Fields, own: At | None, named: Collection[str]) -> At:
    """The suite's own mapping with these keys in place of its own."""
    before = own.node if own and isinstance(own.node, Fields) else Fields({}, {}, short.mark)
    fields = before.fields | {key: short.fields[key] for key in named}
    marks = before.marks | {key: short.marks[key] for key in named}
    return replace(at, node=Fields(fields, marks, short.mark))
