"""Runs on disk: nothing lost, nothing silently dropped, one writer."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from fakes_runs import cell, failures, fake_run, gate, quality, record, timed

from ditbench.errors import StoreError
from ditbench.records import Stage, Status
from ditbench.store import (
    RunWriter,
    done,
    entries_to_json,
    find,
    read,
    runs,
    slug,
    write_verdict,
    writing,
)
from ditbench.store.seal import sealed

RUN = fake_run()


def written(results, records=RUN.records, *, finish=True, **parts):
    """A run's folder with these records."""
    with RunWriter.create(results, fake_run(**parts)) as writer:
        for one in records:
            writer.append(one)
        if finish:
            writer.finish()
    return writer.folder


def lines(folder):
    return (folder / "records.jsonl").read_bytes().splitlines(keepends=True)


def test_what_was_appended_is_read_back_equal(tmp_path):
    back = read(written(tmp_path))
    assert back.records == RUN.records
    assert back.planned == RUN.planned
    assert back.environment == RUN.environment
    assert back.claims == RUN.claims
    assert back.suite_text == RUN.suite_text
    assert back.finished
    assert back.problems == ()


def test_infinite_pictures_and_infinite_evidence_survive(tmp_path):
    one = gate(cell(), rerun_error=math.inf, nested={"worst": [math.nan]})
    back = read(written(tmp_path, (one, quality(cell(), 0.0))))
    assert back.records[0].facts["rerun_error"] == "inf"
    assert back.records[0].facts["nested"] == {"worst": ["nan"]}
    assert back.records[1].metrics["psnr"] == (math.inf,) * 48


def test_a_run_lies_under_its_suite_with_folders_for_logs_and_pictures(tmp_path):
    with RunWriter.create(tmp_path, RUN) as writer:
        assert writer.folder == tmp_path / "fashion" / writer.run.id
        assert writer.logs.is_dir()
        assert writer.images.is_dir()
        assert not read(writer.folder).finished


def test_ids_begin_with_the_time_so_that_they_sort(tmp_path):
    with RunWriter.create(tmp_path, RUN) as one:
        stamp = one.run.started.replace("-", "").replace(":", "").replace("T", "-")[:15]
        assert one.run.id.startswith(stamp)


def test_a_record_is_on_disk_before_append_returns(tmp_path):
    code = (
        "import os, sys; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path; from fakes_runs import *; from ditbench.store import RunWriter\n"
        f"writer = RunWriter.create(Path({str(tmp_path)!r}), fake_run())\n"
        "[writer.append(one) for one in failures()[:3]]\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    (entry,) = runs(tmp_path)
    assert read(entry.folder).records == failures()[:3]
    assert not entry.finished


@pytest.mark.parametrize("name", ["<script>", "../x", "..", "", "a/b", ".hidden", "x" * 300, "ä"])
def test_any_name_of_a_suite_makes_a_safe_folder(tmp_path, name):
    folder = written(tmp_path, (), suite=name)
    assert folder.parent.parent == tmp_path
    assert read(folder).suite == name


def test_names_that_look_alike_as_folders_stay_apart():
    assert slug("a/b") != slug("a b")
    assert slug("monarch-dit-xl-2-256") == "monarch-dit-xl-2-256"


def test_a_second_writer_is_told_who_writes(tmp_path):
    with RunWriter.create(tmp_path, RUN) as first:
        with pytest.raises(StoreError) as told:
            RunWriter.resume(first.folder)
        assert str(told.value) == (
            f"{first.folder}: process {os.getpid()} is writing this run; wait for it, "
            "or start another run"
        )
    RunWriter.resume(first.folder).close()


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        pytest.param(b"{nonsense}\n", "is not JSON (Expecting property name", id="not JSON"),
        pytest.param(b"\xff\xfe\n", "'utf-8' codec can't decode", id="not text"),
        pytest.param(b"[]\n", "must be an object, not []", id="a list"),
        pytest.param(b"\n", "is not JSON", id="empty"),
        pytest.param(b'{"schema": 1}\n', "lacks 'facts'", id="fields missing"),
        pytest.param(b'{"schema": 9}\n', "schema 9, but this ditbench reads up to 3", id="future"),
        pytest.param(b"[" * 100_000 + b"\n", "is nested too deeply", id="deep"),
    ],
)
def test_mistake_34_a_line_that_cannot_be_read_is_named_and_kept_aside(tmp_path, line, cause):
    folder = written(tmp_path)
    whole = lines(folder)
    (folder / "records.jsonl").write_bytes(b"".join([*whole[:3], line, *whole[3:]]))
    back = read(folder)
    assert back.records == RUN.records
    (problem,) = back.problems
    assert problem.startswith(f"{folder / 'records.jsonl'}:4: {cause}")
    read(folder)
    assert (folder / "records.rejected.jsonl").read_bytes() == line


