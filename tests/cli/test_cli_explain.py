"""`compare --explain`: a verdict tells its rules, its numbers and what stands beside it."""

from __future__ import annotations

import dataclasses
import json

import fakes_scale
import pytest
from fakes_runs import FACTS, cell, fake_run, gate, timed
from fakes_sessions import abba, noise, session

from ditbench import store
from ditbench.environment import Environment
from ditbench.store import SessionWriter, baseline_set

STEADY = (0.100, 0.101, 0.099, 0.100, 0.100)


def run(number, factor=1.0, nights=None, **parts):
    of = cell("monarch")
    medians = [factor * value for value in STEADY]
    records = (gate(of), *timed(of, *((value,) * 3 for value in medians)))
    return fake_run(
        *records, id=f"2026112{number}-100000-aa{'a' if nights is None else nights}a", **parts
    )


@pytest.fixture
def nights(tmp_path):
    """A baseline of one night, and a later night that is 5 % slower."""
    out, baselines = tmp_path / "results", tmp_path / "baselines"
    fakes_scale.write(out, run(1))
    baseline_set(store.read(out / "fashion" / run(1).id), "main", baselines)
    folder = fakes_scale.write(out, run(2, 1.05))
    return out, baselines, folder


@pytest.fixture
def ditbench(nights, capfd):
    from ditbench.cli import main

    out, baselines, _ = nights

    def call(*line):
        code = main([*line, "--out", str(out), "--baselines", str(baselines)])
        told = capfd.readouterr()
        return code, told.out, told.err

    return call


def confirm(folder, medians=STEADY, factor=1.05):
    of = cell("monarch")
    records = abba(of, medians, [factor * value for value in medians])
    found = session(*records)
    base = dataclasses.replace(found.arms[0], said=f"baseline main, run {run(1).id}")
    path = folder / "confirm.session.jsonl"
    head = dataclasses.replace(found, path=path, arms=(base, found.arms[1]))
    with SessionWriter.create(dataclasses.replace(head, records=(), finished=False)) as writer:
        for one in records:
            writer.append(one)
        writer.finish()


def test_an_unconfirmed_time_says_every_rule_and_what_to_do(ditbench):
    code, out, _ = ditbench("compare", "main", "latest", "--explain", "attention=monarch")
    assert code == 0
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0].startswith(cell("monarch").key)
    start = lines.index(
        "latency: inconclusive: +5.00 % beyond the floor of 2.00 %; "
        "not confirmed: run with --confirm or `ditbench ab`"
    )
    unconfirmed = (
        "+5.00 % beyond the floor of 2.00 %; not confirmed: run with --confirm or `ditbench ab`"
    )
    spread = "clean nights: 1; 3 x the spread of the baseline's process medians 0 %"
    assert lines[start + 1 : start + 7] == [
        "baseline, medians of processes: 100 ms, 101 ms, 99.0 ms, 100 ms, 100 ms",
        "this run, medians of processes: 105 ms, 106 ms, 104 ms, 105 ms, 105 ms",
        "1. difference: 0.005, more than 0.001 [100 ms -> 105 ms]",
        "2. gate: 2.00 % [the suite's gate 2.00 %; floor not measured]",
        f"3. screen: +5.00 % beyond the floor of 2.00 % [100 ms -> 105 ms; {spread}]",
        f"4. confirm: {unconfirmed} [no session holds it]",
    ]


def test_a_session_in_the_runs_folder_confirms_and_the_code_is_4(ditbench, nights):
    confirm(nights[2])
    code, out, _ = ditbench("compare", "main", "latest", "--explain", cell("monarch").key, "--json")
    assert code == 4
    (latency,) = [one for one in json.loads(out) if one["metric"] == "latency"]
    assert latency["verdict"] == "regressed"
    assert latency["duel"]["ratio"]["value"] == pytest.approx(1.05)
    assert [step["rule"] for step in latency["steps"]] == [
        "difference",
        "gate",
        "screen",
        "session: processes",
        "session: gate",
        "session: interval",
        "session: ratios",
        "session: confirmed",
        "session: discovery",
        "confirm",
    ]


def test_a_session_that_finds_nothing_clears_the_cell(ditbench, nights):
    confirm(nights[2], factor=1.0)
    code, out, _ = ditbench("compare", "main", "latest", "--explain", "monarch")
    assert code == 0
    assert "latency: unchanged: not confirmed: side by side B/A is 1.000" in out


def test_a_torn_session_is_one_line_and_the_run_is_judged_without_it(ditbench, nights):
    (nights[2] / "confirm.session.jsonl").write_text("{")
    code, out, err = ditbench("compare", "main", "latest")
    assert (code, err.count("\n")) == (0, 1)
    assert "judged without the session that confirms" in err
    assert "not confirmed: run with --confirm" in out


def test_ten_nights_on_disk_are_what_a_run_is_screened_against(ditbench, nights):
    for number in range(9):
        fakes_scale.write(nights[0], run(1, 1.035, nights=number))
    code, out, _ = ditbench("compare", "main", "latest", "--explain", "monarch")
    assert code == 0
    told = "beyond the floor of 2.00 % of the last 10 clean nights"
    assert f"latency: inconclusive: +5.00 % against the baseline, {told}" in out
    assert "of the nights by their successive differences 0 %" in out


def test_mistake_42_a_gate_below_the_measured_floor_is_raised_and_said(ditbench, nights):
    store.noise_write(store.noise_path("main", nights[1]), noise(cell("monarch"), 0.03))
    code, out, _ = ditbench("compare", "main", "latest", "--explain", "monarch")
    assert code == 0
    assert (
        "latency: inconclusive: +5.00 % beyond 2.00 %, within twice this machine's floor, 6.00 %"
        in out
    )
    assert (
        "gate: 6.00 %, raised to 2 x the measured floor [the suite's gate 2.00 %; floor 3.00 %]"
        in out
    )


def test_floors_of_another_machine_gate_nothing_and_the_page_says_why(ditbench, nights):
    away = Environment(FACTS | {"cpus": 64})
    floors = dataclasses.replace(noise(cell("monarch"), 0.03), environment=away)
    store.noise_write(store.noise_path("main", nights[1]), floors)
    code, out, err = ditbench("compare", "main", "latest")
    assert (code, err) == (0, "")
    assert "within the floor of 6.00 %" not in out
    told = "no floor: the noise was measured elsewhere (cpus: 64 -> 2): `ditbench noise "
    assert f"lint: {told}" in out
    ditbench("report", "latest", "--baseline", "main")
    (page,) = nights[2].glob("*.html")
    assert "the noise was measured elsewhere (cpus: 64 -&gt; 2)" in page.read_text()


def test_what_was_refused_quotes_both_values(ditbench, nights):
    away = {"environment": Environment(FACTS | {"cpus": 64})}
    fakes_scale.write(nights[0], run(3, 1.05, **away))
    code, out, _ = ditbench("compare", "main", "latest")
    assert code == 7
    (line,) = [line for line in out.splitlines() if "measured elsewhere: cpus" in line]
    assert line.endswith("measured elsewhere: cpus: 2 -> 64 (latency 100 ms then, 105 ms now)")


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("nobody", "--explain nobody: no cell of 1 with a verdict; the first is model=fashion-dit"),
        ("(", "--explain (: is no regular expression: missing ), unterminated subpattern"),
    ],
)
def test_a_cell_that_is_none_is_one_clear_line(ditbench, named, told):
    code, out, err = ditbench("compare", "main", "latest", "--explain", named)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err
