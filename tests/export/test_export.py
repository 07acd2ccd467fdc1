"""What other programs read of a run: what they refuse is not written, and nothing is lost on the way."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from fakes_reuse import dqar, remembering
from fakes_runs import (
    cell,
    fake_run,
    gate,
    good_records,
    measured,
    quality,
    record,
    searched,
    timed,
)

from ditbench import cli, export, store, summary
from ditbench.cli import completion
from ditbench.compare import Comparison, Finding, Verdict, compare
from ditbench.compare.verdicts import Lint
from ditbench.records import Choice, Op, Sampling, Stage, Status

NOTHING = Comparison("", (), (), incomparable=False, exit_codes=frozenset())


def result(run, comparison=NOTHING):
    return export.Result(run, summary.summarise(run), comparison)


def write(name, run, comparison=NOTHING):
    return export.FORMATS[name].write(result(run, comparison))


def of_core(label="sdpa"):
    return cell(
        label,
        model=Op(256, 4, 32, "cold").choice,
        weights="",
        blocks=(0,),
        steps=1,
        sampling=Sampling(dtype="float32"),
    )


# ---- github-action-benchmark ----


def entries(name, run, comparison=NOTHING):
    return json.loads(write(name, run, comparison).data)


def test_every_entry_is_what_its_parser_takes():
    found = entries("gha", fake_run())
    assert found
    assert all(set(one) <= {"name", "unit", "value", "range", "extra"} for one in found)
    assert all(type(one["value"]) in {int, float} for one in found)
    # Its own pattern for a range is a sign, and then what JavaScript's Number() reads.
    ranges = [one["range"] for one in found if "range" in one]
    assert ranges
    assert all(re.fullmatch(r"± \d[0-9.e+-]+", one) and float(one[2:]) > 0 for one in ranges)


def test_a_name_is_of_a_cell_and_a_metric_and_of_no_night():
    night = {one["name"] for one in entries("gha", fake_run())}
    other = fake_run(*good_records(sdpa=2.0), id="20261122-100000-9a9a")
    assert {one["name"] for one in entries("gha", other)} <= night
    assert len(night) == len(entries("gha", fake_run()))


def test_cells_that_are_written_alike_have_two_names():
    twins = (cell(), dataclasses.replace(cell(), blocks=(0, 1)))
    run = fake_run(*(part for of in twins for part in timed(of, (0.1, 0.1))))
    assert twins[0].id == twins[1].id
    names = [one["name"] for one in entries("gha", run) if one["name"].endswith(": latency")]
    assert sorted(names) == sorted(f"{of.id} {of.key}: latency" for of in twins)


def test_each_direction_has_its_own_list():
    run = fake_run(*good_records(), *searched("sdpa"))

    def metrics(name):
        return {one["name"].rpartition(": ")[2] for one in entries(name, run)}

    assert {"latency", "peak_resident"} <= metrics("gha")
    assert {"throughput", "psnr", "largest_batch"} <= metrics("gha-bigger")
    assert not metrics("gha") & metrics("gha-bigger")


def test_a_figure_that_json_cannot_say_is_left_out_and_named():
    run = fake_run(*measured("softmax"), quality(cell(), 0.0))
    made = write("gha-bigger", run)
    assert not [one for one in json.loads(made.data) if one["name"].endswith(": psnr")]
    assert made.notes == (f"left out: {cell().id}: psnr: is inf, which JSON cannot say",)


def test_an_empty_list_says_that_it_would_be_refused():
    made = write("gha", fake_run(gate(cell(), exact=True), planned=()))
    assert json.loads(made.data) == []
    assert made.notes == (
        "no figure where lower is better: github-action-benchmark refuses an empty list",
    )


def test_an_entry_says_what_became_of_it():
    run, base = fake_run(*good_records()), fake_run(*good_records(sdpa=0.5))
    found = entries("gha", run, compare(run, base, "baseline main"))
    (one,) = [one for one in found if one["name"] == f"{cell('sdpa').id}: latency"]
    assert re.search(r"^inconclusive: \+\d+ %", one["extra"], re.MULTILINE)
    assert f"key: {cell('sdpa').key}" in one["extra"].splitlines()


# ---- tables ----


def rows(run, name="csv"):
    data = io.BytesIO(write(name, run).data)
    return pd.read_csv(data) if name == "csv" else pd.read_parquet(data)


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_every_raw_value_has_its_row_in_base_units(name):
    seconds = (0.1, 0.25, 0.125), (1 / 3,)
    found = rows(fake_run(*timed(cell(), *seconds)), name)
    latency = found[found["metric"] == "latency"]
    assert latency[["process", "sample", "value"]].to_numpy().tolist() == [
        [0, 0, 0.1],
        [0, 1, 0.25],
        [0, 2, 0.125],
        [1, 0, 1 / 3],
    ]
    assert set(latency["unit"]) == {"s"}
    assert set(latency["attention"]) == {"softmax"}
    assert set(latency["batch_size"]) == {1}


def test_warm_ups_are_no_samples():
    run = fake_run(*timed(cell(), (0.1, 0.1)))
    assert run.records[0].warmups["latency"]
    found = rows(run)
    assert len(found[found["metric"] == "latency"]) == 2


def test_a_failed_cell_is_one_row_without_a_metric():
    """Its other process's times are no speed, so that nobody averages them."""
    crash = cell("sdpa")
    run = fake_run(
        *timed(crash, (0.1, 0.1)),
        record(crash, Stage.TIME, status=Status.CRASHED, replicate=1, reason="SIGSEGV"),
    )
    (row,) = rows(run).to_dict("records")
    assert (row["status"], row["reason"]) == ("crashed", "process 2: SIGSEGV")
    assert pd.isna(row["metric"])
    assert pd.isna(row["value"])