def test_mistake_34_a_torn_last_line_is_named(tmp_path):
    folder = written(tmp_path)
    data = (folder / "records.jsonl").read_bytes()
    (folder / "records.jsonl").write_bytes(data[:-40])
    back = read(folder)
    assert back.records == RUN.records[:-1]
    assert back.problems == (
        f"{folder / 'records.jsonl'}:{len(RUN.records)}: torn: the line breaks off",
    )


def test_a_record_whose_key_is_not_its_cells_is_not_believed(tmp_path):
    folder = written(tmp_path, RUN.records[:1])
    data = (folder / "records.jsonl").read_text()
    plain = json.loads(data.replace('"batch_size": 1', '"batch_size": 2'))
    del plain["sum"]
    (folder / "records.jsonl").write_text(sealed(plain) + "\n")
    assert "is not that of its cell" in read(folder).problems[0]
    assert read(folder).records == ()


def test_a_duplicate_is_named_and_the_first_kept(tmp_path):
    of = cell()
    first, second = timed(of, (0.1,))[0], timed(of, (0.2,))[0]
    back = read(written(tmp_path, (first, second)))
    assert back.records == (first,)
    assert back.problems[0].endswith(
        f"a second time record of replicate 0 of {of.id}; the first is kept"
    )


def test_resuming_cuts_a_torn_line_off_and_goes_on_behind_the_last_whole_one(tmp_path):
    folder = written(tmp_path, RUN.records[:5], finish=False)
    data = (folder / "records.jsonl").read_bytes()
    (folder / "records.jsonl").write_bytes(data[:-40])
    with RunWriter.resume(folder) as writer:
        assert writer.run.records == RUN.records[:4]
        assert writer.run.problems == (f"{folder / 'records.jsonl'}:5: torn: the line breaks off",)
        writer.append(RUN.records[5])
        writer.finish()
    back = read(folder)
    assert back.records == (*RUN.records[:4], RUN.records[5])
    assert back.problems == ()
    assert back.finished
    assert (folder / "records.rejected.jsonl").read_bytes() == data.splitlines()[-1][:-39] + b"\n"


def test_resuming_ends_a_line_that_only_lacks_its_newline(tmp_path):
    folder = written(tmp_path, RUN.records[:2])
    data = (folder / "records.jsonl").read_bytes()
    (folder / "records.jsonl").write_bytes(data[:-1])
    with RunWriter.resume(folder) as writer:
        writer.append(RUN.records[2])
    assert read(folder).records == RUN.records[:3]


def test_everything_that_ended_is_done_a_crash_too():
    crashed = record(cell("x"), Stage.TIME, status=Status.CRASHED, replicate=1, reason="SIGSEGV")
    assert done(fake_run(crashed)) == {(crashed.key, Stage.TIME, 1)}
    assert len(done(RUN)) == len(RUN.records)


def test_a_full_disk_is_one_line_and_leaves_no_half_record(tmp_path, monkeypatch):
    with RunWriter.create(tmp_path, RUN) as writer:
        writer.append(RUN.records[0])
        real = os.write

        def fills_up(file, data):
            if len(data) < 100:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(file, data[: len(data) - 50])

        monkeypatch.setattr(os, "write", fills_up)
        with pytest.raises(StoreError) as told:
            writer.append(RUN.records[1])
        monkeypatch.undo()
        writer.append(RUN.records[2])
    assert str(told.value) == (
        f"{writer.folder / 'records.jsonl'}: cannot be written: No space left on device; "
        "make room, then go on with --resume"
    )
    assert read(writer.folder).records == (RUN.records[0], RUN.records[2])


