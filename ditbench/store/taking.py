"""Pictures of an earlier run, taken over by one that would make the same, instead of being made again.

A shard gets a second name where the disk can do that, for nobody writes into one: it is replaced whole. The
new run has its own records of them, each with the run that made it (`taken_from`).
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ditbench.errors import StoreError, UsageError
from ditbench.jobs import Job
from ditbench.records import Record, Stage, Status
from ditbench.store.disk import replacing, sync, writing
from ditbench.store.reading import Run
from ditbench.store.sameness import elsewhere, quality_unlike
from ditbench.store.shelf import file_of, folder_of, shard_of
from ditbench.store.writing import RunWriter

if TYPE_CHECKING:
    from ditbench.store.pictures import Part

# What pictures depend on beside their cell, and what they are cut by: names under `quality`.
_MAKING, _CUT = ("micro_batch", "vae"), ("samples", "shard")
_ANEW = "go back to what it had, or make the pictures anew without --pictures"
_Place = tuple[str, str]


@dataclass(frozen=True)
class Shard:
    """A file that holds what a job would make, with the record of who made it."""

    job: Job
    record: Record
    part: Part


@dataclass(frozen=True)
class Offer:
    """What a run may take over from another. lost: shards that it would, had they not been damaged; why."""

    run: Run
    shards: tuple[Shard, ...]
    lost: tuple[str, ...]

    @property
    def whole(self) -> dict[str, Job]:
        """By quality key, the methods of which no picture is left to make."""
        count = Counter(one.record.key for one in self.shards)
        jobs = {one.record.key: one.job for one in self.shards}
        return {key: job for key, job in jobs.items() if count[key] == len(job.quality.shards)}


def offered(then: Run, now: Run, jobs: Iterable[Job]) -> Offer:
    """The shards of a run that these jobs would make. now: the head of the run that has the jobs.

    Raises UsageError, each difference with both values, where other code or another machine made them, and
    where there is nothing to take over.
    """
    if differences := elsewhere(then, now):
        raise UsageError(
            f"--pictures {then.id}: other code or another machine may make other pictures: "
            f"{'; '.join(differences)}; {_ANEW}"
        )
    if differences := quality_unlike(then, now, _MAKING):
        raise UsageError(
            f"--pictures {then.id}: nothing to take over: its pictures are others: "
            f"{'; '.join(differences)}; {_ANEW}"
        )
    wanted = _wanted(jobs)
    if not wanted:
        raise UsageError(
            f"--pictures {then.id}: this run makes no pictures: give the suite quality.samples, and a metric "
            "that looks at them"
        )
    made = [one for one in then.records if one.stage is Stage.SAMPLE and one.status is Status.OK]
    offer = _offer(then, made, wanted)
    if not offer.shards:
        raise UsageError(
            f"--pictures {then.id}: nothing to take over: {_nothing(offer, made, now)}"
        )
    return offer


def take_over(writer: RunWriter, offer: Offer) -> tuple[Record, ...]:
    """Put the shards into an open run, and what networks saw in them; their records in it.

    Raises StoreError where the disk refuses.
    """
    records = []
    for shard in offer.shards:
        path = shard.part.path
        _link(path, folder_of(writer.images, shard.job.cell) / path.name)
        origin = shard.record.facts.get("taken_from", offer.run.id)
        record = dataclasses.replace(
            shard.record,
            cell=shard.job.cell,
            replicate=shard.job.replicate,
            facts={**shard.record.facts, "taken_from": origin},
        )
        writer.append(record)
        records.append(record)
    for job in offer.whole.values():
        _link_features(offer.run, writer.images, job)
    return tuple(records)


def _wanted(jobs: Iterable[Job]) -> dict[_Place, Job]:
    """By quality key and a file's name, the job that would make a shard."""
    found = {}
    for job in jobs:
        if job.stage is Stage.SAMPLE:
            start, stop = job.quality.shards[job.replicate]
            found[job.cell.quality_key, file_of(Path(), start, stop).name] = job
    return found


def _offer(run: Run, made: Iterable[Record], wanted: Mapping[_Place, Job]) -> Offer:
    shards, lost = [], []
    for record in made:
        path = shard_of(run.folder, record)
        job = wanted.get((record.key, path.name))
        if job is None:
            continue
        try:
            shards.append(_checked(job, record, path))
        except _LostError as error:
            lost.append(f"{path}: {error}")
    return Offer(run, tuple(shards), tuple(lost))


class _LostError(Exception):
    """Why a shard is not what its record says, as a clause."""


def _checked(job: Job, record: Record, path: Path) -> Shard:
    """Raises _LostError for a file that is gone, torn, of another key, or without what others need of it."""
    from ditbench.store.pictures import Part  # noqa: PLC0415 (numpy: the fork server has no use for it)

    if not path.is_file():
        raise _LostError("is gone")
    try:
        part = Part.read(path)
        trial = len(part.array("trial"))
    except StoreError as error:
        raise _LostError("is torn, or no shard of pictures") from error
    if part.key != record.facts.get("image_key"):
        raise _LostError(
            f"holds pictures of key {part.key}, its record says {record.facts.get('image_key')}"
        )
    if not trial and len(job.quality.shards) > 1:
        raise _LostError(
            "was the only shard, so that it kept no trial that shows whether others are of the same method"
        )
    return Shard(job, record, part)


def _nothing(offer: Offer, made: list[Record], now: Run) -> str:
    """Why, with the way out."""
    if offer.lost:
        return f"{offer.lost[0]}; leave out --pictures, and they are made anew"
    if not made:
        return "it made no pictures, or did not end any shard; name another run, or leave out --pictures"
    differences = quality_unlike(offer.run, now, _CUT)
    why = f" ({'; '.join(differences)})" if differences else ", which are of other cells"
    return (
        f"this run would make none of its {len(made)} shards{why}; give cells, quality.samples and "
        "quality.shard as it had them, or leave out --pictures"
    )


def _link_features(run: Run, images: Path, job: Job) -> None:
    """What networks saw: a cache whose files say what of, so that a wrong one would be made anew."""
    there, here = (
        folder_of(root, job.cell) / "features" for root in (run.folder / "images", images)
    )
    for path in sorted(there.glob("*.npz")):
        _link(path, here / path.name)


def _link(path: Path, to: Path) -> None:
    """A second name for a file; a copy of it where there can be none, as on another disk."""
    with writing(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path.resolve(), to)
        except OSError:
            with path.open("rb") as source, replacing(to) as copy:
                shutil.copyfileobj(source, copy)
        else:
            sync(to.parent)