def test_pictures_stand_at_every_cell_that_has_them():
    run = fake_run(*measured("sdpa", 1), *measured("sdpa", 4), quality(cell("sdpa"), 0.1))
    psnr = rows(run).query("metric == 'psnr'")
    assert psnr.groupby("batch_size").size().to_dict() == {1: 48, 4: 48}


def test_what_is_not_finite_is_a_word_and_what_is_absent_is_empty():
    run = fake_run(*timed(cell(), (float("nan"), float("inf"))))
    text = write("csv", run).data.decode()
    latency = [line for line in text.splitlines() if ",latency," in line]
    assert [line.rpartition(",")[2] for line in latency] == ["nan", "inf"]
    assert ",,,," in latency[0]  # of a model there are no tokens, heads, ...


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_all_runs_have_the_same_columns(name):
    """Cells of models, of cores, of a searched batch, and none at all: tables go below each other."""
    runs = [
        fake_run(*measured("sdpa")),
        fake_run(*timed(of_core(), (0.1,))),
        fake_run(*searched("sdpa")),
        fake_run(gate(cell()), planned=()),
    ]
    tables = [rows(run, name) for run in runs]
    assert len({tuple(table.columns) for table in tables}) == 1
    if name == "parquet":
        assert len({tuple(map(str, table.dtypes)) for table in tables}) == 1
    assert len(tables[3]) == 0
    assert set(tables[1]["tokens"]) == {256}


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch, ditbench, run):
    monkeypatch.setattr("ditbench.export.as_parquet.find_spec", lambda _: None)
    code, out, err = ditbench(
        "export", run.id, "--format", "parquet", "--to", "x", "--baseline", "none"
    )
    assert (code, out) == (2, "")
    assert err == (
        "ditbench: --format parquet: needs pyarrow: pip install 'ditbench[parquet]', "
        "or take --format csv\n"
    )


# ---- JUnit ----

