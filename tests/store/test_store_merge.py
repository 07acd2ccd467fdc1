"""One run of several: every record once, where it came from, and nothing mixed that is not alike."""

from __future__ import annotations

import json
import shutil

import pytest
from fakes_runs import ENVIRONMENT, FACTS, PROVISIONAL, cell, fake_run, gate, quality, record, timed

from ditbench import cli
from ditbench.environment import Environment
from ditbench.errors import StoreError, UsageError
from ditbench.records import Stage, Status
from ditbench.store import RunWriter, baseline_set, find, merge, read, runs

SOFT, SDPA = cell(), cell("sdpa")
EFFORT = {"timing": {"repeats": 9, "processes": 1}, "quality": {"samples": 0}, "metrics": []}
COMMAND = "ditbench merge a b"


def written(results, *records, finish=True, logs=True, **parts):
    with RunWriter.create(results, fake_run(*records, **parts)) as writer:
        for one in records:
            writer.append(one)
            name = f"{one.key}-{one.stage}-{one.replicate}.log"
            if logs:
                (writer.logs / name).write_text(f"{writer.run.id} {name}")
            if one.stage is Stage.SAMPLE:
                path = writer.images / one.key / "000000-000048.npz"
                path.parent.mkdir()
                path.write_text(writer.run.id)
        if finish:
            writer.finish()
    return writer.folder


def one_of(of, seconds=0.1):
    shard = record(
        of, Stage.SAMPLE, facts={"pictures": f"images/{of.quality_key}/000000-000048.npz"}
    )
    return (gate(of), *timed(of, (seconds,), (seconds,)), shard, quality(of, 0.1))


def test_a_merged_run_has_every_record_with_its_log_its_pictures_and_its_origin(tmp_path):
    first, second = written(tmp_path, *one_of(SOFT)), written(tmp_path, *one_of(SDPA))
    made = merge([first, second], tmp_path, COMMAND)
    run = read(made.folder)
    assert run.records == (*one_of(SOFT), *one_of(SDPA))
    assert run.planned == (SOFT, SDPA)
    assert (run.finished, run.written, run.problems, run.command) == (True, 10, (), COMMAND)
    assert [origin["run"] for origin in run.origins] == [first.name, second.name]
    assert [origin["cells"] for origin in run.origins] == [[SOFT.key], [SDPA.key]]
    assert [origin["records"] for origin in run.origins] == [5, 5]
    for folder in (first, second):
        for path in (*(folder / "logs").iterdir(), *(folder / "images").glob("*/*.npz")):
            copy = made.folder / path.relative_to(folder)
            assert copy.read_bytes() == path.read_bytes()
    assert find(tmp_path, "latest") == made.folder
    assert made.left_out == ()


def test_a_run_that_was_cut_off_and_the_rest_of_it_make_one(tmp_path):
    whole = one_of(SOFT)
    cut = written(tmp_path, *whole[:2], finish=False, planned=(SOFT,))
    rest = written(tmp_path, *whole[2:], planned=(SOFT,))
    made = merge([cut, rest], tmp_path, COMMAND)
    assert read(made.folder).records == whole
    assert not read(made.folder).finished  # one of them never said that it came to its end


def test_a_second_record_of_a_replicate_is_named_and_the_first_kept_with_its_log(tmp_path):
    first = written(tmp_path, *one_of(SOFT))
    second = written(tmp_path, *one_of(SOFT, 0.2))
    made = merge([first, second], tmp_path, COMMAND)
    assert read(made.folder).records == one_of(SOFT)
    assert made.left_out == tuple(
        f"run {second.name}: time record of replicate {number} of {SOFT.id}; "
        f"that of run {first.name} is kept"
        for number in (0, 1)
    )
    assert all(first.name in log.read_text() for log in (made.folder / "logs").iterdir())


def test_bit_identical_records_stand_once_and_need_no_word(tmp_path):
    folders = [written(tmp_path, *one_of(SOFT)) for _ in range(2)]
    made = merge(folders, tmp_path, COMMAND)
    assert (made.records, made.left_out) == (5, ())


def test_what_the_plan_refused_twice_is_the_same_though_it_was_said_at_another_time(tmp_path):
    refused = {"status": Status.EXCLUDED, "reason": "too slow"}
    folders = [
        written(tmp_path, *one_of(SOFT), record(SDPA, Stage.PLAN, started=started, **refused))
        for started in ("2026-11-21T10:00:00+00:00", "2026-11-22T10:00:00+00:00")
    ]
    assert merge(folders, tmp_path, COMMAND).left_out == ()


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (
            {"environment": Environment(FACTS | {"torch": "2.14.0", "cpus": 4})},
            "cpus: 2 -> 4; torch: 2.13.0 -> 2.14.0",
        ),
        ({"effort": EFFORT}, "timing.repeats: not given -> 9"),
        ({"code": {"version": "0.2.0", "commit": "0123abcd", "dirty": False}}, "version: 0.1.0 ->"),
        ({"gate": {"latency": 0.5}}, "gate: {'latency': 0.02} -> {'latency': 0.5}"),
        ({"suite": "other"}, "is of suite 'fashion', run"),
    ],
)
def test_runs_that_did_not_measure_alike_are_refused_with_the_differences(tmp_path, parts, told):
    first, second = written(tmp_path, *one_of(SOFT)), written(tmp_path, *one_of(SDPA), **parts)
    with pytest.raises(UsageError) as error:
        merge([first, second], tmp_path, COMMAND)
    assert told in str(error.value)
    assert len(runs(tmp_path)) == 2


