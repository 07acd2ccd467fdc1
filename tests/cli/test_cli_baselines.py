"""The life of a baseline from the command line: set, promoted, listed, compared, expired; and bad files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import fakes_scale
import pytest
from fakes_baselines import flat
from fakes_runs import FACTS, cell, fake_run, gate, timed

from ditbench import cli
from ditbench.environment import Environment
from ditbench.store import baseline_read

A, B = cell("softmax"), cell("sdpa")
EFFORT = {
    "timing": {"processes": 5, "repeats": 3},
    "quality": {"samples": 0},
    "metrics": ["latency"],
}


@pytest.fixture
def ditbench(tmp_path, capsys, monkeypatch):
    """Runs a verb in an empty folder; gives its exit code, its output and what it told on stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        code = cli.main(list(words))
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


@pytest.fixture
def night(tmp_path):
    """Writes a run of two cells; the number is its night, the seconds those of sdpa."""

    def write(number, seconds=0.1, cells=(A, B), **parts):
        records = [
            part
            for of in cells
            for part in (gate(of), *timed(of, *((seconds if of == B else 0.2,) * 3,) * 5))
        ]
        plain = {"id": f"202611{number:02}-100000-aaaa", "effort": EFFORT} | parts
        run = fake_run(*records, **plain)
        fakes_scale.write(tmp_path / "results", run)
        return run.id

    return write


def head():
    return json.loads(Path("baselines/main.jsonl").read_text().splitlines()[0])


def test_a_baseline_is_set_and_set_again_with_what_becomes_other(ditbench, night):
    night(1)
    code, out, err = ditbench("baseline", "set", "main")
    assert (code, out, err.count("\n")) == (0, "baselines/main.jsonl\n", 1)
    assert "spread was held against nothing, for the noise of this machine was not measured" in err
    night(2, 0.12, (B,))
    code, out, _ = ditbench("baseline", "set", "main")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert lines[0] == "baseline main: run 20261101-100000-aaaa -> run 20261102-100000-aaaa"
    assert any(re.match(r"gone 200 ms model=", line) for line in lines)
    assert any(re.match(r"\+20.0 % latency 100 ms 120 ms model=", line) for line in lines)
    assert lines[-1] == "baselines/main.jsonl"
    assert baseline_read("main").id == "20261102-100000-aaaa"


def test_a_run_of_three_processes_needs_a_word_more_and_stays_provisional(ditbench, night):
    night(1, effort=EFFORT | {"timing": {"processes": 3}})
    code, out, err = ditbench("baseline", "set", "main")
    assert (code, out) == (2, "")
    assert "timed in 3 processes; a baseline needs 5: set timing.processes: 5" in err
    assert not Path("baselines").exists()
    assert ditbench("baseline", "set", "main", "--provisional")[0] == 0
    (entry,) = json.loads(ditbench("baseline", "list", "--json")[1])
    assert entry["provisional"]


def test_what_is_refused_leaves_the_old_baseline_as_it_was(ditbench, night):
    night(1)
    ditbench("baseline", "set", "main")
    before = Path("baselines/main.jsonl").read_bytes()
    night(2, finished=False)
    code, _, err = ditbench("baseline", "set", "main")
    assert code == 2
    assert "it did not come to its end; go on with --resume" in err
    assert Path("baselines/main.jsonl").read_bytes() == before


def test_a_promoted_run_was_compared_with_it_and_found_no_worse(ditbench, night):
    first = night(1)
    ditbench("baseline", "set", "main")
    second = night(2)
    code, _, err = ditbench("baseline", "promote", "main")
    assert code == 2
    assert f"run {second} is not promoted: it was not compared with baseline main" in err
    assert err.count("\n") == 1
    assert ditbench("report", second, "--baseline", "main")[0] == 0
    assert ditbench("baseline", "promote", "main", "--expires", "60d")[0] == 0
    terms = baseline_read("main").admission
    assert (terms.promoted_from, terms.because) == (first, "")
    night(3)
    ditbench("report", "latest", "--baseline", second)
    told = ditbench("baseline", "promote", "main")[2]
    assert f"not compared with baseline main, but with run {second}" in told