def test_a_place_that_is_no_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written: Not a directory"):
        RunWriter.create(tmp_path / "file", RUN)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("{", "run.json:1: is not JSON", id="torn"),
        pytest.param('{"schema": 1}', "run.json:1: lacks 'environment'", id="fields missing"),
        pytest.param('{"schema": 7}', "schema 7, but this ditbench reads up to 3", id="future"),
        pytest.param("[]", "run.json:1: must be an object", id="a list"),
    ],
)
def test_a_head_that_cannot_be_read_is_an_error_with_its_place(tmp_path, text, told):
    folder = written(tmp_path)
    (folder / "run.json").write_text(text)
    with pytest.raises(StoreError) as error:
        read(folder)
    assert told in str(error.value)
    (entry,) = runs(tmp_path)
    assert told in entry.problem


def test_resuming_what_is_no_run_writes_nothing(tmp_path):
    with pytest.raises(StoreError, match="No such file"):
        RunWriter.resume(tmp_path)
    assert list(tmp_path.iterdir()) == []


def renamed(folder, name):
    folder.rename(folder.with_name(name))
    head = json.loads((folder.with_name(name) / "run.json").read_text()) | {"id": name}
    del head["sum"]
    (folder.with_name(name) / "run.json").write_text(sealed(head))
    return folder.with_name(name)


def test_runs_are_listed_newest_first_over_all_suites(tmp_path):
    old = renamed(written(tmp_path), "20260101-000000-aaaa")
    new = renamed(written(tmp_path, (), suite="other", finish=False), "20260301-000000-bbbb")
    listed = runs(tmp_path)
    assert [entry.folder for entry in listed] == [new, old]
    assert entries_to_json(listed)[1] == {
        "id": "20260101-000000-aaaa",
        "folder": str(old),
        "suite": "fashion",
        "started": listed[1].started,
        "finished": True,
        "cells": 19,
        "records": len(RUN.records),
        "problem": "",
    }


def test_one_odd_folder_among_the_runs_is_listed_with_its_reason_and_hides_no_other(tmp_path):
    odd = renamed(written(tmp_path), "20260101-000000-aaaa")
    good = renamed(written(tmp_path), "20260301-000000-bbbb")
    (odd / "records.jsonl").unlink()
    (odd / "records.jsonl").mkdir()
    problems = {entry.folder: entry.problem for entry in runs(tmp_path)}
    assert problems == {good: "", odd: f"{odd / 'records.jsonl'}: is no file"}


def test_a_run_is_found_by_id_prefix_path_or_latest(tmp_path):
    old = renamed(written(tmp_path, ()), "20260101-000000-aaaa")
    new = renamed(written(tmp_path, ()), "20260301-000000-bbbb")
    assert find(tmp_path, "latest") == new
    assert find(tmp_path, "20260101-000000-aaaa") == old
    assert find(tmp_path, "202603") == new
    assert find(tmp_path, str(old)) == old


def test_a_run_that_is_not_found_says_what_was_near(tmp_path):
    renamed(written(tmp_path, ()), "20260101-000000-aaaa")
    renamed(written(tmp_path, ()), "20260301-000000-bbbb")
    with pytest.raises(StoreError, match=r"no run '20260101-000000-aaab' .did you mean '2026"):
        find(tmp_path, "20260101-000000-aaab")
    with pytest.raises(StoreError, match=r"no run 'lates' .did you mean 'latest'"):
        find(tmp_path, "lates")
    with pytest.raises(StoreError) as told:
        find(tmp_path, "2026")
    assert str(told.value) == (
        "run '2026' could be any of 2: 20260301-000000-bbbb, 20260101-000000-aaaa; write more of it"
    )


def test_where_there_is_no_run_the_way_to_make_one_is_told(tmp_path):
    with pytest.raises(StoreError, match="holds no run; `ditbench run SUITE` makes one"):
        find(tmp_path, "latest")
    assert runs(tmp_path) == ()


def test_a_verdict_holds_every_exit_code_and_the_first_of_them(tmp_path):
    write_verdict(tmp_path, [{"metric": "latency"}], {3, 4})
    assert json.loads((tmp_path / "verdict.json").read_text()) == {
        "schema": 3,
        "exit_code": 4,
        "exit_codes": [3, 4],
        "against": {"name": "", "run": "", "required": False},
        "findings": [{"metric": "latency"}],
    }


