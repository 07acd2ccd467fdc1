import dataclasses
import json
import math

import pytest

from ditbench.reuse import trace
from ditbench.reuse.trace import Line

LINE = Line(
    model="fashion-dit, weights embedded",
    method="dqar",
    seed=0,
    sample=3,
    site="transformer_blocks.0.attn1",
    block=0,
    step=7,
    steps=20,
    branch="both",
    reused=True,
    reason="every gate open",
    seen={"entropy": 4.1, "log_snr": -math.inf},
    error=0.03,
)


def lines():
    return [
        LINE,
        dataclasses.replace(LINE, step=8, reused=False, reason="too old", error=None),
        dataclasses.replace(LINE, step=9, error=math.inf),
    ]


def test_what_is_written_is_read():
    found = trace.parse("x.jsonl", trace.text(lines()).encode())
    assert found == trace.Trace(tuple(lines()))


def test_a_line_is_one_decision_in_json_without_infinities():
    first, *_ = trace.text(lines()).splitlines()
    plain = json.loads(first, parse_constant=pytest.fail)
    assert plain["trace"] == 1
    assert plain["seen"] == {"entropy": 4.1, "log_snr": "-inf"}


def damaged(**changed):
    plain = json.loads(trace.text([LINE])) | changed
    return json.dumps({name: value for name, value in plain.items() if value != "absent"}).encode()


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        (trace.text([LINE]).encode()[:60], "is not JSON (Unterminated string"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"", "is not JSON (Expecting value in column 1)"),
        (b"[1]", "is no line of a trace of version 1"),
        (b"[" * 100_000, "is nested too deeply"),
        (damaged(trace=2), "is no line of a trace of version 1"),
        (damaged(site="absent"), "lacks 'site'"),
        (damaged(mood="sour"), "has an unknown field 'mood'"),
        (damaged(step=-1), "step cannot be -1"),
        (damaged(step=True), "step cannot be true"),
        (damaged(reused=1), "reused cannot be 1"),
        (damaged(reason=""), 'reason cannot be ""'),
        (damaged(branch="left"), 'branch cannot be "left"'),
        (damaged(seen={"entropy": None}), 'seen cannot be {"entropy": null}'),
        (damaged(error=-0.1), "error cannot be -0.1"),
        (damaged(error="much"), 'error cannot be "much"'),
    ],
)
def test_a_damaged_line_is_named_by_file_and_line_and_hides_no_other(raw, cause):
    first, second, third = trace.text(lines()).encode().splitlines(keepends=True)
    found = trace.parse("x.jsonl", first + raw + b"\n" + second + third)
    assert len(found.lines) == 3
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"x.jsonl:2: {cause}")
    assert "\n" not in found.problems[0]


def test_a_second_line_of_one_decision_is_told_and_does_not_count_twice():
    found = trace.parse("x.jsonl", trace.text([LINE, LINE]).encode())
    assert found.lines == (LINE,)
    assert found.problems == ("x.jsonl:2: a second line of one decision; the first is kept",)


def test_an_empty_file_has_no_lines():
    assert trace.parse("x.jsonl", b"") == trace.Trace(())


def test_a_decision_that_stands_in_two_traces_counts_once():
    both = trace.parse("x.jsonl", trace.text(lines()).encode())
    found = trace.joined([both, both, trace.Trace((), ("y.jsonl:1: is not UTF-8",))])
    assert sorted(line.step for line in found.lines) == [7, 8, 9]
    assert found.problems == (
        "3 decisions stand in two traces; the first of each is kept",
        "y.jsonl:1: is not UTF-8",
    )