ATTRIBUTES = {
    "testsuite": {
        "id": r"\d+",
        "package": r".+",
        "name": r".+",
        "timestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
        "hostname": r".+",
        "tests": r"\d+",
        "failures": r"\d+",
        "errors": r"\d+",
        "skipped": r"\d+",
        "time": r"\d+(\.\d+)?",
    },
    "property": {"name": r".+", "value": r"(?s).*"},
    "testcase": {"name": r".+", "classname": r".+", "time": r"\d+(\.\d+)?"},
    "failure": {"type": r".+", "message": r".*"},
    "skipped": {"message": r".*"},
}


def faults(data):
    """What windyroad/JUnit-Schema would complain of."""
    root = ET.fromstring(data)  # noqa: S314 (our own)
    assert root.tag == "testsuites"
    assert not root.attrib
    for suite in root:
        tags = [part.tag for part in suite]
        cases = suite.findall("testcase")
        wanted = ["properties", *["testcase"] * len(cases), "system-out", "system-err"]
        if tags != wanted:
            yield f"order: {tags}"
        counts = {
            "tests": len(cases),
            "failures": len(suite.findall("testcase/failure")),
            "errors": 0,
            "skipped": len(suite.findall("testcase/skipped")),
        }
        yield from (f"{n}: {suite.get(n)}" for n, v in counts.items() if suite.get(n) != str(v))
        for case in cases:
            if len(case) > 1 or {part.tag for part in case} - {"failure", "skipped"}:
                yield f"parts of {case.get('name')}: {[part.tag for part in case]}"
    for part in root.iter():
        kinds = ATTRIBUTES.get(part.tag, {})
        if set(part.attrib) != set(kinds):
            yield f"attributes of {part.tag}: {sorted(part.attrib)}"
        yield from (
            f"{part.tag}.{name}: {part.get(name)!r}"
            for name, kind in kinds.items()
            if not re.fullmatch(kind, part.get(name, ""))
        )


def junit(run, comparison=NOTHING):
    data = write("junit", run, comparison).data
    assert list(faults(data)) == []
    return ET.fromstring(data).find("testsuite")  # noqa: S314 (our own)


def case_of(suite, label):
    (case,) = [one for one in suite.findall("testcase") if one.get("classname") == label]
    return case


def test_the_schema_holds_for_every_kind_of_cell():
    suite = junit(fake_run(), compare(fake_run(), fake_run(*good_records(sdpa=0.5)), "main"))
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped")} == {
        "tests": "19",
        "failures": "5",
        "skipped": "2",
    }


def test_the_check_of_the_schema_would_see_a_fault():
    good = write("junit", fake_run()).data
    assert list(faults(good)) == []
    for bad in (
        good.replace(b'failures="5"', b'failures="4"'),
        good.replace(b'hostname="localhost" ', b""),
        good.replace(b"<system-err />", b""),
        re.sub(rb'time="0\.\d+"', b'time="1e-3"', good),
    ):
        assert list(faults(bad))


def test_a_case_is_a_cell_and_its_time_the_latency():
    case = case_of(junit(fake_run(*timed(cell("sdpa"), (0.25, 0.25)))), "sdpa")
    assert case.get("time") == "0.250000000"
    assert case.get("name").startswith("model=fashion-dit weights=embedded blocks=all")
    assert len(case) == 0


@pytest.mark.parametrize(
    ("label", "kind", "reason"),
    [
        ("crash", "crashed", "process 2: segmentation fault (SIGSEGV)"),
        ("hang", "timeout", "no answer within 1800 seconds"),
    ],
)
def test_a_failed_cell_is_a_failure_with_its_reason(label, kind, reason):
    failure = case_of(junit(fake_run()), label).find("failure")
    assert (failure.get("type"), failure.get("message")) == (kind, reason)