def test_a_run_that_was_compared_with_what_the_baseline_was_before_is_not_promoted(ditbench, night):
    night(1)
    ditbench("baseline", "set", "main")
    second = night(2)
    ditbench("report", second, "--baseline", "main")
    ditbench("baseline", "set", "main")
    night(3)
    told = ditbench("baseline", "promote", "main", second)[2]
    assert "as it was of run 20261101-100000-aaaa, and that is of run 20261102-100000-aaaa" in told


def test_a_regression_is_promoted_on_record_only(ditbench, night):
    night(1)
    ditbench("baseline", "set", "main")
    worse = night(2, cells=(A,), finished=True)
    other = gate(A, 200e6)
    fakes_scale.write(
        Path("results"),
        fake_run(other, *timed(A, *((0.2,) * 3,) * 5), id="20261103-100000-aaaa", effort=EFFORT),
    )
    assert ditbench("report", "20261103", "--baseline", "main")[0] == 0
    code, _, err = ditbench("baseline", "promote", "main")
    assert code == 2
    assert "its comparison ended with exit code 4" in err
    assert (
        ditbench("baseline", "promote", "main", "--because", "the core counts its mask now")[0] == 0
    )
    assert head()["admission"]["because"] == "the core counts its mask now"
    assert "because the core counts its mask now" in ditbench("baseline", "list")[1]
    assert worse != baseline_read("main").id


def test_the_list_tells_age_and_end_and_what_to_mind(ditbench, night):
    night(1)
    ditbench("baseline", "set", "main", "--expires", "never")
    ditbench("baseline", "set", "nightly")
    Path("baselines/torn.jsonl").write_text("{")
    listed = {one["name"]: one for one in json.loads(ditbench("baseline", "list", "--json")[1])}
    assert [listed[name]["age_days"] for name in ("main", "nightly", "torn")] == [0, 0, None]
    assert listed["main"]["expires"] == "never"
    assert listed["torn"]["problem"].startswith("baselines/torn.jsonl:1: is not JSON")
    assert ditbench("baseline", "expire", "nightly") == (0, "baselines/nightly.jsonl\n", "")
    listed = {one["name"]: one for one in json.loads(ditbench("baseline", "list", "--json")[1])}
    assert (listed["main"]["expired"], listed["nightly"]["expired"]) == (False, True)


def test_an_expired_baseline_is_incomparable_and_exit_7_where_it_is_required(ditbench, night):
    night(1)
    ditbench("baseline", "set", "main")
    ditbench("baseline", "expire", "main")
    night(2)
    code, out, _ = ditbench("compare", "main")
    assert code == 7
    assert "the baseline expired on" in out
    assert "lint: expired: " in out


def test_a_difference_shows_figures_of_both_and_where_they_were_measured(ditbench, night):
    first = night(1)
    ditbench("baseline", "set", "main")
    night(2, 0.13, environment=Environment(FACTS | {"torch": "2.14.0"}))
    code, out, _ = ditbench("baseline", "diff", "main", "latest")
    assert code == 0
    assert out.startswith("environment: torch: 2.13.0 -> 2.14.0\n")
    assert re.search(r"\+30.0 % +latency +100 ms +130 ms", out)
    rows = json.loads(ditbench("baseline", "diff", "main", first, "--json")[1])
    assert {one["change"] for one in rows} == {0.0}
    assert ditbench("baseline", "diff", "main", "main")[1].endswith("figures within 0.100 %\n")


def line_edited(data):
    lines = data.splitlines(keepends=True)
    return b"".join([*lines[:-1], lines[-1].replace(b'"steps":20', b'"steps":21')])


