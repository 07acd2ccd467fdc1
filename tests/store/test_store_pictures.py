"""Shards of pictures: whole or refused by name, one set however they were cut, exported as others read it."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile

import numpy as np
import pytest
from fakes_runs import SAMPLING, cell, fake_run, gate, quality, record
from PIL import Image

from ditbench.distances.moments import Streaming
from ditbench.errors import StoreError
from ditbench.records import Stage, Status
from ditbench.store import RunWriter, pictures, read, shelf
from ditbench.store.exporting import export_npz, export_png
from ditbench.store.pictures import Made, Shards

CELL = cell("softmax")
COUNT = 37


def made(start, stop, *, channels=1, side=6, pixels=True):
    """Pictures that depend on their index alone."""
    drawn = [np.random.default_rng(n) for n in range(start, stop)]
    images = np.stack([one.integers(0, 256, (side, side, channels), np.uint8) for one in drawn])
    latents = np.stack([one.normal(size=(channels, side, side)) for one in drawn])
    labels = np.arange(start, stop) % 3
    return Made(
        latents.astype(np.float32),
        images if pixels else np.zeros((0, 0, 0, 0), np.uint8),
        labels.astype(np.int64),
        np.array([f"class {label}" for label in labels]),
    )


def kept(folder, size, *, of=None, count=COUNT, **look):
    """All pictures, `size` in a shard."""
    of = of or pictures.identity(CELL, "sha256 ab", 4, "pixels")
    folder = folder / CELL.quality_key
    for start in range(0, count, size):
        stop = min(start + size, count)
        pictures.keep(shelf.file_of(folder, start, stop), made(start, stop, **look), of)
    return folder


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_pictures_are_read_back_as_one_set_whatever_their_shards(tmp_path):
    whole = made(0, COUNT)
    for size in (1, 8, 37, 100):
        shards = Shards.open(kept(tmp_path / str(size), size))
        assert shards.count == COUNT
        assert shards.shape == (6, 6, 1)
        assert np.array_equal(shards.images(), whole.images)
        assert np.array_equal(shards.latents(), whole.latents)
        assert np.array_equal(shards.images(5, 19), whole.images[5:19])
        assert np.array_equal(shards.latents(30, 99), whole.latents[30:])
        assert shards.images(7, 7).shape == (0, 6, 6, 1)
        assert shards.labels.tolist() == whole.labels.tolist()
        assert shards.classes.tolist() == whole.classes.tolist()


@pytest.mark.parametrize("size", [1, 5, 8, 37, 50])
def test_mistake_26_batches_are_the_same_whatever_the_shards(tmp_path, size):
    """And so are statistics that stream over them, bit for bit."""
    found, statistics = [], []
    for cut in (8, 12, 37):
        shards = Shards.open(kept(tmp_path / str(cut), cut))
        batches = list(shards.batches(size))
        found.append([batch.tobytes() for batch in batches])
        assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
        streaming = Streaming(36)
        for batch in batches:
            streaming.add(batch.reshape(len(batch), -1).astype(np.float32))
        moments = streaming.moments()
        statistics.append((moments.mean.tobytes(), moments.covariance.tobytes()))
    assert found[0] == found[1] == found[2]
    assert statistics[0] == statistics[1] == statistics[2]


def test_mistake_24_an_export_is_one_array_of_uint8_under_the_name_that_evaluators_read(tmp_path):
    shards = Shards.open(kept(tmp_path, 8, channels=3))
    export_npz(shards, tmp_path / "out" / "a.npz")
    with np.load(tmp_path / "out" / "a.npz", allow_pickle=False) as file:
        assert file.files == ["arr_0"]
        images = file["arr_0"]
    assert images.dtype == np.uint8
    assert images.shape == (COUNT, 6, 6, 3)
    assert images.flags.c_contiguous
    assert np.array_equal(images, made(0, COUNT, channels=3).images)
    assert not list((tmp_path / "out").glob(".*"))


def test_equal_pictures_are_equal_bytes_for_other_programs_whatever_their_shards(tmp_path):
    for size in (8, 12, 37):
        shards = Shards.open(kept(tmp_path / str(size), size))
        export_npz(shards, tmp_path / f"{size}.npz")
        export_png(shards, tmp_path / f"png-{size}")
    assert len({digest(tmp_path / f"{size}.npz") for size in (8, 12, 37)}) == 1
    first, second = (
        {path.name: digest(path) for path in (tmp_path / f"png-{size}").iterdir()}
        for size in (8, 37)
    )
    assert first == second
    assert sorted(first) == [f"{n:06d}.png" for n in range(COUNT)]


def test_an_export_holds_one_shard_in_memory_and_no_more(tmp_path, monkeypatch):
    shards = Shards.open(kept(tmp_path, 4))
    sizes, array = [], pictures.Part.array

    def watched(part, name):
        found = array(part, name)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(pictures.Part, "array", watched)
    monkeypatch.setattr(Shards, "_rows", None)
    export_npz(shards, tmp_path / "a.npz")
    assert max(sizes) == 4
    assert sum(sizes) == COUNT


def test_exported_png_files_are_the_pictures(tmp_path):
    for channels in (1, 3):
        shards = Shards.open(kept(tmp_path / str(channels), 8, channels=channels))
        export_png(shards, tmp_path / f"{channels}" / "png")
        one = np.asarray(Image.open(tmp_path / f"{channels}" / "png" / "000011.png"))
        assert np.array_equal(one.reshape(6, 6, channels), shards.images(11, 12)[0])


def test_a_folder_of_png_files_is_replaced_and_one_with_anything_else_is_not(tmp_path):
    shards = Shards.open(kept(tmp_path, 8))
    export_png(shards, tmp_path / "png")
    (tmp_path / "png" / "999999.png").touch()  # as of an export of more of them
    export_png(shards, tmp_path / "png")
    assert len(list((tmp_path / "png").iterdir())) == COUNT
    (tmp_path / "png" / "thesis.tex").touch()
    with pytest.raises(StoreError, match=r"png: holds thesis\.tex, which is no exported picture"):
        export_png(shards, tmp_path / "png")
    assert (tmp_path / "png" / "thesis.tex").exists()


def test_latents_that_nothing_decoded_are_kept_and_not_exported(tmp_path):
    shards = Shards.open(kept(tmp_path, 8, pixels=False))
    assert shards.shape == ()
    assert shards.images().size == 0
    assert list(shards.batches(4)) == []
    assert shards.latents().shape == (COUNT, 1, 6, 6)
    for export in (export_npz, export_png):
        with pytest.raises(StoreError, match="no pictures, and nothing decoded them"):
            export(shards, tmp_path / "out")


# What is refused.


def one_line_about(folder):
    with pytest.raises(StoreError) as caught:
        Shards.open(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "")


def test_a_key_is_of_all_that_pictures_depend_on():
    base = {"cell": CELL, "weights": "sha256 ab", "micro_batch": 4, "decoder": "pixels"}
    other = dataclasses.replace(CELL, sampling=dataclasses.replace(SAMPLING, seed=1))
    changes = ({"cell": other}, {"weights": "sha256 cd"}, {"micro_batch": 8}, {"decoder": "vae"})
    keys = {pictures.key_of(pictures.identity(**(base | change))) for change in ({}, *changes)}
    assert len(keys) == 5
    larger = dataclasses.replace(CELL, batch_size=64, compile=True)
    same = pictures.key_of(pictures.identity(**(base | {"cell": larger})))
    assert same == pictures.key_of(pictures.identity(**base))


def test_a_shard_of_another_key_is_refused_with_what_differs(tmp_path):
    folder = kept(tmp_path, 8)
    other = pictures.identity(CELL, "sha256 cd", 4, "pixels")
    pictures.keep(folder / "000016-000024.npz", made(16, 24), other)
    told = one_line_about(folder)
    assert told.startswith("000016-000024.npz: holds pictures of another key than 000000-000008")
    assert "weights sha256 cd and not sha256 ab" in told
    assert "remove whichever is wrong, and go on with --resume" in told


@pytest.mark.parametrize("how", ["cut", "emptied", "no archive", "another array"])
def test_mistake_34_a_torn_shard_is_named_with_the_way_out(tmp_path, how):
    folder = kept(tmp_path, 8)
    torn = folder / "000008-000016.npz"
    if how == "another array":
        np.savez(torn, images=np.zeros((8, 6, 6, 1), np.uint8))
    else:
        data = {"cut": torn.read_bytes()[:-40], "emptied": b"", "no archive": b"x" * 900}[how]
        torn.write_bytes(data)
    told = one_line_about(folder)
    assert told.startswith("000008-000016.npz: is torn, or no shard of pictures (")
    assert told.endswith("remove it, and go on with --resume, which makes it again")


def test_a_flipped_bit_in_the_pictures_is_found_when_they_are_read(tmp_path):
    folder = kept(tmp_path, 8, side=40)
    torn = folder / "000008-000016.npz"
    images = made(8, 16, side=40).images.tobytes()
    data = bytearray(torn.read_bytes())
    data[data.index(images) + 9000] ^= 4
    torn.write_bytes(data)
    shards = Shards.open(folder)
    with pytest.raises(StoreError, match=r"000008-000016\.npz: is torn.*CRC"):
        export_npz(shards, tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


@pytest.mark.parametrize("name", ["key", "identity"])
def test_a_shard_that_does_not_say_what_it_is_of_is_refused(tmp_path, name):
    folder = kept(tmp_path, 40)
    (path,) = folder.iterdir()
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **(arrays | {name: np.array('{"cell": "other"}')}))
    assert "its key is not that of what it says it is" in one_line_about(folder)


@pytest.mark.parametrize(
    ("name", "array", "told"),
    [
        ("arr_0", np.zeros((37, 6, 6, 1), np.float32), "arr_0 is float32"),
        ("arr_0", np.zeros((36, 6, 6, 1), np.uint8), "it holds latents"),
        ("arr_0", np.zeros((37, 6, 6), np.uint8), "it holds latents"),
        ("latents", np.zeros((5, 1, 6, 6), np.float32), "it holds latents (5, 1, 6, 6)"),
        ("labels", np.zeros(3, np.int64), "it holds labels (3,) and classes (37,)"),
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path, name, array, told):
    folder = kept(tmp_path, 40)
    (path,) = folder.iterdir()
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **(arrays | {name: array}))
    assert told in one_line_about(folder)


def test_nothing_in_a_shard_is_unpickled(tmp_path):
    folder = kept(tmp_path, 40)
    (path,) = folder.iterdir()
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **(arrays | {"classes": np.array([{}], dtype=object)}))
    assert "classes is object" in one_line_about(folder)


def test_what_is_missing_or_there_twice_is_named(tmp_path):
    folder = kept(tmp_path, 8)
    (folder / "000008-000016.npz").unlink()
    told = f"{folder}: pictures 8 to 15 are not there: go on with --resume, which makes them"
    assert one_line_about(folder) == told
    pictures.keep(
        folder / "000004-000016.npz",
        made(4, 16),
        pictures.identity(CELL, "sha256 ab", 4, "pixels"),
    )
    assert "000004-000016.npz: holds pictures that the shard before it holds too" in one_line_about(
        folder
    )


def test_a_file_of_another_name_a_missing_folder_and_an_earlier_layout_are_told_apart(tmp_path):
    folder = kept(tmp_path, 40)
    (folder / "mine.npz").touch()
    assert one_line_about(folder).startswith("mine.npz: is no shard of pictures")
    missing = tmp_path / "none"
    assert "holds no pictures: they were not made, or are gone" in one_line_about(missing)
    np.savez(tmp_path / "none.npz", images=np.zeros(3))
    assert "none.npz: holds pictures in the layout of an earlier ditbench" in one_line_about(
        missing
    )


def test_what_a_writer_that_was_killed_left_is_nobody_s(tmp_path):
    folder = kept(tmp_path, 8)
    (folder / ".000008-000016.npz.tmp").write_bytes(b"half")
    assert Shards.open(folder).count == COUNT


# A run that goes on.


def written(tmp_path, *, finish=False):
    """A run of one method with its gate and shards, and what its judge found where it came to its end."""
    of = pictures.identity(CELL, "sha256 ab", 4, "pixels")
    shards = [
        record(
            CELL,
            Stage.SAMPLE,
            replicate=number,
            facts={"pictures": f"images/{CELL.quality_key}/{start:06d}-{start + 8:06d}.npz"},
        )
        for number, start in enumerate((0, 8, 16))
    ]
    records = (gate(CELL), *shards, *([quality(CELL, 0.1)] if finish else []))
    with RunWriter.create(tmp_path, fake_run(*records)) as writer:
        for one in records:
            writer.append(one)
        folder = shelf.folder_of(writer.images, CELL)
        for start in (0, 8, 16):
            path = shelf.file_of(folder, start, start + 8)
            pictures.keep(path, made(start, start + 8), of)
        if finish:
            writer.finish()
    return writer.folder


def test_a_lost_shard_is_made_again_by_whoever_goes_on_and_said(tmp_path):
    folder = written(tmp_path)
    lost = shelf.file_of(folder / "images" / CELL.quality_key, 8, 16)
    lost.unlink()
    with RunWriter.resume(folder) as writer:
        assert writer.run.problems == (f"{lost}: is gone",)
        left = [(one.stage, one.replicate) for one in writer.run.records]
        assert left == [(Stage.GATE, 0), (Stage.SAMPLE, 0), (Stage.SAMPLE, 2)]
        again = record(CELL, Stage.SAMPLE, replicate=1, facts={"pictures": f"images/{lost.name}"})
        writer.append(again)
    after = read(folder)
    assert after.problems == ()
    assert sorted(one.replicate for one in after.records if one.stage is Stage.SAMPLE) == [0, 1, 2]
    assert len((folder / "records.rejected.jsonl").read_text().splitlines()) == 1


def test_pictures_that_were_judged_and_removed_are_not_missed(tmp_path):
    folder = written(tmp_path, finish=True)
    for path in (folder / "images" / CELL.quality_key).iterdir():
        path.unlink()
    with RunWriter.resume(folder) as writer:
        assert writer.run.problems == ()
        assert len(writer.run.records) == 5


def test_a_shard_that_failed_has_no_file_to_lose(tmp_path):
    lost = record(CELL, Stage.SAMPLE, status=Status.CRASHED, reason="SIGSEGV")
    with RunWriter.create(tmp_path, fake_run(gate(CELL), lost)) as writer:
        writer.append(lost)
    with RunWriter.resume(writer.folder) as writer:
        assert writer.run.records == (lost,)


def test_a_record_names_a_file_of_its_own_folder_and_no_other(tmp_path):
    hostile = record(CELL, Stage.SAMPLE, facts={"pictures": "../../../../etc/passwd"})
    path = shelf.shard_of(tmp_path, hostile)
    assert path == tmp_path / "images" / CELL.quality_key / "none"


def test_the_archive_of_an_export_says_no_time(tmp_path):
    export_npz(Shards.open(kept(tmp_path, 8)), tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert [info.date_time for info in archive.infolist()] == [(1980, 1, 1, 0, 0, 0)]
