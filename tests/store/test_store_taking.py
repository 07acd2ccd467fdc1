"""Pictures of an earlier run, taken over by one that would make the same: the same bytes, or a clear no."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from fakes_runs import cell, fake_run, gate, record

from ditbench.cli import main
from ditbench.environment import Environment
from ditbench.errors import UsageError
from ditbench.jobs import Job, Quality, Timing
from ditbench.records import Stage, Status
from ditbench.report import conduct
from ditbench.store import RunWriter, clock_notes, offered, pictures, read, shelf, take_over
from ditbench.store.pictures import Made, Shards
from ditbench.summary import spent, summarise

CELL = cell("softmax")
OF = pictures.identity(CELL, "5f2c", 4, "pixels")
ASKED = Quality(samples=8, micro_batch=4, shard=4)
TRIAL = np.ones(3, np.float32)


def jobs(quality=ASKED, of=CELL):
    shards = range(len(quality.shards))
    return [
        Job(of, Stage.SAMPLE, number, Timing(), quality, (), "cpu", Path()) for number in shards
    ]


def head(quality=ASKED, **parts):
    return fake_run(gate(CELL), effort={"quality": dataclasses.asdict(quality)}, **parts)


def shard(folder, start, stop, *, trial=TRIAL, of=OF):
    """A shard's file, and its record."""
    images = np.full((stop - start, 2, 2, 1), start, np.uint8)
    none = np.zeros(0, np.int64), np.zeros(0, np.str_)
    made = Made(images.astype(np.float32), images, *none, trial)
    path = shelf.file_of(shelf.folder_of(folder / "images", CELL), start, stop)
    pictures.keep(path, made, of)
    told = {
        "pictures": f"images/{CELL.quality_key}/{path.name}",
        "image_key": pictures.key_of(OF),
        "weights": "5f2c",
        "samples": stop - start,
    }
    return record(CELL, Stage.SAMPLE, replicate=start // 4, facts=told)


@pytest.fixture
def earlier(tmp_path):
    """A run that made two shards of four pictures, and what a network saw in them."""
    with RunWriter.create(tmp_path / "results", head()) as writer:
        for start in (0, 4):
            writer.append(shard(writer.folder, start, start + 4))
        features = writer.images / CELL.quality_key / "features"
        features.mkdir()
        (features / "net-0123abcd.npz").write_bytes(b"seen")
        writer.stop("pictures were made, and nothing else")
    return read(writer.folder)


@pytest.fixture
def later(tmp_path):
    def later(quality=ASKED):
        return RunWriter.create(tmp_path / "results", head(quality))

    return later


def test_shards_are_the_same_files_and_say_which_run_made_them(earlier, later):
    with later() as writer:
        taken = take_over(writer, offered(earlier, head(), jobs()))
    run = read(writer.folder)
    assert [one.replicate for one in taken] == [0, 1]
    assert [one.facts["taken_from"] for one in run.records] == [earlier.id] * 2
    mine, theirs = (Shards.open(one.folder / "images" / CELL.quality_key) for one in (run, earlier))
    assert (mine.count, mine.key) == (8, theirs.key)
    for ours, other in zip(mine.parts, theirs.parts, strict=True):
        assert ours.path.samefile(other.path)
    assert (mine.folder / "features" / "net-0123abcd.npz").read_bytes() == b"seen"


def test_a_run_that_took_them_over_hands_on_who_made_them(earlier, later):
    with later() as writer:
        take_over(writer, offered(earlier, head(), jobs()))
    with later() as third:
        (first, _) = take_over(third, offered(read(writer.folder), head(), jobs()))
    assert first.facts["taken_from"] == earlier.id


def test_where_no_second_name_can_be_had_a_copy_is_made(earlier, later, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    with later() as writer:
        take_over(writer, offered(earlier, head(), jobs()))
    (one, *_), (other, *_) = (
        Shards.open(folder / "images" / CELL.quality_key).parts
        for folder in (writer.folder, earlier.folder)
    )
    assert not one.path.samefile(other.path)
    assert one.path.read_bytes() == other.path.read_bytes()


def test_fewer_pictures_take_the_whole_shards_that_fit_and_no_features_of_more(earlier, later):
    fewer = dataclasses.replace(ASKED, samples=6)
    with later(fewer) as writer:
        (only,) = take_over(writer, offered(earlier, head(fewer), jobs(fewer)))
    assert only.replicate == 0  # the second would be pictures 4 and 5 alone
    assert not list(writer.images.glob("*/features"))


def test_what_is_lost_is_left_to_be_made_anew_and_named(earlier):
    first, second = (shelf.shard_of(earlier.folder, one) for one in earlier.records)
    first.write_bytes(first.read_bytes()[:100])
    offer = offered(earlier, head(), jobs())
    assert [one.job.replicate for one in offer.shards] == [1]
    assert offer.lost == (f"{first}: is torn, or no shard of pictures",)
    assert not offer.whole
    second.unlink()
    with pytest.raises(UsageError, match=r"nothing to take over: .*000000-000004.npz: is torn"):
        offered(earlier, head(), jobs())


def test_a_file_that_is_not_what_its_record_says_is_not_taken(earlier):
    other = pictures.identity(CELL, "other weights", 4, "pixels")
    shard(earlier.folder, 4, 8, of=other)
    (lost,) = offered(earlier, head(), jobs()).lost
    assert f"holds pictures of key {pictures.key_of(other)}, its record says" in lost


def test_mistake_26_an_only_shard_without_a_trial_is_no_part_of_several(earlier):
    shard(earlier.folder, 4, 8, trial=np.zeros(0, np.float32))
    (lost,) = offered(earlier, head(), jobs()).lost
    assert "was the only shard, so that it kept no trial" in lost


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        (
            {"code": {"version": "0.1.0", "commit": "ffff", "dirty": False}},
            ASKED,
            "other code or another machine may make other pictures: commit: ffff -> 0123abcd; go back",
        ),
        (
            {"environment": Environment({"device": "cpu", "torch": "3"})},
            ASKED,
            "torch: 3 -> 2.13.0",
        ),
        (
            {},
            dataclasses.replace(ASKED, micro_batch=2),
            "nothing to take over: its pictures are others: quality.micro_batch: 4 -> 2; go back",
        ),
        ({}, dataclasses.replace(ASKED, vae="none"), "quality.vae: own -> none"),
        (
            {},
            dataclasses.replace(ASKED, shard=8),
            "this run would make none of its 2 shards (quality.shard: 4 -> 8); give cells,",
        ),
        ({}, dataclasses.replace(ASKED, samples=0), "this run makes no pictures: give the suite"),
    ],
)  # fmt: skip
def test_other_pictures_are_refused_with_both_values(earlier, then, now, told):
    with pytest.raises(UsageError) as error:
        offered(dataclasses.replace(earlier, **then), head(now), jobs(now))
    assert str(error.value).startswith(f"--pictures {earlier.id}: ")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_pictures_of_other_cells_and_failed_shards_are_nothing_to_take_over(earlier):
    with pytest.raises(UsageError, match="none of its 2 shards, which are of other cells; give"):
        offered(earlier, head(), jobs(of=cell("sdpa")))
    failed = [
        dataclasses.replace(one, status=Status.CRASHED, reason="died") for one in earlier.records
    ]
    with pytest.raises(UsageError, match="it made no pictures, or did not end any shard"):
        offered(dataclasses.replace(earlier, records=tuple(failed)), head(), jobs())


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            ("--resume", "latest"),
            "--pictures and --resume: a run that goes on has its own pictures",
        ),
        ((), "{out}: no run 'zzz'"),
    ],
)
def test_a_missing_run_and_two_at_once_are_one_line_before_anything_is_read(
    earlier, capsys, more, told
):
    out = str(earlier.folder.parents[1])
    assert main(["run", "suite.yaml", "--pictures", "zzz", "--out", out, *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ditbench: {told.format(out=out)}")


def test_time_that_another_run_took_is_not_this_ones(earlier):
    (one, *_) = earlier.records
    old = dataclasses.replace(
        one,
        started="2026-11-21T12:00:00+00:00",
        facts={**one.facts, "taken_from": "x", "phase_s": {"pictures": 1.0}},
    )
    own = record(CELL, Stage.GATE, seconds=60.0, facts={"phase_s": {"gates": 30.0}})
    run = fake_run(old, own, started="2026-11-21T10:00:00+00:00")
    assert (spent(run).wall, spent(run).measuring) == (60.0, 30.0)
    assert list(clock_notes(run)) == []


def test_the_page_says_which_run_made_the_pictures(earlier):
    (one, two) = earlier.records
    taken = dataclasses.replace(one, facts={**one.facts, "taken_from": earlier.id})
    judged = record(CELL, Stage.QUALITY, facts={"samples": 8, "micro_batch": 4})
    run = fake_run(gate(CELL), taken, two, judged)
    said = dict(conduct.sentences(run, summarise(run)))["Pictures"]
    assert said.endswith(
        f"Of 2 shards of pictures, these were taken over: 1 from run {earlier.id}."
    )
