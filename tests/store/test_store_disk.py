"""What becomes of results when the disk refuses, or another hand takes files away: one line, nothing lost."""

from __future__ import annotations

import errno
import os
import shutil

import pytest
from fakes_disks import files_no_larger_than, on_a_disk
from fakes_runs import fake_run

from ditbench.errors import StoreError
from ditbench.store import RunWriter, disk, find, read, runs, write_verdict

RUN = fake_run()


def written(results, *, finish=True):
    with RunWriter.create(results, RUN) as writer:
        for one in RUN.records:
            writer.append(one)
        if finish:
            writer.finish()
    return writer.folder


FILLS = """
with RunWriter.create(folder, fake_run()) as writer:
    count = 0
    try:
        while True:
            writer.append(timed(cell(batch_size=count + 1), (0.1,) * 50)[0])
            count += 1
    except StoreError as error:
        print(error)
    print(count)
back = read(writer.folder)
print(len(back.records), back.problems)
print(sorted(one.name for one in writer.folder.iterdir()))
(writer.folder / "images" / "x").unlink(missing_ok=True)
"""


def test_a_disk_that_fills_is_one_line_and_every_record_before_it_is_whole(tmp_path):
    ended = on_a_disk(tmp_path / "disk", "160k", FILLS)
    line, count, back, _ = ended.stdout.splitlines()
    assert line.endswith(
        "records.jsonl: cannot be written: No space left on device; "
        "make room, then go on with --resume"
    )
    assert int(count) > 3
    assert back == f"{count} ()"


def test_after_room_was_made_the_run_goes_on(tmp_path):
    code = (
        'ballast = folder / "ballast"; ballast.write_bytes(bytes(60_000))\n'
        + FILLS
        + "ballast.unlink()\n"
        "with RunWriter.resume(writer.folder) as again:\n"
        "    again.append(timed(cell('sdpa'), (0.1,))[0]); again.finish()\n"
        "back = read(writer.folder); print(len(back.records) - count, back.problems, back.finished)"
    )
    ended = on_a_disk(tmp_path / "disk", "160k", code)
    assert ended.stdout.splitlines()[-1] == "1 () True", ended.stderr


def test_a_disk_that_is_full_when_the_run_begins_is_one_line(tmp_path):
    code = (
        "(folder / 'ballast').write_bytes(bytes(64 * 1024 - 4096))\n"
        "try: RunWriter.create(folder, fake_run())\n"
        "except StoreError as error: print(error)\n"
        "print(runs(folder), list(folder.glob('*/*')))"
    )
    ended = on_a_disk(tmp_path / "disk", "64k", code)
    line, left = ended.stdout.splitlines()
    told = (
        "run.json: cannot be written: No space left on device; make room, then start the run again"
    )
    assert line.endswith(told)
    assert left == "() []"


def test_reports_pictures_and_verdicts_on_a_full_disk_are_one_line_and_leave_no_crumbs(tmp_path):
    code = """
from ditbench import compare, summary
from ditbench.report.render import render
from ditbench.store.disk import replacing
run = fake_run()
verdict = [{"reason": "x" * 1000}] * 1000
def pages(): render(run, summary.summarise(run), compare.compare(run, None, ""), folder)
def pictures():
    import numpy as np
    with replacing(folder / "images" / "a.npz") as file: np.savez(file, latents=np.zeros(100_000))
for write in (lambda: write_verdict(folder, verdict, {0}), pages, pictures):
    try: write()
    except StoreError as error: print(error)
print([str(one) for one in folder.rglob("*.tmp")])
"""
    ended = on_a_disk(tmp_path / "disk", "256k", code)
    verdict, page, images, crumbs = ended.stdout.splitlines()
    full = "cannot be written: No space left on device; make room, then"
    assert f"verdict.json: {full}" in verdict
    assert f"report.html: {full} write it again with `ditbench report`" in page
    assert f"a.npz: {full} go on with --resume" in images
    assert crumbs == "[]"


READ_ONLY = """
with RunWriter.create(folder, fake_run()) as writer:
    for one in fake_run().records: writer.append(one)
{before}
subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
try: {after}
except StoreError as error: print(error)
back = read(writer.folder); print(back.records == fake_run().records)
"""


@pytest.mark.parametrize(
    "after",
    [
        "RunWriter.create(folder, fake_run())",
        "RunWriter.resume(writer.folder)",
        "write_verdict(writer.folder, [], [0])",
    ],
)
def test_a_folder_that_turned_read_only_is_one_line_and_can_still_be_read(tmp_path, after):
    ended = on_a_disk(tmp_path / "disk", "1m", READ_ONLY.format(before="", after=after))
    line, whole = ended.stdout.splitlines()
    told = "cannot be written: Read-only file system; make it writable, or name another folder"
    assert line.endswith(told)
    assert whole == "True"


def test_a_damaged_line_on_a_read_only_disk_is_still_named(tmp_path):
    before = 'with (writer.folder / "records.jsonl").open("ab") as file: file.write(b"{")'
    code = READ_ONLY.format(before=before, after="print(read(writer.folder).problems)")
    ended = on_a_disk(tmp_path / "disk", "1m", code)
    assert "torn: the line breaks off" in ended.stdout, ended.stderr


def test_a_folder_that_turns_read_only_under_a_run_is_one_line(tmp_path, monkeypatch):
    with RunWriter.create(tmp_path, RUN) as writer:
        writer.append(RUN.records[0])

        def refuses(_file, _data):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr(os, "write", refuses)
        with pytest.raises(StoreError, match=r"records\.jsonl: cannot be written: Read-only"):
            writer.append(RUN.records[1])
    assert read(writer.folder).records == RUN.records[:1]