def test_a_regressed_cell_is_a_failure_with_every_reason():
    run = fake_run(*measured("sdpa"))
    worse = tuple(
        Finding(cell("sdpa"), metric, Verdict.REGRESSED, f"+{n} % confirmed", 0.05)
        for n, metric in enumerate(("latency", "peak_resident"), start=5)
    )
    failure = case_of(junit(run, dataclasses.replace(NOTHING, findings=worse)), "sdpa").find(
        "failure"
    )
    assert failure.get("type") == "regressed"
    assert failure.text.splitlines() == [
        "latency: regressed: +5 % confirmed",
        "peak_resident: regressed: +6 % confirmed",
    ]


def test_what_was_not_confirmed_fails_nothing_and_is_told():
    run, base = fake_run(*measured("sdpa")), fake_run(*measured("sdpa", slower=0.5))
    suite = junit(run, compare(run, base, "baseline main"))
    assert suite.get("failures") == "0"
    told = {one.get("name"): one.get("value") for one in suite.find("properties")}
    assert told["baseline"] == "baseline main"
    moved = [line for line in suite.find("system-out").text.splitlines() if "inconclusive" in line]
    assert told["inconclusive"] == str(len(moved))
    assert any(": latency: inconclusive: " in line for line in moved)


def test_a_cell_that_is_gone_is_skipped_and_not_forgotten():
    run, base = fake_run(*measured("sdpa")), fake_run(*measured("sdpa"), *measured("softmax"))
    case = case_of(junit(run, compare(run, base, "main")), "softmax")
    assert case.find("skipped").get("message").startswith("missing: ")


def test_what_xml_has_no_character_for_is_replaced():
    run = fake_run(
        record(cell("odd"), Stage.GATE, status=Status.CRASHED, reason="a\x00b\ufffe<&>\x1b[31m"),
    )
    failure = case_of(junit(run), "odd").find("failure")
    assert failure.get("message") == "a\ufffdb\ufffd<&>\ufffd[31m"


def test_a_label_of_a_method_may_hold_anything():
    of = dataclasses.replace(cell(), attention=Choice("x", (), 'a "b" <c> & {d: 1}'))
    case = case_of(junit(fake_run(*timed(of, (0.1,)))), 'a "b" <c> & {d: 1}')
    assert case.get("time") == "0.100000000"


def test_gates_that_guard_nothing_and_a_shift_are_told():
    told = dataclasses.replace(
        NOTHING, shift="8 of 10 cells moved alike", lint=(Lint("expired", "is old", cell("sdpa")),)
    )
    suite = junit(fake_run(*measured("sdpa")), told)
    assert suite.find("properties/property[@name='shift']").get("value").startswith("8 of 10")
    assert f"{cell('sdpa').id}: is old" in suite.find("system-out").text.splitlines()


@pytest.mark.parametrize("started", ["2026-11-21T12:00:00+02:00", "yesterday"])
def test_a_moment_is_in_utc_or_the_epoch(started):
    suite = junit(fake_run(*measured("sdpa"), started=started))
    assert suite.get("timestamp") in {"2026-11-21T10:00:00", "1970-01-01T00:00:00"}


# ---- one object ----


def test_the_object_holds_figures_verdicts_and_every_code():
    run, base = fake_run(), fake_run(*good_records(sdpa=0.5))
    comparison = compare(run, base, "baseline main")
    plain = json.loads(write("json", run, comparison).data)
    assert plain["run"]["id"] == run.id
    assert (plain["exit_code"], plain["exit_codes"]) == (3, [3])
    assert len(plain["cells"]) == len(run.planned)
    assert len(plain["findings"]) == len(comparison.findings)
    infinite = [
        one["estimates"]["psnr"]["value"]
        for one in plain["cells"]
        if one["axes"]["attention"] == "softmax" and "psnr" in one["estimates"]
    ]
    assert infinite
    assert set(infinite) == {"inf"}


# ---- the verb ----


