"""What may go and what never does."""

from __future__ import annotations

import datetime as dt
import json
import os

import pytest
from fakes_runs import PROVISIONAL, cell, fake_run, gate, quality, timed

from ditbench import cli
from ditbench.errors import StoreError
from ditbench.store import Limits, RunWriter, baseline_set, read, remove, rubbish, runs
from ditbench.store.lock import locked
from ditbench.store.seal import sealed

NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
RECORDS = (gate(cell()), *timed(cell(), (0.1,)), quality(cell(), 0.0))


def written(results, days, *, finish=True, suite="fashion"):
    """A run that began so many days ago."""
    with RunWriter.create(results, fake_run(*RECORDS, suite=suite)) as writer:
        for one in RECORDS:
            writer.append(one)
        shard = writer.images / "0123abcd" / "000000-000016.npz"
        shard.parent.mkdir()
        shard.write_bytes(bytes(1000))
        if finish:
            writer.finish()
    path = writer.folder / "run.json"
    head = {name: value for name, value in json.loads(path.read_text()).items() if name != "sum"}
    started = (NOW - dt.timedelta(days=days)).isoformat(timespec="seconds")
    path.write_text(sealed(head | {"started": started}))
    return writer.folder


def found(tmp_path, **limits):
    return {
        one.path: one.reason for one in rubbish(tmp_path, tmp_path / "b", Limits(**limits), NOW)
    }


def test_what_never_ended_goes_when_it_is_old(tmp_path):
    old = written(tmp_path, 9, finish=False)
    written(tmp_path, 2, finish=False)
    written(tmp_path, 100)
    assert found(tmp_path) == {old: "unfinished for 9 days"}


def test_all_but_the_newest_runs_of_each_suite_go_when_so_many_are_kept(tmp_path):
    first, second, _third = (written(tmp_path, days) for days in (3, 2, 1))
    written(tmp_path, 9, suite="other")
    assert found(tmp_path, keep=1) == {
        second: "1 newer finished runs of fashion",
        first: "2 newer finished runs of fashion",
    }


def test_pictures_of_old_runs_go_and_their_records_stay(tmp_path):
    old = written(tmp_path, 40)
    written(tmp_path, 3)
    (one,) = rubbish(tmp_path, tmp_path / "b", Limits(pictures=30), NOW)
    assert (one.path, one.size) == (old / "images", 1000)
    assert one.reason == "pictures of a run that is 40 days old"
    remove(one)
    assert list((old / "images").iterdir()) == []
    assert read(old).records == RECORDS
    assert rubbish(tmp_path, tmp_path / "b", Limits(pictures=30), NOW) == ()


@pytest.mark.parametrize("days", [1e300, float("inf")])
def test_a_limit_beyond_all_time_keeps_everything(tmp_path, days):
    written(tmp_path, 40)
    written(tmp_path, 40, finish=False)
    assert found(tmp_path, pictures=days, unfinished=days) == {}


def test_nothing_is_removed_from_where_the_baselines_are_not_to_be_found(
    tmp_path, capsys, monkeypatch
):
    folder = written(tmp_path / "r", 9000, finish=False)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    arguments = ["gc", "--out", "../r"]
    assert cli.main(arguments) == 0
    assert cli.main([*arguments, "--yes"]) == 2
    assert capsys.readouterr().err.endswith(
        "ditbench: baselines: no such folder here, so nothing says which runs baselines name: "
        "--baselines DIR says where they are; nothing was removed\n"
    )
    assert folder.exists()
    assert cli.main([*arguments, "--yes", "--baselines", "../b"]) == 0
    assert not folder.exists()


def test_a_run_that_a_baseline_names_never_goes(tmp_path):
    old, _new = written(tmp_path, 90), written(tmp_path, 1)
    baseline_set(read(old), "main", tmp_path / "b", PROVISIONAL)
    assert found(tmp_path, keep=1, pictures=1, unfinished=0) == {}


def test_a_baseline_that_cannot_be_read_protects_everything(tmp_path):
    written(tmp_path, 90, finish=False)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "main.jsonl").write_text("{")
    with pytest.raises(StoreError, match=r"main\.jsonl:1: is not JSON"):
        found(tmp_path)


def test_a_run_that_is_being_written_never_goes(tmp_path):
    folder = written(tmp_path, 90, finish=False)
    (one,) = rubbish(tmp_path, tmp_path / "b", Limits(), NOW)
    with locked(folder):
        assert found(tmp_path) == {}
        with pytest.raises(StoreError, match="is writing this run"):
            remove(one)  # it was taken up between the list and the removal
    assert read(folder).records == RECORDS


def test_a_run_that_cannot_be_read_never_goes(tmp_path):
    folder = written(tmp_path, 90, finish=False)
    (folder / "run.json").write_text("{")
    assert found(tmp_path) == {}


def test_a_run_from_a_clock_that_was_ahead_is_not_old(tmp_path):
    written(tmp_path, -400, finish=False)
    assert found(tmp_path) == {}


def test_what_a_killed_merge_or_removal_left_goes_after_a_day(tmp_path):
    for name in (".merging-x", ".removing-x"):
        (tmp_path / "fashion" / name).mkdir(parents=True)
        os.utime(tmp_path / "fashion" / name, (0, 0))
    (tmp_path / "fashion" / ".merging-now").mkdir()
    at = dt.datetime.now(dt.UTC)
    crumbs = rubbish(tmp_path, tmp_path / "b", Limits(), at)
    assert sorted(one.path.name for one in crumbs) == [".merging-x", ".removing-x"]
    for one in crumbs:
        remove(one)
    assert [path.name for path in (tmp_path / "fashion").iterdir()] == [".merging-now"]


def test_a_removal_that_is_killed_leaves_no_half_run_in_the_list(tmp_path, monkeypatch):
    written(tmp_path, 90, finish=False)
    (one,) = rubbish(tmp_path, tmp_path / "b", Limits(), NOW)

    def killed(_path):
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        remove(one)
    assert runs(tmp_path) == ()


def test_the_verb_lists_first_and_removes_only_when_told(tmp_path, capsys):
    folder = written(tmp_path / "r", 9000, finish=False)
    arguments = ["gc", "--out", str(tmp_path / "r"), "--baselines", str(tmp_path / "b")]
    assert cli.main(arguments) == 0
    told = capsys.readouterr()
    assert "unfinished for" in told.out
    assert "no such folder, so no baseline keeps a run" in told.err
    assert "nothing was removed; --yes frees" in told.err
    assert folder.exists()
    assert cli.main([*arguments, "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["path"] == str(folder)
    assert cli.main([*arguments, "--yes"]) == 0
    assert "removed" in capsys.readouterr().err
    assert runs(tmp_path / "r") == ()
