"""Where the shards of pictures lie, by name alone: whoever looks for a file need not load what reads it."""

from __future__ import annotations

import re
from pathlib import Path

from ditbench.records import Cell, Record

NAME = re.compile(r"(\d{6,})-(\d{6,})\.npz")


def folder_of(pictures: Path, cell: Cell) -> Path:
    """Where the shards of a cell lie. pictures: the folder of all of a run."""
    return pictures / cell.quality_key


def file_of(folder: Path, start: int, stop: int) -> Path:
    """The shard of pictures `start` to `stop` - 1."""
    return folder / f"{start:06d}-{stop:06d}.npz"


def shard_of(run: Path, record: Record) -> Path:
    """The file in its run's folder that a record of stage sample is about."""
    name = Path(str(record.facts.get("pictures", ""))).name
    return run / "images" / record.key / (name if NAME.fullmatch(name) else "none")