def test_a_lock_whose_holder_has_not_said_who_it_is_reads_well(tmp_path):
    with RunWriter.create(tmp_path, RUN) as first:
        for holder in (
            "",
            "999999999",
        ):  # between taking the lock and saying so; left by one that ended
            (first.folder / ".lock").write_text(holder)
            with pytest.raises(StoreError) as told:
                RunWriter.resume(first.folder)
            assert str(told.value) == (
                f"{first.folder}: another process is writing this run; wait for it, "
                "or start another run"
            )


def test_a_writer_that_cannot_open_its_run_lets_go_of_it(tmp_path, monkeypatch):
    def refuses(_folder):
        raise OSError(errno.EIO, "Input/output error")

    folder = written(tmp_path, RUN.records[:1])
    with monkeypatch.context() as patch:
        patch.setattr(writing, "mend", refuses)
        with pytest.raises(StoreError, match="Input/output error"):
            RunWriter.resume(folder)
    RunWriter.resume(folder).close()


def test_weights_that_change_under_a_run_are_refused_with_both_digests(tmp_path):
    with RunWriter.create(tmp_path, RUN) as writer:
        writer.append(gate(cell(), weights="sha256 aa"))
        writer.append(gate(cell(weights="random"), weights="random, seed 0"))
    with RunWriter.resume(writer.folder) as again:
        with pytest.raises(StoreError) as told:
            again.append(gate(cell("sdpa"), weights="sha256 bb"))
        again.append(gate(cell("sdpa"), weights="sha256 aa"))
    assert str(told.value) == (
        f"{writer.folder}: the weights 'embedded' changed: first sha256 aa, then sha256 bb: "
        "put the first back, or start another run"
    )
    assert len(read(writer.folder).records) == 3


def test_a_suites_file_stands_for_its_newest_run(tmp_path):
    suite = tmp_path / "a.yaml"
    other = tmp_path / "b.yaml"
    made = []
    for path in (suite, suite, other):
        head = replace(fake_run(), suite_path=str(path))
        with RunWriter.create(tmp_path / "results", head) as writer:
            made.append(writer.folder)
    assert find(tmp_path / "results", str(suite)) == made[1]
    with pytest.raises(StoreError, match=r"holds no run of .*c\.yaml"):
        find(tmp_path / "results", str(tmp_path / "c.yaml"))


def test_a_suites_file_stands_for_its_newest_run_from_another_folder_too(tmp_path, monkeypatch):
    made = []
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(f"name: {name}\n")
        head = replace(fake_run(), suite_path=name, suite_text=f"name: {name}\n")
        with RunWriter.create(tmp_path / "results", head) as writer:
            made.append(writer.folder)
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert find(tmp_path / "results", "../a.yaml") == made[0]
    (tmp_path / "c.yaml").write_text("name: c.yaml\n")
    with pytest.raises(StoreError, match=r"holds no run of \.\./c\.yaml"):
        find(tmp_path / "results", "../c.yaml")


def test_going_on_takes_out_what_cannot_be_read_so_that_the_run_is_whole_when_it_ends(tmp_path):
    folder = written(tmp_path)
    whole = lines(folder)
    damaged = whole[4].replace(b'"seconds": 1.5', b'"seconds": 1.6')
    (folder / "records.jsonl").write_bytes(
        b"".join([*whole[:4], damaged, *whole[5:7], whole[2], *whole[7:-1]])
    )
    problems = read(folder).problems
    assert len(problems) == 2  # a changed digit and a duplicate, as many lines as there were
    with RunWriter.resume(folder) as writer:
        assert writer.run.problems == problems
        assert not read(folder).finished
        ended = done(writer.run)
        again = [one for one in RUN.records if (one.key, one.stage, one.replicate) not in ended]
        assert again == [RUN.records[4], RUN.records[-1]]
        for one in again:
            writer.append(one)
        writer.finish()
    back = read(folder)
    assert (back.problems, back.finished, back.written) == ((), True, len(RUN.records))
    assert set(lines(folder)) == set(whole)
    assert (folder / "records.rejected.jsonl").read_bytes() == damaged + whole[2]


def test_a_copy_of_a_run_under_another_name_is_never_the_latest(tmp_path):
    run = written(tmp_path, RUN.records)
    copy = shutil.copytree(run, run.parent / "zzz-backup")
    assert find(tmp_path, "latest") == run
    assert [entry.folder for entry in runs(tmp_path)] == [run, copy]
    assert find(tmp_path, "zzz-backup") == copy
