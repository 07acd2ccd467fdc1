"""Every raw value of a run in one tidy table, in base units.

One row a cell, metric, process and sample; a cell that is not ok is one row without a metric, so that it
is neither lost nor averaged. Figures of pictures stand at every cell that has these pictures. The columns
and their types are the same for every run, so that tables of many nights can be put below each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ditbench.environment import code_label
from ditbench.metrics import known
from ditbench.records import Cell, Record, Status
from ditbench.store import Run
from ditbench.summary import Evidence, gather

if TYPE_CHECKING:
    from pandas import DataFrame

# Axes of models and of attention cores by themselves; a cell has those of its kind.
_AXES = {
    "model": "str",
    "weights": "str",
    "attention": "str",
    "accelerator": "str",
    "blocks": "str",
    "compile": "str",
    "batch_size": "Int64",
    "steps": "Int64",
    "sampler": "str",
    "guidance_scale": "Float64",
    "guidance_channels": "Int64",
    "dtype": "str",
    "seed": "Int64",
    "tokens": "Int64",
    "heads": "Int64",
    "head_dim": "Int64",
    "cache": "str",
}
COLUMNS = {
    "run": "str",
    "suite": "str",
    "started": "str",
    "code": "str",
    "environment": "str",
    "key": "str",
    **_AXES,
    "status": "str",
    "reason": "str",
    "stage": "str",
    "metric": "str",
    "unit": "str",
    "process": "Int64",
    "sample": "Int64",
    "value": "float64",
}


@dataclass(frozen=True)
class _Block:
    """Values that differ in nothing but their number; none of a cell that is not ok."""

    common: Mapping[str, Any]
    raw: tuple[float, ...] = ()


def table(run: Run) -> DataFrame:
    """All rows, in the order of the plan and then of time."""
    import numpy as np  # noqa: PLC0415 (both take a while, and --help needs neither)
    import pandas as pd  # noqa: PLC0415 (likewise)

    blocks = list(_blocks(run))
    rows = [max(1, len(block.raw)) for block in blocks]
    frame = pd.DataFrame([block.common for block in blocks], columns=list(COLUMNS))
    frame = frame.loc[np.repeat(np.arange(len(blocks)), rows)].reset_index(drop=True)
    frame["sample"] = [n for block in blocks for n in (range(len(block.raw)) or (None,))]
    frame["value"] = [v for block in blocks for v in (block.raw or (np.nan,))]
    return frame.astype(COLUMNS)


def _blocks(run: Run) -> Iterator[_Block]:
    head = {
        "run": run.id,
        "suite": run.suite,
        "started": run.started,
        "code": code_label(run.code),
        "environment": run.environment.id,
    }
    for one in gather(run):
        about = head | _axes(one.cell) | {"status": str(one.status), "reason": one.reason}
        measured = [block for record in _records(one) for block in _values(about, record)]
        yield from measured or [_Block(_texts(about))]


def _records(one: Evidence) -> tuple[Record, ...]:
    """What counts: of a cell that is not ok nothing, because it has no speed."""
    return (*one.own, *one.shared) if one.status is Status.OK else ()


def _values(about: Mapping[str, Any], record: Record) -> Iterator[_Block]:
    for name, values in record.metrics.items():
        metric = known(name)
        of_metric = {
            "stage": str(record.stage),
            "metric": name,
            "unit": metric.unit if metric else "",
            "process": record.replicate,
        }
        if values:
            yield _Block(_texts({**about, **of_metric}), values)


def _texts(parts: Mapping[str, Any]) -> dict[str, Any]:
    """An absent text is empty, and an absent number absent."""
    return {name: "" for name, kind in COLUMNS.items() if kind == "str"} | dict(parts)


def _axes(cell: Cell) -> dict[str, Any]:
    """The cell's own axes; a batch that was searched for is no number here."""
    axes = {name: _typed(name, value) for name, value in cell.axes.items()}
    return {"key": cell.key, **axes}


def _typed(name: str, value: str) -> str | float | int | None:
    kind = _AXES[name]
    if kind == "str":
        return value
    if value == "max":
        return None
    return float(value) if kind == "Float64" else int(value)