def test_other_weights_of_the_same_name_are_refused(tmp_path):
    first = written(tmp_path, gate(SOFT, weights="sha256 aa"))
    second = written(tmp_path, gate(SDPA, weights="sha256 bb"))
    with pytest.raises(UsageError, match="changed: first sha256 aa, then sha256 bb"):
        merge([first, second], tmp_path, COMMAND)


def test_a_run_that_is_being_written_is_not_merged(tmp_path):
    first = written(tmp_path, *one_of(SOFT))
    told = pytest.raises(StoreError, match="is writing this run; merge it when it has ended")
    with RunWriter.create(tmp_path, fake_run(*one_of(SDPA))) as writer, told:
        merge([first, writer.folder], tmp_path, COMMAND)


@pytest.mark.parametrize("number", [1, 2])
def test_one_run_alone_or_twice_is_no_merge(tmp_path, number):
    folder = written(tmp_path, *one_of(SOFT))
    with pytest.raises(UsageError, match="name two or more runs, each once"):
        merge([folder] * number, tmp_path, COMMAND)


def test_a_merge_that_fails_midway_leaves_nothing(tmp_path, monkeypatch):
    first, second = written(tmp_path, *one_of(SOFT)), written(tmp_path, *one_of(SDPA))

    def full(*_paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(StoreError, match="No space left on device; make room, then merge again"):
        merge([first, second], tmp_path, COMMAND)
    assert sorted((tmp_path / "fashion").iterdir()) == [first, second]


def test_damaged_lines_of_a_run_are_kept_aside_and_what_is_merged_of_it_is_not_whole(tmp_path):
    first, second = written(tmp_path, *one_of(SOFT)), written(tmp_path, *one_of(SDPA))
    with (first / "records.jsonl").open("ab") as file:
        file.write(b'{"torn": ')
    made = merge([first, second], tmp_path, COMMAND)
    (problem,) = read(made.folder).origins[0]["problems"]
    assert "torn: the line breaks off" in problem
    assert (made.folder / "records.rejected.jsonl").read_bytes() == b'{"torn": \n'
    run = read(made.folder)
    assert (run.problems, run.finished) == ((), False)
    assert run.stopped == f"lines of run {first.name} that could not be read: 1"
    assert cli.main(["report", str(made.folder), "--baseline", "none"]) == 0
    assert json.loads((made.folder / "verdict.json").read_text())["exit_codes"] == [3]
    with pytest.raises(StoreError, match="cannot become a baseline: it did not come to its end"):
        baseline_set(run, "main", tmp_path / "baselines", PROVISIONAL)


def test_a_merged_run_can_be_merged_again(tmp_path):
    cells = (SOFT, SDPA, cell("identity"))
    first, second, third = (written(tmp_path, *one_of(of)) for of in cells)
    made = merge([first, second], tmp_path, COMMAND)
    again = read(merge([made.folder, third], tmp_path, COMMAND).folder)
    assert len(again.records) == 15
    assert [one["run"] for one in again.origins[0]["origins"]] == [first.name, second.name]


def test_the_verb_names_the_folder_and_what_was_left_out(tmp_path, capsys):
    first, second = written(tmp_path, *one_of(SOFT)), written(tmp_path, *one_of(SOFT, 0.2))
    assert cli.main(["merge", first.name, second.name, "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    made = find(tmp_path, "latest")
    assert lines[-1] == f"{made}: 5 records of 2 runs"
    assert sum(line.startswith(f"left out: run {second.name}: time record") for line in lines) == 2
    head = json.loads((made / "run.json").read_text())
    assert head["command"] == f"ditbench merge {first.name} {second.name}"
    assert read(made).environment == ENVIRONMENT


@pytest.mark.parametrize(
    ("first", "second", "both"), [("a", "b", "(?:a)|(?:b)"), ("a", "a", "(?:a)"), ("a", "", "")]
)
def test_what_k_left_out_of_both_is_left_out_of_the_merged_run(tmp_path, first, second, both):
    one = written(tmp_path, *one_of(SOFT), selected=first)
    other = written(tmp_path, *one_of(SDPA), selected=second)
    (one / "telemetry.jsonl").write_text("{}\n")
    made = merge([one, other], tmp_path, COMMAND)
    assert read(made.folder).selected == both
    assert (made.folder / "telemetry.jsonl").read_text() == "{}\n"