def test_a_limit_on_the_size_of_files_is_one_line_and_every_record_before_it_is_whole(tmp_path):
    with RunWriter.create(tmp_path, RUN) as writer:
        writer.append(RUN.records[0])
        with (
            files_no_larger_than(writer._end + 500),
            pytest.raises(StoreError, match="File too large; make room, then go on with --resume"),
        ):
            writer.append(RUN.records[1])
        writer.append(RUN.records[2])
    back = read(writer.folder)
    assert back.records == (RUN.records[0], RUN.records[2])
    assert back.problems == ()


def test_a_verdict_that_does_not_fit_leaves_the_one_before_it_and_no_crumbs(tmp_path):
    write_verdict(tmp_path, [], {0})
    before = (tmp_path / "verdict.json").read_bytes()
    with files_no_larger_than(1000), pytest.raises(StoreError, match="File too large"):
        write_verdict(tmp_path, [{"reason": "x" * 2000}], {0})
    assert (tmp_path / "verdict.json").read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["verdict.json"]


def test_records_deleted_under_a_run_are_told_and_written_again(tmp_path):
    with RunWriter.create(tmp_path, RUN) as writer:
        for one in RUN.records[:4]:
            writer.append(one)
        (writer.folder / "records.jsonl").unlink()
        with pytest.raises(StoreError) as told:
            writer.append(RUN.records[4])
    assert str(told.value) == (
        f"{writer.folder / 'records.jsonl'}: was deleted or replaced while this run was writing; "
        "all 5 records are safe in records.jsonl: go on with --resume"
    )
    with RunWriter.resume(writer.folder) as again:
        assert again.run.records == RUN.records[:5]
        assert again.run.problems == ()


def test_records_replaced_under_a_run_are_saved_beside_what_lies_there_now(tmp_path):
    with RunWriter.create(tmp_path, RUN) as writer:
        writer.append(RUN.records[0])
        path = writer.folder / "records.jsonl"
        path.unlink()
        path.write_text("somebody else's\n")
        with pytest.raises(StoreError) as told:
            writer.append(RUN.records[1])
    assert str(told.value).endswith(
        "all 2 records are safe in records.saved.jsonl: put records.saved.jsonl in its place, "
        "then go on with --resume"
    )
    assert path.read_text() == "somebody else's\n"
    (writer.folder / "records.saved.jsonl").replace(path)
    assert read(writer.folder).records == RUN.records[:2]


def test_a_head_deleted_under_a_run_is_told_and_written_again(tmp_path):
    with RunWriter.create(tmp_path, RUN) as writer:
        writer.append(RUN.records[0])
        (writer.folder / "run.json").unlink()
        with pytest.raises(
            StoreError, match=r"run\.json: was deleted or replaced .* all 2 records"
        ):
            writer.append(RUN.records[1])
    assert read(writer.folder).records == RUN.records[:2]


def test_a_folder_deleted_under_a_run_is_told_and_what_can_be_saved_is_saved(tmp_path):
    with RunWriter.create(tmp_path, RUN) as writer:
        writer.append(RUN.records[0])
        shutil.rmtree(writer.folder)
        with pytest.raises(StoreError, match=r"all 1 records are safe in records\.jsonl"):
            writer.finish()
    back = read(writer.folder)
    assert back.records == RUN.records[:1]
    assert not back.finished


def test_records_cut_short_under_a_run_are_told_before_anything_is_added(tmp_path):
    with RunWriter.create(tmp_path, RUN) as writer:
        writer.append(RUN.records[0])
        (writer.folder / "records.jsonl").write_bytes(b"")
        with pytest.raises(StoreError, match="was changed by another hand"):
            writer.append(RUN.records[1])


@pytest.mark.parametrize("finish", [True, False])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "records.jsonl",
            "is gone, and with it all that the run measured: put it back, or measure",
        ),
        ("run.json", "is gone, and with it what the records are of: put it back, or measure again"),
    ],
)
def test_a_deleted_file_of_a_run_is_told_by_whoever_reads_or_lists_it(tmp_path, name, told, finish):
    folder = written(tmp_path, finish=finish)
    (folder / name).unlink()
    for use in (read, RunWriter.resume):
        with pytest.raises(StoreError) as error:
            use(folder)
        assert str(error.value).startswith(f"{folder / name}: {told}")
    (entry,) = runs(tmp_path)
    assert entry.problem.startswith(f"{folder / name}: {told}")
    assert find(tmp_path, "latest") == folder  # an older run instead would be a silent one


def test_lines_deleted_from_a_finished_run_are_counted(tmp_path):
    folder = written(tmp_path)
    path = folder / "records.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-3]))
    count = len(RUN.records)
    told = f"{path}:{count - 2}: 3 of the {count} records it had are gone"
    assert read(folder).problems == (told,)
    assert runs(tmp_path)[0].problem == told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a"), "a: cannot be written: No space"),
        (
            OSError(errno.EROFS, "Read-only file system"),
            "a file of the run: cannot be written: Rea",
        ),
        (
            RuntimeError("inductor: [Errno 28] No space left on device: x"),
            "No space left on device",
        ),
        (OSError(errno.ENOENT, "No such file"), None),
        (RuntimeError("boom"), None),
    ],
)
def test_a_full_disk_is_told_apart_from_what_a_method_does_wrong(error, told):
    found = disk.refusal(error)
    assert found is None if told is None else str(found).startswith(told)


def test_a_run_that_was_killed_before_its_head_was_written_is_no_run(tmp_path):
    folder = written(tmp_path)
    stub = folder.with_name("20991231-000000-aaaa")
    stub.mkdir()
    (stub / "records.jsonl").touch()
    assert find(tmp_path, "latest") == folder
    assert [entry.folder for entry in runs(tmp_path)] == [folder]