@pytest.fixture
def run(tmp_path):
    made = fake_run(*measured("softmax"), *measured("sdpa"))
    with store.RunWriter.create(tmp_path / "results", made) as writer:
        for one in made.records:
            writer.append(one)
        writer.finish()
    return store.read(writer.folder)


@pytest.fixture
def ditbench(tmp_path, capsys):
    def ditbench(*arguments):
        places = ["--out", str(tmp_path / "results"), "--baselines", str(tmp_path / "baselines")]
        code = cli.main([*arguments, *places])
        told = capsys.readouterr()
        return code, told.out, told.err

    return ditbench


def test_the_names_that_are_completed_are_those_that_there_are():
    assert tuple(export.FORMATS) == completion.FORMATS


@pytest.mark.parametrize("name", [name for name, one in export.FORMATS.items() if one.text])
def test_standard_output_and_a_file_get_the_same(name, tmp_path, ditbench, run):
    to = tmp_path / "deep" / f"run.{name}"
    code, out, _ = ditbench("export", run.id, "--format", name, "--baseline", "none")
    assert code == 0
    code, told, _ = ditbench(
        "export", "latest", "--format", name, "--baseline", "none", "--to", str(to)
    )
    assert (code, told) == (0, f"{to}\n")
    assert to.read_text() == out


def test_a_run_is_exported_beside_what_it_is_compared_with(tmp_path, ditbench, run):
    with store.RunWriter.create(tmp_path / "results", run) as writer:
        for one in (*measured("softmax"), *measured("sdpa", slower=2.0)):
            writer.append(one)
        writer.finish()
    code, out, _ = ditbench("export", "--format", "json", "--baseline", run.id)
    assert code == 0
    plain = json.loads(out)
    assert plain["baseline"] == f"run {run.id}"
    assert [one for one in plain["findings"] if one["verdict"] == "inconclusive"]


def test_an_unknown_format_is_answered_with_those_there_are(ditbench, run):
    code, out, err = ditbench("export", run.id, "--format", "junitt")
    assert (code, out) == (2, "")
    assert err == (
        "ditbench: --format junitt: is none of gha, gha-bigger, csv, parquet, junit, json "
        "(did you mean 'junit'?)\n"
    )


def test_what_is_no_text_needs_a_file(ditbench, run):
    code, out, err = ditbench("export", run.id, "--format", "parquet")
    assert (code, out) == (2, "")
    assert err == ("ditbench: --format parquet: is no text: say with --to FILE where to write\n")


def test_a_file_is_written_whole_or_not_at_all(tmp_path, ditbench, run, monkeypatch):
    to = tmp_path / "run.json"
    to.write_text("the one before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    code, _, err = ditbench("export", run.id, "--baseline", "none", "--to", str(to))
    assert code == 2
    assert err.startswith(f"ditbench: {to}: cannot be written: No space left on device; make room")
    assert to.read_text() == "the one before"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_folder_is_no_file(tmp_path, ditbench, run):
    code, _, err = ditbench("export", run.id, "--baseline", "none", "--to", str(tmp_path))
    assert (code, err) == (2, f"ditbench: --to {tmp_path}: is a folder: name a file\n")


def test_every_figure_of_a_method_with_memory_is_a_row_of_its_own():
    of = dqar()
    run = fake_run(*remembering(of, calibration_time=72.0), claims=())
    frame = pd.read_csv(io.BytesIO(write("csv", run).data), keep_default_na=False)
    found = {
        row.metric: (row.stage, row.unit)
        for row in frame.itertuples()
        if row.metric in {"reuse_ratio", "calibration_time", "cache_bytes", "replay_latency"}
        or row.metric == "trajectory_macs"
    }
    assert found == {
        "trajectory_macs": ("gate", "MAC"),
        "reuse_ratio": ("gate", "ratio"),
        "cache_bytes": ("gate", "B"),
        "calibration_time": ("gate", "s"),
        "replay_latency": ("time", "s"),
    }
