"""Runs and baselines on disk: one line per record, flushed and fsynced as it ends, read back loudly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ditbench.environment import Environment
from ditbench.records import Cell, Record


@dataclass(frozen=True)
class Run:
    """One run as read: its head (run.json) and its records.

    suite: the suite's name. suite_text: the file, whole. gate: thresholds by metric. claims: as in the
    suite, plain. planned: every cell that was to run. code: ditbench's version, git commit, dirty flag.
    finished: whether the run came to its end. problems: lines that could not be read, each
    "file:line: cause".
    """

    id: str
    folder: Path
    suite: str
    suite_path: str
    suite_text: str
    command: str
    started: str
    finished: bool
    environment: Environment
    code: Mapping[str, Any]
    planned: tuple[Cell, ...]
    records: tuple[Record, ...]
    gate: Mapping[str, float]
    claims: tuple[Mapping[str, Any], ...] = ()
    problems: tuple[str, ...] = ()
