"""A results file that somebody else wrote: each field is of its kind, or the line is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fakes_baselines import flat
from fakes_reuse import dqar, remembering
from fakes_runs import cell, fake_run, gate, quality, timed

from ditbench import compare, shape, summary
from ditbench.cli import output
from ditbench.records import LARGEST, cell_from_json
from ditbench.report import view
from ditbench.store import baseline_read, read
from ditbench.store.order import clock_notes
from ditbench.store.reading import head_to_json, parse
from ditbench.store.seal import sealed, unsealed
from ditbench.store.writing import to_plain

SPARED = remembering(dqar())[0]
GATE, TIME, PICTURES = gate(cell()), timed(cell(), (0.1, 0.1))[0], quality(cell(), 0.1)


def changed(record, *path, to, rekey=False):
    """One record's line with one value replaced."""
    plain = json.loads(json.dumps(to_plain(record)))
    node = plain
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = to
    if rekey:
        plain["cell"]["key"] = cell_from_json(plain["cell"]).key
    return sealed(plain).encode()


def told(tmp_path, line):
    found = parse(tmp_path / "records.jsonl", line + b"\n")
    assert not found.records
    (problem,) = found.problems
    return problem.removeprefix(f"{tmp_path / 'records.jsonl'}:1: ")


@pytest.mark.parametrize(
    ("record", "path", "to", "cause"),
    [
        (TIME, ("metrics", "latency"), [10**400], "metrics.latency must be a list of numbers"),
        (TIME, ("metrics", "latency"), "123", "metrics.latency must be a list of numbers"),
        (TIME, ("metrics", "latency"), [True], "metrics.latency must be a list of numbers"),
        (TIME, ("metrics",), [], "metrics must be an object, not []"),
        (TIME, ("seconds",), "1", "seconds must be from 0 to thirty years of them, not '1'"),
        (TIME, ("replicate",), 1.0, "replicate must be a whole number from 0, not 1.0"),
        (TIME, ("reason",), None, "reason must be text, not None"),
        (TIME, ("started",), "a\nb", "started must be one line of text"),
        (TIME, ("unknown\n\x1b[31m",), 1, "cannot be understood"),
        (TIME, ("facts", "a"), "\ud800", "holds half a surrogate pair"),
        (GATE, ("facts", "kernels"), 5, "facts.kernels must be a list of text"),
        (GATE, ("facts", "parameters"), [1], "facts.parameters must be a whole number"),
        (GATE, ("facts", "numeric_tolerance"), 0, "must be a number above 0, not 0"),
        (SPARED, ("facts", "reuse"), {}, "facts.reuse must be forwards, how many spared something"),
        (
            SPARED,
            ("facts", "reuse", "map", "blocks.0"),
            "abd",
            "and a letter of a reason for each step",
        ),
        (
            SPARED,
            ("facts", "reuse", "reasons"),
            [["too old", 1, 2]],
            "facts.reuse must be forwards",
        ),
        (SPARED, ("facts", "reuse", "drift"), "0.1", "facts.reuse must be forwards"),
        (PICTURES, ("facts", "paired"), {"x": 1}, "an object of changes with their errors"),
        (PICTURES, ("facts", "errors"), {"x": "much"}, "an object of standard errors"),
        (PICTURES, ("facts", "extractors"), {"x": {"sha256": "ab"}}, "networks with sha256, dim"),
        (PICTURES, ("facts", "references"), {"x": {"count": 1.5}}, "what pictures are compared"),
        (
            PICTURES,
            ("facts", "by_count"),
            {"x": [[0, 1.0]]},
            "an object of lists of [count, value]",
        ),
        (PICTURES, ("facts", "protocol"), {"x": [1]}, "an object of numbers, lines of text"),
        (PICTURES, ("facts", "unmeasured"), "all", "facts.unmeasured must be a list of text"),
        (PICTURES, ("facts", "extractor"), "cnn", "an object with name and sha256"),
        (GATE, ("cell", "attention", "settings"), None, "cell.attention.settings must be an"),
        (GATE, ("cell", "attention", "label"), "a\x1b[31m", "must be one line of text"),
        (GATE, ("cell", "blocks"), [0, 10**9], "cell.blocks must be a list of numbers of blocks"),
        (GATE, ("cell", "blocks"), ["0"], "cell.blocks must be a list of numbers of blocks"),
        (GATE, ("cell", "steps"), 0, "cell.steps must be a whole number from 1, not 0"),
        (GATE, ("cell", "sampling"), None, "cell.sampling must be an object, not None"),
        (GATE, ("cell",), "x", "cell must be an object, not 'x'"),
    ],
    ids=lambda value: ".".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_a_field_of_a_wrong_kind_is_named(tmp_path, record, path, to, cause):
    problem = told(tmp_path, changed(record, *path, to=to))
    assert cause in problem
    assert len(problem.splitlines()) == 1
    assert "\x1b" not in problem


def test_what_is_written_is_always_of_its_kind():
    for one in fake_run().records:
        assert json.loads(json.dumps(to_plain(one)))
        assert parse("x", sealed(to_plain(one)).encode() + b"\n").problems == ()
    shape.check(head_to_json(fake_run()), shape.HEAD)


@pytest.mark.parametrize(
    ("field", "value", "cause"),
    [
        ("claims", [{"metric": "macs"}], "claims must be a list of claims"),
        ("gate", {"latency": "2%"}, "gate must be an object of finite numbers"),
        ("environment", {"cpu": {}}, "environment must be an object of numbers"),
        ("planned", {}, "planned must be a list, not {}"),
        ("finished", 1, "finished must be true or false, not 1"),
        ("id", "../../etc\n", "id must be one line of text"),
    ],
)
def test_a_head_of_a_wrong_kind_is_named(field, value, cause):
    with pytest.raises(ValueError, match=cause):
        shape.check(head_to_json(fake_run()) | {field: value}, shape.HEAD)


def test_a_whole_character_in_two_halves_is_read():
    line = b'{"schema": 1, "a": "\\ud83d\\ude00"}'
    assert unsealed(line)["a"] == "\N{GRINNING FACE}"


def test_a_claim_and_a_metric_of_another_version_are_shown_and_not_judged():
    one = timed(cell(), (0.1, 0.1))[0]
    strange = type(one)(one.cell, one.stage, one.status, metrics=one.metrics | {"smell": (1.0,)})
    claim = {"metric": "smell", "value": 1.0, "tolerance": 0.1, "source": "x", "per": "image"}
    odd = {**claim, "where": {"blocks": "all", "odour": 1}}
    run = fake_run(gate(cell()), strange, claims=(odd, {**claim, "where": {}}))
    summed = summary.summarise(run)
    assert [answer.measured for answer in summed.claims] == [None, 1.0]
    page = view.page(run, summed, compare.compare(run, run, "x"))
    assert any("no metric smell" in row[-1].text for row in page.changes.folded.rows)


def test_a_command_of_no_words_is_no_reason_to_fail():
    run = fake_run(gate(cell()), *timed(cell(), (0.1, 0.1)), command="")
    view.page(run, summary.summarise(run), compare.compare(run, None, ""))


def test_a_baseline_without_a_record_is_read_as_empty(tmp_path):
    flat(tmp_path / "b.jsonl", replace(fake_run(), records=()))
    assert baseline_read("b", tmp_path).planned == ()


def test_a_run_of_absurd_durations_is_shown(capsys):
    run = fake_run(gate(cell()), *timed(cell(), (float("inf"),), (1e308, 1e300)))
    output.show_summary(run, summary.summarise(run), compare.compare(run, run, "x"))
    assert all(len(line) < 300 for line in capsys.readouterr().out.splitlines())


def test_an_empty_run_is_shown(capsys):
    run = fake_run(gate(cell()), planned=(), records=())
    output.show_summary(run, summary.summarise(run), compare.compare(run, None, ""))
    assert "run 2026" in capsys.readouterr().out


def test_reading_keeps_aside_what_is_of_a_wrong_kind(tmp_path):
    (tmp_path / "run.json").write_text(sealed(head_to_json(fake_run(GATE))))
    line = changed(GATE, "facts", to=[])
    (tmp_path / "records.jsonl").write_bytes(line + b"\n")
    assert read(tmp_path).problems
    assert (tmp_path / "records.rejected.jsonl").read_bytes() == line + b"\n"


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"warmup": {"unmet": "drifts"}}, "facts.warmup"),
        ({"stopping": {"by": 5, "precision": None}}, "facts.stopping"),
        ({"energy": {"joules": 3.0}}, "facts.energy"),
        ({"telemetry": {"device": "cpu"}}, "facts.telemetry"),
        ({"telemetry": {"samples": 3, "sm_clock": [1.0]}}, "facts.telemetry"),
        ({"trials": [[1]]}, "facts.trials"),
        ({"phase_s": {"timing": "1"}}, "facts.phase_s"),
        ({"weights": []}, "facts.weights"),
    ],
)
def test_evidence_that_is_computed_with_is_of_its_kind(tmp_path, facts, named):
    line = changed(TIME, "facts", to=facts)
    assert told(tmp_path, line).startswith(f"{named} must be")


def test_a_record_of_a_search_that_tells_latency_gives_no_throughput():
    search = replace(TIME, cell=cell(batch_size=LARGEST))
    (row,) = summary.summarise(fake_run(search)).rows
    assert "throughput" not in row.estimates


def test_a_record_of_the_last_year_does_not_end_the_clocks_account():
    late = replace(TIME, started="9999-12-31T23:59:59+00:00", seconds=1e9)
    assert any("during this run" in note for note in clock_notes(fake_run(late, TIME)))


def test_a_selection_that_is_no_text_is_refused(tmp_path):
    plain = {**head_to_json(fake_run()), "selected": [""]}
    with pytest.raises(ValueError, match="selected must be text"):
        shape.check(plain, shape.HEAD)
