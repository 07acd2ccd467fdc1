"""github-action-benchmark's own JSON: a list of name, unit, value, range and extra.

Its tools customSmallerIsBetter and customBiggerIsBetter take one direction each, so that there are two
lists. A name is what it draws a line by, so it is the cell's and the metric's and nothing of the night.
It refuses an empty list, reads a range only as "± number", and JSON has no number for what is not finite.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

from ditbench.compare import Finding
from ditbench.export.result import Exported, Result
from ditbench.metrics import Metric, known
from ditbench.summary import Estimate, Row

_Better = Literal["lower", "higher"]


def lower(result: Result) -> Exported:
    """Figures that should fall: customSmallerIsBetter."""
    return _write(result, "lower")


def higher(result: Result) -> Exported:
    """Figures that should rise: customBiggerIsBetter."""
    return _write(result, "higher")


def _write(result: Result, better: _Better) -> Exported:
    findings = {(one.cell.key, one.metric): one for one in result.comparison.findings}
    ids = Counter(row.cell.id for row in result.summary.rows)
    entries, left_out = [], []
    for row, metric, figure in _figures(result, better):
        twin = f" {row.cell.key}" if ids[row.cell.id] > 1 else ""
        name = f"{row.cell.id}{twin}: {metric.name}"
        if math.isfinite(figure.value):
            finding = findings.get((row.cell.key, metric.name))
            entries.append(_entry(name, metric, figure, _extra(row, figure, finding)))
        else:
            left_out.append(f"left out: {name}: is {figure.value}, which JSON cannot say")
    if not entries:
        left_out.append(
            f"no figure where {better} is better: github-action-benchmark refuses an empty list"
        )
    text = json.dumps(entries, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return Exported(text.encode(), tuple(left_out))


def _figures(result: Result, better: _Better) -> Iterator[tuple[Row, Metric, Estimate]]:
    for row in result.summary.rows:
        for name, figure in row.estimates.items():
            metric = known(name)
            if metric and metric.better == better:
                yield row, metric, figure


def _entry(name: str, metric: Metric, figure: Estimate, extra: str) -> dict[str, Any]:
    reach = max(figure.value - figure.low, figure.high - figure.value)
    told = {"range": f"\N{PLUS-MINUS SIGN} {reach:.6g}"} if 0 < reach < math.inf else {}
    return {"name": name, "unit": metric.unit, "value": figure.value, **told, "extra": extra}


def _extra(row: Row, figure: Estimate, finding: Finding | None) -> str:
    """What stands beside a point of the chart: what it rests on, what was said of it."""
    lines = [
        f"key: {row.cell.key}",
        f"processes: {figure.processes}",
        f"samples: {figure.samples}",
        *([f"{finding.verdict}: {finding.reason}"] if finding else []),
        *(f"doubt: {doubt}" for doubt in row.doubts),
    ]
    return "\n".join(lines)
