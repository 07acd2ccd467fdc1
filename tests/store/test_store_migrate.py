"""Older results in the present schema: nothing changed but the form, and what was there is kept."""

from __future__ import annotations

import json

import pytest
from fakes_baselines import flat, full
from fakes_runs import PROVISIONAL, fake_run

from ditbench import cli
from ditbench.compare import compare
from ditbench.errors import StoreError
from ditbench.records import SCHEMA
from ditbench.store import (
    RunWriter,
    baseline_read,
    baseline_set,
    migrate_baseline,
    migrate_run,
    read,
)

RUN = fake_run()


def old_line(line):
    plain = {name: value for name, value in json.loads(line).items() if name != "sum"}
    for name in ("effort", "written", "origins"):
        plain.pop(name, None)
    return json.dumps(plain | {"schema": 1}) + "\n"


def old(results):
    """A run as ditbench 0.1 left it."""
    with RunWriter.create(results, RUN) as writer:
        for one in RUN.records:
            writer.append(one)
        writer.finish()
    records, head = writer.folder / "records.jsonl", writer.folder / "run.json"
    records.write_text("".join(map(old_line, records.read_text().splitlines())))
    head.write_text(old_line(head.read_text()))
    return writer.folder


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_run_is_lifted_in_place_with_the_same_records_and_the_old_files_beside_them(tmp_path):
    folder = old(tmp_path)
    before, then = bytes_of(folder), read(folder)
    records, head = migrate_run(folder)
    assert (records.lines, records.schema, records.kept.name) == (
        len(RUN.records),
        1,
        "records.jsonl.v1",
    )
    assert head.kept.name == "run.json.v1"
    after = bytes_of(folder)
    assert after["records.jsonl.v1"] == before["records.jsonl"]
    assert after["run.json.v1"] == before["run.json"]
    assert read(folder) == then
    for line in (*after["records.jsonl"].splitlines(), after["run.json"]):
        assert json.loads(line)["schema"] == SCHEMA
        assert "sum" in json.loads(line)


def test_a_second_time_changes_nothing(tmp_path):
    folder = old(tmp_path)
    migrate_run(folder)
    before = bytes_of(folder)
    assert migrate_run(folder) == ()
    assert bytes_of(folder) == before


def test_a_migration_that_was_killed_between_its_files_goes_on(tmp_path):
    folder = old(tmp_path)
    head = (folder / "run.json").read_bytes()
    migrate_run(folder)
    (folder / "run.json").write_bytes(head)
    (folder / "run.json.v1").unlink()
    assert read(folder).records == RUN.records  # half lifted is readable too
    assert [one.path.name for one in migrate_run(folder)] == ["run.json"]


def test_a_line_that_cannot_be_read_stays_as_it_was_and_stays_named(tmp_path):
    folder = old(tmp_path)
    path = folder / "records.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"{garbage}\n", *lines[3:]]) + b'{"torn": ')
    problems = read(folder).problems
    migrate_run(folder)
    assert read(folder).problems == problems
    assert len(problems) == 2
    assert read(folder).records == RUN.records
    assert path.read_bytes().splitlines()[3] == b"{garbage}"


def test_a_run_that_is_being_written_is_left_alone(tmp_path):
    with RunWriter.create(tmp_path, RUN) as writer, pytest.raises(StoreError, match="is writing"):
        migrate_run(writer.folder)


@pytest.mark.parametrize("schema", [1, 2])
def test_a_baseline_is_lifted_and_compares_as_before(tmp_path, schema):
    run = full()
    path = flat(tmp_path / "main.jsonl", run)
    if schema == 1:
        path.write_text("".join(map(old_line, path.read_text().splitlines())))
    before = path.read_bytes()
    (one,) = migrate_baseline(path)
    assert (one.kept.name, one.schema, one.lines) == (
        f"main.jsonl.v{schema}",
        schema,
        len(run.records) + 1,
    )
    assert one.kept.read_bytes() == before
    now = baseline_read("main", tmp_path)
    found = compare(now, run, "before")
    assert {one.verdict for one in found.findings} == {"unchanged"}
    assert now.admission.expires == ""  # a lift changes the form, and not until when it gates
    lifted = path.read_bytes()
    assert len(lifted) < len(before) / 5
    assert migrate_baseline(path) == ()
    assert path.read_bytes() == lifted


def test_the_verb_takes_a_run_a_folder_of_runs_and_one_of_baselines(tmp_path, capsys):
    folder = old(tmp_path / "results")
    other = old(tmp_path / "results")
    out = ["--out", str(tmp_path / "results")]
    assert cli.main(["migrate", folder.name, *out]) == 0
    count, (records, head) = len(RUN.records), capsys.readouterr().out.splitlines()
    assert records == (
        f"{folder / 'records.jsonl'}: schema 1, {count} to lift: done; as it was: records.jsonl.v1"
    )
    assert head == f"{folder / 'run.json'}: schema 1, 1 to lift: done; as it was: run.json.v1"
    assert cli.main(["migrate", str(tmp_path / "results")]) == 0
    assert f"{other / 'run.json'}: schema 1" in capsys.readouterr().out
    assert cli.main(["migrate", str(tmp_path / "results")]) == 0
    assert "nothing to do, all of it is of the present schema" in capsys.readouterr().out
    baseline_set(RUN, "main", tmp_path / "baselines", PROVISIONAL)
    assert cli.main(["migrate", str(tmp_path / "baselines")]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_a_schema_that_nobody_knows_is_one_line_and_the_others_are_lifted_all_the_same(
    tmp_path, capsys
):
    future, folder = old(tmp_path), old(tmp_path)
    head = json.loads((future / "run.json").read_text())
    (future / "run.json").write_text(json.dumps(head | {"schema": 7}))
    assert cli.main(["migrate", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert told.err == (
        f"ditbench: {future / 'run.json'}:1: schema 7, but this ditbench reads up to {SCHEMA}: "
        "update ditbench\n"
    )
    assert f"{folder / 'run.json'}: schema 1" in told.out
    assert not (future / "records.jsonl.v1").exists()
