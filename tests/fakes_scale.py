"""Runs and suites of ten thousand: what a team has after a year, made in seconds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fakes_runs import CLAIMS, METHODS, SAMPLING, cell, fake_run, measured, quality, record

from ditbench.records import Record, Stage, Status
from ditbench.store import Run
from ditbench.store.reading import RECORDS, head_to_json
from ditbench.store.seal import sealed
from ditbench.store.writing import to_plain

BATCHES, STEPS, GUIDANCES = range(1, 9), range(8, 34, 2), (1.0, 1.5, 2.0, 4.0)


def records(slower: float = 1.0) -> Iterator[Record]:
    """2,496 cells with a gate and three processes each, and 312 sets of pictures: 10,296 records.

    slower: the factor on the seconds of every fiftieth cell. Every hundredth has crashed.
    """
    axes = itertools.product(GUIDANCES, STEPS, BATCHES, METHODS)
    for number, (guidance, steps, batch, label) in enumerate(axes):
        where = {"steps": steps, "sampling": replace(SAMPLING, guidance_scale=guidance)}
        factor = slower if number % 50 == 0 else 1.0
        gate, *times = measured(label, batch, factor * steps / 20, **where)
        yield gate
        yield from times if number % 100 != 99 else map(_crashed, times)
        if batch == 1:
            yield quality(cell(label, **where), METHODS[label][4] * 20 / steps)


def _crashed(one: Record) -> Record:
    return record(
        one.cell,
        Stage.TIME,
        replicate=one.replicate,
        status=Status.CRASHED,
        reason=f"segmentation fault (SIGSEGV), in phase timing {one.cell.steps}",
    )


def many(run_id: str, slower: float = 1.0) -> Run:
    """A run of those records."""
    return fake_run(*records(slower), id=run_id, claims=CLAIMS)


def write(folder: Path, run: Run) -> Path:
    """A run's folder under `folder`, as the store would have left it, but for a sync each line."""
    place = folder / run.suite / run.id
    (place / "logs").mkdir(parents=True)
    (place / "run.json").write_text(sealed(head_to_json(run)) + "\n")
    with (place / RECORDS).open("w") as file:
        file.writelines(sealed(to_plain(one)) + "\n" for one in run.records)
    return place
