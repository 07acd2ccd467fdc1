"""Comma-separated values: every raw value in a row of its own (see `samples`)."""

from __future__ import annotations

from ditbench.export.result import Exported, Result
from ditbench.export.samples import table


def write(result: Result) -> Exported:
    """UTF-8 with a header; as many digits as a float has. What is absent is empty, no number is `nan`."""
    frame = table(result.run)
    frame["value"] = [
        str(value) if metric else ""
        for metric, value in zip(frame["metric"], frame["value"].tolist(), strict=True)
    ]
    return Exported(frame.to_csv(index=False, lineterminator="\n").encode())
