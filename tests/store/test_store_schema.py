"""Checksums and schemas: a digit that changed is found, and what was written earlier is read."""

from __future__ import annotations

import json
import re

import pytest
from fakes_baselines import flat
from fakes_runs import PROVISIONAL, fake_run

from ditbench.errors import StoreError
from ditbench.records import SCHEMA
from ditbench.store import RunWriter, baseline_read, baseline_set, read
from ditbench.store.schema import MIGRATIONS
from ditbench.store.seal import sealed, unsealed

RUN = fake_run()


def written(results, **parts):
    with RunWriter.create(results, fake_run(**parts)) as writer:
        for one in RUN.records:
            writer.append(one)
        writer.finish()
    return writer.folder


def as_of_schema_1(path, lines):
    """The file as ditbench 0.1 would have written it."""

    def old(line):
        plain = {name: value for name, value in json.loads(line).items() if name != "sum"}
        for name in ("effort", "written", "origins"):
            plain.pop(name, None)
        return json.dumps(plain | {"schema": 1}) + "\n"

    text = path.read_text()
    path.write_text("".join(map(old, text.splitlines())) if lines else old(text))


def of_schema_1(folder):
    as_of_schema_1(folder / "records.jsonl", lines=True)
    as_of_schema_1(folder / "run.json", lines=False)
    return folder


def test_what_is_sealed_is_read_back_equal():
    plain = {"schema": SCHEMA, "b": [0.1, "ä"], "a": None}
    assert unsealed(sealed(plain).encode()) == plain
    assert unsealed(sealed(plain, indent=1).encode() + b"\n") == plain


def test_every_changed_byte_of_a_line_is_found():
    line = sealed({"schema": SCHEMA, "value": 0.123}).encode()
    for place, byte in enumerate(line):
        damaged = line[:place] + bytes([byte ^ 1]) + line[place + 1 :]
        with pytest.raises((ValueError, KeyError)):
            unsealed(damaged)


def test_a_digit_changed_inside_a_line_is_named_and_the_line_kept_aside(tmp_path):
    folder = written(tmp_path)
    path = folder / "records.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = re.sub(rb'"seconds": 1\.5', b'"seconds": 1.6', lines[4])
    path.write_bytes(b"".join([*lines[:4], damaged, *lines[5:]]))
    back = read(folder)
    assert back.records == (*RUN.records[:4], *RUN.records[5:])
    (problem,) = back.problems
    assert re.fullmatch(
        re.escape(str(path)) + r":5: its checksum is \w{8}, but \w{8} was written: "
        "the line was changed or damaged since",
        problem,
    )
    assert (folder / "records.rejected.jsonl").read_bytes() == damaged


def test_a_line_without_its_checksum_is_not_believed(tmp_path):
    folder = written(tmp_path)
    path = folder / "records.jsonl"
    path.write_text(re.sub(r'"sum": "\w{8}",', "", path.read_text(), count=1))
    assert read(folder).problems == (
        f"{path}:1: lacks its checksum: it was not written by ditbench, or changed since",
    )


def test_a_threshold_edited_in_a_head_is_named(tmp_path):
    path = written(tmp_path) / "run.json"
    path.write_text(path.read_text().replace('"latency": 0.02', '"latency": 0.5'))
    with pytest.raises(StoreError, match=r"run\.json:1: its checksum is"):
        read(path.parent)


def test_a_number_edited_by_hand_in_a_baseline_is_named_by_file_and_line(tmp_path):
    baseline_set(RUN, "main", tmp_path, PROVISIONAL)
    path = tmp_path / "main.jsonl"
    lines = path.read_text().splitlines()
    lines[6] = lines[6].replace('"seed":0', '"seed":1').replace('"steps":20', '"steps":21')
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(StoreError, match=r"main\.jsonl:7: its checksum is"):
        baseline_read("main", tmp_path)


def test_a_run_of_schema_1_is_read_with_the_same_records(tmp_path):
    back = read(of_schema_1(written(tmp_path)))
    assert back.records == RUN.records
    assert back.problems == ()
    assert (back.effort, back.written, back.origins) == ({}, None, ())


def test_a_baseline_of_schema_1_is_read(tmp_path):
    flat(tmp_path / "main.jsonl", RUN)
    before = baseline_read("main", tmp_path)
    assert before.records == RUN.records
    as_of_schema_1(tmp_path / "main.jsonl", lines=True)
    assert baseline_read("main", tmp_path) == before


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (
            SCHEMA + 1,
            f"schema {SCHEMA + 1}, but this ditbench reads up to {SCHEMA}: update ditbench",
        ),
        (0, "schema 0, but the first that ditbench reads is 1"),
        (True, "schema True is no number"),
        ("2", "schema '2' is no number"),
    ],
)
def test_a_schema_that_nobody_reads_here_is_told_with_the_way_out(schema, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        unsealed(json.dumps({"schema": schema}).encode())


def test_every_schema_before_this_one_has_a_way_up():
    assert sorted(MIGRATIONS) == list(range(min(MIGRATIONS), SCHEMA))


def test_a_head_keeps_how_hard_the_run_measured_and_how_many_records_it_wrote(tmp_path):
    effort = {
        "timing": {"repeats": 20},
        "quality": {"samples": 48},
        "metrics": ["latency"],
    }
    back = read(written(tmp_path, effort=effort))
    assert (back.effort, back.written) == (effort, len(RUN.records))
