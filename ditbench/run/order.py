"""From cells to jobs, and the order in which jobs run."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from ditbench.jobs import Job
from ditbench.metrics import PAIRS, stage_of
from ditbench.records import CANARY, CANARY_PLACES, UNACCELERATED, Cell, Choice, Stage
from ditbench.suite.spec import Suite


def jobs_of(
    cells: Sequence[Cell],
    suite: Suite,
    device: str,
    pictures: Path,
    memory_limit: int | None = None,
) -> tuple[Job, ...]:
    """Every job of a run: a gate per cell, its replicates or its search; per quality key shards and a judge.

    cells: those that may run. device: "cpu" or a UUID. pictures: the folder for generated pictures.
    memory_limit: bytes for each trial of a largest batch, where the suite names no limit.
    """

    def job(cell: Cell, stage: Stage, replicate: int = 0, reference: Cell | None = None) -> Job:
        asked = (suite.timing, suite.quality, suite.metrics)
        return Job(cell, stage, replicate, *asked, device, pictures, reference)

    stages = {stage_of(name) for name in suite.metrics}
    jobs = [job(cell, Stage.GATE) for cell in cells]
    bounded = dataclasses.replace(
        suite.timing, memory_limit=suite.timing.memory_limit or memory_limit
    )
    jobs += [
        dataclasses.replace(job(cell, Stage.FIT), timing=bounded)
        for cell in cells
        if cell.finds_batch
    ]
    given = [cell for cell in cells if not cell.finds_batch]
    if Stage.TIME in stages:
        rounds = range(suite.timing.processes)
        jobs += [job(cell, Stage.TIME, replicate) for replicate in rounds for cell in given]
    if Stage.QUALITY in stages and suite.quality.samples > 0:
        for cell, judge in _pictured(given, suite):
            shards = range(len(suite.quality.shards))
            jobs += [job(cell, Stage.SAMPLE, number, judge) for number in shards]
            jobs.append(job(cell, Stage.QUALITY, 0, judge))
    return tuple(jobs)


def pictures_of(
    cells: Sequence[Cell], suite: Suite, device: str, pictures: Path
) -> tuple[Job, ...]:
    """The gates and shards that a run would make pictures with, whether or not a metric looks at them."""

    def job(cell: Cell, stage: Stage, replicate: int = 0) -> Job:
        asked = (suite.timing, suite.quality, suite.metrics)
        return Job(cell, stage, replicate, *asked, device, pictures)

    given = {cell.key: cell for cell in cells if not (cell.finds_batch or cell.op)}
    made = list(_once(given.values()).values())
    if Stage.QUALITY in map(
        stage_of, suite.metrics
    ):  # softmax's too, where a judge will ask for them
        made = [cell for cell, _ in _pictured(tuple(given.values()), suite)]
    gates = [job(cell, Stage.GATE) for cell in made if cell.key in given]
    shards = range(len(suite.quality.shards))
    return (*gates, *(job(cell, Stage.SAMPLE, number) for cell in made for number in shards))


def with_canaries(jobs: Sequence[Job], devices: Sequence[str]) -> tuple[Job, ...]:
    """The same jobs and, where something is timed, the canary's at start, middle and end on each device.

    A run of one process a cell, as --quick makes it, has no middle: nothing is judged by it, and to say what
    machine it met two ends suffice.
    """
    timed = [job for job in jobs if job.stage is Stage.TIME]
    if not timed:
        return tuple(jobs)
    common = dataclasses.replace(timed[0], cell=CANARY, stage=Stage.CANARY)
    places = range(len(CANARY_PLACES)) if any(job.replicate for job in timed) else (0, 2)
    canaries = (
        dataclasses.replace(common, replicate=place + len(CANARY_PLACES) * at, device=device)
        for at, device in enumerate(devices)
        for place in places
    )
    return (*jobs, *canaries)


def in_order(jobs: Iterable[Job], first: Collection[str] = ()) -> tuple[Job, ...]:
    """Gates; rounds of replicates over all cells, every other round backwards; searches; pictures.

    The canary comes before all of them, between the two halves of what is timed, and behind all.
    So no method always follows the same one, nor always meets a warmer machine. Pictures come method by
    method, the shards in order and then their judge, so that a run that is cut off has judged what it made;
    softmax's come before those that are judged against them. first: methods that begin the first round, for
    a run that may not come to its end.
    """
    jobs = tuple(jobs)
    timed = [job for job in jobs if job.stage is Stage.TIME]
    rounds = [
        [job for job in timed if job.replicate == number][:: -1 if number % 2 else 1]
        for number in sorted({job.replicate for job in timed})
    ]
    if rounds and first:
        rounds[0].sort(key=lambda job: job.cell.family not in first)
    flat = [job for one in rounds for job in one]
    half = len(flat) // 2
    start, middle, end = (_canaries(jobs, place) for place in range(len(CANARY_PLACES)))
    return (
        *start,
        *(job for job in jobs if job.stage is Stage.GATE),
        *flat[:half],
        *middle,
        *flat[half:],
        *(job for job in jobs if job.stage is Stage.FIT),
        *_by_method(job for job in jobs if job.stage.of_pictures),
        *end,
    )


def _canaries(jobs: Iterable[Job], place: int) -> list[Job]:
    """Those of one place, on every device."""
    number = len(CANARY_PLACES)
    return [job for job in jobs if job.stage is Stage.CANARY and job.replicate % number == place]


def _by_method(jobs: Iterable[Job]) -> list[Job]:
    """Softmax's first; of each method the shards, and then their judge."""
    jobs = tuple(jobs)
    first = {key_of(job): place for place, job in reversed(tuple(enumerate(jobs)))}
    return sorted(
        jobs,
        key=lambda job: (
            job.reference is not None,
            first[key_of(job)],
            job.stage is Stage.QUALITY,
            job.replicate,
        ),
    )


def key_of(job: Job) -> str:
    """The key that the job's record will have."""
    return job.cell.quality_key if job.stage.of_pictures else job.cell.key


def reference_of(cell: Cell) -> Cell:
    """The softmax cell whose pictures this cell's are judged against."""
    return dataclasses.replace(
        cell,
        attention=Choice("softmax"),
        accelerator=UNACCELERATED,
        blocks=tuple(range(int(cell.model["depth"]))),
        blocks_label="all",
        compile=False,
    )


def _pictured(cells: Sequence[Cell], suite: Suite) -> list[tuple[Cell, Cell | None]]:
    """One cell per quality key with its reference cell; a reference has none, and is added if missing."""
    by_key = _once(cells)
    if not _judged_by_softmax(suite):
        return [(cell, None) for cell in by_key.values()]
    references = {cell.quality_key: cell for cell in map(reference_of, by_key.values())}
    chosen = references | by_key
    return [
        (cell, None if key in references else chosen[reference_of(cell).quality_key])
        for key, cell in chosen.items()
    ]


def _once(cells: Iterable[Cell]) -> dict[str, Cell]:
    """One cell per quality key, without compilation where there is such a one."""
    by_key: dict[str, Cell] = {}
    for cell in sorted(cells, key=lambda cell: cell.compile):
        by_key.setdefault(cell.quality_key, cell)
    return by_key


def _judged_by_softmax(suite: Suite) -> bool:
    """Whether any metric looks at softmax's pictures: all but figures of a whole set do."""
    return "softmax" in suite.quality.reference or not PAIRS.isdisjoint(suite.metrics)