def line_lost(data):
    return b"".join(data.splitlines(keepends=True)[:-1])


BAD = {
    "torn": (
        lambda data: data[:-50],
        r"main\.jsonl:\d+: is not JSON|main\.jsonl:\d+: its checksum",
    ),
    "a line is missing": (line_lost, r"main\.jsonl:\d+: it had \d+ lines below its head, and has"),
    "newer": (
        lambda data: re.sub(rb'"schema":3', b'"schema":99', data),
        r"main\.jsonl:1: schema 99, but this ditbench reads up to 3: update ditbench",
    ),
    "edited": (line_edited, r"main\.jsonl:\d+: its checksum is [0-9a-f]{8}, but"),
    "empty": (lambda _: b"", r"main\.jsonl:1: is not JSON"),
    "binary": (lambda _: bytes(range(256)) * 9, r"main\.jsonl:1: .*(can't decode|is not JSON)"),
    "merged in git": (
        lambda data: b"<<<<<<< HEAD\n" + data + b"=======\n" + data + b">>>>>>> other\n",
        r"main\.jsonl:1: is not JSON",
    ),
}
VERBS = [
    ("baseline", "set", "main"),
    ("baseline", "promote", "main"),
    ("baseline", "show", "main"),
    ("baseline", "diff", "main"),
    ("baseline", "diff", "good", "main"),
    ("baseline", "expire", "main"),
    ("compare", "main"),
    ("report", "latest", "--baseline", "main"),
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_mistake_34_a_bad_baseline_is_one_clear_line_and_nothing_is_overwritten(
    ditbench, night, verb
):
    night(1)
    for name in ("main", "good"):
        ditbench("baseline", "set", name)
    path = Path("baselines/main.jsonl")
    good = path.read_bytes()
    for bad, (change, told) in BAD.items():
        before = change(good)
        path.write_bytes(before)
        code, out, err = ditbench(*verb)
        assert (code, out) == (2, ""), bad
        assert re.fullmatch(rf"ditbench: baselines/(?:{told}).*\n", err), bad
        assert path.read_bytes() == before, bad
    path.unlink()
    path.mkdir()
    code, out, err = ditbench(*verb)
    assert (code, out, err) == (2, "", "ditbench: baselines/main.jsonl: is no file\n")
    assert not list(Path("results").glob("*/*/verdict.json"))


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_a_baseline_that_may_not_be_read_is_one_line(ditbench, night, verb, monkeypatch):
    night(1)
    for name in ("main", "good"):
        ditbench("baseline", "set", name)
    read_bytes = Path.read_bytes

    def closed(path):
        if path.name == "main.jsonl":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", closed)
    code, out, err = ditbench(*verb)
    assert (code, out) == (2, "")
    assert err == "ditbench: baselines/main.jsonl: cannot be read: Permission denied\n"


@pytest.mark.parametrize("verb", [one for one in VERBS if one[1:2] != ("set",)], ids=" ".join)
def test_a_baseline_that_is_not_there_is_one_line_with_the_nearest_name(ditbench, night, verb):
    night(1)
    for name in ("mainly", "good"):
        ditbench("baseline", "set", name)
    code, out, err = ditbench(*verb)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "(did you mean 'mainly'?)" in err


def test_a_required_baseline_without_a_cell_in_common_is_exit_7(ditbench, night):
    night(1)
    ditbench("baseline", "set", "main")
    night(2, cells=(cell("identity"),))
    assert ditbench("compare", "main")[0] == 7


def test_a_baseline_of_schema_2_is_compared_without_being_lifted(ditbench, night):
    night(1)
    ditbench("baseline", "set", "main")
    path = flat(Path("baselines/main.jsonl"), fake_run(*baseline_read("main").records))
    before = path.read_bytes()
    code, out, _ = ditbench("compare", "main")
    assert code == 0
    assert "unchanged: " in out
    assert path.read_bytes() == before
